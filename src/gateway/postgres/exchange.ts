/**
 * What was sent to the target and has not been answered yet, in order. The server answers strictly in the order of the
 * messages, so the head of this queue says what the next answer is about; that is how rows, durations and outcomes find
 * their statement, and how our own errors take their place among the server's. It also writes the two records of each
 * execution: the one before the message is forwarded, and the one when its outcome is known.
 */
import { createHash, type Hash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { DenialId } from '#core/ids.ts';
import type { Journal } from '../journal.ts';
import type { GatewayEvent, Protocol, RecordedParameter, SessionRef } from '../records.ts';
import type { AskedNames } from './judge-worker.ts';
import type { Withheld } from './guarded-run.ts';
import type { Allowed, Curable, Denied } from './judge.ts';
import type { LedgerEntry } from './ledger.ts';
import { RecordJson } from './record-json.ts';
import { recordText } from './recorded-text.ts';
import type { RawParameters } from './statement-digest.ts';
import { Transactions } from './transactions.ts';

export type Prepared = {
  readonly text: string;
  /** The client's, completed by what the server says when it is asked to describe. */
  parameterTypes: readonly number[];
  verdict: Allowed | Curable;
  /** The book the verdict is from; undefined where it has to be asked for each time. */
  book: unknown;
};

export type Portal = {
  readonly prepared: Prepared;
  readonly parameters: readonly RecordedParameter[];
  /** The path by which the server has looked its names up, as far as we know. */
  readonly names: AskedNames;
  /** What it was judged by: `Judge.decidedAnew`. */
  judgedAt: number;
  /** The verdict by which it was bound, and the `Judge.generation` that that is from. */
  readonly bound: { readonly verdict: Allowed | Curable; readonly generation: number };
  /** As they came, when what runs is to be asked for with them; undefined when they are too long for that. */
  readonly raw?: RawParameters | undefined;
  /** What let it through, which is good for all of its one run, and for that alone. */
  pass?: { readonly verdict: Allowed; readonly book: unknown; hasRun: boolean };
};

/** One execution on its way. */
export type Run = {
  readonly number: number;
  readonly verdict: Allowed;
  readonly names: readonly LedgerEntry<Prepared>[];
  startedAt: number;
  command: number;
  rows: number;
  bytesOut: number;
  bytesIn: number;
  /** Or was skipped. */
  hasFailed: boolean;
  /** Nothing more will be answered for it. */
  isOver: boolean;
  copyIn: Hash | undefined;
  copyRecorded: number;
};

export type Pending =
  | { readonly kind: 'query'; readonly run: Run }
  | { readonly kind: 'execute'; readonly run: Run }
  | { readonly kind: 'parse'; readonly entry: LedgerEntry<Prepared> }
  /** `bytes`: about what is kept of it. */
  | { readonly kind: 'bind'; readonly entry: LedgerEntry<Portal>; readonly bytes: number }
  | { readonly kind: 'describe'; readonly prepared: Prepared | undefined }
  | { readonly kind: 'close_statement'; readonly entry: LedgerEntry<Prepared> }
  | { readonly kind: 'close_portal'; readonly entry: LedgerEntry<Portal> }
  | { readonly kind: 'sync' }
  /**
   * The server is made to fail in place of a message that was refused; the client gets our error for its. `inAborted`: but
   * for that of a transaction that had failed before.
   */
  | { readonly kind: 'denied'; readonly error: Buffer; readonly simple: boolean; readonly inAborted: boolean }
  /** Runs, and may be taken back: the client hears of it when it stays. */
  | { readonly kind: 'guarded'; readonly run: Run; readonly withheld: Withheld }
  /** A question of ours within the client's transaction, of which the client sees nothing. */
  | { readonly kind: 'own'; readonly rows: (string | null)[][]; readonly done: (ok: boolean) => void }
  /** Our own question about the search path; the client sees nothing of it. */
  | { readonly kind: 'names'; answer: readonly (string | null)[] | undefined };

export type Outcome = (GatewayEvent & { kind: 'statement.ended' })['outcome'];

export const maxRecordedCopy = 65_536;

export class Exchange {
  readonly #journal: Journal;
  readonly #on: SessionRef;
  readonly #json: RecordJson;
  /** Writes the record of each command's end, when its transaction is known. */
  readonly transactions: Transactions;
  readonly #items: (Pending | undefined)[] = [];
  #first = 0;
  #boundBytes = 0;
  #statements = 0;
  #cycle = 0;

  /** @param statements numbers that are given already */
  constructor(journal: Journal, on: SessionRef, statements = 0) {
    this.#statements = statements;
    this.#journal = journal;
    this.#on = on;
    const json = new RecordJson(on);
    this.#json = json;
    this.transactions = new Transactions(on, {
      ended: (event, transaction) => void journal.appendJson(json.ended(event, transaction)),
      other: (event) => void journal.append(event),
    });
  }

  get statements(): number {
    return this.#statements;
  }

  /** Grows with each ReadyForQuery of the server. */
  get cycle(): number {
    return this.#cycle;
  }

  ready(): void {
    this.#cycle += 1;
  }

  get isEmpty(): boolean {
    return this.#first === this.#items.length;
  }

  get size(): number {
    return this.#items.length - this.#first;
  }

  get head(): Pending | undefined {
    return this.#items[this.#first];
  }

  get last(): Pending | undefined {
    return this.#items.at(-1);
  }

  /** How much of the parameters on their way is kept. */
  get boundBytes(): number {
    return this.#boundBytes;
  }

  push(item: Pending): void {
    if (item.kind === 'bind') this.#boundBytes += item.bytes;
    this.#items.push(item);
  }

  shift(): Pending | undefined {
    const item = this.#items[this.#first];
    if (item === undefined) return undefined;
    if (item.kind === 'bind') this.#boundBytes -= item.bytes;
    this.#items[this.#first] = undefined;
    this.#first += 1;
    // Not each time: to shorten an array is slow.
    if (this.#first > 1024 || (this.#first > 64 && this.isEmpty)) {
      this.#items.splice(0, this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** Whether something of the client's runs that a cancel request would reach. Beside our own question nothing does. */
  get isRunning(): boolean {
    return !this.isEmpty && this.head?.kind !== 'names';
  }

  /** Whether something of the client's runs there, a commit included; not our own question, nor what only prepares. */
  get hasRuns(): boolean {
    for (let i = this.#first; i < this.#items.length; i += 1) {
      const kind = this.#items[i]?.kind;
      if (kind === 'query' || kind === 'execute' || kind === 'guarded' || kind === 'sync') return true;
    }
    return false;
  }

  /** Writes the record of an execution that is about to be forwarded. */
  begin(
    protocol: Protocol,
    text: string,
    verdict: Allowed,
    parameters?: readonly RecordedParameter[],
    names: readonly LedgerEntry<Prepared>[] = [],
  ): Run {
    this.#statements += 1;
    const number = this.#statements;
    this.#journal.appendJson(this.#json.begun(number, protocol, text, verdict, parameters));
    return {
      number,
      verdict,
      names,
      startedAt: performance.now(),
      command: 0,
      rows: 0,
      bytesOut: 0,
      bytesIn: 0,
      hasFailed: false,
      isOver: false,
      copyIn: undefined,
      copyRecorded: 0,
    };
  }

  denied(
    protocol: Protocol,
    text: string,
    verdict: Denied,
    parameters?: readonly RecordedParameter[],
    denial?: DenialId,
  ): void {
    this.#statements += 1;
    this.#journal.append({
      kind: 'statement.denied',
      on: this.#on,
      statement: this.#statements,
      protocol,
      text: recordText(text),
      ...(parameters === undefined ? {} : { parameters }),
      sqlState: verdict.sqlState,
      message: verdict.message,
      ...(denial === undefined ? {} : { denial }),
      ...(denial === undefined || verdict.digest === undefined ? {} : { digest: verdict.digest }),
      ...(denial === undefined || verdict.roles === undefined ? {} : { roles: verdict.roles }),
      ...(verdict.hold === undefined ? {} : { hold: verdict.hold }),
      policyVersion: verdict.policyVersion,
      policies: verdict.policies,
    });
  }

  /** The outcome of one command of a run; its counters start anew for the next. */
  end(run: Run, outcome: Outcome): void {
    const now = performance.now();
    const event = {
      kind: 'statement.ended' as const,
      on: this.#on,
      statement: run.number,
      command: run.command,
      outcome,
      durationMs: Math.round((now - run.startedAt) * 1000) / 1000,
      bytesOut: run.bytesOut,
      bytesIn: run.bytesIn,
    };
    this.transactions.ended(
      run.copyIn === undefined ? event : { ...event, copyInSha256: run.copyIn.digest('hex') },
      run.verdict.transaction[run.command],
    );
    run.command += 1;
    run.rows = 0;
    run.bytesOut = 0;
    run.bytesIn = 0;
    run.copyIn = undefined;
    run.copyRecorded = 0;
    run.startedAt = now;
  }

  /** COPY data from the client: the beginning as it is, before it is forwarded, and the hash of all of it. */
  copyIn(run: Run, data: Buffer): void {
    run.copyIn ??= createHash('sha256');
    run.copyIn.update(data);
    run.bytesIn += data.length;
    const room = maxRecordedCopy - run.copyRecorded;
    if (room <= 0) return;
    const part = data.subarray(0, room);
    run.copyRecorded += part.length;
    this.#journal.append({
      kind: 'statement.copy_in',
      on: this.#on,
      statement: run.number,
      command: run.command,
      data: part.toString('base64'),
    });
  }

  /** The connection is over: everything that still waits for its outcome gets one. */
  abandon(): void {
    let mayHaveCommitted = false;
    for (let item = this.shift(); item !== undefined; item = this.shift())
      if ((item.kind === 'query' && !item.run.hasFailed) || item.kind === 'execute' || item.kind === 'guarded') {
        mayHaveCommitted ||= item.run.verdict.endsTransaction;
        this.end(item.run, { kind: 'cut' });
      }
    this.transactions.lost(mayHaveCommitted);
  }
}

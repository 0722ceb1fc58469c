/**
 * Which transaction each command of a session ran in, and what became of it: read from the server's answers in their order
 * (tags, errors, the status of ReadyForQuery) and from what the parser said of `commit`, `rollback` and savepoints.
 *
 * The end of an implicit transaction is the end of its string or, in the extended protocol, the next Sync: until then the
 * records of its commands are held, so that the plain statement needs no second one to say that it was committed. What is
 * held has a bound; beyond it commands are recorded as `open`, as in an explicit transaction, and `transaction.ended` follows.
 */
import type { TransactionControl } from '#sql/needs.ts';
import type { TransactionStatus } from '#wire/postgres/backend.ts';
import type { CommandRef, GatewayEvent, RecordedTransaction, SessionRef, TransactionOutcome } from '../records.ts';

export type Ended = GatewayEvent & { kind: 'statement.ended' };
type Unplaced = Omit<Ended, 'transaction'>;

export type Write = {
  readonly ended: (event: Unplaced, transaction: RecordedTransaction | undefined) => void;
  readonly other: (event: GatewayEvent) => void;
};

type Transaction = {
  readonly number: number;
  /** Opened by `begin`, so it outlives its string. */
  isExplicit: boolean;
  hasFailed: boolean;
  /** A procedure may have committed part of it. */
  mayHaveCommitted: boolean;
  /** Some command was recorded as `open`. */
  isShown: boolean;
  /** Of an implicit one. */
  held: Unplaced[];
  savepoints: { readonly name: string; readonly at: CommandRef }[];
};

const maxHeld = 256;
const maxSavepoints = 1000;

export class Transactions {
  readonly #on: SessionRef;
  readonly #write: Write;
  #last = 0;
  #now: Transaction | undefined;

  constructor(on: SessionRef, write: Write) {
    this.#on = on;
    this.#write = write;
  }

  /** The server has answered a command. `control`: what the parser says of it. */
  ended(event: Unplaced, control: TransactionControl | undefined): void {
    const { outcome } = event;
    if (outcome.kind === 'skipped') {
      // It never ran; only its place among the others is kept.
      if (this.#now === undefined || this.#now.isShown) return this.#write.ended(event, undefined);
      return void this.#now.held.push(event);
    }
    const now = (this.#now ??= this.#begin());
    if (control?.kind === 'commits_within' && !now.isExplicit) now.mayHaveCommitted = true;
    if (outcome.kind !== 'completed') {
      if (outcome.kind === 'failed') now.hasFailed = true;
      if (outcome.kind === 'cut' && control?.kind === 'ends') return this.#ends(now, event, 'unknown', undefined);
      return this.#place(now, event);
    }
    switch (outcome.tag) {
      case 'BEGIN':
      case 'START TRANSACTION':
        // It takes in what came before it in the same string.
        now.isExplicit = true;
        return this.#place(now, event);
      case 'COMMIT':
        return this.#ends(now, event, 'committed', control);
      case 'ROLLBACK':
        if (control?.kind === 'rollback_to') return this.#rollbackTo(now, event, control.name);
        // What isn't known to the parser may be either kind.
        return this.#ends(now, event, control === undefined ? 'unknown' : 'rolled_back', control);
      case 'PREPARE TRANSACTION':
        return this.#ends(now, event, 'unknown', control);
      case 'SAVEPOINT': {
        const at = { statement: event.statement, command: event.command };
        if (control?.kind === 'savepoint') now.savepoints.push({ name: control.name, at });
        if (now.savepoints.length > maxSavepoints) now.savepoints.shift();
        return this.#place(now, event);
      }
      case 'RELEASE':
        if (control?.kind === 'release') now.savepoints.length = Math.max(0, savepointOf(now, control.name));
        return this.#place(now, event);
      default:
        return this.#place(now, event);
    }
  }

  /** An error that is no command's: of a Parse, a Bind, a refused message, or of the commit at Sync. */
  failed(): void {
    if (this.#now !== undefined) this.#now.hasFailed = true;
  }

  /** ReadyForQuery: the end of every implicit transaction. */
  ready(status: TransactionStatus): void {
    if (status === 'I') {
      const now = this.#now;
      if (now === undefined) return;
      // An explicit one that is gone without a word of ours: its `commit` has failed, or we don't know what ended it.
      if (now.isExplicit) return this.#finish(now, now.hasFailed ? 'rolled_back' : 'unknown');
      return this.#finish(now, now.hasFailed ? 'rolled_back' : 'committed');
    }
    const now = (this.#now ??= this.#begin());
    now.isExplicit = true;
    now.hasFailed = status === 'E';
    this.#show(now);
  }

  /**
   * The connection is over. `mayHaveEnded`: something was on its way that could have committed, as far as we know; else
   * the server has rolled back what was open.
   */
  lost(mayHaveEnded: boolean): void {
    const now = this.#now;
    if (now === undefined) return;
    const isCertain = now.isExplicit ? !mayHaveEnded : now.hasFailed;
    this.#finish(now, isCertain ? 'rolled_back' : 'unknown');
  }

  /** Whether what is open outlives its string, so that only `commit` ends it. */
  get isExplicit(): boolean {
    return this.#now?.isExplicit === true;
  }

  #begin(): Transaction {
    this.#last += 1;
    return {
      number: this.#last,
      isExplicit: false,
      hasFailed: false,
      mayHaveCommitted: false,
      isShown: false,
      held: [],
      savepoints: [],
    };
  }

  #place(now: Transaction, event: Unplaced): void {
    if (now.held.length >= maxHeld || now.isExplicit) this.#show(now);
    if (now.isShown) this.#record(event, { number: now.number, state: 'open' });
    else now.held.push(event);
  }

  #record(event: Unplaced, transaction: RecordedTransaction): void {
    this.#write.ended(event, event.outcome.kind === 'skipped' ? undefined : transaction);
  }

  /** From here on the commands of this transaction are recorded before its end is known. */
  #show(now: Transaction): void {
    const { held } = now;
    now.held = [];
    if (held.length > 0) now.isShown = true;
    for (const event of held) this.#record(event, { number: now.number, state: 'open' });
    if (now.isExplicit) now.isShown = true;
  }

  #rollbackTo(now: Transaction, event: Unplaced, name: string): void {
    const found = savepointOf(now, name);
    now.savepoints.length = Math.max(0, found + 1);
    now.hasFailed = false;
    this.#show(now);
    const undoes = now.savepoints[found]?.at ?? null;
    this.#record(event, { number: now.number, state: 'open', undoes });
  }

  #ends(now: Transaction, event: Unplaced, said: TransactionOutcome, control: TransactionControl | undefined): void {
    const outcome = outcomeOf(now, said);
    this.#settle(now, outcome);
    this.#record(event, { number: now.number, state: outcome });
    if (now.isShown) this.#tell(now, outcome);
    this.#now = undefined;
    if (control?.kind !== 'ends' || !control.chain) return;
    this.#now = this.#begin();
    this.#now.isExplicit = true;
    this.#now.isShown = true;
  }

  #finish(now: Transaction, said: TransactionOutcome): void {
    const outcome = outcomeOf(now, said);
    this.#settle(now, outcome);
    if (now.isShown) this.#tell(now, outcome);
    this.#now = undefined;
  }

  #settle(now: Transaction, outcome: TransactionOutcome): void {
    for (const event of now.held) this.#record(event, { number: now.number, state: outcome });
    now.held = [];
  }

  #tell({ number }: Transaction, outcome: TransactionOutcome): void {
    this.#write.other({ kind: 'transaction.ended', on: this.#on, transaction: number, outcome });
  }
}

/** What a procedure has committed stays, whatever becomes of the rest. */
const outcomeOf = ({ mayHaveCommitted }: Transaction, said: TransactionOutcome): TransactionOutcome =>
  mayHaveCommitted && said === 'rolled_back' ? 'unknown' : said;

/** The position of the innermost savepoint of that name, or -1. */
const savepointOf = ({ savepoints }: Transaction, name: string): number =>
  savepoints.findLastIndex((savepoint) => savepoint.name === name);

/**
 * From the target to the client. Bytes pass as they came; only headers are looked at, and the few small messages that end
 * something. Taken out of the stream are the answers to our own question about names, and put in place of the server's
 * error is ours where a message was refused.
 */
import { hash } from 'node:crypto';
import { frameLengthAt, headerLength, MessageReader, ProtocolViolation } from '#wire/postgres/bytes.ts';
import {
  backend,
  decodeCommandComplete,
  decodeDataRow,
  decodeErrorFields,
  decodeNotification,
  decodeParameterDescription,
  decodeParameterStatus,
  decodeReadyForQuery,
  encodeParameterStatus,
  type TransactionStatus,
} from '#wire/postgres/backend.ts';
import type { ClientSide } from './client-side.ts';
import type { Outcome, Pending, Prepared, Run } from './exchange.ts';
import { maxWithheld } from './guarded-run.ts';
import type { Definitions } from './judge-worker.ts';
import { namesAreUnknown, namesBecome, unknownNames, type Link } from './link.ts';
import { Notifications } from './notifications.ts';

const pass = 0;
const swallow = 1;
const replace = 2;
const wait = 3;
type Step = typeof pass | typeof swallow | typeof replace | typeof wait;

/** Messages that are looked into are whole before they go on; a longer one is none that we know. */
const maxWhole = 4 << 20;
const maxOwnCatalogue = 64 << 20;
/** Severity and code come first, then the message. */
const enoughOfError = 65_536;

export class TargetSide {
  readonly #link: Link;
  readonly #clientSide: ClientSide;
  #carry: Buffer | undefined;
  /** Bytes of the current message that are still to come, and pass. */
  #passing = 0;
  #replacement: Buffer | undefined;
  #frameDone: (() => void) | undefined;
  /** Bytes of the current message that are still to come, and are kept until it is known whether they pass. */
  #withholding = 0;
  /** Messages of ours that wait for the end of the one that is half sent. */
  #said: Buffer[] = [];
  readonly #notifications: Notifications;
  /** The next message can't pass before something about it is known. */
  #isWaiting = false;

  constructor(link: Link, clientSide: ClientSide) {
    this.#link = link;
    this.#notifications = new Notifications(link, () => this.#goOn());
    this.#clientSide = clientSide;
  }

  /** False: read no more until the client has taken what it was sent. */
  chunk(chunk: Buffer, length: number): boolean {
    const link = this.#link;
    link.bytesOut += length;
    if (link.isMarked && this.#frameDone === undefined) return false;
    try {
      if (this.#carry === undefined) this.#process(chunk, length);
      else {
        const whole = Buffer.concat([this.#carry, chunk.subarray(0, length)]);
        this.#carry = undefined;
        this.#process(whole, whole.length);
      }
    } catch (error) {
      if (!(error instanceof ProtocolViolation)) link.failed(error);
      else link.end('target_closed', `sallyport: the target broke the protocol: ${error.message}`);
      return false;
    }
    link.target.lendTo(link.client);
    return !this.#isWaiting && !link.client.isCongested;
  }

  /** How many notifications reached the client. */
  get notifications(): number {
    return this.#notifications.count;
  }

  #goOn(): void {
    const { target, isMarked } = this.#link;
    const carry = this.#carry;
    if (isMarked || target.isClosed || carry === undefined) return;
    this.#carry = undefined;
    this.#link.bytesOut -= carry.length;
    if (this.chunk(carry, carry.length)) target.resume();
  }

  /**
   * The client has ended its side. Whether it still reads shows when it is sent something: what every client takes at any
   * time, and knows already. Nobody there: the answer is a reset, and the session ends. False: nothing could be sent.
   */
  probe(): boolean {
    const { client } = this.#link;
    if (this.#passing > 0 || client.isCongested) return false;
    client.write(encodeParameterStatus('client_encoding', 'UTF8'));
    return true;
  }

  /** Calls back as soon as no message is half sent to the client, so that another can follow. */
  finishFrame(done: () => void): void {
    if (this.#passing === 0) done();
    else this.#frameDone = done;
  }

  /** A message of ours, between two of the target's. */
  say(bytes: Buffer): void {
    if (this.#passing > 0) this.#said.push(bytes);
    else this.#link.client.write(bytes);
  }

  #forward(buffer: Buffer, from: number, to: number): void {
    if (from < to) this.#link.client.write(buffer.subarray(from, to));
  }

  #process(buffer: Buffer, end: number): void {
    const { exchange, client } = this.#link;
    let run = 0;
    let at = 0;
    while (at < end) {
      if (this.#passing > 0) {
        const count = Math.min(this.#passing, end - at);
        this.#passing -= count;
        at += count;
        if (this.#said.length > 0 && this.#passing === 0) {
          this.#forward(buffer, run, at);
          run = at;
          for (const bytes of this.#said.splice(0)) client.write(bytes);
        }
        continue;
      }
      if (this.#withholding > 0) {
        const count = Math.min(this.#withholding, end - at);
        this.#withholding -= count;
        withhold(exchange.head, buffer.subarray(at, at + count));
        at += count;
        run = at;
        continue;
      }
      if (this.#frameDone !== undefined) {
        this.#forward(buffer, run, at);
        const done = this.#frameDone;
        this.#frameDone = undefined;
        done();
        return;
      }
      if (end - at < headerLength) break;
      const type = buffer[at] ?? 0;
      const length = frameLengthAt(buffer, at);
      const { head } = exchange;
      if (head?.kind === 'guarded' && type === backend.dataRow) {
        this.#forward(buffer, run, at);
        run = at;
        head.run.rows += 1;
        head.run.bytesOut += length - headerLength;
        this.#withholding = length;
        continue;
      }
      if (head?.kind !== 'names' && head?.kind !== 'own' && isPassedUnseen(type)) {
        if (type === backend.dataRow || type === backend.copyData) {
          at = passRows(head, type, buffer, at, end);
          if (at > end) this.#passing = at - end;
          at = Math.min(at, end);
          continue;
        }
        if (type === backend.functionCallResponse) this.#called(head, length);
        this.#passing = length;
        continue;
      }
      if (end - at < length) {
        if (length > maxWhole && type === backend.errorResponse) {
          // `raise` makes them of any length. What matters is at the beginning.
          if (end - at < enoughOfError) break;
          if (this.#error(new MessageReader(buffer, at + headerLength, end), head, true) !== pass)
            throw new ProtocolViolation('error is too long');
          this.#passing = length;
          continue;
        }
        // What the session sees of the catalogue is as long as there are definitions.
        if (length > (head?.kind === 'names' ? maxOwnCatalogue : maxWhole))
          throw new ProtocolViolation(`message type ${type} is too long`);
        break;
      }
      if (head?.kind === 'guarded' && (type === backend.rowDescription || type === backend.commandComplete))
        withhold(head, buffer.subarray(at, at + length));
      const step = this.#message(type, new MessageReader(buffer, at + headerLength, at + length));
      this.#isWaiting = step === wait;
      if (step === wait) break;
      if (step !== pass) {
        this.#forward(buffer, run, at);
        if (this.#replacement !== undefined) client.write(this.#replacement);
        this.#replacement = undefined;
        run = at + length;
      }
      at += length;
      if (this.#link.isMarked) break;
    }
    this.#forward(buffer, run, at);
    if (this.#frameDone !== undefined && this.#passing === 0) {
      const done = this.#frameDone;
      this.#frameDone = undefined;
      done();
      return;
    }
    if (at < end && !this.#link.isMarked) this.#carry = Buffer.from(buffer.subarray(at, end));
  }

  #message(type: number, body: MessageReader): Step {
    const link = this.#link;
    const { exchange } = link;
    const { head } = exchange;
    if (head?.kind === 'guarded' || head?.kind === 'own') {
      const step = this.#besides(type, body, head);
      if (step !== undefined) return step;
    }
    switch (type) {
      case backend.commandComplete:
      case backend.emptyQueryResponse:
      case backend.portalSuspended:
        return this.#complete(type, body, head);
      case backend.parseComplete:
        if (head?.kind !== 'parse') throw outOfTurn(type);
        link.statements.settle(head.entry);
        exchange.shift();
        this.#clientSide.answered();
        return pass;
      case backend.bindComplete:
        if (head?.kind !== 'bind') throw outOfTurn(type);
        link.portals.settle(head.entry);
        exchange.shift();
        this.#clientSide.answered();
        return pass;
      case backend.closeComplete:
        if (head?.kind === 'close_statement') link.statements.gone(head.entry);
        else if (head?.kind === 'close_portal') link.portals.gone(head.entry);
        else throw outOfTurn(type);
        exchange.shift();
        this.#clientSide.answered();
        return pass;
      case backend.parameterDescription:
        if (head?.kind === 'describe' && head.prepared !== undefined)
          head.prepared.parameterTypes = decodeParameterDescription(body);
        return pass;
      case backend.rowDescription:
      case backend.noData:
        if (head?.kind === 'names') return swallow;
        if (head?.kind === 'describe') {
          exchange.shift();
          this.#clientSide.answered();
        }
        return pass;
      case backend.dataRow:
        if (head?.kind !== 'names') throw outOfTurn(type);
        head.answer = decodeDataRow(body).map((value) => value?.toString('utf8') ?? null);
        return swallow;
      case backend.errorResponse:
        return this.#error(body, head);
      case backend.readyForQuery:
        return this.#ready(decodeReadyForQuery(body), head);
      case backend.copyInResponse:
        if (head?.kind !== 'query' && head?.kind !== 'execute') throw outOfTurn(type);
        if (!head.run.verdict.takesCopyData) throw outOfTurn(type);
        link.isCopyIn = true;
        this.#clientSide.answered();
        return pass;
      case backend.parameterStatus: {
        const { name, value } = decodeParameterStatus(body);
        // INVARIANT 7: in another encoding the server would read another text than the one that was judged.
        if (name === 'client_encoding' && value !== 'UTF8')
          link.end('protocol_violation', 'sallyport: client_encoding must stay UTF8');
        // A string would end elsewhere than the parser here believes.
        if (name === 'standard_conforming_strings' && value !== 'on')
          link.end('protocol_violation', 'sallyport: standard_conforming_strings must stay on');
        return pass;
      }
      case backend.notificationResponse:
        switch (this.#notifications.admit(decodeNotification(body).channel)) {
          case true:
            return pass;
          case false:
            return swallow;
          default:
            return wait;
        }
      case backend.noticeResponse:
      case backend.copyOutResponse:
      case backend.copyDone:
        return pass;
      default:
        throw new ProtocolViolation(`unexpected message type ${type}`);
    }
  }

  #complete(type: number, body: MessageReader, head: Pending | undefined): Step {
    const { exchange } = this.#link;
    if (head?.kind === 'names') return swallow;
    if (head?.kind !== 'query' && head?.kind !== 'execute') throw outOfTurn(type);
    const { run } = head;
    if (type === backend.portalSuspended) exchange.end(run, { kind: 'suspended', rows: run.rows });
    else if (type === backend.emptyQueryResponse) exchange.end(run, { kind: 'completed', tag: '', rows: 0 });
    else {
      const { tag, rows } = decodeCommandComplete(body);
      exchange.end(run, { kind: 'completed', tag, rows });
    }
    if (head.kind === 'execute') {
      exchange.shift();
      this.#over(run);
      this.#clientSide.answered();
    }
    return pass;
  }

  /** Answers of which the client hears later, or nothing. Undefined: like any other. */
  #besides(type: number, body: MessageReader, head: Pending & { readonly kind: 'guarded' | 'own' }): Step | undefined {
    const { exchange } = this.#link;
    switch (type) {
      case backend.parseComplete:
      case backend.bindComplete:
      case backend.closeComplete:
      case backend.noData:
      case backend.rowDescription:
        return swallow;
      case backend.dataRow:
        if (head.kind === 'own') head.rows.push(decodeDataRow(body).map((value) => value?.toString('utf8') ?? null));
        return swallow;
      case backend.commandComplete: {
        exchange.shift();
        if (head.kind === 'own') head.done(true);
        else {
          const { tag, rows } = decodeCommandComplete(body);
          exchange.end(head.run, { kind: 'completed', tag, rows });
          head.run.isOver = true;
          head.withheld.done({ kind: 'ran', tag, rows, isTooMuch: head.withheld.length > maxWithheld });
        }
        return swallow;
      }
      case backend.emptyQueryResponse:
      case backend.portalSuspended:
      case backend.readyForQuery:
        throw outOfTurn(type);
      default:
        return undefined;
    }
  }

  /** What the function has answered is of any length, and passes. */
  #called(head: Pending | undefined, length: number): void {
    if (head?.kind !== 'query' || head.run.verdict.call === undefined) throw outOfTurn(backend.functionCallResponse);
    head.run.bytesOut += length - headerLength;
    this.#link.exchange.end(head.run, { kind: 'completed', tag: 'FUNCTION CALL', rows: 1 });
  }

  /** A run is done: what `prepare` and `deallocate` in it did to names is known, or known to be unknown. */
  #over(run: Run): void {
    const { statements } = this.#link;
    run.isOver = true;
    let i = 0;
    for (const effect of run.verdict.effects) {
      if (effect.name === undefined) continue;
      const entry = run.names[i];
      i += 1;
      if (entry === undefined) continue;
      // The command that failed has done nothing, nor have those behind it.
      if (run.hasFailed && effect.command >= run.command - 1) statements.revert(entry);
      else if (effect.kind === 'deallocates') statements.gone(entry);
      else {
        const prepared: Prepared = { text: effect.text, parameterTypes: [], verdict: run.verdict, book: undefined };
        statements.settle(entry, prepared);
      }
    }
  }

  #error(body: MessageReader, head: Pending | undefined, prefix = false): Step {
    const link = this.#link;
    const { exchange } = link;
    link.isCopyIn = false;
    const fields = decodeErrorFields(body, { prefix });
    const message = (fields.get('M') ?? '').slice(0, 4096).toWellFormed();
    const failed: Outcome = { kind: 'failed', sqlState: fields.get('C') ?? '', message };
    const severity = fields.get('V') ?? fields.get('S');
    if (severity === 'FATAL' || severity === 'PANIC') link.farewell = `${message} (${failed.sqlState})`;
    if (head?.kind !== 'query' && head?.kind !== 'execute') exchange.transactions.failed();
    // With nothing on its way: an end of the connection. At Sync: the commit has failed.
    if (head === undefined || head.kind === 'sync') return pass;
    if (head.kind === 'names') {
      link.names.failures += 1;
      return link.farewell === undefined ? swallow : pass;
    }
    if (head.kind === 'own') {
      exchange.shift();
      if (link.farewell !== undefined) return pass;
      head.done(false);
      return swallow;
    }
    if (head.kind === 'guarded') {
      head.run.hasFailed = true;
      head.run.isOver = true;
      exchange.end(head.run, failed);
      exchange.shift();
      if (link.farewell === undefined) head.withheld.done({ kind: 'failed' });
      return pass;
    }
    if (head.kind === 'denied') {
      if (link.farewell !== undefined) return pass;
      const isTheirs = head.inAborted && failed.sqlState === '25P02';
      if (!isTheirs) this.#replacement = head.error;
      if (!head.simple) {
        exchange.shift();
        this.#skipToSync();
      }
      return isTheirs ? pass : replace;
    }
    if (head.kind === 'query' || head.kind === 'execute') {
      head.run.hasFailed = true;
      exchange.end(head.run, failed);
    }
    if (head.kind === 'query') return pass;
    exchange.shift();
    if (head.kind === 'execute') this.#over(head.run);
    this.#undo(head);
    // What was to be prepared or bound has failed before its execution could.
    this.#skipToSync(head.kind === 'execute' ? undefined : failed);
    return pass;
  }

  /** The server skips everything up to the next Sync; so what was sent of it has never happened. */
  #skipToSync(first?: Outcome): void {
    let outcome: Outcome = first ?? { kind: 'skipped' };
    const link = this.#link;
    const { exchange } = link;
    for (let { head } = exchange; head !== undefined && head.kind !== 'sync'; { head } = exchange) {
      exchange.shift();
      if (head.kind === 'execute' || head.kind === 'query') {
        head.run.isOver = true;
        head.run.hasFailed = true;
        exchange.end(head.run, outcome);
        outcome = { kind: 'skipped' };
        for (const entry of head.run.names) link.statements.revert(entry);
      }
      this.#undo(head);
    }
    if (exchange.isEmpty) link.isSkipping = true;
    this.#clientSide.answered();
  }

  #undo(item: Pending): void {
    const { statements, portals } = this.#link;
    if (item.kind === 'parse' || item.kind === 'close_statement') statements.revert(item.entry);
    else if (item.kind === 'bind' || item.kind === 'close_portal') portals.revert(item.entry);
  }

  #ready(status: TransactionStatus, head: Pending | undefined): Step {
    const link = this.#link;
    const { exchange, names } = link;
    // INVARIANT 6: a query that is over with neither an end nor an error would stay without an outcome.
    if (head?.kind === 'query' && head.run.command === 0) throw outOfTurn(backend.readyForQuery);
    link.isCopyIn = false;
    link.status = status;
    exchange.transactions.ready(status);
    if (head?.kind === 'query') this.#over(head.run);
    else if (head?.kind !== 'sync' && head?.kind !== 'names' && !(head?.kind === 'denied' && head.simple))
      throw outOfTurn(backend.readyForQuery);
    exchange.shift();
    exchange.ready();
    if (head.kind === 'names') this.#namesAnswered(head.answer);
    if (status === 'I') {
      link.portals.clearSettled();
      if (link.ownDefinitions !== 'unchanged' && exchange.isEmpty) {
        // Committed, so that others see them, or gone.
        link.ownDefinitions = 'unchanged';
        link.isCatalogueStale = true;
        namesAreUnknown(link);
      }
      // The end of a transaction may have taken back what was set in it. What is on its way may set it again.
      if (names.changedInTransaction && exchange.isEmpty) {
        names.changedInTransaction = false;
        if (head.kind !== 'names' && names.asked.kind === 'known') namesBecome(link, unknownNames);
      }
    }
    this.#clientSide.answered();
    return head.kind === 'names' ? swallow : pass;
  }

  #namesAnswered(answer: readonly (string | null)[] | undefined): void {
    const link = this.#link;
    const names = parseNames(answer);
    if (names === undefined) {
      link.names.failures += 1;
      return;
    }
    link.names.failures = 0;
    if (names.user !== link.databaseRole)
      return link.end('target_closed', 'sallyport: the session does not run as its role');
    const definitions = link.ownDefinitions === 'unchanged' ? undefined : ownDefinitionsOf(names.searchPath, answer);
    // It can't be had: until the end of the transaction nothing is looked up.
    if (link.ownDefinitions !== 'unchanged' && definitions === undefined) return;
    const { changedInTransaction } = link.names;
    namesBecome(link, { kind: 'known', ...names, changedInTransaction, definitions });
  }
}

/** What `ownCatalogueQuery` answers behind the names, where it is what it says: see there. */
function ownDefinitionsOf(
  searchPath: readonly string[],
  answer: readonly (string | null)[] | undefined,
): Definitions | undefined {
  const [, , isolation, json] = answer ?? [];
  const first = searchPath.find((schema) => !/^pg_temp_\d+$/.test(schema));
  if (isolation !== 'read committed' || first !== 'pg_catalog' || typeof json !== 'string') return undefined;
  return { version: `own ${hash('sha256', json, 'hex')}`, json };
}

/** A target that talks nonsense is no fault of ours. */
function jsonOrNothing(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What `namesQuery` answers. */
export function parseNames(
  answer: readonly (string | null)[] | undefined,
): { readonly searchPath: readonly string[]; readonly user: string } | undefined {
  const [path, user] = answer ?? [];
  if (typeof path !== 'string' || typeof user !== 'string') return undefined;
  const searchPath = jsonOrNothing(path);
  if (!Array.isArray(searchPath) || !searchPath.every((s) => typeof s === 'string')) return undefined;
  return { searchPath, user };
}

/** Of these only the header matters, however long they are. */
function isPassedUnseen(type: number): boolean {
  switch (type) {
    case backend.dataRow:
    case backend.copyData:
    case backend.noticeResponse:
    case backend.functionCallResponse:
      return true;
    default:
      return false;
  }
}

/** Counts the messages of one type from `from` on, of which a big answer has thousands in a chunk. Where the last of them ends. */
function passRows(head: Pending | undefined, type: number, buffer: Buffer, from: number, end: number): number {
  let at = from;
  let count = 0;
  do {
    at += frameLengthAt(buffer, at);
    count += 1;
  } while (end - at >= headerLength && buffer[at] === type);
  if (head?.kind === 'query' || head?.kind === 'execute') {
    if (type === backend.dataRow) head.run.rows += count;
    head.run.bytesOut += at - from - count * headerLength;
  }
  return at;
}

function withhold(head: Pending | undefined, bytes: Buffer): void {
  if (head?.kind !== 'guarded') return;
  const { withheld } = head;
  withheld.length += bytes.length;
  if (withheld.length <= maxWithheld) withheld.bytes.push(Buffer.from(bytes));
  else withheld.bytes.length = 0;
}

const outOfTurn = (type: number): ProtocolViolation => new ProtocolViolation(`message type ${type} out of turn`);

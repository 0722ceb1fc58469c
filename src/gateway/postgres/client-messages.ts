/**
 * What becomes of each message of a client: judged, recorded, and then passed on, dropped, replaced or held. How bytes come
 * in and go out is `client-side.ts`'s.
 *
 * A refused message is replaced by one at which the server itself fails: a `Query` or, in the extended protocol, a `Parse`
 * with a text that doesn't parse, or a call of no function; the server's error is swapped for ours on its way back. So the server's transaction has
 * failed as the client is told, the rest of the pipeline is skipped by both up to the same Sync, and no state of our own can
 * get out of step with it. (The alternative, answering by ourselves, would have to imitate implicit transactions and
 * skipping, and would leave an open transaction usable after a refused statement.)
 */
import { createHash, type Hash } from 'node:crypto';
import { headerLength, MessageReader, ProtocolViolation } from '#wire/postgres/bytes.ts';
import {
  type FunctionCallMessage,
  decodeBind,
  decodeExecute,
  decodeFunctionCall,
  decodeParse,
  decodeQuery,
  decodeTarget,
  encodeBind,
  encodeExecute,
  encodeFlush,
  encodeFunctionCall,
  encodeParse,
  encodeQuery,
  encodeSync,
  encodeTarget,
  frontend,
} from '#wire/postgres/frontend.ts';
import { encodeErrorResponse } from '#wire/postgres/backend.ts';
import { callText } from '#sql/call-by-oid.ts';
import { namesQuery, ownCatalogueQuery } from '#sql/catalogue.ts';
import { firstUserOid, typeText, type TypeShape } from '#sql/type-by-oid.ts';
import { newId, type DenialId } from '#core/ids.ts';
import type { Protocol, RecordedParameter } from '../records.ts';
import type { Portal, Prepared, Run } from './exchange.ts';
import { HeldStatement, type RunToHold } from './held-statement.ts';
import {
  dependsOnPrepared,
  isCacheable,
  lookUp,
  refusalOf,
  type Allowed,
  type Book,
  type Curable,
  type Denied,
  type Verdict,
} from './judge.ts';
import type { AskedNames } from './judge-worker.ts';
import type { LedgerEntry } from './ledger.ts';
import { currentBook, hasOwnDefinitions, noteForwarded, settledStatements, type Link } from './link.ts';
import { recordParameters } from './recorded-parameters.ts';
import { maxHeldStatement, noParameters, statementDigest, type RawParameters } from './statement-digest.ts';

/** What to do with the message that was just looked at. */
export const pass = 0;
export const drop = 1;
export const replace = 2;
export const hold = 3;
export const stop = 4;
export const leave = 5;
export type Step = typeof pass | typeof drop | typeof replace | typeof hold | typeof stop | typeof leave;

const refusedText = 'sallyport refused this statement';
/**
 * INVARIANT 6: it fails whatever the client has made. An `Execute` of some portal would run the client's own of that name;
 * a `Parse` fails at the text, before the server looks at the name, which only must not be that of the unnamed statement.
 */
/** There is no function 0. A query would have the server forget the unnamed statement, which a call leaves alone. */
const refusedCall = encodeFunctionCall({ function: 0, values: [] });
const refusedParse = encodeParse({ statement: 'refused', text: refusedText, parameterTypes: [] });
/**
 * In a transaction that has failed the server says so of any text that parses, and nowhere else does this one get further.
 * Where in a pipeline that is, only the server knows.
 */
const unlessAborted = 'select "sallyport refused this statement"';
const refusedUnlessAborted = encodeParse({ statement: 'refused', text: unlessAborted, parameterTypes: [] });
const maxUnanswered = 65_536;
const noEntries: readonly LedgerEntry<Prepared>[] = [];
/** What one session may make us keep: named portals, parameters on their way, and texts, of which short ones are free. */
const maxPortals = 1000;
const maxBoundBytes = 16 << 20;
const maxDeclared = 16;
const freeText = 4096;
const maxPreparedLength = 16 << 20;

/** A cursor with its text, when that was judged last, and what declares it. Undefined: the text isn't kept. */
type Cursor = { readonly text: string | undefined; judgedAt: number; readonly run: Run };
const firstJudged = (cursors: readonly Cursor[]): number => Math.min(...cursors.map(({ judgedAt }) => judgedAt));

/** Where to send what is our own, behind everything that was sent so far. */
type Target = { readonly send: (bytes: Buffer) => void };

/** What is public is read and reset by the client's side after each message: a call a message is all the hot path has. */
export class ClientMessages {
  readonly #link: Link;
  readonly #target: Target;
  readonly #resume: () => void;
  /** A verdict that just arrived for the message that is held. */
  #answer: { readonly text: string; readonly book: Book; readonly verdict: Verdict } | undefined;
  /** What is forwarded instead of a message that is to be replaced. */
  replacement: Buffer = Buffer.alloc(0);
  /** Bytes of the current message that are forwarded as they come, or thrown away. */
  streaming = 0;
  discarding = 0;
  #streamHash: { readonly hash: Hash; readonly done: (sha256: string) => void } | undefined;
  /** What `declare` may have made, by name. */
  readonly #cursors = new Map<string, readonly Cursor[]>();
  /** The earliest judgement of one that isn't in there: a function may have opened one at any time. */
  #cursorsForgottenAt: number;
  readonly #shapes = new Map<number, TypeShape | undefined>();
  /** Since the last Sync or Query. */
  #hasExecuted = false;
  #copyRun: Run | undefined;
  /** A statement that may ask for COPY data, and hasn't said yet. */
  #copyAwaited: Run | undefined;
  /** The server has to be asked for the answer that is waited for. */
  needsFlush = false;
  /** Something was recorded for what hasn't been forwarded yet. */
  hasRecords = false;
  /** Waiting for any answer of the target. */
  waitsForAnswer = false;
  /** The message that is held may still be given up: whether it runs is not decided, or not written down. */
  #mayBeGivenUp = false;
  /** The client has cancelled what is held: instead of a verdict it gets a refusal. Holds for one message. */
  isGivenUp = false;
  /** What is asked for, or waited for, for the message that is held. */
  #held: HeldStatement | undefined;

  /** @param resume called when what a message was held for may have come */
  constructor(link: Link, target: Target, resume: () => void) {
    this.#link = link;
    this.#target = target;
    this.#resume = resume;
    this.#cursorsForgottenAt = link.judge.decidedAnew();
  }

  /**
   * The client has cancelled, and nothing of it runs at the target: the message that waits for its verdict is not to run
   * whatever that will be, and fails as the server would have it fail. False: none waits for one.
   */
  giveUp(): boolean {
    if (!this.#mayBeGivenUp) return false;
    this.isGivenUp = true;
    this.#resume();
    return true;
  }

  /** People are waited for: the client is read on meanwhile, so that its end is noticed. */
  get isHeld(): boolean {
    return this.#held?.isHeld === true;
  }

  /** The session is over: nobody waits any more. */
  abandon(): void {
    // Nothing has committed what ran, and now nothing will.
    if (this.#held?.guard === 'ran' && this.#held.run.execute === undefined) this.#link.exchange.transactions.failed();
    this.#held?.abandon();
    this.#held = undefined;
  }

  /** Decides one message: `[at, end)` is what is there of it, `length` what it has in all. */
  decide(type: number, buffer: Buffer, at: number, end: number, length: number): Step {
    const link = this.#link;
    if (link.isMarked) return stop;
    this.#mayBeGivenUp = false;
    if (link.isCopyIn) return this.#copyMessage(type, buffer, at, end, length);
    if (this.#waitsForCopyAnswer()) return this.#waitForAnswer();
    // Somebody sends and sends and takes no answers: the queue has a bound.
    if (link.exchange.size > maxUnanswered && link.exchange.last?.kind !== 'names') return this.#waitForAnswer();
    if (link.isSkipping && type !== frontend.sync && type !== frontend.terminate) {
      // The server would read and drop it.
      this.discarding = at + length - end;
      return drop;
    }
    const body = new MessageReader(buffer, at + headerLength, end);
    switch (type) {
      case frontend.query:
        if (length > link.limits.maxStatementBytes) return this.#tooLong('simple', at + length - end);
        return this.#query(decodeQuery(body));
      case frontend.parse:
        if (length > link.limits.maxStatementBytes) return this.#tooLong('extended', at + length - end);
        return this.#parse(body);
      case frontend.bind:
        return this.#bind(body, buffer, at, end, length);
      case frontend.execute:
        return this.#execute(body);
      case frontend.describe: {
        const target = decodeTarget(body);
        const ledger = target.on === 'statement' ? link.statements : link.portals;
        const entry = ledger.get(target.name);
        if (entry === undefined && target.on === 'portal' && this.#cursors.has(target.name)) {
          // To the server a cursor of `declare` is a portal like any other, and to describe one doesn't run it.
          link.exchange.push({ kind: 'describe', prepared: undefined });
          return pass;
        }
        if (this.#mustSettle(entry)) return this.#waitForAnswer();
        if (entry?.value === undefined) return this.#refuseExtended(unknownName(target.on, target.name));
        const value = entry.value as Prepared | Portal;
        link.exchange.push({ kind: 'describe', prepared: 'text' in value ? value : undefined });
        return pass;
      }
      case frontend.close: {
        const { on, name } = decodeTarget(body);
        if (isTooLong(name)) return this.#refuseExtended(nameTooLong);
        if (on === 'statement') {
          const entry = link.statements.set(name, undefined, link.segment);
          link.exchange.push({ kind: 'close_statement', entry });
        } else link.exchange.push({ kind: 'close_portal', entry: link.portals.set(name, undefined, link.segment) });
        return pass;
      }
      case frontend.sync:
        decodeEmpty(body);
        link.isSkipping = false;
        link.segment += 1;
        this.#hasExecuted = false;
        link.exchange.push({ kind: 'sync' });
        return pass;
      case frontend.flush:
        decodeEmpty(body);
        return pass;
      case frontend.copyData:
        this.discarding = at + length - end;
        return drop;
      case frontend.copyDone:
      case frontend.copyFail:
        // Left over from a COPY that has failed: the server ignores them.
        return drop;
      case frontend.functionCall:
        if (length > link.limits.maxStatementBytes) return this.#tooLong('function', at + length - end);
        return this.#functionCall(decodeFunctionCall(body));
      case frontend.terminate:
        return leave;
      default:
        throw new ProtocolViolation(`unknown message type ${type}`);
    }
  }

  #copyMessage(type: number, buffer: Buffer, at: number, end: number, length: number): Step {
    const link = this.#link;
    switch (type) {
      case frontend.copyData: {
        const { head } = link.exchange;
        this.#copyRun = head?.kind === 'query' || head?.kind === 'execute' ? head.run : undefined;
        if (this.#copyRun === undefined) throw new ProtocolViolation('copy data out of turn');
        const available = end - at - headerLength;
        this.streaming = length - headerLength;
        this.stream(buffer, at + headerLength, available);
        return pass;
      }
      case frontend.copyDone:
      case frontend.copyFail:
        link.isCopyIn = false;
        // A string of several statements may ask for data again.
        this.#copyAwaited = link.exchange.head?.kind === 'query' ? link.exchange.head.run : undefined;
        this.#copyRun = undefined;
        return pass;
      case frontend.flush:
      case frontend.sync:
        // The server ignores them while it takes data; forwarded, they would be ambiguous when it fails meanwhile.
        return drop;
      case frontend.terminate:
        return leave;
      default:
        throw new ProtocolViolation(`message type ${type} during copy`);
    }
  }

  #waitForAnswer(): Step {
    this.waitsForAnswer = true;
    return hold;
  }

  #mustSettle(entry: LedgerEntry<unknown> | undefined): boolean {
    return (
      entry !== undefined && !entry.isSettled && entry.segment !== this.#link.segment && !this.#link.exchange.isEmpty
    );
  }

  #query(text: string): Step {
    const link = this.#link;
    const verdict = this.#letThrough(
      () => this.#verdict(text),
      (curable) => this.#toHold(curable, 'simple', text, text),
    );
    if (this.#held?.guard === 'failed') {
      this.#held = undefined;
      return this.#syncGuarded();
    }
    if (verdict === undefined) return hold;
    if (verdict.kind === 'deny') return this.#refuse('simple', verdict, text);
    if (this.#held?.guard === 'ran') return this.#keepGuarded(this.#held);
    if (this.#fetchesPortal(verdict)) return this.#refuse('simple', this.#fetchOfPortal(verdict), text);
    const cursor = this.#judgeCursors(verdict);
    if (cursor === hold) return hold;
    if (cursor !== undefined) return this.#refuse('simple', cursor, text);
    if (!this.#canRecord()) return hold;
    const names = this.#noteEffects(verdict.effects);
    const run = link.exchange.begin('simple', text, verdict, undefined, names);
    this.#noteCursors(verdict, run);
    this.#held = undefined;
    this.hasRecords = true;
    link.segment += 1;
    link.statements.remove('');
    link.portals.remove('');
    link.exchange.push({ kind: 'query', run });
    this.#hasExecuted = false;
    if (verdict.takesCopyData) this.#copyAwaited = run;
    noteForwarded(link, verdict);
    return pass;
  }

  /** A function by its oid: judged and recorded as the `select` that it amounts to. */
  #functionCall(message: FunctionCallMessage): Step {
    const link = this.#link;
    const asked = callText(message.function, message.values.length);
    const judged = this.#held?.run.curable ?? this.#verdict(asked);
    if (judged === undefined) return hold;
    const { text, parameterTypes } = judged.call ?? {
      text: `fast-path call of function ${message.function}`,
      parameterTypes: [],
    };
    const parameters = recordParameters(message, { parameterTypes });
    const raw = { formats: message.formats, values: message.values, types: parameterTypes };
    const verdict = this.#letThrough(
      () => judged,
      (curable) => this.#toHold(curable, 'function', asked, text, parameters, raw),
    );
    if (verdict === undefined) return hold;
    if (verdict.kind === 'deny') return this.#refuse('function', verdict, text, parameters);
    if (!this.#canRecord()) return hold;
    const run = link.exchange.begin('function', text, verdict, parameters);
    this.#held = undefined;
    this.hasRecords = true;
    link.segment += 1;
    link.exchange.push({ kind: 'query', run });
    this.#hasExecuted = false;
    noteForwarded(link, verdict);
    return pass;
  }

  #parse(body: MessageReader): Step {
    const link = this.#link;
    const { statement, text, parameterTypes } = decodeParse(body);
    if (isTooLong(statement)) return this.#refuseExtended(nameTooLong);
    const known = statement === '' ? undefined : link.statements.get(statement);
    // Of a name that we don't know about, the server says whether it is free.
    if (known?.value !== undefined) {
      if (this.#mustSettle(known)) return this.#waitForAnswer();
      return this.#refuseExtended(
        { sqlState: '42P05', message: `prepared statement "${statement}" already exists` },
        link.status === 'E',
      );
    }
    if (statement !== '' && link.statements.isFull)
      return this.#refuseExtended({ sqlState: '53400', message: 'sallyport: too many prepared statements' });
    if (statement !== '' && text.length > freeText && this.#preparedLength() > maxPreparedLength)
      return this.#refuseExtended({ sqlState: '53400', message: 'sallyport: too many long prepared statements' });
    const verdict = this.#verdict(text);
    if (verdict === undefined) return hold;
    if (verdict.kind === 'deny') return this.#refuse('extended', verdict, text, undefined, statement);
    // What is curable is prepared all the same: nothing runs before Bind, and it is asked for when it does.
    const prepared: Prepared = { text, parameterTypes, verdict, book: bookOf(link, verdict) };
    link.exchange.push({ kind: 'parse', entry: link.statements.set(statement, prepared, link.segment) });
    return pass;
  }

  /** A value in binary format of a type that somebody defined: what the catalogue says of it is asked for once. */
  #knowsTypes(types: readonly number[]): boolean {
    return types.every((type) => {
      if (type < firstUserOid || this.#shapes.has(type)) return true;
      const verdict = this.#verdict(typeText(type));
      if (verdict === undefined) return false;
      if (this.#shapes.size > maxPortals) this.#shapes.clear();
      this.#shapes.set(type, verdict.kind === 'allow' ? verdict.shape : undefined);
      return true;
    });
  }

  readonly #shapeOf = (type: number): TypeShape | undefined => this.#shapes.get(type);

  /** Characters in all texts that are kept under a name. */
  #preparedLength(): number {
    let length = 0;
    for (const { text } of this.#link.statements.values()) length += text.length;
    return length;
  }

  #bind(body: MessageReader, buffer: Buffer, at: number, end: number, length: number): Step {
    const link = this.#link;
    const isPrefix = at + length > end;
    const message = decodeBind(body, { prefix: isPrefix });
    if (isTooLong(message.portal)) {
      this.discarding = at + length - end;
      return this.#refuseExtended(nameTooLong);
    }
    if (message.portal !== '' && link.portals.size >= maxPortals && link.portals.get(message.portal) === undefined) {
      this.discarding = at + length - end;
      return this.#refuseExtended({ sqlState: '53400', message: 'sallyport: too many portals' });
    }
    if (link.exchange.boundBytes > maxBoundBytes) {
      // Somebody binds and binds, and never asks for an answer.
      this.needsFlush = true;
      return this.#waitForAnswer();
    }
    const entry = link.statements.get(message.statement);
    if (this.#mustSettle(entry)) return this.#waitForAnswer();
    const prepared = entry?.value;
    if (prepared === undefined) {
      this.discarding = at + length - end;
      return this.#refuseExtended(unknownName('statement', message.statement));
    }
    const refused = this.#held === undefined ? this.#judgeAgain(prepared) : undefined;
    if (refused === hold) return hold;
    if (!this.isGivenUp && message.formats.includes(1) && !this.#knowsTypes(prepared.parameterTypes)) return hold;
    const parameters = recordParameters(message, prepared, this.#shapeOf);
    if (refused !== undefined) {
      this.discarding = at + length - end;
      return this.#refuse('extended', refused, prepared.text, parameters);
    }
    if (isPrefix) {
      // Larger than is held whole: recorded in part, and bound to the record by size and hash of the whole message.
      const hash = createHash('sha256');
      hash.update(buffer.subarray(at, end));
      this.streaming = at + length - end;
      const rest: { text: string; bytes: number; sha256: string } = { text: '…', bytes: length, sha256: '' };
      parameters.push(rest);
      this.#streamHash = { hash, done: (sha256) => (rest.sha256 = sha256) };
    }
    const raw = prepared.verdict.kind === 'curable' && !isPrefix ? rawOf(message, prepared) : undefined;
    const { judge, names } = link;
    const bound = { verdict: prepared.verdict, generation: judge.generation() };
    const portal: Portal = { prepared, parameters, raw, names: names.asked, judgedAt: judge.decidedAnew(), bound };
    if (prepared.verdict.kind === 'curable' && prepared.verdict.mayRunWhenBound) {
      const verdict = this.#letThrough(
        () => prepared.verdict,
        (curable) => this.#toHold(curable, 'extended', prepared.text, prepared.text, parameters, raw ?? tooLongToHold),
      );
      if (verdict === undefined) return hold;
      if (verdict.kind === 'deny') {
        this.streaming = 0;
        this.#streamHash = undefined;
        this.discarding = at + length - end;
        return this.#refuse('extended', verdict, prepared.text, parameters);
      }
      portal.pass = { verdict, book: currentBook(link), hasRun: false };
      this.#held = undefined;
    }
    const bytes = Math.min(length, link.limits.maxWholeBindBytes);
    link.exchange.push({ kind: 'bind', entry: link.portals.set(message.portal, portal, link.segment), bytes });
    return pass;
  }

  #execute(body: MessageReader): Step {
    const link = this.#link;
    const { portal: name, maxRows } = decodeExecute(body);
    const entry = link.portals.get(name);
    if (this.#mustSettle(entry)) return this.#waitForAnswer();
    const portal = entry?.value;
    if (portal === undefined) return this.#refuseExtended(unknownName('portal', name));
    const { prepared, parameters } = portal;
    const refused = this.#held === undefined ? this.#judgeAgain(prepared) : undefined;
    if (refused === hold) return hold;
    if (refused !== undefined) return this.#refuse('extended', refused, prepared.text, parameters);
    // INVARIANT 4: the server has looked its names up at Bind. Under another path that is no longer what was judged just now.
    const now = link.judge.decidedAnew();
    if (portal.judgedAt !== now && !isSamePath(portal.names, link.names.asked))
      return this.#refuse('extended', bindAgain(prepared.verdict), prepared.text, parameters);
    portal.judgedAt = now;
    if (this.#held === undefined && !this.#isAsBound(portal))
      return this.#refuse('extended', bindAgain(prepared.verdict), prepared.text, parameters);
    const verdict = this.#letThroughPortal(portal, name, maxRows);
    if (this.#held?.guard === 'failed') {
      // The client has the server's error, and the server skips up to the next Sync.
      this.#held = undefined;
      link.isSkipping = true;
      return drop;
    }
    if (verdict === undefined) return hold;
    if (verdict.kind === 'deny') return this.#refuse('extended', verdict, prepared.text, parameters);
    if (this.#held?.guard === 'ran') {
      if (portal.pass !== undefined) portal.pass.hasRun = true;
      return this.#keepGuarded(this.#held);
    }
    if (this.#fetchesPortal(verdict))
      return this.#refuse('extended', this.#fetchOfPortal(verdict), prepared.text, parameters);
    const cursor = this.#judgeCursors(verdict);
    if (cursor === hold) return hold;
    if (cursor !== undefined) return this.#refuse('extended', cursor, prepared.text, parameters);
    if (!this.#canRecord()) return hold;
    const names = this.#noteEffects(verdict.effects);
    const run = link.exchange.begin('extended', prepared.text, verdict, parameters, names);
    this.#noteCursors(verdict, run);
    if (portal.pass !== undefined) portal.pass.hasRun = true;
    this.#held = undefined;
    this.hasRecords = true;
    link.exchange.push({ kind: 'execute', run });
    this.#hasExecuted = true;
    if (verdict.takesCopyData) this.#copyAwaited = run;
    noteForwarded(link, verdict);
    return pass;
  }

  /**
   * The verdict on one run. Undefined: it waits, for an answer or for its cures, and `#resume` will be called.
   *
   * @param judged the verdict on the text
   * @param run what is asked for, for a text that is curable
   */
  #letThrough(
    judged: () => Verdict | undefined,
    run: (curable: Curable) => RunToHold | Denied,
  ): Allowed | Denied | undefined {
    if (this.#held === undefined) {
      const verdict = judged();
      if (verdict?.kind !== 'curable') return verdict;
      if (verdict.onlyPrepares) return verdict.allowed;
      if (!this.#link.exchange.isEmpty) {
        // What came before is answered first: the client would wait for it as long as for this.
        this.needsFlush = !this.#endsWithReady();
        this.waitsForAnswer = true;
        return undefined;
      }
      const what = run(verdict);
      if ('kind' in what) return what;
      this.#held = new HeldStatement(this.#link, what, this.#resume);
    }
    if (this.isGivenUp) this.#held.cancel();
    if (this.#held.guard === 'wanted' && this.#held.outcome === undefined) this.#startGuarded(this.#held);
    const { outcome } = this.#held;
    this.#mayBeGivenUp = outcome === undefined;
    return outcome;
  }

  /** The client's message stays where it is; what it asks for runs, so that it can be seen or counted before it stays. */
  #startGuarded(held: HeldStatement): void {
    const link = this.#link;
    const { journal } = link;
    const { protocol, judged, text, parameters, execute } = held.run;
    if (!this.#canRecord()) return;
    const run = link.exchange.begin(protocol, text, held.asRun, parameters);
    link.exchange.push({ kind: 'guarded', run, withheld: held.guarded(run) });
    const messages =
      execute === undefined
        ? [
            encodeParse({ statement: '', text: judged, parameterTypes: [] }),
            encodeBind({ portal: '', statement: '', values: [] }),
            encodeTarget('D', { on: 'portal', name: '' }),
            encodeExecute({ portal: '', maxRows: 0 }),
          ]
        : [encodeExecute(execute)];
    if (execute === undefined) {
      link.statements.remove('');
      link.portals.remove('');
    }
    const bytes = Buffer.concat([...messages, encodeFlush()]);
    // INVARIANT 6: as for every other run.
    if (!journal.flush()) return link.end('journal_failed');
    if (link.strict) journal.whenDurable(journal.lastNumber, () => setImmediate(() => this.#target.send(bytes)));
    else this.#target.send(bytes);
  }

  /** It stays: the client gets the answer, and what commits it goes its way. */
  #keepGuarded(held: HeldStatement): Step {
    const link = this.#link;
    this.#held = undefined;
    link.say(held.withheld);
    if (held.run.execute !== undefined) {
      this.#hasExecuted = true;
      return drop;
    }
    return this.#syncGuarded();
  }

  /** The end of a simple query that was sent as an extended one. */
  #syncGuarded(): Step {
    const link = this.#link;
    link.isSkipping = false;
    link.segment += 1;
    this.#hasExecuted = false;
    link.exchange.push({ kind: 'sync' });
    this.replacement = encodeSync();
    return replace;
  }

  /**
   * INVARIANT 5: what a portal is held for is what it was bound to, which the server has looked up at Bind. A verdict for
   * other tables of the same names, by another path or definitions, neither lets it through nor is shown for it.
   */
  #isAsBound({ bound, names, prepared: { verdict } }: Portal): boolean {
    if (bound.verdict === verdict || (bound.verdict.kind === 'allow' && verdict.kind === 'allow')) return true;
    if (bound.verdict.kind === 'curable' && verdict.kind === 'curable')
      return JSON.stringify(bound.verdict.needs) === JSON.stringify(verdict.needs);
    const { judge, names: now } = this.#link;
    return bound.generation === judge.generation() && names === now.asked;
  }

  #letThroughPortal(portal: Portal, name: string, maxRows: number): Allowed | Denied | undefined {
    const { prepared, parameters, raw, pass } = portal;
    const { verdict, text } = prepared;
    if (this.#held === undefined) {
      if (verdict.kind === 'allow') return verdict;
      if (pass !== undefined && (pass.hasRun || pass.book === currentBook(this.#link))) return pass.verdict;
    }
    const given = this.#letThrough(
      () => verdict,
      (curable) => {
        const what = this.#toHold(curable, 'extended', text, text, parameters, raw ?? tooLongToHold);
        return 'kind' in what ? what : { ...what, execute: { portal: name, maxRows } };
      },
    );
    if (given?.kind === 'allow') portal.pass = { verdict: given, book: currentBook(this.#link), hasRun: false };
    return given;
  }

  #toHold(
    curable: Curable,
    protocol: Protocol,
    judged: string,
    text: string,
    parameters?: readonly RecordedParameter[],
    raw: RawParameters | typeof tooLongToHold = noParameters,
  ): RunToHold | Denied {
    if (raw === tooLongToHold)
      return refusalOf(
        this.#link.session,
        curable,
        'Bind it again; with more than 64 KiB of parameters it is not held.',
      );
    const inTransaction = this.#link.status !== 'I' || this.#hasExecuted;
    return { curable, protocol, judged, text, parameters, raw, inTransaction };
  }

  /**
   * A statement that takes COPY data changes what Sync means to the server: nothing is forwarded behind it before the
   * server has said whether it takes data.
   */
  #waitsForCopyAnswer(): boolean {
    const run = this.#copyAwaited;
    if (run === undefined) return false;
    if (!run.isOver) {
      this.needsFlush = true;
      return true;
    }
    this.#copyAwaited = undefined;
    return false;
  }

  /** What `prepare` and `deallocate` in SQL do to names isn't known before the server has answered. */
  #noteEffects(
    effects: readonly { readonly kind: string; readonly name: string | undefined }[],
  ): readonly LedgerEntry<Prepared>[] {
    if (effects.length === 0) return noEntries;
    const { statements, segment } = this.#link;
    const entries: LedgerEntry<Prepared>[] = [];
    for (const { name } of effects) {
      if (name === undefined) statements.clear();
      else entries.push(statements.set(name, undefined, segment));
    }
    return entries;
  }

  /** Undefined: a prepared statement's verdict still holds. Otherwise it is looked up anew, for the names as they are now. */
  #judgeAgain(prepared: Prepared): Denied | typeof hold | undefined {
    if (this.isGivenUp) return givenUp(this.#link);
    const book = currentBook(this.#link);
    if (prepared.book === book) return undefined;
    const verdict = this.#verdict(prepared.text);
    if (verdict === undefined) return hold;
    if (verdict.kind === 'deny') return verdict;
    prepared.verdict = verdict;
    prepared.book = bookOf(this.#link, verdict);
    return undefined;
  }

  /**
   * INVARIANT 6: to the server a portal of Bind is a cursor like any other, and `fetch` would run it: without a record of
   * its text and parameters, and without a look at what the policy says now.
   */
  #fetchesPortal(verdict: Allowed): boolean {
    return verdict.fetches.length > 0 && verdict.fetches.some((name) => this.#link.portals.get(name) !== undefined);
  }

  /**
   * INVARIANT 4: an open cursor is no way to go on with what is no longer allowed. What it was declared with is judged
   * again before the first `fetch` after anything has changed.
   */
  #judgeCursors(verdict: Allowed): Denied | typeof hold | undefined {
    if (verdict.fetches.length === 0) return undefined;
    const now = this.#link.judge.decidedAnew();
    for (const name of verdict.fetches) {
      const cursors = this.#mayStandFor(name);
      if (cursors.length === 0 && this.#cursorsForgottenAt !== now) return declareAgain(verdict, name);
      for (const cursor of cursors) {
        if (cursor.judgedAt === now) continue;
        if (cursor.text === undefined) return declareAgain(verdict, name);
        const again = this.#verdict(cursor.text);
        if (again === undefined) return hold;
        if (again.kind === 'deny') return again;
        // Its rows are no new run, and what they would need now nobody was asked for when they were declared.
        if (again.kind === 'curable') return declareAgain(verdict, name);
        cursor.judgedAt = now;
      }
    }
    return undefined;
  }

  #noteCursors(verdict: Allowed, run: Run): void {
    for (const { name, text } of verdict.declares) {
      const before = this.#mayStandFor(name);
      const [oldest] = this.#cursors;
      if (this.#cursors.size >= maxPortals && oldest !== undefined) {
        this.#cursors.delete(oldest[0]);
        this.#cursorsForgottenAt = Math.min(this.#cursorsForgottenAt, firstJudged(oldest[1]));
      }
      const judgedAt = this.#link.judge.decidedAnew();
      this.#cursors.set(
        name,
        before.length < maxDeclared
          ? [...before, { text: isCacheable(text) ? text : undefined, judgedAt, run }]
          : [{ text: undefined, judgedAt: firstJudged(before), run }],
      );
    }
  }

  /** A `declare` that was done took a free name; before that, or when it has failed, what stood there before may stay. */
  #mayStandFor(name: string): readonly Cursor[] {
    const all = this.#cursors.get(name) ?? [];
    const done = all.findLastIndex(({ run }) => run.isOver && !run.hasFailed);
    return done > 0 ? all.slice(done) : all;
  }

  #fetchOfPortal(verdict: Allowed): Denied {
    return {
      kind: 'deny',
      policyVersion: verdict.policyVersion,
      policies: verdict.policies,
      sqlState: '0A000',
      message: `sallyport: \`${verdict.fetches[0]}\` was bound by the protocol, and \`fetch\` of it is not supported`,
      hint: 'Use Execute with a row limit, or `declare` a cursor.',
      isFinal: false,
    };
  }

  /** The journal takes records. Otherwise this session waits for it, or has ended. */
  #canRecord(): boolean {
    const { journal } = this.#link;
    const { state } = journal;
    if (state === 'open') return true;
    this.#mayBeGivenUp = true;
    if (state === 'failed') this.#link.end('journal_failed');
    else journal.whenWritable(() => setImmediate(this.#resume));
    return false;
  }

  /** The verdict, or undefined: then it has been asked for, and `#resume` will be called. */
  #verdict(text: string): Verdict | undefined {
    if (this.isGivenUp) return givenUp(this.#link);
    const verdict = this.#verdictSoFar(text);
    this.#mayBeGivenUp = verdict === undefined;
    return verdict;
  }

  #verdictSoFar(text: string): Verdict | undefined {
    const link = this.#link;
    if (link.isCatalogueStale) {
      this.#reloadCatalogue();
      return undefined;
    }
    // At the beginning of a pipeline, since further on it can't be asked: pgjdbc sends `begin` and what follows in one.
    if (link.names.asked.kind === 'unknown' && link.status === 'I') {
      if (this.#canAskNames()) this.askNames();
      if (link.exchange.last?.kind === 'names') {
        this.waitsForAnswer = true;
        return undefined;
      }
    }
    if (!link.exchange.isEmpty && link.statements.hasUnsettled && dependsOnPrepared(text)) {
      // What it executes may be on its way.
      this.needsFlush = true;
      this.waitsForAnswer = true;
      return undefined;
    }
    const book = currentBook(link);
    const known = lookUp(book, text) ?? (link.names.own.size === 0 ? undefined : link.names.own.get(text));
    const answer = this.#answer;
    // That of another text stays: a `fetch` asks for its own and for that of its cursor.
    if (answer?.text === text) this.#answer = undefined;
    const verdict = known ?? (answer?.text === text && answer.book === book ? answer.verdict : undefined);
    if (verdict === undefined) {
      const { session } = link;
      const prepared = settledStatements(link);
      const { asked: names, own } = link.names;
      const alone = hasOwnDefinitions(names) ? book : undefined;
      void link.judge.judge({ session, names, book: alone, own, text, prepared }).then((given) => {
        this.#answer = { text, book, verdict: given };
        this.#resume();
      });
      return undefined;
    }
    if (verdict.kind === 'allow') return verdict;
    const sqlState = verdict.kind === 'deny' ? verdict.sqlState : '42501';
    if (sqlState === '42601') return verdict;
    const isUnknown = link.names.asked.kind === 'unknown';
    // What doesn't exist is nobody's concern there.
    const inAborted = link.status === 'E' && verdict.kind === 'deny' && (isUnknown || sqlState !== '42501');
    if (link.exchange.isEmpty && link.status === 'E') {
      // Nor is anybody asked for what the server would not run.
      if (verdict.kind === 'curable') return abortedTransaction(verdict);
      if (inAborted) return { ...verdict, inAborted };
    }
    // Refused while we don't know how names resolve: ask the server, if the moment allows it, and judge again.
    if (isUnknown) {
      if (this.#canAskNames()) {
        this.askNames();
        return undefined;
      }
      // Asked already: the first messages of a client come right behind its login.
      if (this.#endsWithReady() || link.exchange.head?.kind === 'names') {
        this.waitsForAnswer = true;
        return undefined;
      }
    }
    return inAborted && verdict.kind === 'deny' ? { ...verdict, inAborted } : verdict;
  }

  #reloadCatalogue(): void {
    const link = this.#link;
    if (!link.exchange.isEmpty && this.#endsWithReady()) {
      this.waitsForAnswer = true;
      return;
    }
    link.isCatalogueStale = false;
    void link.judge.reloadCatalogue(link.session.role.resource).then(this.#resume);
  }

  #canAskNames(): boolean {
    const { exchange, status, names } = this.#link;
    // Our question is a simple query: it would commit what a pipeline has done before its Sync.
    const wouldCommit = this.#hasExecuted && status === 'I';
    const isAsked = this.#link.ownDefinitions === 'asked';
    return exchange.isEmpty && status !== 'E' && names.failures < 3 && !isAsked && !wouldCommit;
  }

  /** Whether what is on its way ends with a ReadyForQuery, so that waiting for it makes sense. */
  #endsWithReady(): boolean {
    const { exchange } = this.#link;
    const { last } = exchange;
    return (
      last?.kind === 'sync' ||
      last?.kind === 'query' ||
      last?.kind === 'names' ||
      (last?.kind === 'denied' && last.simple)
    );
  }

  askNames(): void {
    this.#link.exchange.push({ kind: 'names', answer: undefined });
    this.waitsForAnswer = true;
    // INVARIANT 7: what the session has defined in an open transaction nobody else sees.
    const hasOwn = this.#link.ownDefinitions !== 'unchanged';
    if (hasOwn) this.#link.ownDefinitions = 'asked';
    this.#target.send(encodeQuery(hasOwn ? ownCatalogueQuery : namesQuery));
  }

  #tooLong(protocol: Protocol, rest: number): Step {
    this.discarding = rest;
    const megabytes = Math.floor(this.#link.limits.maxStatementBytes / 1_048_576);
    return this.#refuse(
      protocol,
      {
        kind: 'deny',
        policyVersion: this.#link.session.policyVersion,
        policies: [],
        sqlState: '54000',
        message: `sallyport: the statement is longer than ${megabytes} MiB`,
        isFinal: true,
        hint: 'Send the data with COPY or as parameters.',
      },
      '',
    );
  }

  /** An error as the server would give it: nothing was attempted that is worth a record. */
  #refuseExtended(error: { readonly sqlState: string; readonly message: string }, inAborted = false): Step {
    const bytes = encodeErrorResponse({ severity: 'ERROR', ...error });
    this.#link.exchange.push({ kind: 'denied', error: bytes, simple: false, inAborted });
    this.#link.isSkipping = true;
    this.replacement = inAborted ? refusedUnlessAborted : refusedParse;
    return replace;
  }

  #refuse(
    protocol: Protocol,
    denied: Denied,
    text?: string,
    parameters?: readonly RecordedParameter[],
    parses?: string,
  ): Step {
    const { exchange } = this.#link;
    if (!this.#canRecord()) return hold;
    const isSimple = protocol !== 'extended';
    const inAborted = denied.inAborted === true && !isSimple;
    const verdict = denied.inAborted === true && isSimple && exchange.isEmpty ? abortedTransaction(denied) : denied;
    const { denial, hint } = this.#refer(verdict);
    const isPlain =
      verdict.digest === undefined && parameters === undefined && text !== undefined && !hasParameters(text);
    const digest = isPlain && denial !== undefined ? { digest: statementDigest(text, noParameters) } : {};
    exchange.denied(protocol, text ?? '', { ...verdict, ...digest }, parameters, denial);
    const held = this.#held;
    const link = this.#link;
    this.#held = undefined;
    this.hasRecords = true;
    const { sqlState, message, position } = verdict;
    const error = encodeErrorResponse({
      severity: 'ERROR',
      sqlState,
      message,
      ...(hint === undefined ? {} : { hint }),
      ...(position === undefined ? {} : { position }),
    });
    if (held?.guard === 'broken') {
      // The server has failed already, and would answer nothing more before its Sync.
      link.say(error);
      if (isSimple) return this.#syncGuarded();
      link.isSkipping = true;
      return drop;
    }
    if (isSimple) this.#link.segment += 1;
    // The server fails here, and skips what follows up to the next Sync: so do we, and nothing of it is in the record.
    else this.#link.isSkipping = true;
    exchange.push({ kind: 'denied', error, simple: isSimple, inAborted });
    if (protocol === 'function') this.replacement = refusedCall;
    else if (isSimple) this.replacement = encodeQuery(refusedText);
    else if (parses === undefined) this.replacement = inAborted ? refusedUnlessAborted : refusedParse;
    else {
      const fails = inAborted ? unlessAborted : refusedText;
      this.replacement = encodeParse({ statement: parses, text: fails, parameterTypes: [] });
    }
    return replace;
  }

  /** What policy has refused can be referred to when somebody asks for more. */
  #refer(verdict: Denied): { readonly denial: DenialId | undefined; readonly hint: string | undefined } {
    const { roles, hint } = verdict;
    if (roles === undefined) return { denial: undefined, hint };
    const { clock, random } = this.#link;
    const denial = newId('denial', { now: clock.now(), random });
    const [role] = roles;
    return { denial, hint: role === undefined ? hint : `${role} would give it: sally request --from-denial ${denial}` };
  }

  stream(buffer: Buffer, at: number, count: number): void {
    this.streaming -= count;
    const data = buffer.subarray(at, at + count);
    if (this.#copyRun !== undefined) {
      this.#link.exchange.copyIn(this.#copyRun, data);
      this.hasRecords = true;
    }
    if (this.#streamHash === undefined) return;
    this.#streamHash.hash.update(data);
    if (this.streaming > 0) return;
    this.#streamHash.done(this.#streamHash.hash.digest('hex'));
    this.#streamHash = undefined;
  }
}

/**
 * INVARIANT 7: the server cuts the names of statements and portals to 63 bytes (`NAMEDATALEN`), so that two long ones may
 * be one to it and would be two to us.
 */
const isTooLong = (name: string): boolean => name.length > 21 && Buffer.byteLength(name) > 63;
const nameTooLong = {
  sqlState: '42622',
  message: 'sallyport: the name of a statement or portal is longer than 63 bytes',
};

const isSamePath = (a: AskedNames, b: AskedNames): boolean =>
  a.kind === 'known' && b.kind === 'known' && JSON.stringify(a.searchPath) === JSON.stringify(b.searchPath);

const bindAgain = (verdict: Allowed | Curable): Denied => ({
  kind: 'deny',
  policyVersion: verdict.policyVersion,
  policies: verdict.policies,
  sqlState: '42501',
  message: 'sallyport: the portal was bound under another search path, or before the policy changed',
  hint: 'Bind it again.',
  isFinal: false,
});

/** For this session only what is in a book holds longer than for one run. */
const bookOf = (link: Link, verdict: Allowed | Curable): Book | undefined =>
  (verdict.kind === 'allow' ? verdict : verdict.allowed).isForOnce ? undefined : currentBook(link);

const tooLongToHold = 'too long to hold';

/** Kept until the portal runs: what they are in is read over. */
function rawOf(
  { formats, values }: { readonly formats: readonly number[]; readonly values: readonly (Buffer | null)[] },
  prepared: Prepared,
): RawParameters | undefined {
  let length = 0;
  for (const value of values) length += value?.length ?? 0;
  if (length > maxHeldStatement) return undefined;
  return {
    formats: [...formats],
    values: values.map((value) => (value === null ? null : Buffer.from(value))),
    types: prepared.parameterTypes,
  };
}

const hasParameters = (text: string): boolean => /\$\d/.test(text);

const givenUp = (link: Link): Denied => ({
  kind: 'deny',
  policyVersion: link.session.policyVersion,
  policies: [],
  sqlState: '57014',
  message: 'canceling statement due to user request',
  isFinal: false,
});

const declareAgain = (verdict: Allowed, name: string): Denied => ({
  kind: 'deny',
  policyVersion: verdict.policyVersion,
  policies: verdict.policies,
  sqlState: '42501',
  message: `sallyport: cursor \`${name}\` may be from before the policy changed`,
  hint: '`declare` it again, or connect again where a function opens it.',
  isFinal: false,
});

const aborted = {
  sqlState: '25P02',
  message: 'current transaction is aborted, commands ignored until end of transaction block',
};

/** What the server would say; that we can't ask it how names resolve is nobody's concern then. */
const abortedTransaction = (verdict: Denied | Curable): Denied => ({
  kind: 'deny',
  policyVersion: verdict.policyVersion,
  policies: verdict.policies,
  ...aborted,
  isFinal: false,
});

function decodeEmpty(body: MessageReader): void {
  body.end();
}

function unknownName(on: 'statement' | 'portal', name: string): { sqlState: string; message: string } {
  if (on === 'portal') return { sqlState: '34000', message: `portal "${name}" does not exist` };
  const message =
    name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist`;
  return { sqlState: '26000', message };
}

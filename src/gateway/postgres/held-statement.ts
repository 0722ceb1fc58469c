/**
 * One run of a statement that is curable: from that verdict to one for this run. It is asked for with its digest, and the
 * planner's estimate where policy wants one; what an earlier proof covers goes through at once. What isn't covered is held:
 * the client is told what is wanted and where, and its session waits, while nothing of the statement has left the gateway
 * and everybody else goes on. Cured, it is asked for again with the hold, and the answer to that is for this run alone.
 *
 * INVARIANT 5: the digest is made once, of the bytes that are forwarded afterwards; nothing is read anew in between.
 * INVARIANT 7: when policies, groups or definitions have changed meanwhile it is judged again, and what it needs must be
 * what was shown to those who signed.
 */
import type { Instant } from '#core/instant.ts';
import { encodeNoticeResponse } from '#wire/postgres/backend.ts';
import { encodeBind, encodeExecute, encodeFlush, encodeParse, encodeTarget } from '#wire/postgres/frontend.ts';
import type { OpenHold, Settled } from '../holds.ts';
import type { Protocol, RecordedParameter } from '../records.ts';
import { estimateRows } from './estimate.ts';
import type { Run } from './exchange.ts';
import { sampleBefore, type Ran, type Withheld } from './guarded-run.ts';
import { refusalOf, type Allowed, type Book, type Curable, type Denied, type Verdict } from './judge.ts';
import { currentBook, hasOwnDefinitions, settledStatements, type Link } from './link.ts';
import { heldLength, maxHeldStatement, statementDigest, textToSign, type RawParameters } from './statement-digest.ts';

export type RunToHold = {
  readonly curable: Curable;
  readonly protocol: Protocol;
  /** As it was judged. */
  readonly judged: string;
  /** As it is recorded. */
  readonly text: string;
  readonly parameters: readonly RecordedParameter[] | undefined;
  readonly raw: RawParameters;
  /** Something is open on the target, and locks are held. */
  readonly inTransaction: boolean;
  /** Of a portal: how it is run. */
  readonly execute?: { readonly portal: string; readonly maxRows: number };
};

/** See guarded-run.ts. `broken`: a question of ours has made the server fail. */
export type Guard = 'none' | 'wanted' | 'running' | 'ran' | 'failed' | 'broken';

export class HeldStatement {
  readonly #link: Link;
  readonly #run: RunToHold;
  readonly #text: string;
  readonly #digest: string;
  readonly #resume: () => void;
  #curable: Curable;
  /** What the verdict that it waits by is from. */
  #book: Book;
  #outcome: Allowed | Denied | undefined;
  #hold: OpenHold | undefined;
  #estimatedRows: number | undefined;
  #startedAt: Instant;
  #isReleasing = false;
  #isSampling = false;
  guard: Guard = 'none';
  #withheld: Withheld | undefined;
  #ranRows = 0;
  /** It was cured before it had run, or let through on condition of what it does. */
  #wasCured = false;
  #onCondition: Allowed | undefined;
  /** Who waited has gone, or there is an outcome. */
  #isOver = false;
  #gone: 'client_cancelled' | 'session_ended' = 'client_cancelled';

  /** @param resume called when there is an outcome */
  constructor(link: Link, run: RunToHold, resume: () => void) {
    this.#link = link;
    this.#run = run;
    this.#curable = run.curable;
    this.#resume = resume;
    this.#book = currentBook(link);
    this.#text = textToSign(run.text, run.curable.allowed.executes);
    this.#digest = statementDigest(this.#text, run.raw);
    this.#startedAt = link.clock.now();
    void this.#ask();
  }

  get run(): RunToHold {
    return this.#run;
  }

  /** People are waited for, which may take long. */
  get isHeld(): boolean {
    return this.#hold !== undefined;
  }

  /** What has become of it, as far as it holds still. Undefined: it waits. */
  get outcome(): Allowed | Denied | undefined {
    // The server answers our question first: when that has failed it takes nothing more before its Sync.
    if (this.#isSampling) return undefined;
    if (this.#outcome?.kind === 'allow') {
      // INVARIANT 5: it runs already, and stays when it has; passed on as well it would run twice.
      if (this.guard === 'running') return undefined;
      if (this.guard === 'broken') return this.#denied({ message: notRead });
    }
    if (this.#outcome?.kind !== 'allow' || this.#book === currentBook(this.#link)) return this.#outcome;
    return this.#denied({
      message: 'sallyport: policy or definitions changed while it was let through',
      hint: runAgain,
    });
  }

  /** The client has cancelled it. */
  cancel(): void {
    if (this.#isOver) return;
    this.#hold?.close('client_cancelled');
    this.#outcome = this.#denied({ sqlState: '57014', message: 'canceling statement due to user request' });
    this.#isOver = true;
  }

  /** The session is over. */
  abandon(): void {
    this.#isOver = true;
    this.#gone = 'session_ended';
    this.#hold?.close(this.#gone);
  }

  async #ask(): Promise<void> {
    let answer: Verdict = this.#curable;
    if (!answer.wantsEstimate) answer = await this.#judgeRun();
    if (answer.kind === 'curable' && answer.wantsEstimate && !this.#isOver) {
      this.#estimatedRows = await estimateRows(this.#link, this.#run.judged, this.#run.raw, this.#curable);
      if (!this.#isOver) answer = await this.#judgeRun();
    }
    if (this.#isOver) return;
    if (answer.kind !== 'curable') return this.#decided(answer);
    this.#curable = answer;
    await this.#open();
  }

  /** What may be let through on condition that it touches so many rows runs first, and is taken back when it doesn't. */
  #decided(verdict: Allowed | Denied): void {
    const { rowsAtMost, rowsExactly } = (verdict.kind === 'allow' ? verdict.pass : undefined) ?? {};
    if (verdict.kind === 'deny' || (rowsAtMost === undefined && rowsExactly === undefined))
      return this.#settle(verdict);
    if (this.guard === 'ran') return this.#settle(this.#withinBounds(verdict));
    const reason = this.#whyNotGuarded();
    if (reason !== undefined)
      return this.#settle(
        this.#denied({ message: `sallyport: it was approved for so many rows, and can not be taken back: ${reason}` }),
      );
    this.#onCondition = verdict;
    this.guard = 'wanted';
    this.#resume();
  }

  #withinBounds(verdict: Allowed): Allowed | Denied {
    const { rowsAtMost = Infinity, rowsExactly = this.#ranRows } = verdict.pass ?? {};
    if (this.#ranRows <= rowsAtMost && this.#ranRows === rowsExactly) return verdict;
    const most = Math.min(rowsAtMost, rowsExactly);
    const message = `sallyport: it was let through for ${most} rows, touched ${this.#ranRows}, and was taken back`;
    return this.#denied({ message });
  }

  #whyNotGuarded(): string | undefined {
    if (this.#run.protocol === 'function') return 'it calls a function';
    if ((this.#run.execute?.maxRows ?? 0) > 0) return 'its rows are fetched in parts';
    return this.#curable.staysBecause;
  }

  /** As it is recorded before it runs on condition. */
  get asRun(): Allowed {
    if (this.#onCondition !== undefined) return this.#onCondition;
    const { allowed, policyVersion, policies } = this.#curable;
    const hold = this.#hold === undefined ? {} : { hold: this.#hold.hold };
    return { ...allowed, policyVersion, policies, isForOnce: true, pass: { digest: this.#digest, ...hold } };
  }

  /** It is about to be sent. */
  guarded(run: Run): Withheld {
    this.guard = 'running';
    this.#withheld = { run, bytes: [], length: 0, done: (ran) => void this.#ran(ran) };
    return this.#withheld;
  }

  /** What the client gets when it stays. */
  get withheld(): Buffer {
    return Buffer.concat(this.#withheld?.bytes ?? []);
  }

  async #ran(ran: Ran): Promise<void> {
    // The server's answer is taken in first.
    await Promise.resolve();
    if (ran.kind === 'failed') {
      this.guard = 'failed';
      this.#isOver = true;
      this.#hold?.close('session_ended');
      return this.#resume();
    }
    this.guard = 'ran';
    this.#ranRows = ran.rows;
    if (this.#isOver && (!ran.isTooMuch || this.#outcome?.kind !== 'allow')) return this.#resume();
    if (ran.isTooMuch)
      return this.#giveUpHold(
        this.#denied({
          message: 'sallyport: it returns more than can be kept while it waits, and was taken back',
          hint: 'Leave `returning` out.',
        }),
      );
    const condition = this.#onCondition;
    if (condition !== undefined) return this.#settle(this.#withinBounds(condition));
    await this.#show(ran.tag, ran.rows);
  }

  /** Somebody looks at what it did. */
  async #show(tag: string, rows: number): Promise<void> {
    const link = this.#link;
    const hold = this.#hold;
    if (hold === undefined) return;
    const { before, of, notes } = await sampleBefore(link, this.#curable.needs, this.#curable.context.functions);
    if (this.#isOver) return;
    const after = of === undefined || tag.startsWith('DELETE') ? [] : await this.#sampleAfter(of.after);
    if (this.#isOver) return this.#resume();
    if (after === undefined) return this.#giveUpHold(this.#denied({ message: notRead }));
    const shown = { before: tag.startsWith('INSERT') ? [] : before, after };
    try {
      await link.holds.report(hold.hold, { rows, tag, columns: of?.columns ?? [], ...shown, notes });
    } catch (error) {
      link.fault('preview could not be reported', error);
      return this.#giveUpHold(
        this.#denied({ message: 'sallyport: what it did could not be shown, and was taken back' }),
      );
    }
    if (this.#isOver) return;
    this.#say(
      `sallyport: ${tag} so far, and its locks are held; it stays or goes by ${hold.words}: ${hold.url} (Ctrl-C takes it back, ${this.#left()} left)`,
    );
    link.client.resume();
    if (this.#wasCured) await this.#release();
  }

  /** As the transaction itself sees them. Undefined: the server has failed by it. */
  #sampleAfter(text: string): Promise<(string | null)[][] | undefined> {
    const name = 'sallyport_preview';
    return new Promise((resolve) => {
      const rows: (string | null)[][] = [];
      const done = (ok: boolean) => {
        this.#isSampling = false;
        if (!ok) this.guard = 'broken';
        resolve(ok ? rows : undefined);
      };
      this.#isSampling = true;
      this.#link.exchange.push({ kind: 'own', rows, done });
      this.#link.target.write(
        Buffer.concat([
          encodeTarget('C', { on: 'portal', name }),
          encodeTarget('C', { on: 'statement', name }),
          encodeParse({ statement: name, text, parameterTypes: [] }),
          encodeBind({ portal: name, statement: name, values: [] }),
          encodeExecute({ portal: name, maxRows: 0 }),
          encodeFlush(),
        ]),
      );
    });
  }

  #giveUpHold(outcome: Denied): void {
    this.#hold?.close('session_ended');
    this.#settle(outcome);
  }

  #judgeRun(hold?: OpenHold): Promise<Verdict> {
    return this.#link.judge.judgeRun({
      session: this.#link.session,
      curable: this.#curable,
      digest: this.#digest,
      hold: hold?.hold,
      estimatedRows: this.#estimatedRows,
    });
  }

  async #open(): Promise<void> {
    const link = this.#link;
    const { curable, inTransaction, protocol, parameters = [], raw } = this.#run;
    if (heldLength(this.#text, raw) > maxHeldStatement)
      return this.#settle({
        ...refusalOf(
          link.session,
          curable,
          'A statement of more than 64 KiB is not held: nobody could read what they sign.',
        ),
        digest: this.#digest,
      });
    const { wantsPreview } = this.#curable;
    const reason = wantsPreview ? this.#whyNotGuarded() : undefined;
    if (reason !== undefined)
      return this.#settle(
        this.#denied({ message: `sallyport: it can not be previewed, since it can not be taken back: ${reason}` }),
      );
    const maxSeconds = wantsPreview
      ? link.limits.maxPreviewMs / 1000
      : (inTransaction ? link.limits.maxHoldInTransactionMs : link.limits.maxHoldMs) / 1000;
    const ask = {
      session: link.session.id,
      needs: this.#curable.needs,
      context: this.#curable.context,
      digest: this.#digest,
      text: this.#text,
      parameters,
      protocol,
      inTransaction,
      maxSeconds,
      ...(this.#estimatedRows === undefined ? {} : { estimatedRows: this.#estimatedRows }),
    };
    const waits = {
      progress: (wanted: string) => this.#say(`sallyport: still waiting for ${wanted} (${this.#left()} left)`),
      settled: (how: Settled) => void this.#settled(how),
      changed: () => void this.#changed(),
    };
    const opened = await link.holds.open(ask, waits).catch((error: unknown) => {
      link.fault('statement could not be held', error);
      return undefined;
    });
    if (opened?.kind !== 'held') {
      if (this.#isOver) return;
      const { message, hint } = opened ?? {
        message: 'the statement could not be held',
        hint: 'Try again in a moment.',
      };
      return this.#settle(this.#denied({ message: `sallyport: ${message.replace(/^sallyport: /, '')}`, hint }));
    }
    if (this.#isOver) return opened.close(this.#gone);
    this.#hold = opened;
    this.#wasCured = opened.isCured === true;
    if (opened.wantsPreview || wantsPreview) {
      const why = this.#whyNotGuarded();
      if (why !== undefined)
        return this.#giveUpHold(
          this.#denied({ message: `sallyport: it can not be previewed, since it can not be taken back: ${why}` }),
        );
      this.guard = 'wanted';
      return this.#resume();
    }
    if (this.#wasCured) return await this.#release();
    this.#say(`sallyport: waiting for ${opened.words}: ${opened.url} (Ctrl-C gives up, ${this.#left()} left)`);
    // Not read, a client that has gone would go unnoticed.
    link.client.resume();
    if (currentBook(link) !== this.#book) await this.#changed();
  }

  async #settled(how: Settled): Promise<void> {
    if (this.#isOver) return;
    switch (how.kind) {
      case 'cured':
        if (this.guard !== 'wanted' && this.guard !== 'running') return this.#release();
        // Whoever was quicker than the statement: it is asked for when it has run.
        this.#wasCured = true;
        return;
      case 'denied':
        // Who, and their word.
        return this.#settle(
          this.#denied({ message: `sallyport: denied${how.message === undefined ? '' : ` by ${how.message}`}` }),
        );
      case 'ended':
        return this.#settle(
          this.#denied({ message: `sallyport: ${how.message ?? 'the statement waits no more'}`, hint: runAgain }),
        );
      case 'expired': {
        const waited = minutes(this.#link.clock.now() - this.#startedAt);
        const message = `sallyport: the statement was not run: ${waited} have passed waiting for ${this.#hold?.words}`;
        return this.#settle(this.#denied({ message, hint: runAgain }));
      }
      default:
        how satisfies never;
    }
  }

  /** Whoever has cured it has cured this text, parameters and needs; policy has the last word, and is asked for one run. */
  async #release(): Promise<void> {
    const hold = this.#hold;
    this.#isReleasing = true;
    if (!(await this.#stillStands()) || hold === undefined) return;
    const answer = await this.#judgeRun(hold);
    if (this.#isOver) return;
    if (answer.kind !== 'curable') return this.#decided(answer);
    const message = `sallyport: policy has changed while it waited, and asks for ${answer.title} now`;
    this.#settle(this.#denied({ message, hint: runAgain }));
  }

  /** Policies or groups are others: perhaps nothing is waited for any more, or in vain. */
  async #changed(): Promise<void> {
    if (this.#isReleasing || this.#hold === undefined || this.#isOver) return;
    await this.#stillStands();
  }

  /** Judged again when anything has changed. False: it has been settled otherwise. */
  async #stillStands(): Promise<boolean> {
    const link = this.#link;
    for (let tries = 0; currentBook(link) !== this.#book; tries += 1) {
      const book = currentBook(link);
      const names = link.names.asked;
      const changed = { message: 'sallyport: definitions have changed while the statement waited', hint: runAgain };
      if (names.kind === 'unknown' || tries > 4) return this.#giveBack(this.#denied(changed));
      const again = await link.judge.judge({
        session: link.session,
        names,
        book: hasOwnDefinitions(names) ? book : undefined,
        text: this.#run.judged,
        prepared: settledStatements(link),
      });
      if (this.#isOver) return false;
      this.#book = book;
      if (again.kind !== 'curable') return this.#giveBack(again);
      if (JSON.stringify(again.needs) !== JSON.stringify(this.#curable.needs))
        return this.#giveBack(this.#denied(changed));
      this.#curable = again;
    }
    return true;
  }

  /** The hold isn't what it ends by. */
  #giveBack(outcome: Allowed | Denied): false {
    this.#hold?.close('session_ended');
    this.#settle(outcome);
    return false;
  }

  #settle(outcome: Allowed | Denied): void {
    this.#isOver = true;
    this.#hold?.close(undefined);
    this.#outcome = outcome;
    this.#resume();
  }

  #denied(why: { readonly sqlState?: string; readonly message: string; readonly hint?: string | undefined }): Denied {
    const { policyVersion, policies } = this.#curable;
    return {
      kind: 'deny',
      policyVersion,
      policies,
      sqlState: why.sqlState ?? '42501',
      message: why.message,
      ...(why.hint === undefined ? {} : { hint: why.hint }),
      isFinal: false,
      ...(why.sqlState === undefined ? { roles: [] } : {}),
      ...(this.#hold === undefined ? {} : { hold: this.#hold.hold }),
      digest: this.#digest,
    };
  }

  #left(): string {
    const seconds = Math.max(0, Math.round(((this.#hold?.expiresAt ?? 0) - this.#link.clock.now()) / 1000));
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  }

  #say(message: string): void {
    this.#link.say(encodeNoticeResponse({ severity: 'NOTICE', sqlState: '00000', message }));
  }
}

const notRead = 'sallyport: its rows could not be read, and it was taken back';
const runAgain = 'Run it again; it waits anew each time.';

const minutes = (ms: number): string => {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
};

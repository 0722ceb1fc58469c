/** What else becomes of a hold: denied with a word, withdrawn, given a reason, previewed, expired, ended with what it was for. */
import {
  denyHold as deny,
  endHold as end,
  expireHold,
  isLiveHold,
  withdrawHold,
  type WithdrawnBecause,
} from '#core/hold.ts';
import type { GrantId, HoldId, PrincipalId, SessionId } from '#core/ids.ts';
import { canonicalJson } from '#core/jcs.ts';
import { textHash } from '#log/challenge.ts';
import type { StatementQuestion } from '#policy/question.ts';
import type { Need } from '#sql/needs.ts';
import { json, transaction, type Transaction } from '#store/database.ts';
import type { StoredPreview } from '#store/schema.ts';
import { readJudgedSession } from './_circumstances.ts';
import {
  cureIfMet,
  holdOf,
  holdRefusal,
  lockHold,
  moveHold,
  readObtained,
  signedInAt,
  tellHold,
  writeHoldEntry,
  type HoldRow,
} from './_holds.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { endCovers, findCovers } from './covers.ts';
import { judge } from './decide-statement.ts';
import { mayDenyHold, mayLookAtHold } from './read-holds.ts';

/** Denies it with a word; whoever may end the session may end that with it. Saying no gives nothing, and takes no passkey. */
export async function denyHold(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly hold: HoldId; readonly word: string; readonly endsSession: boolean },
): Promise<Outcome<HoldId>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const row = await lockHold(trx, ask.hold);
    if (row === undefined || !mayLookAtHold(ctx, caller.principal, row)) return notFound('hold', ask.hold);
    const outcome = deny(holdOf(row), { who: caller.principal.id, word: ask.word }, now);
    if (outcome.kind === 'refused') return holdRefusal(outcome.because, ask.hold);
    if (!mayDenyHold(ctx, caller.principal, row)) return notFound('hold', ask.hold);
    const endsSession = ask.endsSession && row.session !== null;
    if (endsSession && !mayEndSession(ctx, caller, row))
      return refused('forbidden', `end the session of hold \`${ask.hold}\`: you may not`, 'deny it alone');
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.denied', {
      actor: caller.principal.id,
      of: row.requester,
      public: { endsSession },
      content: { approver: caller.principal.handle, word: ask.word },
    });
    const word = `${caller.principal.handle}: ${ask.word}`;
    await moveHold(trx, row, {
      state: 'denied',
      entry,
      settledAt: now,
      by: caller.principal.id,
      word: ask.word,
      handle: caller.principal.handle,
    });
    if (endsSession && row.session !== null) await endSession(ctx, trx, caller, row, row.session, word);
    return done(ask.hold);
  });
}

function mayEndSession(ctx: AppContext, caller: Caller, row: HoldRow): boolean {
  if (row.access_grant === null || row.role === null) return false;
  // Who is asked about a statement may end what it came in: it gives nothing, and the grant stays.
  return mayDenyHold(ctx, caller.principal, row);
}

/** In the record; the gateway that has it cuts it when it hears of it. */
async function endSession(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  row: HoldRow,
  session: SessionId,
  word: string,
): Promise<void> {
  const entry = await writeHoldEntry(ctx, trx, row, 'session.ended', {
    actor: caller.principal.id,
    of: row.requester,
    public: { how: 'revoked' },
    content: { word },
  });
  const ended = await trx
    .updateTable('session')
    .set({ ended_at: ctx.clock.now(), how: 'revoked', word, entry })
    .where('id', '=', session)
    .where('ended_at', 'is', null)
    .returning('id')
    .executeTakeFirst();
  if (ended === undefined) return;
  await endHoldsOf(ctx, trx, { sessions: [session] }, 'its session was ended');
  await notify(trx, { kind: 'session_ended', session, word, cuts: true });
}

/** Nobody waits for it any more: the requester, at the console or with Ctrl-C. */
export async function withdraw(
  ctx: AppContext,
  by: { readonly caller: Caller } | { readonly gateway: true },
  ask: { readonly hold: HoldId; readonly because: WithdrawnBecause },
): Promise<Outcome<HoldId>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const row = await lockHold(trx, ask.hold);
    if (row === undefined || ('caller' in by && row.requester !== by.caller.principal.id))
      return notFound('hold', ask.hold);
    // Its time being over is written down as such, whoever says it first.
    if (ask.because === 'timed_out' && now >= row.expires_at) {
      await expireIn(ctx, trx, row);
      return done(ask.hold);
    }
    const outcome = withdrawHold(holdOf(row), now);
    if (outcome.kind === 'refused') return holdRefusal(outcome.because, ask.hold);
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.withdrawn', {
      actor: ask.because === 'timed_out' ? 'system' : row.requester,
      public: { because: ask.because },
    });
    await moveHold(trx, row, { state: 'withdrawn', entry, settledAt: now });
    return done(ask.hold);
  });
}

/** Why, for this one statement. */
export async function giveReason(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly hold: HoldId; readonly reason: string },
): Promise<Outcome<HoldId>> {
  return await transaction(ctx.db, async (trx) => {
    const row = await lockHold(trx, ask.hold);
    if (row === undefined || row.requester !== caller.principal.id) return notFound('hold', ask.hold);
    const hold = expireHold(holdOf(row), ctx.clock.now());
    if (hold.state !== 'waiting')
      return refused('already_decided', `give a reason for hold \`${ask.hold}\`: it is ${hold.state} already`);
    if (row.reason !== null) return refused('conflict', `give a reason for hold \`${ask.hold}\`: it has one`);
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.reasoned', {
      actor: caller.principal.id,
      content: { reason: ask.reason },
    });
    await cureIfMet(ctx, trx, row, entry, ask.reason);
    return done(ask.hold);
  });
}

/** What its run has touched, in a transaction that waits for the signature. Told once. */
export async function reportPreview(
  ctx: AppContext,
  id: HoldId,
  preview: Omit<StoredPreview, 'sha256'>,
): Promise<Outcome<HoldId>> {
  return await transaction(ctx.db, async (trx) => {
    const row = await lockHold(trx, id);
    if (row === undefined || row.subject !== 'statement') return notFound('hold', id);
    if (!isLiveHold(expireHold(holdOf(row), ctx.clock.now())) || row.preview !== null)
      return refused('already_decided', `report a preview of hold \`${id}\`: it is over, or has one`);
    const { rows, tag, columns, before, after } = preview;
    const shown = { rows, tag, columns, before, after };
    const sha256 = textHash(canonicalJson(shown));
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.previewed', {
      actor: row.requester,
      public: { rows, tag, sha256 },
      content: { columns: [...columns], before: before.map((one) => [...one]), after: after.map((one) => [...one]) },
    });
    await trx
      .updateTable('hold')
      .set({ preview: json({ ...shown, sha256 }), entry })
      .where('id', '=', id)
      .execute();
    await tellHold(trx, row, row.state);
    return done(id);
  });
}

/** Writes down what time has ended; answers how many. */
export async function expireHolds(ctx: AppContext, trx: Transaction, batch: number): Promise<number> {
  const rows = await trx
    .selectFrom('hold')
    .selectAll()
    .where('state', 'in', ['waiting', 'cured'])
    .where('expires_at', '<=', ctx.clock.now())
    .orderBy('expires_at')
    .limit(batch)
    .forUpdate()
    .skipLocked()
    .execute();
  for (const row of rows) await expireIn(ctx, trx, row);
  return rows.length;
}

async function expireIn(ctx: AppContext, trx: Transaction, row: HoldRow): Promise<void> {
  const hold = expireHold(holdOf(row), ctx.clock.now());
  if (hold.state !== 'expired' || row.state === 'expired') return;
  const entry = await writeHoldEntry(ctx, trx, row, 'hold.expired', { at: hold.settledAt });
  await moveHold(trx, row, { state: 'expired', entry, settledAt: hold.settledAt });
}

/** INVARIANT 4: what a session, a grant or a person held ends with it. Within somebody else's transaction. */
export async function endHoldsOf(
  ctx: AppContext,
  trx: Transaction,
  of: { readonly sessions: readonly SessionId[] } | { readonly grant: GrantId } | { readonly requester: PrincipalId },
  word: string,
): Promise<void> {
  if ('sessions' in of && of.sessions.length === 0) return;
  const live = trx.selectFrom('hold').selectAll().where('state', 'in', ['waiting', 'cured']);
  const rows = await (
    'sessions' in of
      ? live.where('session', 'in', of.sessions)
      : 'grant' in of
        ? live.where('access_grant', '=', of.grant)
        : live.where('requester', '=', of.requester)
  )
    .orderBy('id')
    .forUpdate()
    .execute();
  for (const row of rows) await endIn(ctx, trx, row, word);
}

async function endIn(ctx: AppContext, trx: Transaction, row: HoldRow, word: string): Promise<void> {
  const now = ctx.clock.now();
  const outcome = end(holdOf(row), word, now);
  if (outcome.kind === 'refused') return;
  const entry = await writeHoldEntry(ctx, trx, row, 'hold.ended', { of: row.requester, content: { word } });
  await moveHold(trx, row, { state: 'ended', entry, settledAt: now, word });
}

/** A sign-in may be what somebody's holds wait for. */
export async function cureBySignIn(ctx: AppContext, trx: Transaction, principal: PrincipalId): Promise<void> {
  const rows = await trx
    .selectFrom('hold')
    .selectAll()
    .where('requester', '=', principal)
    .where('state', '=', 'waiting')
    .where('expires_at', '>', ctx.clock.now())
    .orderBy('id')
    .forUpdate()
    .execute();
  for (const row of rows) {
    if (!row.demands.some(({ cure }) => cure.kind === 'fresh_sign_in')) continue;
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.cured', { actor: principal, public: { by: 'sign_in' } });
    await cureIfMet(ctx, trx, row, entry);
  }
}

/**
 * Another configuration is in force: covers were given under the one before, and what waits is judged again. A statement that is
 * allowed now needs nothing more; one that isn't, or that another cure is asked for, ends, and is run again by its writer.
 */
export async function rejudgeHolds(ctx: AppContext): Promise<void> {
  await transaction(ctx.db, async (trx) => {
    await endCovers(
      ctx,
      trx,
      { notUnder: ctx.policy.version },
      { who: undefined, word: 'the configuration was changed' },
    );
  });
  const rows = await ctx.db
    .selectFrom('hold')
    .select('id')
    .where('state', 'in', ['waiting', 'cured'])
    .where('policy_version', '<>', ctx.policy.version)
    .orderBy('id')
    .execute();
  for (const { id } of rows) await transaction(ctx.db, async (trx) => await rejudge(ctx, trx, id));
}

async function rejudge(ctx: AppContext, trx: Transaction, id: HoldId): Promise<void> {
  const row = await lockHold(trx, id);
  if (row === undefined || !isLiveHold(holdOf(row))) return;
  const { held: what } = row;
  if (what.kind === 'act' || row.session === null) return await endIn(ctx, trx, row, 'the configuration was changed');
  const session = await readJudgedSession(trx, row.session, ctx.clock.now());
  if (session === undefined || !session.isOpen) return await endIn(ctx, trx, row, 'its session has ended');
  // Written by hold-statement.ts from values of these types.
  const ask = what.question as unknown as {
    readonly needs: readonly Need[];
    readonly context: StatementQuestion['context'];
  };
  const first = judge(ctx, session, ask);
  if (first.kind === 'allow') {
    if (row.state === 'cured') return;
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.cured', {
      public: { by: 'policy', policyVersion: first.version },
    });
    return await moveHold(trx, row, { state: 'cured', entry });
  }
  if (first.kind === 'deny') return await endIn(ctx, trx, row, 'policy does not allow it any more');
  const isTheSame = canonicalJson(first.demands) === canonicalJson(row.demands);
  const covers = await findCovers(
    ctx,
    trx,
    { grant: session.grant.id, clientAddress: session.clientAddress, digest: row.digest, needs: ask.needs },
    first.demands,
  );
  const wasCovered = what.covered.every((key) => covers.has(key));
  if (!isTheSame || !wasCovered)
    return await endIn(ctx, trx, row, 'policy asks for something else by now; run it again');
  const so = await readObtained(trx, row, {
    signedInAt: await signedInAt(trx, row.requester),
    covered: new Set(covers.keys()),
  });
  const again = judge(ctx, session, ask, so);
  if (row.state === 'cured' && again.kind !== 'allow')
    await endIn(ctx, trx, row, 'what was obtained is not enough any more; run it again');
}

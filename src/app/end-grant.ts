/** Ends a grant for good: handed back by its owner, revoked by somebody who may, or over by time. */
import { end, type EndedGrant, type GrantEnd } from '#core/grant.ts';
import type { GrantId, PrincipalId } from '#core/ids.ts';
import { formatInstant } from '#core/instant.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { lockGrant } from './_rows.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { endCovers } from './covers.ts';
import { endHoldsOf } from './settle-hold.ts';
import { writeEntry } from './write-entry.ts';

export async function endGrant(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly grant: GrantId; readonly word: string | undefined },
): Promise<Outcome<GrantId>> {
  return await transaction(ctx.db, async (trx) => {
    const grant = await lockGrant(trx, ask.grant);
    if (grant === undefined) return notFound('grant', ask.grant);
    const decision = ctx.policy.decide({
      action: 'revoke_grant',
      principal: caller.principal,
      now: ctx.clock.now(),
      grant: { id: grant.id, principal: grant.principal, role: grant.role },
    });
    if (decision.kind !== 'allow') return notFound('grant', ask.grant);
    const how = grant.principal === caller.principal.id ? 'handed_back' : 'revoked';
    const ended = await endGrantIn(ctx, trx, {
      grant: ask.grant,
      how,
      who: caller.principal.id,
      handle: caller.principal.handle,
      ...(ask.word === undefined ? {} : { word: ask.word }),
    });
    if (ended === undefined) return refused('already_ended', `end grant \`${ask.grant}\`: it has ended already`);
    return done(ask.grant);
  });
}

/** Within somebody else's transaction; undefined when it had ended, or its time isn't over. */
export async function endGrantIn(
  ctx: AppContext,
  trx: Transaction,
  by: {
    readonly grant: GrantId;
    readonly how: GrantEnd;
    readonly who: PrincipalId | undefined;
    readonly handle?: string;
    readonly word?: string;
  },
): Promise<EndedGrant | undefined> {
  const grant = await lockGrant(trx, by.grant);
  if (grant === undefined) return undefined;
  const outcome = end(grant, { how: by.how, who: by.who }, ctx.clock.now());
  if (outcome.kind === 'refused') return undefined;
  const ended = outcome.grant;
  const entry = await writeEntry(ctx, trx, {
    kind: 'grant.ended',
    actor: by.who ?? 'system',
    about: [ended.principal],
    subjects: { grant: ended.id, request: ended.request, principal: ended.principal, role: ended.role },
    public: { how: ended.how, endedAt: formatInstant(ended.endedAt) },
    ...(by.word === undefined ? {} : { content: { word: by.word } }),
  });
  await trx
    .updateTable('access_grant')
    .set({ state: 'ended', ended_at: ended.endedAt, how: ended.how, ended_by: by.who ?? null, entry })
    .where('id', '=', ended.id)
    .execute();
  // Completes "it was revoked …"; who hands back knows who they are.
  const named = by.handle === undefined || by.how === 'handed_back' ? '' : `by ${by.handle}`;
  const said = by.word ?? '';
  const word = named === '' ? (said === '' ? '' : `(${said})`) : said === '' ? named : `${named}: ${said}`;
  await endHoldsOf(ctx, trx, { grant: ended.id }, 'its grant has ended');
  await endCovers(ctx, trx, { grant: ended.id }, { who: by.who, word: 'its grant has ended' });
  await notify(trx, { kind: 'grant_ended', grant: ended.id, how: ended.how, ...(word === '' ? {} : { word }) });
  return ended;
}

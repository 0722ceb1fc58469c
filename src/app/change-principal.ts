/** Changes somebody's groups, or suspends them: their grants and sessions are ended with it, and they are signed out. */
import type { GrantId, PrincipalId } from '#core/ids.ts';
import type { Principal } from '#core/principal.ts';
import type { Transaction } from '#store/database.ts';
import { administratorsLeft, allowAct } from './_administer.ts';
import { principalOf } from './_rows.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { endGrantIn } from './end-grant.ts';
import type { Evidence } from './evidence.ts';
import { endHoldsOf } from './settle-hold.ts';
import { writeEntry } from './write-entry.ts';

export async function changePrincipal(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'change_principal'>,
): Promise<Outcome<PrincipalId>> {
  const judged = await allowAct(ctx, trx, caller, { kind: 'administer', what: 'principals' }, evidence.support ?? {});
  if (judged.kind === 'refused') return judged;
  const { subject, statusBefore, groupsBefore, groupsAfter, statusAfter } = evidence.object;
  const now = ctx.clock.now();
  // All people are locked, in one order, so that two changes can't each count on the administrator the other takes away.
  const rows = await trx.selectFrom('principal').selectAll().orderBy('id').forUpdate().execute();
  const row = rows.find((candidate) => candidate.id === subject.id);
  if (row === undefined) return notFound('person', subject.id);
  const before = principalOf(row);
  // What was shown must still be so: the signature is over a change from this state.
  if (
    (before.state === 'suspended') !== (statusBefore === 'suspended') ||
    [...before.groups].sort().join() !== [...groupsBefore].join()
  )
    return refused('conflict', `change \`${subject.handle}\`: somebody changed it meanwhile`, 'look at it again');
  const state: Principal['state'] =
    statusAfter === 'suspended'
      ? 'suspended'
      : before.state === 'suspended'
        ? await stateAfterSuspension(trx, subject.id)
        : before.state;
  const left = await administratorsLeft(ctx, trx, { ...before, groups: groupsAfter, state });
  if (left.kind === 'refused') return left;
  const entry = await writeEntry(ctx, trx, {
    kind: 'principal.changed',
    actor: caller.principal.id,
    of: subject.id,
    subjects: { principal: subject.id, proof: evidence.object.id },
    public: {
      groups: [...groupsAfter],
      state,
      policies: [...judged.value.policies],
      policyVersion: judged.value.version,
    },
    content: evidence.content,
  });
  await trx.updateTable('principal').set({ groups: groupsAfter, state, entry }).where('id', '=', subject.id).execute();
  if (state === 'suspended') {
    await trx
      .updateTable('web_session')
      .set({ ended_at: now })
      .where('principal', '=', subject.id)
      .where('ended_at', 'is', null)
      .execute();
    await trx
      .updateTable('machine_token')
      .set({ ended_at: now })
      .where('principal', '=', subject.id)
      .where('ended_at', 'is', null)
      .execute();
    await trx
      .updateTable('one_time_link')
      .set({ revoked_at: now })
      .where('principal', '=', subject.id)
      .where('used_at', 'is', null)
      .execute();
    await endHoldsOf(ctx, trx, { requester: subject.id }, 'the account was suspended');
  }
  // INVARIANT 4: what the new state no longer allows ends now, not at its time.
  const grants = await trx
    .selectFrom('access_grant')
    .select(['id', 'role'])
    .where('principal', '=', subject.id)
    .where('state', '<>', 'ended')
    .execute();
  const person = { ...before, groups: groupsAfter, state };
  for (const grant of grants) {
    const still =
      state !== 'suspended' &&
      ctx.policy.decide({
        action: 'activate_grant',
        principal: person,
        now,
        grant: { id: grant.id, principal: subject.id, role: grant.role },
      }).kind === 'allow' &&
      ctx.policy.rolesFor(person, { now }).some((role) => role.name === grant.role);
    if (!still) await endOne(ctx, trx, caller, grant.id, state);
  }
  await notify(trx, { kind: 'principal', principal: subject.id, state });
  return done(subject.id);
}

async function endOne(ctx: AppContext, trx: Transaction, caller: Caller, id: GrantId, state: string): Promise<void> {
  const word = state === 'suspended' ? 'the account was suspended' : 'the groups of the account changed';
  await endGrantIn(ctx, trx, { grant: id, how: 'revoked', who: caller.principal.id, word });
}

async function stateAfterSuspension(trx: Transaction, id: PrincipalId): Promise<'active' | 'invited'> {
  const passkey = await trx
    .selectFrom('authenticator')
    .select('id')
    .where('principal', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return passkey === undefined ? 'invited' : 'active';
}

/** Counts one approval, by the approver's passkey over the request; the last one needed makes the grant. */
import { createGrant } from '#core/grant.ts';
import { newId, type RequestId } from '#core/ids.ts';
import { formatInstant } from '#core/instant.ts';
import { approve } from '#core/request.ts';
import { at, type Transaction } from '#store/database.ts';
import { mayDecide, refusalOf } from './_decide-request.ts';
import { lockPrincipal, lockRequest } from './_rows.ts';
import { notify } from './changes.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { statementOf } from './denials.ts';
import { permissionsInWords } from './permissions.ts';
import type { Evidence } from './evidence.ts';
import { writeEntry } from './write-entry.ts';

export async function approveRequest(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'approve_request'>,
): Promise<Outcome<RequestId>> {
  const now = ctx.clock.now();
  const id = evidence.object.request;
  const requester = await lockPrincipal(trx, evidence.object.requester.id);
  const judged = mayDecide(ctx, caller.principal, await lockRequest(trx, id), id);
  if (judged.kind === 'refused') return judged;
  const { request, decision } = judged.value;
  const role =
    requester?.id === request.requester && requester.state === 'active'
      ? ctx.policy.rolesFor(requester, { now: ctx.clock.now() }).find((candidate) => candidate.name === request.role)
      : undefined;
  // INVARIANT 1: who could not ask for it any more is given nothing by an old request.
  if (role === undefined)
    return refused(
      'conflict',
      `approve request \`${id}\`: \`${evidence.object.requester.handle}\` may not have \`${request.role}\` any more`,
      'deny it, or wait until they ask again',
    );
  // INVARIANT 5: what is given is what was shown.
  if (evidence.object.permissions?.join('\n') !== permissionsInWords(role.permissions).join('\n'))
    return refused(
      'conflict',
      `approve request \`${id}\`: what \`${request.role}\` gives was changed meanwhile`,
      'look at it again',
    );
  const about = await statementOf(trx, id);
  const { statement, once } = evidence.object;
  if (statement?.digest !== about?.statement.digest || (once === true) !== (about?.once ?? false))
    return refused('conflict', `approve request \`${id}\`: it is about another statement`, 'look at it again');
  const grantId = newId('grant', { now, random: ctx.random });
  const outcome = approve(request, { approver: caller.principal.id, grant: grantId }, now);
  if (outcome.kind === 'refused') return refusalOf(outcome.because, id);
  const entry = await writeEntry(ctx, trx, {
    kind: 'request.approved',
    actor: caller.principal.id,
    about: [request.requester],
    subjects: { request: id, principal: request.requester, role: request.role, proof: evidence.object.id },
    public: {
      stillNeeded: outcome.kind === 'counted' ? outcome.stillNeeded : 0,
      policies: [...decision.policies],
      policyVersion: decision.version,
    },
    content: evidence.content,
  });
  await trx
    .insertInto('approval')
    .values({
      id: newId('approval', { now, random: ctx.random }),
      request: id,
      approver: caller.principal.id,
      proof: evidence.object.id,
      at: at(now),
      entry,
    })
    .execute();
  if (outcome.kind === 'approved') {
    const grant = createGrant({
      id: grantId,
      request: id,
      principal: request.requester,
      role: request.role,
      duration: request.duration,
      notBefore: request.startsAt !== undefined && request.startsAt > now ? request.startsAt : now,
    });
    const created = await writeEntry(ctx, trx, {
      kind: 'grant.created',
      actor: 'system',
      about: [request.requester],
      subjects: { grant: grant.id, request: id, principal: grant.principal, role: grant.role },
      public: {
        seconds: grant.duration / 1000,
        notBefore: formatInstant(grant.notBefore),
        activateBy: formatInstant(grant.activateBy),
        ...(about?.once === true ? { onlyDigest: about.statement.digest } : {}),
      },
    });
    await trx
      .updateTable('access_request')
      .set({ state: 'approved', decided_at: at(now), entry })
      .where('id', '=', id)
      .execute();
    await trx
      .insertInto('access_grant')
      .values({
        id: grant.id,
        request: id,
        principal: grant.principal,
        role: grant.role,
        duration_ms: grant.duration,
        not_before: at(grant.notBefore),
        activate_by: at(grant.activateBy),
        state: 'approved',
        activated_at: null,
        ends_at: null,
        ended_at: null,
        how: null,
        ended_by: null,
        proof: null,
        only_digest: about?.once === true ? about.statement.digest : null,
        entry: created,
      })
      .execute();
    await notify(trx, { kind: 'grant', grant: grant.id });
  }
  await notify(trx, { kind: 'request', request: id });
  return done(id);
}

/** Starts the clock of a grant, by its owner's passkey over the grant. */
import type { Grant } from '#core/grant.ts';
import { activate, type ActivateOutcome } from '#core/grant.ts';
import type { GrantId } from '#core/ids.ts';
import { formatInstant } from '#core/instant.ts';
import type { Transaction } from '#store/database.ts';
import { at } from '#store/database.ts';
import { callerCircumstances, readGrantRef } from './_circumstances.ts';
import { lockGrant } from './_rows.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome, type Refused } from './context.ts';
import type { Evidence } from './evidence.ts';
import { writeEntry } from './write-entry.ts';

export async function activateGrant(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'activate_grant'>,
): Promise<Outcome<GrantId>> {
  const now = ctx.clock.now();
  const id = evidence.object.grant;
  const grant = await lockGrant(trx, id);
  if (grant === undefined || grant.principal !== caller.principal.id) return notFound('grant', id);
  const outcome = activate(grant, caller.principal.id, now);
  if (outcome.kind === 'refused') return activationRefusal(outcome.because, grant);
  const decision = ctx.policy.decide({
    ...(await callerCircumstances(ctx, trx, caller)),
    action: 'activate_grant',
    principal: caller.principal,
    grant: await readGrantRef(trx, grant),
  });
  if (decision.kind !== 'allow') return refused('forbidden', `activate grant \`${id}\`: policy refuses it now`);
  const entry = await writeEntry(ctx, trx, {
    kind: 'grant.activated',
    actor: caller.principal.id,
    subjects: {
      grant: id,
      request: grant.request,
      principal: grant.principal,
      role: grant.role,
      proof: evidence.object.id,
    },
    public: {
      endsAt: formatInstant(outcome.grant.endsAt),
      policies: [...decision.policies],
      policyVersion: decision.version,
    },
    content: evidence.content,
  });
  await trx
    .updateTable('access_grant')
    .set({
      state: 'active',
      activated_at: at(now),
      ends_at: at(outcome.grant.endsAt),
      proof: evidence.object.id,
      entry,
    })
    .where('id', '=', id)
    .execute();
  await notify(trx, { kind: 'grant', grant: id });
  return done(id);
}

type Because = Extract<ActivateOutcome, { kind: 'refused' }>['because'];

export function activationRefusal(because: Because, grant: Grant): Refused {
  const what = `activate grant \`${grant.id}\``;
  switch (because) {
    case 'not_yours':
      return notFound('grant', grant.id);
    case 'too_early':
      return refused('too_early', `${what}: it starts at ${formatInstant(grant.notBefore)}`);
    case 'expired':
      return refused(
        'expired',
        `${what}: it was not activated by ${formatInstant(grant.activateBy)} and has expired`,
        'ask again',
      );
    case 'already_active':
      return refused('already_active', `${what}: it is active already`);
    case 'ended':
      return refused('already_ended', `${what}: it has ended`, 'ask again');
    default:
      return because satisfies never;
  }
}

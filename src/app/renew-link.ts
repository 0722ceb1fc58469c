/** A new one-time link for somebody's passkey: the first got lost, or their device did. */
import type { PrincipalId } from '#core/ids.ts';
import type { Transaction } from '#store/database.ts';
import { mayAdminister } from './_administer.ts';
import { lockPrincipal } from './_rows.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { Evidence } from './evidence.ts';
import { makeLink, type NewLink } from './make-link.ts';

export async function renewLink(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'enrol_authenticator'>,
): Promise<Outcome<{ readonly principal: PrincipalId; readonly link: NewLink }>> {
  const judged = mayAdminister(ctx, caller, 'authenticators');
  if (judged.kind === 'refused') return judged;
  const { subject, link: id } = evidence.object;
  const person = await lockPrincipal(trx, subject.id);
  if (person === undefined) return notFound('person', subject.id);
  if (person.id === caller.principal.id || person.state === 'suspended')
    return refused('forbidden', `issue a link for a passkey of \`${person.handle}\`: you may not`);
  const link = await makeLink(ctx, trx, {
    for: { purpose: 'enrolment', principal: subject.id },
    actor: caller.principal.id,
    ...(id === undefined ? {} : { id }),
    content: evidence.content,
    proof: evidence.object.id,
  });
  return done({ principal: subject.id, link });
}

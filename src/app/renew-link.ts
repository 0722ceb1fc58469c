/** A new one-time link for somebody's passkey: the first got lost, or their device did. */
import type { PrincipalId } from '#core/ids.ts';
import type { Db, Transaction } from '#store/database.ts';
import { allowAct } from './_administer.ts';
import { lockPrincipal } from './_rows.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { Evidence } from './evidence.ts';
import { makeLink, type NewLink } from './make-link.ts';

/** Who has passkeys gets another one by somebody else's hand: that is as much as a reset. */
export async function changeOf(db: Db | Transaction, id: PrincipalId): Promise<'add' | 'reset'> {
  const key = await db
    .selectFrom('authenticator')
    .select('id')
    .where('principal', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return key === undefined ? 'add' : 'reset';
}

export async function renewLink(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'enrol_authenticator'>,
): Promise<Outcome<{ readonly principal: PrincipalId; readonly link: NewLink }>> {
  const { subject, link: id } = evidence.object;
  const person = await lockPrincipal(trx, subject.id);
  if (person === undefined) return notFound('person', subject.id);
  const judged = await allowAct(
    ctx,
    trx,
    caller,
    { kind: 'authenticators', of: person, change: await changeOf(trx, person.id) },
    evidence.support ?? {},
  );
  if (judged.kind === 'refused') return judged;
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

/** Makes an account for somebody and the one-time link with which they enrol their first passkey. */
import type { PrincipalId } from '#core/ids.ts';
import type { Transaction } from '#store/database.ts';
import { allowAct } from './_administer.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { Evidence } from './evidence.ts';
import { makeLink, type NewLink } from './make-link.ts';
import { writeEntry } from './write-entry.ts';

export async function invitePrincipal(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'invite_principal'>,
): Promise<Outcome<{ readonly principal: PrincipalId; readonly link: NewLink }>> {
  const judged = await allowAct(ctx, trx, caller, { kind: 'administer', what: 'principals' }, evidence.support ?? {});
  if (judged.kind === 'refused') return judged;
  const { subject, displayName, groups, kind } = evidence.object;
  const other = await trx.selectFrom('principal').select('id').where('handle', '=', subject.handle).executeTakeFirst();
  if (other !== undefined) return taken(subject.handle);
  const entry = await writeEntry(ctx, trx, {
    kind: 'principal.invited',
    actor: caller.principal.id,
    of: subject.id,
    subjects: { principal: subject.id, proof: evidence.object.id },
    public: { kind, groups: [...groups], policies: [...judged.value.policies], policyVersion: judged.value.version },
    content: { handle: subject.handle, name: displayName ?? subject.handle, ...evidence.content },
  });
  const made = await trx
    .insertInto('principal')
    .values({
      id: subject.id,
      handle: subject.handle,
      name: displayName ?? subject.handle,
      kind,
      state: 'invited',
      groups,
      created_at: ctx.clock.now(),
      entry,
    })
    // Two administrators who invite under one handle at once: the second is told as if it had come later.
    .onConflict((conflict) => conflict.column('handle').doNothing())
    .returning('id')
    .executeTakeFirst();
  if (made === undefined) return taken(subject.handle);
  const link = await makeLink(ctx, trx, {
    for: { purpose: 'enrolment', principal: subject.id },
    actor: caller.principal.id,
  });
  return done({ principal: subject.id, link });
}

export const taken = (handle: string) =>
  refused(
    'conflict',
    `invite \`${handle}\`: the handle is taken`,
    'choose another, or renew the link of the person who has it',
  );

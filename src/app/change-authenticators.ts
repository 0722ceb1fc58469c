/**
 * A person's passkeys: a further one for oneself, one taken away, all of a colleague's reset. Each is an act of
 * administration like any other: policy may ask somebody else, it is in the log under the person's name, and they are told at
 * their next sign-in.
 */
import type { AuthenticatorId, PrincipalId } from '#core/ids.ts';
import type { RemoveAuthenticator, ResetAuthenticators } from '#core/proof.ts';
import { at, type Db, type Transaction } from '#store/database.ts';
import { administratorsLeft, allowAct, mayAdminister } from './_administer.ts';
import { findPrincipal, lockPrincipal } from './_rows.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome, type Refused } from './context.ts';
import type { Evidence } from './evidence.ts';
import { makeLink, type NewLink } from './make-link.ts';
import { writeEntry } from './write-entry.ts';

export async function keysOf(db: Db | Transaction, principal: PrincipalId) {
  return await db
    .selectFrom('authenticator')
    .select(['id', 'name'])
    .where('principal', '=', principal)
    .where('revoked_at', 'is', null)
    .orderBy('id')
    .execute();
}

type WithLink = { readonly principal: PrincipalId; readonly link: NewLink };

/** The link that enrols it: to be opened on the device that it is for. */
export async function addAuthenticator(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'add_authenticator'>,
): Promise<Outcome<WithLink>> {
  const { subject, link: id } = evidence.object;
  if (subject.id !== caller.principal.id) return notFound('person', subject.id);
  const question = { kind: 'authenticators', of: caller.principal, change: 'add' } as const;
  const judged = await allowAct(ctx, trx, caller, question, evidence.support ?? {});
  if (judged.kind === 'refused') return judged;
  const link = await makeLink(ctx, trx, {
    for: { purpose: 'enrolment', principal: subject.id },
    actor: caller.principal.id,
    id,
    content: evidence.content,
    proof: evidence.object.id,
  });
  return done({ principal: subject.id, link });
}

/** What its owner, or an administrator, signs to take one passkey away. */
export async function removeContent(
  ctx: AppContext,
  caller: Caller,
  id: AuthenticatorId,
): Promise<Outcome<RemoveAuthenticator>> {
  const row = await ctx.db
    .selectFrom('authenticator')
    .select(['principal', 'name'])
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  // INVARIANT 14: whose passkeys one may not see there are none.
  if (row !== undefined && row.principal !== caller.principal.id) {
    const judged = mayAdminister(ctx, caller, 'principals');
    if (judged.kind === 'refused') return notFound('passkey', id);
  }
  const subject = row === undefined ? undefined : await findPrincipal(ctx.db, row.principal);
  if (row === undefined || subject === undefined) return notFound('passkey', id);
  const left = (await keysOf(ctx.db, subject.id)).length - 1;
  const locked = await locksOut(ctx, ctx.db, subject.id, left);
  if (locked !== undefined) return locked;
  return done({
    purpose: 'remove_authenticator',
    subject: { id: subject.id, handle: subject.handle },
    authenticator: id,
    authenticatorName: row.name,
    left,
  });
}

export async function removeAuthenticator(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'remove_authenticator'>,
): Promise<Outcome<PrincipalId>> {
  const { subject, authenticator, left } = evidence.object;
  const person = await lockOthersOut(trx, subject.id);
  if (person === undefined) return notFound('person', subject.id);
  const question = { kind: 'authenticators', of: person, change: 'remove' } as const;
  const judged = await allowAct(ctx, trx, caller, question, evidence.support ?? {});
  if (judged.kind === 'refused') return judged;
  const keys = await keysOf(trx, subject.id);
  if (!keys.some(({ id }) => id === authenticator)) return notFound('passkey', authenticator);
  if (keys.length - 1 !== left)
    return refused('conflict', 'remove a passkey: the account has others than it had', 'look at it again');
  const locked = await locksOut(ctx, trx, subject.id, left);
  if (locked !== undefined) return locked;
  await remove(ctx, trx, caller, subject.id, authenticator, evidence);
  await endSignIns(ctx, trx, subject.id, authenticator);
  await notify(trx, { kind: 'principal', principal: subject.id, state: 'active' });
  return done(subject.id);
}

/** What an administrator signs to take all passkeys of a colleague away. */
export async function resetContent(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly principal: PrincipalId; readonly reason: string },
): Promise<Outcome<ResetAuthenticators>> {
  const judged = mayAdminister(ctx, caller, 'authenticators');
  if (judged.kind === 'refused') return judged;
  const subject = await findPrincipal(ctx.db, ask.principal);
  if (subject === undefined) return notFound('person', ask.principal);
  if (subject.id === caller.principal.id)
    return refused('forbidden', 'reset passkeys: somebody else has to do this for you');
  const locked = await locksOut(ctx, ctx.db, subject.id, 0);
  if (locked !== undefined) return locked;
  return done({
    purpose: 'reset_authenticators',
    subject: { id: subject.id, handle: subject.handle },
    authenticators: (await keysOf(ctx.db, subject.id)).map(({ id }) => id),
    reason: ask.reason,
  });
}

/** Takes them all away, signs the person out everywhere, and makes the link to a new one. */
export async function resetAuthenticators(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'reset_authenticators'>,
): Promise<Outcome<WithLink>> {
  const { subject, authenticators } = evidence.object;
  const person = await lockOthersOut(trx, subject.id);
  if (person === undefined || person.id === caller.principal.id) return notFound('person', subject.id);
  const question = { kind: 'authenticators', of: person, change: 'reset' } as const;
  const judged = await allowAct(ctx, trx, caller, question, evidence.support ?? {});
  if (judged.kind === 'refused') return judged;
  const keys = await keysOf(trx, subject.id);
  if (keys.map(({ id }) => id).join() !== authenticators.join())
    return refused('conflict', `reset the passkeys of \`${subject.handle}\`: they changed meanwhile`, 'look again');
  const locked = await locksOut(ctx, trx, subject.id, 0);
  if (locked !== undefined) return locked;
  const entry = await writeEntry(ctx, trx, {
    kind: 'authenticators.reset',
    actor: caller.principal.id,
    of: subject.id,
    subjects: { principal: subject.id, proof: evidence.object.id },
    public: { policies: [...judged.value.policies], policyVersion: judged.value.version },
    content: evidence.content,
  });
  await trx
    .updateTable('authenticator')
    .set({ revoked_at: at(ctx.clock.now()), entry })
    .where('principal', '=', subject.id)
    .where('revoked_at', 'is', null)
    .execute();
  await endSignIns(ctx, trx, subject.id, undefined);
  const link = await makeLink(ctx, trx, {
    for: { purpose: 'enrolment', principal: subject.id },
    actor: caller.principal.id,
  });
  await notify(trx, { kind: 'principal', principal: subject.id, state: person.state });
  return done({ principal: subject.id, link });
}

async function remove(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  principal: PrincipalId,
  authenticator: AuthenticatorId,
  { object, content }: Evidence<'remove_authenticator'>,
): Promise<void> {
  const entry = await writeEntry(ctx, trx, {
    kind: 'authenticator.removed',
    actor: caller.principal.id,
    of: principal,
    subjects: { principal, authenticator, proof: object.id },
    content,
  });
  await trx
    .updateTable('authenticator')
    .set({ revoked_at: at(ctx.clock.now()), entry })
    .where('id', '=', authenticator)
    .execute();
}

/** INVARIANT 4: sign-ins that a lost passkey has begun end with it; without one given all of the person's end. */
async function endSignIns(
  ctx: AppContext,
  trx: Transaction,
  principal: PrincipalId,
  authenticator: AuthenticatorId | undefined,
): Promise<void> {
  const now = at(ctx.clock.now());
  const web = trx
    .updateTable('web_session')
    .set({ ended_at: now })
    .where('principal', '=', principal)
    .where('ended_at', 'is', null);
  await (authenticator === undefined ? web : web.where('authenticator', '=', authenticator)).execute();
  if (authenticator !== undefined) return;
  await trx
    .updateTable('machine_token')
    .set({ ended_at: now })
    .where('principal', '=', principal)
    .where('ended_at', 'is', null)
    .execute();
}

/** All people, in one order, so that two removals can't each count on the passkey that the other takes away. */
async function lockOthersOut(trx: Transaction, id: PrincipalId) {
  await trx.selectFrom('principal').select('id').orderBy('id').forUpdate().execute();
  return await lockPrincipal(trx, id);
}

/** INVARIANT 13: the last passkey of the last who could administer stays. */
async function locksOut(
  ctx: AppContext,
  db: Db | Transaction,
  id: PrincipalId,
  left: number,
): Promise<Refused | undefined> {
  if (left > 0) return undefined;
  const subject = await findPrincipal(db, id);
  if (subject === undefined) return notFound('person', id);
  const remains = await administratorsLeft(ctx, db, { ...subject, state: 'suspended' });
  return remains.kind === 'refused' ? remains : undefined;
}

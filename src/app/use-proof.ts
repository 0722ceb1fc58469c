/**
 * Uses a proof: verifies the passkey's assertion over the stored object, marks the proof used, and does what the object
 * says, all in one transaction. There is no other way to these acts, so the signature and the act can't come apart.
 */
import { sql } from 'kysely';
import type { AuthenticatorId, GrantId, HoldId, PlanId, PrincipalId, ProofId, RequestId, TokenId } from '#core/ids.ts';
import { between, days, type Duration } from '#core/instant.ts';
import { canonicalJson, type Json } from '#core/jcs.ts';
import { contentOf, useProof as use, type ProofObject } from '#core/proof.ts';
import { credentialIdOf, verifyAssertion, type RawAssertion } from '#identity/passkeys.ts';
import { proofChallenge } from '#log/challenge.ts';
import { at, json, transaction, type Transaction } from '#store/database.ts';
import type { ActSupport } from './_administer.ts';
import { activateGrant } from './activate-grant.ts';
import { applyPlan } from './apply-plan.ts';
import { approveRequest } from './approve-request.ts';
import { addAuthenticator, removeAuthenticator, resetAuthenticators } from './change-authenticators.ts';
import { changePrincipal } from './change-principal.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { Evidence } from './evidence.ts';
import { releaseAct, supportOf } from './hold-act.ts';
import { invitePrincipal } from './invite-principal.ts';
import type { NewLink } from './make-link.ts';
import { renewLink } from './renew-link.ts';
import { findAuthenticator } from './_authenticators.ts';
import { lockPrincipal } from './_rows.ts';
import { cureBySignIn } from './settle-hold.ts';
import { signHold } from './sign-hold.ts';

export type Done =
  | { readonly purpose: 'approve_request'; readonly request: RequestId }
  | { readonly purpose: 'activate_grant'; readonly grant: GrantId }
  | {
      readonly purpose: 'invite_principal' | 'enrol_authenticator' | 'add_authenticator' | 'reset_authenticators';
      readonly principal: PrincipalId;
      readonly link: NewLink;
    }
  | { readonly purpose: 'change_principal' | 'remove_authenticator'; readonly principal: PrincipalId }
  | { readonly purpose: 'do_action' | 'approve_action' | 'approve_act'; readonly hold: HoldId }
  | { readonly purpose: 'change_configuration'; readonly plan: PlanId; readonly version: string };

/** Rolls the transaction back with an outcome instead of a fault. */
class Refusal extends Error {
  readonly outcome: Outcome<never> & { readonly kind: 'refused' };
  constructor(outcome: Outcome<never> & { readonly kind: 'refused' }) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

export async function useProof(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly proof: ProofId; readonly assertion: unknown },
): Promise<Outcome<Done>> {
  try {
    return await transaction(ctx.db, async (trx) => {
      const now = ctx.clock.now();
      // Looked up by (owner, id): somebody else's proof doesn't exist.
      const row = await trx
        .selectFrom('proof')
        .selectAll()
        .where('id', '=', ask.proof)
        .where('principal', '=', caller.principal.id)
        .forUpdate()
        .executeTakeFirst();
      if (row === undefined) return notFound('proof', ask.proof);
      // A suspension or another group may have come between the sign-in and this act.
      const principal = await lockPrincipal(trx, caller.principal.id);
      if (principal?.state !== 'active') return notFound('proof', ask.proof);
      const object = row.object;
      const stored =
        row.state === 'used'
          ? { state: 'used' as const, object, usedAt: row.used_at ?? now }
          : { state: 'offered' as const, object };
      const used = use(stored, now, { purpose: object.purpose, principal: caller.principal.id });
      if (used.kind === 'refused') {
        if (used.because === 'expired')
          return refused(
            'expired',
            `use proof \`${ask.proof}\`: it was offered for five minutes and has expired`,
            'open the page again',
          );
        return refused('proof_refused', `use proof \`${ask.proof}\`: it has been used already`, 'open the page again');
      }
      const credentialId = credentialIdOf(ask.assertion);
      const authenticator =
        credentialId === undefined ? undefined : await findAuthenticator(trx, credentialId, caller.principal.id);
      const verified =
        authenticator === undefined
          ? ({ kind: 'refused', because: 'unknown_credential' } as const)
          : await verifyAssertion({
              response: ask.assertion,
              challenge: proofChallenge(object),
              authenticator,
              origins: [ctx.site.publicUrl],
              rpId: ctx.site.rpId,
            });
      if (authenticator === undefined || verified.kind === 'refused')
        return refused(
          'proof_refused',
          `use proof \`${ask.proof}\`: the passkey’s answer was refused (${verified.kind === 'refused' ? verified.because.replaceAll('_', ' ') : 'unknown'})`,
        );
      const { newCounter, raw } = verified;
      await trx
        .updateTable('authenticator')
        .set({ counter: newCounter, last_used_at: at(now) })
        .where('id', '=', authenticator.id)
        .execute();
      await trx
        .updateTable('proof')
        .set({ state: 'used', used_at: at(now), authenticator: authenticator.id, assertion: json(raw) })
        .where('id', '=', ask.proof)
        .execute();
      // The passkey has shown as well who sits at the console.
      if (caller.session.kind === 'web')
        await trx
          .updateTable('web_session')
          .set({ proven_at: now })
          .where('id', '=', caller.session.id as TokenId)
          .where('principal', '=', caller.principal.id)
          .execute();
      await cureBySignIn(ctx, trx, caller.principal.id);
      const content = evidenceOf(object, raw);
      const support = await supportFor(ctx, trx, { ...caller, principal }, row, authenticator);
      const outcome =
        support.kind === 'refused'
          ? support
          : await act(ctx, trx, { ...caller, principal }, object, { content, support: support.value });
      if (outcome.kind === 'done' && row.hold !== null) await releaseAct(ctx, trx, { ...caller, principal }, row.hold);
      // A refused act leaves nothing behind: the proof goes back to being offered.
      if (outcome.kind === 'refused') throw new Refusal(outcome);
      return outcome;
    });
  } catch (fault) {
    if (fault instanceof Refusal) return fault.outcome;
    throw fault;
  }
}

/** How long a key has been enrolled; the first of all has no older one to be measured by, and an installation begins with it. */
async function ageOf(ctx: AppContext, trx: Transaction, key: AuthenticatorId): Promise<Duration> {
  const row = await trx
    .selectFrom('authenticator')
    .select('created_at')
    .select(
      sql<boolean>`not exists (select from authenticator older where older.created_at < authenticator.created_at)`.as(
        'is_first',
      ),
    )
    .where('id', '=', key)
    .executeTakeFirstOrThrow();
  return row.is_first ? days(36_500) : between(row.created_at, ctx.clock.now());
}

async function supportFor(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  row: { readonly hold: HoldId | null; readonly object: ProofObject },
  authenticator: { readonly id: AuthenticatorId },
): Promise<Outcome<ActSupport>> {
  const authenticatorAge = await ageOf(ctx, trx, authenticator.id);
  if (row.hold === null) return done({ authenticatorAge });
  const support = await supportOf(ctx, trx, caller, row.hold, canonicalJson(contentOf(row.object)));
  if (support.kind === 'refused') return support;
  const others = support.value.authenticatorAge;
  // The youngest of all that signed: a fresh key cures nothing where policy says so, whoever's it is.
  return done({
    ...support.value,
    authenticatorAge: others === undefined ? authenticatorAge : (Math.min(others, authenticatorAge) as Duration),
  });
}

/** As log/evidence.ts reads it back. */
function evidenceOf(object: ProofObject, raw: RawAssertion): Evidence['content'] {
  const { credentialId, authenticatorData, clientDataJSON, signature } = raw;
  return {
    proof: {
      // A proof object is JSON by its making (core/proof.ts); its type is narrower than `Json`, not wider.
      object: object as unknown as Json,
      assertion: { credentialId, authenticatorData, clientDataJSON, signature },
    },
  };
}

async function act(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  object: ProofObject,
  from: Pick<Evidence, 'content' | 'support'>,
): Promise<Outcome<Done>> {
  switch (object.purpose) {
    case 'approve_request': {
      const outcome = await approveRequest(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, request: outcome.value });
    }
    case 'activate_grant': {
      const outcome = await activateGrant(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, grant: outcome.value });
    }
    case 'invite_principal': {
      const outcome = await invitePrincipal(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, ...outcome.value });
    }
    case 'enrol_authenticator': {
      const outcome = await renewLink(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, ...outcome.value });
    }
    case 'change_principal': {
      const outcome = await changePrincipal(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, principal: outcome.value });
    }
    case 'change_configuration': {
      const outcome = await applyPlan(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused'
        ? outcome
        : done({ purpose: object.purpose, plan: object.plan, version: outcome.value });
    }
    case 'add_authenticator':
    case 'reset_authenticators': {
      const outcome = await (object.purpose === 'add_authenticator'
        ? addAuthenticator(ctx, trx, caller, { object, ...from })
        : resetAuthenticators(ctx, trx, caller, { object, ...from }));
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, ...outcome.value });
    }
    case 'remove_authenticator': {
      const outcome = await removeAuthenticator(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, principal: outcome.value });
    }
    case 'do_action':
    case 'approve_action':
    case 'approve_act': {
      const outcome = await signHold(ctx, trx, caller, { object, ...from });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, hold: outcome.value });
    }
    default:
      return object satisfies never;
  }
}

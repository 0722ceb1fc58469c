/**
 * Uses a proof: verifies the passkey's assertion over the stored object, marks the proof used, and does what the object
 * says, all in one transaction. There is no other way to these acts, so the signature and the act can't come apart.
 */
import type { GrantId, HoldId, PlanId, PrincipalId, ProofId, RequestId, TokenId } from '#core/ids.ts';
import type { Json } from '#core/jcs.ts';
import { useProof as use, type ProofObject } from '#core/proof.ts';
import { credentialIdOf, verifyAssertion, type RawAssertion } from '#identity/passkeys.ts';
import { proofChallenge } from '#log/challenge.ts';
import { at, json, transaction, type Transaction } from '#store/database.ts';
import { activateGrant } from './activate-grant.ts';
import { applyPlan } from './apply-plan.ts';
import { approveRequest } from './approve-request.ts';
import { changePrincipal } from './change-principal.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { Evidence } from './evidence.ts';
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
      readonly purpose: 'invite_principal' | 'enrol_authenticator';
      readonly principal: PrincipalId;
      readonly link: NewLink;
    }
  | { readonly purpose: 'change_principal'; readonly principal: PrincipalId }
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
      const outcome = await act(ctx, trx, { ...caller, principal }, object, content);
      // A refused act leaves nothing behind: the proof goes back to being offered.
      if (outcome.kind === 'refused') throw new Refusal(outcome);
      return outcome;
    });
  } catch (fault) {
    if (fault instanceof Refusal) return fault.outcome;
    throw fault;
  }
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
  content: Evidence['content'],
): Promise<Outcome<Done>> {
  switch (object.purpose) {
    case 'approve_request': {
      const outcome = await approveRequest(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, request: outcome.value });
    }
    case 'activate_grant': {
      const outcome = await activateGrant(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, grant: outcome.value });
    }
    case 'invite_principal': {
      const outcome = await invitePrincipal(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, ...outcome.value });
    }
    case 'enrol_authenticator': {
      const outcome = await renewLink(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, ...outcome.value });
    }
    case 'change_principal': {
      const outcome = await changePrincipal(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, principal: outcome.value });
    }
    case 'change_configuration': {
      const outcome = await applyPlan(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused'
        ? outcome
        : done({ purpose: object.purpose, plan: object.plan, version: outcome.value });
    }
    case 'reset_authenticators':
    case 'add_authenticator':
    case 'remove_authenticator':
      return refused('forbidden', 'passkeys are renewed by a one-time link');
    case 'do_action':
    case 'approve_action':
    case 'approve_act': {
      const outcome = await signHold(ctx, trx, caller, { object, content });
      return outcome.kind === 'refused' ? outcome : done({ purpose: object.purpose, hold: outcome.value });
    }
    default:
      return object satisfies never;
  }
}

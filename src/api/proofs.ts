/** Acts by proof: the object that a passkey signs, and the act that its assertion carries out. There is no other way to them. */
import type { AppContext, Caller } from '#app/context.ts';
import { offerProof, type Offer, type ProofAsk } from '#app/offer-proof.ts';
import { readGrant } from '#app/read-grants.ts';
import { readHold } from '#app/read-holds.ts';
import { readPrincipal } from '#app/read-principals.ts';
import { readRequest } from '#app/read-requests.ts';
import { useProof, type Done } from '#app/use-proof.ts';
import { encodeBase64Url } from '#core/base64.ts';
import type { ProofId } from '#core/ids.ts';
import { describeProof } from '#core/proof.ts';
import { proofOptions, type Transport } from '#identity/passkeys.ts';
import { map, type Handlers } from './handler.ts';
import { presentGrant, presentHold, presentLink, presentPrincipal, presentRequest } from './present.ts';

export const proofHandlers: Pick<Handlers, 'offerProof' | 'useProof'> = {
  // The contract's schemas have checked the form of ids and names; `as` says so to the compiler.
  offerProof: async ({ app, caller, body }) =>
    map(await offerProof(app, caller, body as ProofAsk), (offer) => presentOffer(app, offer)),

  useProof: async ({ app, caller, params, body }) => {
    const outcome = await useProof(app, caller, { proof: params.id as ProofId, assertion: body.assertion });
    return outcome.kind === 'refused' ? outcome : await presentDone(app, caller, outcome.value);
  },
};

function presentOffer(app: AppContext, offer: Offer) {
  const allowed = offer.authenticators.map(({ credentialId, transports }) => ({
    credentialId: encodeBase64Url(credentialId),
    // They were parsed when the passkey was registered.
    transports: transports as readonly Transport[],
  }));
  const options = proofOptions({ rpId: app.site.rpId, challenge: offer.challenge, allowed });
  return {
    id: offer.id,
    object: { ...offer.object },
    words: describeProof(offer.object),
    challenge: encodeBase64Url(offer.challenge),
    options: { ...options },
    expiresAt: offer.object.expiresAt,
  };
}

/** What the act became, read as whoever did it may read it. */
async function presentDone(app: AppContext, caller: Caller, done: Done) {
  switch (done.purpose) {
    case 'approve_request':
      return map(await readRequest(app, caller, done.request), (request) => ({
        purpose: done.purpose,
        request: presentRequest(request),
      }));
    case 'activate_grant':
      return map(await readGrant(app, caller, done.grant), (grant) => ({
        purpose: done.purpose,
        grant: presentGrant(grant),
      }));
    case 'invite_principal':
    case 'enrol_authenticator':
    case 'add_authenticator':
    case 'reset_authenticators':
      return map(await readPrincipal(app, caller, done.principal), (principal) => ({
        purpose: done.purpose,
        principal: presentPrincipal(principal),
        link: presentLink(done.link),
      }));
    case 'change_principal':
    case 'remove_authenticator':
      return map(await readPrincipal(app, caller, done.principal), (principal) => ({
        purpose: done.purpose,
        principal: presentPrincipal(principal),
      }));
    case 'change_configuration':
      return { kind: 'done' as const, value: { purpose: done.purpose, plan: done.plan, version: done.version } };
    case 'do_action':
    case 'approve_action':
    case 'approve_act':
      return map(await readHold(app, caller, done.hold), (hold) => ({
        purpose: done.purpose,
        hold: presentHold(hold),
      }));
    default:
      return done satisfies never;
  }
}

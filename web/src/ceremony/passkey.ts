/** The browser's side of WebAuthn. The server's options go in and the authenticator's answer comes out, unread. */
import { startAuthentication, startRegistration } from '@simplewebauthn/browser';
import type { Client } from '#contract/client.ts';
import type { Me, ProofDone, ProofOffer } from '#contract/views.ts';

type RequestOptions = Parameters<typeof startAuthentication>[0]['optionsJSON'];
type CreationOptions = Parameters<typeof startRegistration>[0]['optionsJSON'];
type Json = Record<string, unknown>;

/** Signs in, or signs in again. */
export async function signInWithPasskey(api: Client): Promise<Me> {
  const { ceremony, options } = await api.startSignIn();
  const response = await startAuthentication({ optionsJSON: options as unknown as RequestOptions });
  return api.signIn({ body: { ceremony, response: response as unknown as Json } });
}

/** Makes a passkey for a one-time link, which signs in as well. The first administrator says who they are. */
export async function enrolPasskey(
  api: Client,
  link: {
    readonly token: string;
    readonly who: { readonly handle: string; readonly name: string } | undefined;
    readonly authenticatorName: string;
  },
): Promise<Me> {
  const { token, who, authenticatorName } = link;
  const { ceremony, options } = await api.startEnrolment({ body: { token, ...who } });
  const response = await startRegistration({ optionsJSON: options as unknown as CreationOptions });
  return api.finishEnrolment({
    body: { token, ceremony, response: response as unknown as Json, authenticatorName },
  });
}

/** Signs an offer, which does what its object says. */
export async function signOffer(api: Client, offer: ProofOffer): Promise<ProofDone> {
  // What is signed must be the challenge of what was shown, not some other one beside it.
  if (offer.options['challenge'] !== offer.challenge)
    throw new Error('sign a proof: the offer asks for a signature over something other than what it shows');
  const assertion = await startAuthentication({ optionsJSON: offer.options as unknown as RequestOptions });
  return api.useProof({ params: { id: offer.id }, body: { assertion: assertion as unknown as Json } });
}

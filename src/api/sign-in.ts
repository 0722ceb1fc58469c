/** Signing in and out, enrolling by a one-time link, consenting to a sign-in of the CLI. */
import { authenticateWeb } from '#app/authenticate.ts';
import { authorizeCli } from '#app/authorize-cli.ts';
import type { AppContext, Outcome } from '#app/context.ts';
import { finishEnrolment, inspectLink, startEnrolment, type Ceremony, type SignedIn } from '#app/enrol.ts';
import { signIn, startSignIn } from '#app/sign-in.ts';
import { signOut } from '#app/sign-out.ts';
import { formatInstant } from '#core/instant.ts';
import { cookieNameFor, endedCookie, sessionCookie } from '#identity/web-session.ts';
import { map, type Handlers } from './handler.ts';
import { presentMe } from './present.ts';

type Names =
  | 'inspectLink'
  | 'startEnrolment'
  | 'finishEnrolment'
  | 'startSignIn'
  | 'signIn'
  | 'signOut'
  | 'authorizeCli';

export const signInHandlers: Pick<Handlers, Names> = {
  inspectLink: async ({ app, body }) =>
    map(await inspectLink(app, body.token), (link) => ({
      kind: link.kind,
      principal: link.principal ?? null,
      expiresAt: formatInstant(link.expiresAt),
    })),

  startEnrolment: async ({ app, body }) =>
    map(await startEnrolment(app, { token: body.token, handle: body.handle, name: body.name }), presentCeremony),

  finishEnrolment: async ({ app, body, address }) =>
    await signedIn(app, address, await finishEnrolment(app, { ...body, address })),

  startSignIn: async ({ app }) => ({ kind: 'done', value: presentCeremony(await startSignIn(app)) }),

  signIn: async ({ app, body, address }) => await signedIn(app, address, await signIn(app, { ...body, address })),

  signOut: async ({ app, caller }) => {
    await signOut(app, caller);
    return caller.session.kind === 'web'
      ? { kind: 'done', value: {}, setCookie: endedCookie(cookieNameFor(app.site.publicUrl)) }
      : { kind: 'done', value: {} };
  },

  authorizeCli: async ({ app, caller, body }) =>
    map(await authorizeCli(app, caller, body), (redirectTo) => ({ redirectTo })),
};

function presentCeremony({ ceremony, options, expiresAt }: Ceremony) {
  // Identity makes the options, and they are the object that WebAuthn Level 3 describes.
  return { ceremony, options: options as Readonly<Record<string, unknown>>, expiresAt: formatInstant(expiresAt) };
}

/** The cookie, and who it is for, read back the way the next request will be. */
async function signedIn(app: AppContext, address: string, outcome: Outcome<SignedIn>) {
  if (outcome.kind === 'refused') return outcome;
  const { token } = outcome.value;
  const caller = await authenticateWeb(app, { cookie: token.reveal(), address });
  if (caller === undefined) throw new Error('sign in: the new sign-in is not live');
  return {
    kind: 'done' as const,
    value: await presentMe(app, caller),
    setCookie: sessionCookie(cookieNameFor(app.site.publicUrl), token),
  };
}

/** The mock's sign-in, enrolment and people. */
import { encodeBase64Url } from '#core/base64.ts';
import { type Handlers, Refusal } from './mock-handlers.ts';
import { addPerson, at, id, meOf, personOf, random, record, type World } from './mock-world.ts';

const challenge = () => encodeBase64Url(random(32));

/** The challenge that the browser says it signed (WebAuthn Level 3 §5.8.1). */
export function signedChallenge(response: Record<string, unknown>): string | undefined {
  const inner = response['response'] as Record<string, unknown> | undefined;
  const encoded = inner?.['clientDataJSON'];
  if (typeof encoded !== 'string') return undefined;
  const data = JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8')) as Record<string, unknown>;
  return typeof data['challenge'] === 'string' ? data['challenge'] : undefined;
}

export function peopleHandlers(
  world: World,
): Pick<
  Handlers,
  | 'about'
  | 'me'
  | 'inspectLink'
  | 'startEnrolment'
  | 'finishEnrolment'
  | 'startSignIn'
  | 'signIn'
  | 'signOut'
  | 'authorizeCli'
  | 'listPrincipals'
  | 'getPrincipal'
> {
  const linkOf = (token: string) => {
    const link = world.links.get(token);
    if (link === undefined) throw new Refusal('not_found', 'look up a one-time link: there is none');
    return link;
  };
  const begin = (who: { handle: string; name: string } | undefined) => {
    const ceremony = { id: `c${world.ceremonies.size}`, challenge: challenge() };
    world.ceremonies.set(ceremony.id, { challenge: ceremony.challenge, who });
    return ceremony;
  };
  const finish = (ceremony: string, response: Record<string, unknown>) => {
    const begun = world.ceremonies.get(ceremony);
    world.ceremonies.delete(ceremony);
    if (begun === undefined || signedChallenge(response) !== begun.challenge)
      throw new Refusal('sign_in_failed', 'sign in with a passkey: the answer does not fit');
    return begun;
  };
  return {
    about: () => ({
      name: 'sallyport',
      version: '0.1.0',
      publicUrl: 'http://localhost',
      logKey: 'localhost+00000000+AAAA',
      postgres: { host: 'localhost', port: 6432 },
    }),
    me: (_, call) => meOf(world, call.session),
    inspectLink: ({ body }) => {
      const { person, expiresAt } = linkOf(body.token);
      if (person === undefined) return { kind: 'bootstrap', principal: null, expiresAt };
      return { kind: 'enrolment', principal: { handle: person.handle, name: person.name }, expiresAt };
    },
    startEnrolment: ({ body }) => {
      const { person } = linkOf(body.token);
      const who = person ?? body;
      if (who.handle === undefined || who.name === undefined)
        throw new Refusal('invalid_input', 'enrol: the first administrator says handle and name');
      const begun = begin({ handle: who.handle, name: who.name });
      return {
        ceremony: begun.id,
        expiresAt: at(300),
        options: {
          challenge: begun.challenge,
          rp: { id: 'localhost', name: 'Sallyport' },
          user: { id: encodeBase64Url(random(16)), name: who.handle, displayName: who.name },
          // COSE algorithms ES256 and RS256: with fewer, Chromium complains on its console.
          pubKeyCredParams: [
            { type: 'public-key', alg: -7 },
            { type: 'public-key', alg: -257 },
          ],
          authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
          attestation: 'none',
          timeout: 60_000,
        },
      };
    },
    finishEnrolment: ({ body }, call) => {
      const { person: invited } = linkOf(body.token);
      const { who } = finish(body.ceremony, body.response);
      const person =
        invited ??
        addPerson(world, { ...(who ?? { handle: 'x', name: 'x' }), groups: ['admins'], isAdministrator: true });
      world.links.delete(body.token);
      world.passkeys.set(String(body.response['id']), person.id);
      world.people.set(person.id, {
        ...person,
        state: 'active',
        lastSignInAt: at(),
        authenticators: [
          ...person.authenticators,
          { id: id('authenticator'), name: body.authenticatorName, createdAt: at(), lastUsedAt: null, revokedAt: null },
        ],
      });
      record(
        world,
        'authenticator.enrolled',
        `${person.handle} enrolled the passkey ${body.authenticatorName}`,
        person,
        {
          principal: person.id,
        },
      );
      return meOf(world, call.signIn(person.id));
    },
    startSignIn: () => {
      const begun = begin(undefined);
      return {
        ceremony: begun.id,
        expiresAt: at(300),
        options: { challenge: begun.challenge, rpId: 'localhost', userVerification: 'required', timeout: 60_000 },
      };
    },
    signIn: ({ body }, call) => {
      finish(body.ceremony, body.response);
      const principal = world.passkeys.get(String(body.response['id']));
      if (principal === undefined) throw new Refusal('sign_in_failed', 'sign in with a passkey: it is not known here');
      const person = personOf(world, principal);
      record(world, 'sign_in.succeeded', `${person.handle} signed in`, person, { principal });
      return meOf(world, call.signIn(principal));
    },
    signOut: (_, call) => {
      call.signOut();
      return {};
    },
    authorizeCli: ({ body }, call) => {
      const age = (Date.now() - Date.parse(call.session.provenAt)) / 1000;
      if (age > world.freshSeconds)
        throw new Refusal('fresh_sign_in_needed', 'sign in the CLI: the sign-in is too old');
      const to = new URL(body.redirectUri);
      to.searchParams.set('code', 'mock-code');
      to.searchParams.set('state', body.state);
      to.searchParams.set('iss', 'http://localhost');
      return { redirectTo: to.href };
    },
    listPrincipals: ({ query }, call) => {
      if (!call.person.isAdministrator) throw new Refusal('forbidden', 'list people: only administrators do');
      const found = [...world.people.values()].filter((person) =>
        [person.handle, person.name, ...person.groups]
          .join(' ')
          .toLowerCase()
          .includes((query.search ?? '').toLowerCase()),
      );
      return call.page(found, query);
    },
    getPrincipal: ({ params }, call) => {
      if (!call.person.isAdministrator && call.person.id !== params.id)
        throw new Refusal('not_found', 'find a person: none');
      const person = world.people.get(params.id);
      if (person === undefined) throw new Refusal('not_found', 'find a person: none');
      return person;
    },
  };
}

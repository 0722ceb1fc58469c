/**
 * A person with a browser and a passkey, in software: does at the console's API what the console's pages do there. The CLI
 * reaches it through SALLY_BROWSER (`browserCommand`), so that `sally login`, `activate` and `apply` run as they are,
 * without a real browser. The story in test/e2e has the real one.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createClient, type Client } from '#contract/client.ts';
import type { ProofAsk, ProofDone } from '#contract/views.ts';
import { createSoftwareAuthenticator } from './software-authenticator.ts';

export type PasskeyPerson = {
  readonly client: Client;
  /** Makes a passkey for the one-time link, and is signed in then. */
  readonly enrol: (link: string, as?: { readonly handle: string; readonly name: string }) => Promise<void>;
  /** A new sign-in with the passkey, for what wants a fresh one. */
  readonly signIn: () => Promise<void>;
  /** Reads what the server says and signs it. */
  readonly prove: (ask: ProofAsk) => Promise<ProofDone>;
  /** Reads what the server says; what it answers signs that and sends it. */
  readonly read: (ask: ProofAsk) => Promise<() => Promise<ProofDone>>;
  /** For SALLY_BROWSER. */
  readonly browserCommand: string;
  readonly close: () => Promise<void>;
};

export async function newPasskeyPerson(publicUrl: string): Promise<PasskeyPerson> {
  const key = createSoftwareAuthenticator({ origin: publicUrl });
  let cookie = '';
  const client = createClient(async ({ method, url, body, signal }) => {
    const answer = await fetch(publicUrl + url, {
      method,
      headers: {
        origin: publicUrl,
        'sec-fetch-site': 'same-origin',
        ...(cookie === '' ? {} : { cookie }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body ?? null,
      signal: signal ?? null,
    });
    const set = answer.headers.getSetCookie()[0]?.split(';')[0];
    if (set !== undefined) cookie = set;
    return answer;
  });

  const read: PasskeyPerson['read'] = async (ask) => {
    const offer = await client.offerProof({ body: ask });
    return () => client.useProof({ params: { id: offer.id }, body: { assertion: key.assert(offer.options) } });
  };
  const prove: PasskeyPerson['prove'] = async (ask) => (await read(ask))();

  /** What a person does at a page that the CLI opens. */
  const visit = async (page: URL): Promise<void> => {
    const { pathname, searchParams: query } = page;
    const [, what, id = ''] = pathname.split('/');
    if (what === 'authorize') {
      const { redirectTo } = await client.authorizeCli({
        body: {
          redirectUri: query.get('redirect_uri') ?? '',
          codeChallenge: query.get('code_challenge') ?? '',
          codeChallengeMethod: 'S256',
          state: query.get('state') ?? '',
          dpopJkt: query.get('dpop_jkt') ?? '',
          machine: query.get('machine') ?? '',
        },
      });
      await fetch(redirectTo);
    } else if (what === 'grants') await prove({ purpose: 'activate_grant', grant: id });
    else if (what === 'plans') await prove({ purpose: 'change_configuration', plan: id });
    else throw new Error(`there is nothing to do at ${pathname}`);
  };

  const failures: unknown[] = [];
  const door = createServer((request, response) => {
    visit(new URL(new URL(request.url ?? '/', 'http://door').searchParams.get('page') ?? ''))
      .catch((error: unknown) => failures.push(error))
      .finally(() => response.end());
  });
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  const address = door.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has a port');

  return {
    client,
    prove,
    read,
    signIn: async () => {
      const { ceremony, options } = await client.startSignIn();
      await client.signIn({ body: { ceremony, response: key.assert(options) } });
    },
    enrol: async (link, as) => {
      const token = new URL(link).hash.slice(1);
      const ceremony = await client.startEnrolment({ body: { token, ...as } });
      await client.finishEnrolment({
        body: {
          token,
          ceremony: ceremony.ceremony,
          response: key.register(ceremony.options),
          authenticatorName: 'a passkey in software',
        },
      });
    },
    browserCommand: `${process.execPath} ${join(import.meta.dirname, 'fake-browser.ts')} http://127.0.0.1:${address.port}/?page=`,
    close: async () => {
      door.close();
      door.closeAllConnections();
      await once(door, 'close');
      if (failures.length > 0) throw new AggregateError(failures, 'something failed at a page');
    },
  };
}

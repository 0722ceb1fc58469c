/**
 * The API on a real port over a `testApp`, and callers that speak HTTP as browsers and the CLI do, byte for byte where a
 * test wants that.
 */
import { createHash, generateKeyPairSync, randomBytes, type JsonWebKey } from 'node:crypto';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { calculateJwkThumbprint, importJWK, SignJWT } from 'jose';
import type { ApiEvents } from '#api/implement.ts';
import { startApi, type ApiOptions, type RunningApi } from '#api/server.ts';
import { urlOf } from '#contract/client.ts';
import type { Endpoint } from '#contract/endpoint.ts';
import { endpoints, type EndpointName } from '#contract/endpoints.ts';
import { cookieNameFor } from '#identity/web-session.ts';
import { testApp, type TestApp, type TestAppOptions, type TestPerson } from './app.ts';
import type { Cleanup } from './postgres.ts';

export type Reply = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of an error. */
  readonly code: string | undefined;
  readonly json: () => Record<string, unknown>;
};

export type RawRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
};

/** How a caller shows who it is. */
export type As =
  | { readonly kind: 'stranger' }
  /** The console in a browser. */
  | { readonly kind: 'web'; readonly cookie: string }
  /** The CLI. */
  | { readonly kind: 'cli'; readonly token: string; readonly machine: Machine; readonly withoutProof?: true };

export const stranger: As = { kind: 'stranger' };
export const web = (person: { readonly cookie: string }): As => ({ kind: 'web', cookie: person.cookie });

type Input = { readonly params?: object; readonly query?: object; readonly body?: unknown };

export type TestApi = TestApp & {
  readonly running: RunningApi;
  readonly publicUrl: string;
  readonly faults: Parameters<ApiEvents['fault']>[0][];
  readonly answered: Parameters<ApiEvents['answered']>[0][];
  readonly send: (request: RawRequest) => Promise<Reply>;
  readonly call: (as: As, name: EndpointName, input?: Input) => Promise<Reply>;
  /** `sally login`, the whole of it. */
  readonly signInCli: (
    person: TestPerson,
  ) => Promise<As & { readonly kind: 'cli' } & { readonly refreshToken: string }>;
  readonly headersOf: (as: As, method: string, path: string) => Promise<Record<string, string>>;
};

export async function testApi(
  t: Cleanup,
  options: TestAppOptions & {
    readonly api?: Partial<Pick<ApiOptions, 'webRoot' | 'trustedProxies' | 'ready' | 'metrics' | 'limits' | 'tls'>>;
  } = {},
): Promise<TestApi> {
  const faults: TestApi['faults'] = [];
  const answered: TestApi['answered'] = [];
  let app: TestApp | undefined;
  let started: RunningApi | undefined;
  // Hooks run in the order they were added, and the database goes after those who use it.
  t.after(async () => await started?.stop());
  const running = await startApi({
    app: async (port) => {
      app = await testApp(t, {
        publicUrl: `${options.api?.tls === undefined ? 'http' : 'https'}://localhost:${port}`,
        ...options,
      });
      return app.ctx;
    },
    version: '0.0.0-test',
    listen: { host: '127.0.0.1', port: 0 },
    trustedProxies: [],
    ready: () => Promise.resolve(undefined),
    events: { answered: (event) => void answered.push(event), fault: (event) => void faults.push(event) },
    checkAnswers: true,
    ...options.api,
    limits: { stopMs: 2000, ...options.api?.limits },
  });
  if (app === undefined) throw new Error('start the API: it has not asked for its context');
  started = running;
  const { port } = running;
  const { publicUrl } = app.ctx.site;

  const send: TestApi['send'] = ({ method, path, headers = {}, body }) =>
    new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          host: '127.0.0.1',
          port,
          method,
          path,
          setHost: false,
          headers: { host: new URL(publicUrl).host, ...headers },
          agent: false,
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            resolve({
              status: incoming.statusCode ?? 0,
              headers: incoming.headers,
              text,
              code: codeOf(text),
              json: () => JSON.parse(text) as Record<string, unknown>,
            });
          });
        },
      );
      request.on('error', reject);
      request.end(body);
    });

  const headersOf: TestApi['headersOf'] = async (as, method, path): Promise<Record<string, string>> => {
    switch (as.kind) {
      case 'stranger':
        return {};
      case 'web':
        return {
          cookie: `${cookieNameFor(publicUrl)}=${as.cookie}`,
          'sec-fetch-site': 'same-origin',
          ...(method === 'POST' ? { origin: publicUrl } : {}),
        };
      case 'cli':
        return {
          authorization: `DPoP ${as.token}`,
          ...(as.withoutProof === true
            ? {}
            : { dpop: await as.machine.proof({ method, url: publicUrl + path, token: as.token }) }),
        };
      default:
        return as satisfies never;
    }
  };

  const call: TestApi['call'] = async (as, name, input) => {
    const endpoint: Endpoint = endpoints[name];
    const path = urlOf(endpoint, input);
    const auth = await headersOf(as, endpoint.method, path.split('?')[0] ?? path);
    return await send({
      method: endpoint.method,
      path,
      headers: { ...auth, ...(endpoint.body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(endpoint.body === undefined ? {} : { body: JSON.stringify(input?.body ?? {}) }),
    });
  };

  const theApp = app;
  const signInCli: TestApi['signInCli'] = async (person) => {
    const machine = await newMachine(theApp.clock);
    const verifier = randomBytes(32).toString('base64url');
    const redirectUri = 'http://127.0.0.1:49152/callback';
    const consented = await call(web({ cookie: await theApp.signInWeb(person) }), 'authorizeCli', {
      body: {
        redirectUri,
        codeChallenge: createHash('sha256').update(verifier).digest('base64url'),
        codeChallengeMethod: 'S256',
        state: randomBytes(16).toString('base64url'),
        dpopJkt: machine.jkt,
        machine: 'laptop',
      },
    });
    const code = new URL(String(consented.json()['redirectTo'])).searchParams.get('code') ?? '';
    const tokens = await tokenRequest(
      { send, publicUrl },
      machine,
      new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: 'sally-cli',
        code,
        redirect_uri: redirectUri,
        code_verifier: verifier,
      }),
    );
    const { access_token: token, refresh_token: refreshToken } = tokens.json();
    if (typeof token !== 'string' || typeof refreshToken !== 'string') throw new Error(`sign in: ${tokens.text}`);
    return { kind: 'cli', token, refreshToken, machine };
  };

  return { ...app, running, publicUrl, faults, answered, send, call, signInCli, headersOf };
}

export async function tokenRequest(
  api: Pick<TestApi, 'send' | 'publicUrl'>,
  machine: Machine,
  form: URLSearchParams,
): Promise<Reply> {
  return await api.send({
    method: 'POST',
    path: '/oauth/token',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      dpop: await machine.proof({ method: 'POST', url: `${api.publicUrl}/oauth/token` }),
    },
    body: form.toString(),
  });
}

/** The key of a machine (RFC 9449). */
export type Machine = {
  readonly jkt: string;
  readonly proof: (of: {
    readonly method: string;
    readonly url: string;
    readonly token?: string;
    readonly jti?: string;
  }) => Promise<string>;
};

/** @param clock that its proofs are dated by; default: the true time */
export async function newMachine(clock: { readonly now: () => number } = Date): Promise<Machine> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = publicKey.export({ format: 'jwk' }) as JsonWebKey & { kty: string };
  const key = await importJWK(privateKey.export({ format: 'jwk' }) as typeof jwk, 'ES256');
  return {
    jkt: await calculateJwkThumbprint(jwk),
    proof: ({ method, url, token, jti }) =>
      new SignJWT({
        htm: method,
        htu: url,
        jti: jti ?? randomBytes(16).toString('base64url'),
        ...(token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') }),
      })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .setIssuedAt(Math.floor(clock.now() / 1000))
        .sign(key),
  };
}

function codeOf(text: string): string | undefined {
  try {
    const value = JSON.parse(text) as { readonly error?: { readonly code?: unknown } | string };
    if (typeof value.error === 'string') return value.error;
    return typeof value.error?.code === 'string' ? value.error.code : undefined;
  } catch {
    return undefined;
  }
}

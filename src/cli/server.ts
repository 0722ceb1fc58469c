/**
 * Talking to a Sallyport server as the person signed in on this machine: each request carries the access token and a DPoP
 * proof of the machine's key. A token that is over is refreshed first; one that the server doesn't take any more is
 * refreshed once and the request sent again.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import tls from 'node:tls';
import { createClient, parseError, urlOf, type Client, type HttpRequest } from '#contract/client.ts';
import type { Endpoint } from '#contract/endpoint.ts';
import type { Cli } from './cli.ts';
import { codeOf, withLock } from './config-folder.ts';
import { attempt, CliError } from './exit.ts';
import { machineKey, type MachineKey } from './machine-key.ts';
import { chooseServer, readServer, serverFile, writeServer, type KnownServer, type SignIn } from './servers.ts';

export type Server = {
  /** Its origin. */
  readonly url: string;
  readonly known: KnownServer | undefined;
  readonly client: Client;
  /** An answer too large to hold, read piece by piece. */
  readonly stream: (endpoint: Endpoint, signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>;
  /** The page of the console with that path. */
  readonly page: (path: string) => string;
};

/** The client id of the CLI at the token endpoint. */
export const clientId = 'sally-cli';
/** Refreshed before it is over, so that it doesn't end on its way. */
const refreshAheadMs = 20_000;

/** The server to talk to. `signedIn`: refuse at once when there is no sign-in. */
export async function openServer(cli: Cli, needs: 'signed-in' | 'anybody'): Promise<Server> {
  const url = await chooseServer(cli.env, cli.shared().server);
  const known = await readServer(cli.env, url);
  trustCa(cli, url, known?.caFile);
  if (needs === 'signed-in' && known?.signIn === undefined) throw notSignedIn(url);
  const send = createSignedSend(cli, url);
  return {
    url,
    known,
    client: createClient(send),
    stream: async (endpoint, signal) => {
      const request = { method: endpoint.method, url: urlOf(endpoint, undefined), body: undefined, signal };
      const answer = await send(request);
      if (!answer.ok) throw parseError(answer.status, await answer.text());
      if (answer.body === null) throw new CliError('unreachable', `read ${request.url}: the answer is empty`);
      return answer.body;
    },
    page: (path) => `${url}${path}`,
  };
}

export const notSignedIn = (url: string): CliError =>
  new CliError('not_signed_in', `you are not signed in at ${url}`, { hint: 'sign in with `sally login`' });

/** Makes Node trust the CA of a file as well, for the whole process: the CLI talks to one server. */
export function trustCa(cli: Cli, url: string, known: string | undefined): string | undefined {
  const named = cli.env['SALLY_CA_FILE'];
  const file = named === undefined || named === '' ? known : resolve(named);
  if (!url.startsWith('https:')) return file;
  // What the organisation put into the system's store counts as well as what Node brings along.
  const roots = [...tls.getCACertificates('default'), ...tls.getCACertificates('system')];
  const hint = 'SALLY_CA_FILE names a PEM file with the root that the server’s certificate chains to';
  if (file !== undefined)
    try {
      const pem = readFileSync(file, 'utf8');
      // Node skips over what is no certificate without a word.
      if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new Error('there is no certificate in it');
      roots.push(pem);
    } catch (cause) {
      throw new CliError(
        'usage',
        `read the CA certificate \`${file}\`: ${codeOf(cause) ?? (cause instanceof Error ? cause.message : String(cause))}`,
        {
          hint,
          cause,
        },
      );
    }
  try {
    tls.setDefaultCACertificates(roots);
  } catch (cause) {
    throw new CliError('usage', `trust the CA certificate \`${file ?? ''}\`: it is no certificate in PEM`, {
      hint,
      cause,
    });
  }
  return file;
}

/** Without a sign-in: only what strangers may ask. */
export function createStrangerClient(url: string): Client {
  return createClient((request) => request_(url, request, {}));
}

function createSignedSend(cli: Cli, url: string): (request: HttpRequest) => Promise<Response> {
  let key: MachineKey | undefined;
  // How far the server's clock is ahead of ours, as its last answer said: proofs carry the server's time.
  let aheadMs = 0;

  const nowSeconds = () => Math.floor((cli.now() + aheadMs) / 1000);
  const send = async (request: HttpRequest, signIn: SignIn): Promise<Response> => {
    key ??= await machineKey(cli.env);
    const proof = await key.prove({
      method: request.method,
      url: url + request.url,
      accessToken: signIn.accessToken,
      nowSeconds: nowSeconds(),
    });
    return request_(url, request, { authorization: `DPoP ${signIn.accessToken}`, dpop: proof });
  };

  const refresh = (used: SignIn): Promise<SignIn> =>
    withLock(serverFile(cli.env, url), async () => {
      const known = await readServer(cli.env, url);
      if (known?.signIn === undefined) throw notSignedIn(url);
      // Another process was faster. A refresh token works once: two that send the same one end the sign-in.
      if (known.signIn.accessToken !== used.accessToken) return known.signIn;
      key ??= await machineKey(cli.env);
      const tokens = await requestTokens(
        cli,
        url,
        key,
        { grant_type: 'refresh_token', refresh_token: known.signIn.refreshToken },
        nowSeconds(),
      );
      if ('error' in tokens) {
        if (tokens.error !== 'invalid_grant') throw new CliError('refused', `renew the sign-in: ${tokens.error}`);
        const { signIn: _ended, ...rest } = known;
        await writeServer(cli.env, rest);
        throw new CliError('not_signed_in', `your sign-in at ${url} is over`, { hint: 'sign in with `sally login`' });
      }
      const renewed = { ...known.signIn, ...tokens };
      await writeServer(cli.env, { ...known, signIn: renewed });
      return renewed;
    });

  return async (request) => {
    let signIn = (await readServer(cli.env, url))?.signIn;
    if (signIn === undefined) return request_(url, request, {});
    if (signIn.accessUntil - refreshAheadMs < cli.now()) signIn = await refresh(signIn);
    const answer = await send(request, signIn);
    if (answer.status !== 401) return answer;
    const text = await answer.text();
    if (parseError(401, text).code !== 'invalid_token') return new Response(text, { status: 401 });
    const date = Date.parse(answer.headers.get('date') ?? '');
    const ahead = Number.isNaN(date) ? 0 : date - cli.now();
    if (Math.abs(ahead - aheadMs) > 5000) {
      // Our clock is wrong: the proof was too old or from the future. The token may be well.
      aheadMs = ahead;
      const again = await send(request, signIn);
      if (again.status !== 401) return again;
    }
    return send(request, await refresh(signIn));
  };
}

export type Tokens = Pick<SignIn, 'accessToken' | 'accessUntil' | 'refreshToken'>;

/** One request at the token endpoint (RFC 6749 §4.1.3 and §6), with a DPoP proof. */
export async function requestTokens(
  cli: Cli,
  url: string,
  key: MachineKey,
  form: Readonly<Record<string, string>>,
  nowSeconds = Math.floor(cli.now() / 1000),
): Promise<Tokens | { readonly error: string }> {
  const proof = await key.prove({ method: 'POST', url: `${url}/oauth/token`, nowSeconds });
  const answer = await oauth(url, '/oauth/token', { ...form, client_id: clientId }, proof);
  const document = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  if (!answer.ok) {
    const { error, error_description: description } = document;
    if (typeof error !== 'string')
      throw new CliError('unreachable', `get a token from ${url}: it answered with HTTP ${answer.status}`);
    return { error: error === 'invalid_grant' || typeof description !== 'string' ? error : `${error}: ${description}` };
  }
  const { access_token: accessToken, refresh_token: refreshToken, expires_in: expiresIn, token_type: type } = document;
  if (
    typeof accessToken !== 'string' ||
    typeof refreshToken !== 'string' ||
    typeof expiresIn !== 'number' ||
    typeof type !== 'string' ||
    // RFC 6749 §5.1: the type is compared without regard to case.
    type.toLowerCase() !== 'dpop'
  )
    throw new CliError('unreachable', `get a token from ${url}: it answered something that is no DPoP token`);
  return { accessToken, refreshToken, accessUntil: cli.now() + expiresIn * 1000 };
}

/** Ends the sign-in at the server (RFC 7009). */
export async function revokeTokens(url: string, refreshToken: string): Promise<void> {
  const answer = await oauth(url, '/oauth/revoke', { token: refreshToken, client_id: clientId }, undefined);
  await answer.body?.cancel();
}

function oauth(
  url: string,
  path: string,
  form: Readonly<Record<string, string>>,
  proof: string | undefined,
): Promise<Response> {
  return reach(url, () =>
    fetch(url + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
        ...(proof === undefined ? {} : { dpop: proof }),
      },
      body: new URLSearchParams(form).toString(),
      redirect: 'error',
    }),
  );
}

function request_(url: string, request: HttpRequest, headers: Readonly<Record<string, string>>): Promise<Response> {
  return reach(url, () =>
    fetch(url + request.url, {
      method: request.method,
      headers: { ...headers, ...(request.body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: request.body ?? null,
      signal: request.signal ?? null,
      // A token is for this server: it isn't sent wherever an answer points.
      redirect: 'error',
    }),
  );
}

async function reach(url: string, run: () => Promise<Response>): Promise<Response> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')) throw error;
    throw unreachable(url, error);
  }
}

function unreachable(url: string, error: unknown): CliError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = codeOf(cause) ?? codeOf(cause instanceof AggregateError ? cause.errors[0] : undefined) ?? '';
  if (code === 'ECONNREFUSED')
    return new CliError('unreachable', `reach ${url}: nothing listens there`, {
      hint: 'start it with `sally up`, or name another server with --server URL or SALLY_SERVER',
      cause: error,
    });
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new CliError('unreachable', `reach ${url}: the name \`${new URL(url).hostname}\` is not known`, {
      hint: 'name another server with --server URL or SALLY_SERVER',
      cause: error,
    });
  if (/CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS/.test(code))
    return new CliError('unreachable', `reach ${url}: its certificate is not trusted (${code})`, {
      hint: 'SALLY_CA_FILE names the PEM file of the root it chains to',
      cause: error,
    });
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CliError('unreachable', `reach ${url}: ${code === '' ? reason : code}`, {
    hint: '`sally doctor` looks for the reason',
    cause: error,
  });
}

/** All pages of a list, up to `limit` items. */
export async function allPages<T>(
  what: string,
  limit: number,
  fetchPage: (
    cursor: string | undefined,
    limit: number,
  ) => Promise<{ readonly items: readonly T[]; readonly next: string | null }>,
): Promise<{ readonly items: readonly T[]; readonly next: string | null }> {
  const items: T[] = [];
  let cursor: string | undefined;
  for (;;) {
    const at = cursor;
    const page = await attempt(what, () => fetchPage(at, Math.min(200, limit - items.length)));
    items.push(...page.items);
    if (page.next === null || items.length >= limit) return { items, next: page.next };
    cursor = page.next;
  }
}

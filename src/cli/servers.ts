/** The servers this machine knows: which one to talk to, what was learnt about each, and the sign-in there. */
import { join } from 'node:path';
import { configFolder, readText, writeText, type Environment } from './config-folder.ts';
import { CliError } from './exit.ts';

/** A sign-in: tokens bound to the machine's key. Times are milliseconds on this machine's clock. */
export type SignIn = {
  readonly accessToken: string;
  readonly accessUntil: number;
  readonly refreshToken: string;
  readonly signedInAt: number;
};

export type KnownServer = {
  readonly v: 1;
  /** Its origin: scheme, host and port. */
  readonly url: string;
  /** The verifier key of its log, as it was at the first sign-in. A change of it is an alarm, not an update. */
  readonly logKey: string;
  /** A CA certificate file of ours that its certificate chains to, if any. */
  readonly caFile?: string;
  readonly signIn?: SignIn;
};

type Preferences = {
  readonly v: 1;
  /** The server of the last sign-in. */
  readonly server?: string;
  /** Other addresses of servers, and the name each goes by. */
  readonly aliases?: Readonly<Record<string, string>>;
};

export const defaultServer = 'http://localhost:7700';

const preferencesFile = (env: Environment) => join(configFolder(env), 'config.json');

/** Where things about a server are kept, without an extension: `servers/http_localhost_7700`. */
export function serverPath(env: Environment, url: string): string {
  return join(configFolder(env), 'servers', url.replace('://', '_').replace(/[^A-Za-z0-9.-]/g, '_'));
}

export const serverFile = (env: Environment, url: string): string => `${serverPath(env, url)}.json`;

/** The origin that a text names. Plain http is for this machine alone: tokens and passwords travel here. */
export function parseServerUrl(text: string, from: string): string {
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`);
  } catch {
    throw new CliError('usage', `use the server of ${from}: \`${text}\` is not a URL`, {
      hint: 'write it as in https://sally.example.com',
    });
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new CliError('usage', `use the server of ${from}: \`${text}\` is neither https nor http`);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '' || url.pathname !== '/')
    throw new CliError('usage', `use the server of ${from}: \`${text}\` is more than scheme, host and port`, {
      hint: `write ${url.origin}`,
    });
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    throw new CliError('usage', `use the server of ${from}: \`${text}\` is not encrypted`, {
      hint: `write https://${url.host}; plain http is for localhost alone`,
    });
  return url.origin;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host.endsWith('.localhost') || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** The server to talk to: the flag, the environment, the last sign-in, localhost. */
export async function chooseServer(env: Environment, flag: string | undefined): Promise<string> {
  const preferences = await readPreferences(env);
  const named =
    flag !== undefined
      ? parseServerUrl(flag, '--server')
      : env['SALLY_SERVER'] !== undefined && env['SALLY_SERVER'] !== ''
        ? parseServerUrl(env['SALLY_SERVER'], 'SALLY_SERVER')
        : (preferences.server ?? defaultServer);
  return preferences.aliases?.[named] ?? named;
}

/** Remembers the server as the one to talk to, and under which other address it was reached. */
export async function preferServer(env: Environment, url: string, reachedAs: string): Promise<void> {
  const preferences = await readPreferences(env);
  const aliases = { ...preferences.aliases, ...(reachedAs === url ? {} : { [reachedAs]: url }) };
  await writeText(preferencesFile(env), `${JSON.stringify({ v: 1, server: url, aliases }, undefined, 2)}\n`);
}

async function readPreferences(env: Environment): Promise<Preferences> {
  return (await readDocument<Preferences>(preferencesFile(env))) ?? { v: 1 };
}

export async function readServer(env: Environment, url: string): Promise<KnownServer | undefined> {
  return readDocument<KnownServer>(serverFile(env, url));
}

export async function writeServer(env: Environment, server: KnownServer): Promise<void> {
  await writeText(serverFile(env, server.url), `${JSON.stringify(server, undefined, 2)}\n`);
}

// These files are written by this program alone, in one step: what isn't ours by its version is damage, not input.
async function readDocument<T extends { readonly v: 1 }>(file: string): Promise<T | undefined> {
  const text = await readText(file);
  if (text === undefined) return undefined;
  try {
    const document = JSON.parse(text) as T;
    if (document.v === 1) return document;
  } catch {
    // Falls through to the refusal.
  }
  throw new CliError('fault', `read \`${file}\`: it is damaged, or of another version of sally`, {
    hint: 'delete that file and sign in again with `sally login`',
  });
}

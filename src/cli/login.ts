/**
 * `sally login`: authorization code with PKCE (RFC 7636) over a loopback redirect (RFC 8252). The passkey stays in the
 * browser; what comes back here is a code that only this process can redeem, for tokens that only this machine can use.
 */
import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { openInBrowser } from './browser.ts';
import type { Cli } from './cli.ts';
import { withLock } from './config-folder.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { listenOnLoopback } from './loopback.ts';
import { machineKey } from './machine-key.ts';
import { timeoutOption } from './parse-values.ts';
import { json, line } from './screen.ts';
import { createStrangerClient, openServer, requestTokens, revokeTokens, trustCa } from './server.ts';
import { chooseServer, parseServerUrl, preferServer, readServer, serverFile, writeServer } from './servers.ts';
import { clockTime } from './times.ts';
import { waitFor } from './waiting.ts';

type Flags = { readonly browser: boolean; readonly timeout: number; readonly newLogKey?: true };

export function addLogin(program: Command, cli: Cli): void {
  examples(
    program
      .command('login')
      .summary('sign in on this machine, with your passkey in the browser')
      .description(
        'Signs you in on this machine. Your browser opens, you consent there with your passkey, and this machine gets a ' +
          'token bound to a key that never leaves it. The sign-in lasts 12 hours at most.',
      )
      .argument('[server]', 'where to sign in; as with --server')
      .option('--no-browser', 'print the address of the page only')
      .addOption(timeoutOption('how long to wait for the browser', '5m'))
      .option('--new-log-key', 'accept that the log of the server has a new key: you know that it was set up anew')
      .action((server: string | undefined, flags: Flags) => login(cli, server, flags)),
    ['sign in at the server on this machine', 'sally login'],
    ['sign in elsewhere; later commands go there too', 'sally login https://sally.example.com'],
  );
}

async function login(cli: Cli, argument: string | undefined, flags: Flags): Promise<void> {
  const reachedAs = await chooseServer(cli.env, argument ?? cli.shared().server);
  const before = await readServer(cli.env, reachedAs);
  const caFile = trustCa(cli, reachedAs, before?.caFile);
  const about = await attempt(`ask ${reachedAs} who it is`, () => createStrangerClient(reachedAs).about());
  const url = parseServerUrl(about.publicUrl, `the public URL of ${reachedAs}`);
  // A proof names the URL that it is for, and passkeys belong to an origin: from here on the server has one name.
  if (url !== reachedAs) {
    trustCa(cli, url, caFile);
    const there = await attempt(`ask ${url} who it is`, () => createStrangerClient(url).about());
    if (there.logKey !== about.logKey)
      throw new CliError(
        'refused',
        `sign in at ${reachedAs}: it calls itself ${url}, but another server answers there`,
      );
  }
  const known = await readServer(cli.env, url);
  if (known !== undefined && known.logKey !== about.logKey && flags.newLogKey !== true)
    throw new CliError('refused', `sign in at ${url}: its log has another key than at your last sign-in`, {
      hint: 'if it was set up anew, sign in with --new-log-key; if not, somebody may have replaced it',
    });

  const key = await machineKey(cli.env);
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(24).toString('base64url');
  const loopback = await listenOnLoopback({ state, issuer: url });
  try {
    const page = new URL('/authorize', url);
    page.search = new URLSearchParams({
      redirect_uri: loopback.redirectUri,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      state,
      dpop_jkt: key.thumbprint,
      machine: hostname().slice(0, 200) || 'a machine without a name',
    }).toString();
    const opened = await openInBrowser(cli, page.href, { open: flags.browser });
    const code = await waitFor(
      cli,
      { what: 'sign in', timeoutMs: flags.timeout, hint: 'run `sally login` again' },
      async (signal, live) => {
        live.say(opened ? 'waiting for you in the browser' : 'waiting for you at that page');
        return Promise.race([loopback.code, aborted(signal)]);
      },
    );
    const tokens = await requestTokens(cli, url, key, {
      grant_type: 'authorization_code',
      code,
      redirect_uri: loopback.redirectUri,
      code_verifier: verifier,
    });
    if ('error' in tokens) throw new CliError('refused', `sign in at ${url}: the code was refused (${tokens.error})`);
    await withLock(serverFile(cli.env, url), () =>
      writeServer(cli.env, {
        v: 1,
        url,
        logKey: about.logKey,
        ...(caFile === undefined ? {} : { caFile }),
        signIn: { signedInAt: cli.now(), ...tokens },
      }),
    );
    await preferServer(cli.env, url, reachedAs);
    // The sign-in that this one replaces is of no use any more.
    if (known?.signIn !== undefined) await revokeTokens(url, known.signIn.refreshToken).catch(() => {});
  } finally {
    loopback.close();
  }

  const server = await openServer({ ...cli, shared: () => ({ ...cli.shared(), server: url }) }, 'signed-in');
  const me = await attempt('ask who you are', () => server.client.me());
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, me);
  line(out, 'Signed in at ', url, ' as ', { text: me.principal.handle, colour: 'bold' }, ` (${me.name})`);
  line(out, {
    text: `until ${clockTime(me.session.expiresAt, cli.now())}; \`sally ls\` shows what you can ask for`,
    colour: 'dim',
  });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

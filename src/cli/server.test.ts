import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startMockApi, type MockApi } from '#test/support/mock-api.ts';
import type { Cli } from './cli.ts';
import { withLock } from './config-folder.ts';
import { CliError } from './exit.ts';
import { machineKey } from './machine-key.ts';
import { openServer, requestTokens } from './server.ts';
import { readServer, serverFile, writeServer } from './servers.ts';

type Home = { readonly mock: MockApi; readonly cli: Cli; readonly folder: string };

/** A home of a person who is signed in at a server of their own. */
async function signedIn(t: TestContext): Promise<Home> {
  const folder = mkdtempSync(join(tmpdir(), 'sally-cli-'));
  const mock = await startMockApi();
  t.after(async () => {
    await mock.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const silent = { write: () => {}, isTty: false, colours: false, columns: undefined };
  const cli: Cli = {
    env: { HOME: folder, XDG_CONFIG_HOME: folder },
    screen: { out: silent, err: silent, canAsk: false },
    now: Date.now,
    shared: () => ({ server: mock.url, json: false }),
  };
  const key = await machineKey(cli.env);
  const page = new URL('/authorize', mock.url);
  const verifier = 'v'.repeat(43);
  page.search = new URLSearchParams({
    redirect_uri: 'http://127.0.0.1:1/callback',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    state: 's'.repeat(32),
    dpop_jkt: key.thumbprint,
    machine: 'test',
  }).toString();
  const answer = await fetch(page, { redirect: 'manual' });
  const code = new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? '';
  const tokens = await requestTokens(cli, mock.url, key, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: 'http://127.0.0.1:1/callback',
    code_verifier: verifier,
  });
  assert.ok(!('error' in tokens), JSON.stringify(tokens));
  await writeServer(cli.env, {
    v: 1,
    url: mock.url,
    logKey: mock.logKey,
    signIn: { signedInAt: Date.now(), ...tokens },
  });
  return { mock, cli, folder };
}

test('many that find the token over at once renew it once, and none of them loses the sign-in', async (t) => {
  const { mock, cli } = await signedIn(t);
  mock.expireAccessTokens();
  const answers = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const { client } = await openServer(cli, 'signed-in');
      return client.me();
    }),
  );
  assert.deepEqual(new Set(answers.map((me) => me.principal.handle)), new Set(['ada']));
  assert.deepEqual(mock.tokenCounts, { refreshed: 1, reused: 0 });
});

test('a token that is about to be over is renewed before it is used', async (t) => {
  const { mock, cli } = await signedIn(t);
  const later: Cli = { ...cli, now: () => Date.now() + 890_000 };
  // The proof carries the time as well; the server's clock goes with it.
  mock.world.clockAheadMs = 890_000;
  const { client } = await openServer(later, 'signed-in');
  assert.equal((await client.me()).principal.handle, 'ada');
  assert.deepEqual(mock.tokenCounts, { refreshed: 1, reused: 0 });
});

test('a sign-in that the server has ended is over here too: the tokens are gone and the hint says what to do', async (t) => {
  const { mock, cli } = await signedIn(t);
  const stolen = (await readServer(cli.env, mock.url))?.signIn;
  assert.ok(stolen !== undefined);
  // Somebody else used the refresh token first.
  const key = await machineKey(cli.env);
  const form = { grant_type: 'refresh_token', refresh_token: stolen.refreshToken };
  await requestTokens(cli, mock.url, key, form);
  mock.expireAccessTokens();
  const { client } = await openServer(cli, 'signed-in');
  await assert.rejects(
    client.me(),
    (error: unknown) => error instanceof CliError && error.exit === 'not_signed_in' && error.hint !== undefined,
  );
  assert.equal((await readServer(cli.env, mock.url))?.signIn, undefined);
});

test('tokens are of no use with the key of another machine', async (t) => {
  const { mock, cli } = await signedIn(t);
  const other = mkdtempSync(join(tmpdir(), 'sally-thief-'));
  t.after(() => rmSync(other, { recursive: true, force: true }));
  const thief: Cli = { ...cli, env: { HOME: other, XDG_CONFIG_HOME: other } };
  const known = await readServer(cli.env, mock.url);
  assert.ok(known !== undefined);
  await writeServer(thief.env, known);
  const { client } = await openServer(thief, 'signed-in');
  await assert.rejects(client.me(), (error: unknown) => error instanceof CliError);
});

test('a token is not sent to where an answer redirects', async (t) => {
  const { mock, cli } = await signedIn(t);
  const elsewhere = await startMockApi();
  t.after(() => elsewhere.close());
  let asked = 0;
  elsewhere.onRequest(() => (asked += 1));
  mock.world.redirectTo = elsewhere.url;
  const { client } = await openServer(cli, 'signed-in');
  await assert.rejects(client.me(), CliError);
  await assert.rejects(client.listRoles(), CliError);
  assert.equal(asked, 0);
});

test('the lock of a process that died is broken, that of a living one is waited for', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-lock-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'thing.json');
  // A pid that no process has: the largest there can be on Linux is far below.
  writeFileSync(`${file}.lock`, '999999999 dead\n');
  assert.equal(await withLock(file, () => Promise.resolve('broke it')), 'broke it');

  // The owner lives (it is this process) but took the lock an hour ago: nothing that we do under it takes so long.
  writeFileSync(`${file}.lock`, `${process.pid} old\n`);
  const anHourAgo = new Date(Date.now() - 3_600_000);
  utimesSync(`${file}.lock`, anHourAgo, anHourAgo);
  assert.equal(await withLock(file, () => Promise.resolve('broke it')), 'broke it');

  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 10 }, () =>
      withLock(file, async () => {
        inside += 1;
        most = Math.max(most, inside);
        await new Promise((resolve) => setImmediate(resolve));
        inside -= 1;
      }),
    ),
  );
  assert.equal(most, 1);
  assert.deepEqual(readdirSync(folder), [], 'nothing is left behind');
});

test('two first runs at once make one key', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-key-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const env = { HOME: folder, XDG_CONFIG_HOME: folder };
  const keys = await Promise.all(Array.from({ length: 5 }, () => machineKey(env)));
  assert.equal(new Set(keys.map((key) => key.thumbprint)).size, 1);
});

test('a damaged file is named and nothing is guessed', async (t) => {
  const { mock, cli } = await signedIn(t);
  const file = serverFile(cli.env, mock.url);
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 20));
  await assert.rejects(openServer(cli, 'signed-in'), /is damaged/);
});

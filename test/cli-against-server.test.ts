/**
 * The command line against everything it talks to, for real: `sally up` with its sample database, the API, the gateway and
 * psql. Only the browser is in software (test/support/passkey-person.ts).
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { newPasskeyPerson, type PasskeyPerson } from './support/passkey-person.ts';

const root = resolve(import.meta.dirname, '..');
const path = [join(root, 'bin'), dirname(process.execPath), process.env['PATH']].join(delimiter);

type Ran = { readonly status: number | null; readonly out: string; readonly err: string };

test('from sally up to a verified copy of the log, with real parts', { timeout: 300_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-real-'));
  const readyFile = join(folder, 'ready.json');
  const server = spawn(
    join(root, 'bin/sally'),
    ['up', '--data', join(folder, 'data'), '--console', '127.0.0.1:0', '--postgres', '127.0.0.1:0'].concat(
      '--ready-file',
      readyFile,
    ),
    { cwd: folder, env: { ...process.env, PATH: path, HOME: folder }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let serverSaid = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => (serverSaid += text));
  const people: PasskeyPerson[] = [];
  t.after(async () => {
    for (const person of people) await person.close();
    await stop(server);
    rmSync(folder, { recursive: true, force: true });
  });
  while (!existsSync(readyFile)) {
    assert.equal(server.exitCode, null, serverSaid);
    await sleep(100);
  }
  const ready = JSON.parse(readFileSync(readyFile, 'utf8')) as {
    readonly console: { readonly url: string };
    readonly enrolmentLink: { readonly url: string };
    readonly logKey: string;
  };

  const person = async (link: string, as?: { handle: string; name: string }): Promise<PasskeyPerson> => {
    const somebody = await newPasskeyPerson(ready.console.url);
    people.push(somebody);
    await somebody.enrol(link, as);
    return somebody;
  };
  const root_ = await person(ready.enrolmentLink.url, { handle: 'root', name: 'The first administrator' });
  const invited = async (handle: string, groups: string[]): Promise<PasskeyPerson> => {
    const done = await root_.prove({ purpose: 'invite_principal', handle, name: handle, groups });
    assert.equal(done.purpose, 'invite_principal');
    return person(done.purpose === 'invite_principal' ? done.link.url : '');
  };
  const ada = await invited('ada', ['engineering']);
  const bob = await invited('bob', ['dba']);

  /** `sally` as that person, from a home of theirs. */
  const sallyOf = (handle: string, browser: PasskeyPerson) => {
    const home = join(folder, handle);
    mkdirSync(home);
    const env = {
      PATH: path,
      HOME: home,
      TZ: 'UTC',
      SALLY_SERVER: ready.console.url,
      SALLY_BROWSER: browser.browserCommand,
    };
    const start = (...args: string[]) =>
      spawn(join(root, 'bin/sally'), args, { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const run = async (...args: string[]): Promise<Ran> => {
      const child = start(...args);
      let out = '';
      let err = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
      child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
      const [status] = (await once(child, 'close')) as [number | null];
      t.diagnostic(`${handle}$ sally ${args.join(' ')}\n${out}${err}${status === 0 ? '' : `[exit ${status}]`}`);
      return { status, out, err };
    };
    const ok = async (...args: string[]): Promise<string> => {
      const { status, out, err } = await run(...args);
      assert.equal(status, 0, `sally ${args.join(' ')}: ${err}`);
      return out;
    };
    return { home, start, run, ok };
  };
  const asAda = sallyOf('ada', ada);
  const asBob = sallyOf('bob', bob);
  const asRoot = sallyOf('root', root_);

  assert.match(await asAda.ok('login'), /Signed in at .* as ada/);
  assert.match(await asAda.ok('whoami'), /groups +engineering/);
  assert.match(await asAda.ok('ls'), /orders\/support-read/);
  assert.equal((await asAda.run('connect', 'orders', '--', 'true')).status, 4);

  // ada asks and waits; bob sees it and approves with his passkey
  const asking = asAda.ok(
    'request',
    'orders/support-read',
    '--for',
    '1h',
    '--reason',
    'INC-4211 refund stuck',
    '--wait',
  );
  await asBob.ok('login');
  const request = await untilFound(async () => (await bob.client.listRequests({ query: { box: 'inbox' } })).items[0]);
  assert.match(await asBob.ok('requests', '--inbox'), /ada +orders\/support-read/);
  assert.match(await asBob.ok('requests', 'show', request.id), /INC-4211 refund stuck/);
  await bob.prove({ purpose: 'approve_request', request: request.id });
  assert.match(await asking, /approved by bob/);

  // she activates and works
  assert.match(await asAda.ok('activate'), /is active/);
  const counted = await asAda.ok('connect', 'orders', '--', 'psql', '-Atc', 'select count(*) > 0 from public.orders');
  assert.equal(counted.trim(), 't');
  const refused = await asAda.run('connect', 'orders', '--', 'psql', '-Atc', 'delete from public.orders');
  assert.equal(refused.status, 1);
  assert.match(refused.err, /permission denied|not|denied/i);
  // a connection string, pasted as is
  const uri = (await asAda.ok('connect', 'orders', '--print')).trim();
  const pasted = spawn('psql', [uri, '-Atc', 'select 1'], {
    env: { PATH: path, HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.equal((await pasted.stdout.setEncoding('utf8').toArray()).join('').trim(), '1');

  // bob revokes while a statement runs
  const cut = asAda.run('connect', 'orders', '--', 'psql', '-c', 'select pg_sleep(60)');
  await untilFound(async () => (await bob.client.listSessions({ query: { scope: 'all', state: 'open' } })).items[0]);
  const { items: live } = await bob.client.listGrants({ query: { scope: 'all', state: 'live' } });
  assert.match(await asBob.ok('grants', '--all'), /ada +orders\/support-read/);
  await asBob.ok('revoke', live[0]?.id ?? '', '--word', 'wrong database');
  const ended = await cut;
  assert.notEqual(ended.status, 0);
  assert.match(ended.err, /by bob: wrong database/);
  assert.match(await asAda.ok('sessions'), /revoked/);
  assert.equal((await asAda.run('done', 'orders')).status, 4);

  // the configuration is changed by an administrator
  cpSync(join(folder, 'data/sample-configuration'), join(folder, 'changed'), { recursive: true });
  await asRoot.ok('login');
  const file = join(folder, 'changed/sallyport.yaml');
  assert.match(await asRoot.ok('apply', '-f', file), /Nothing would change/);

  // the whole of it is in the log, and holds
  const log = await asRoot.ok('log', '--all', '--limit', '500');
  for (const what of [
    /ada asks for/,
    /bob approves/,
    /ada activates/,
    /select count/,
    /revoked by bob/,
    /login dropped/,
  ])
    assert.match(log, what);
  await asRoot.ok('log', 'checkpoint');
  const copy = join(folder, 'copy');
  await asRoot.ok('log', 'export', copy);
  assert.match(await asRoot.ok('log', 'verify', copy), /The copy is whole/);
  assert.match(await asRoot.ok('log', 'verify', copy, '--key', ready.logKey), /The copy is whole/);
  await asRoot.ok('log', 'prove', '1', '-o', 'receipt.json');
  assert.match(await asRoot.ok('log', 'verify', '--receipt', 'receipt.json'), /The receipt holds/);
  assert.match(await asRoot.ok('doctor'), /ok +sign-in/);
  await asAda.ok('logout');
  assert.equal((await asAda.run('whoami')).status, 3);
});

/** Looks until there is something; the test's own time limit ends it. */
async function untilFound<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(100);
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { ensureLibraryLinks, findBinaries } from './_binaries.ts';
import { endOrphan, whatIs } from './_orphan.ts';
import { waitUntil } from './_wait.ts';
import { EmbeddedPostgresError, type EmbeddedPostgresFault } from './embedded-postgres-error.ts';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  type ServerEvent,
  startEmbeddedPostgres,
} from './embedded-postgres.ts';

const onLinux = platform() === 'linux' ? {} : { skip: 'needs /proc' };

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sally-pg-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function start(
  t: TestContext,
  options: EmbeddedPostgresOptions,
): Promise<{ server: EmbeddedPostgres; told: string[]; events: ServerEvent[] }> {
  const told: string[] = [];
  const events: ServerEvent[] = [];
  const server = await startEmbeddedPostgres({
    durable: false,
    onProgress: (what) => told.push(what),
    onEvent: (event) => events.push(event),
    ...options,
  });
  t.after(() => server.stop());
  return { server, told, events };
}

async function ask(server: EmbeddedPostgres, text: string): Promise<unknown> {
  const client = new pg.Client(server.connection());
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query({ text, rowMode: 'array' })).rows[0]?.[0];
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Another process that supervises a server on `dataDir`, as the next line of its output says. */
async function elsewhere(
  t: TestContext,
  options: EmbeddedPostgresOptions,
): Promise<{ child: ChildProcess; serverPid: number }> {
  const main = pathToFileURL(join(import.meta.dirname, 'embedded-postgres.ts')).href;
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      `import { startEmbeddedPostgres } from ${JSON.stringify(main)};
       const server = await startEmbeddedPostgres(${JSON.stringify({ durable: false, ...options })});
       console.log(server.pid);
       setInterval(() => {}, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout });
  const [line] = (await once(lines, 'line')) as [string];
  return { child, serverPid: Number(line) };
}

async function killAndWait(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

const refusal = (code: EmbeddedPostgresFault, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EmbeddedPostgresError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

test('a first start makes the cluster, a second one finds its data, and only the socket leads in', async (t) => {
  const dataDir = join(folder(t), 'made', 'when missing');
  const first = await start(t, { dataDir, durable: true });
  assert.deepEqual(first.told, ['initialising the store']);
  assert.equal(await ask(first.server, "select setting from pg_settings where name = 'fsync'"), 'on');
  assert.equal(await ask(first.server, "select setting from pg_settings where name = 'data_checksums'"), 'on');
  assert.equal(await ask(first.server, 'show server_encoding'), 'UTF8');
  assert.equal(await ask(first.server, 'show listen_addresses'), '');
  assert.equal(await ask(first.server, "select upper('ärger é')"), 'ÄRGER É');
  await ask(first.server, 'create table kept as select 7 as n');
  assert.equal(statSync(first.server.socketFolder).mode & 0o777, 0o700);
  assert.equal(statSync(dataDir).mode & 0o777, 0o700);
  await first.server.stop();
  await first.server.stop();
  assert.deepEqual(first.events, []);
  assert.deepEqual(readdirSync(first.server.socketFolder), []);

  const second = await start(t, { dataDir });
  assert.deepEqual(second.told, []);
  assert.equal(await ask(second.server, 'select n from kept'), 7);
});

test('a data directory in use is refused, and the process that uses it is named', async (t) => {
  const dataDir = folder(t);
  const { child } = await elsewhere(t, { dataDir });
  await assert.rejects(startEmbeddedPostgres({ dataDir }), (error) => {
    refusal('data_dir_in_use', new RegExp(`in use by process ${child.pid}$`))(error);
    assert.equal((error as EmbeddedPostgresError).pid, child.pid);
    return true;
  });
  await killAndWait(child);
  const { server } = await start(t, { dataDir });
  await assert.rejects(startEmbeddedPostgres({ dataDir }), refusal('data_dir_in_use', new RegExp(`${process.pid}$`)));
  assert.equal(await ask(server, 'select 1'), 1);
});

test('a server whose supervisor is killed ends by itself', onLinux, async (t) => {
  const dataDir = folder(t);
  const { child, serverPid } = await elsewhere(t, { dataDir });
  const cluster = join(dataDir, 'cluster');
  assert.equal(whatIs(serverPid, cluster), 'server');
  await killAndWait(child);
  assert.ok(await waitUntil(() => whatIs(serverPid, cluster) !== 'server', 20_000));
  assert.match(
    readFileSync(join(dataDir, 'server.log'), 'utf8'),
    /received fast shutdown request[^]*database system is shut down/,
  );
});

test('an orphan of a killed run is stopped, and its data are there', async (t) => {
  const dataDir = folder(t);
  const before = await start(t, { dataDir });
  await ask(before.server, 'create table kept as select 7 as n');
  await before.server.stop();
  const { child, serverPid } = await elsewhere(t, { dataDir, endsWithUs: false });
  await killAndWait(child);
  process.kill(serverPid, 0);

  const { server, told } = await start(t, { dataDir });
  assert.deepEqual(told[0], `stopping the PostgreSQL server ${serverPid} that an earlier run left behind`);
  assert.notEqual(server.pid, serverPid);
  assert.equal(await ask(server, 'select n from kept'), 7);
});

test('a run killed with its server, all at once, is recovered from', async (t) => {
  const dataDir = folder(t);
  const { child, serverPid } = await elsewhere(t, { dataDir, endsWithUs: false });
  process.kill(serverPid, 'SIGKILL');
  await killAndWait(child);
  const { server } = await start(t, { dataDir });
  assert.equal(await ask(server, 'select 1'), 1);
});

test('a server that ends by itself is started again, and its last words are told', async (t) => {
  const dataDir = folder(t);
  const { server, events } = await start(t, { dataDir });
  await ask(server, 'create table kept as select 7 as n');
  const { pid } = server;
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGQUIT');
  assert.ok(await waitUntil(() => events.length === 2, 20_000));
  const [ended, restarted] = events;
  assert.ok(ended?.kind === 'ended' && restarted?.kind === 'restarted');
  assert.match(ended.lastLines.join('\n'), /received immediate shutdown request/);
  assert.equal(server.pid, restarted.pid);
  assert.equal(await ask(server, 'select n from kept'), 7);
});

test('a stop in the pause before a restart is a stop', async (t) => {
  const dataDir = folder(t);
  const { server, events } = await start(t, { dataDir });
  const { pid } = server;
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGQUIT');
  assert.ok(await waitUntil(() => events.length === 1, 20_000, 1));
  await server.stop();
  assert.equal(server.pid, undefined);
  // The lock is free, and nothing is left that would hinder the next start.
  const again = await start(t, { dataDir });
  assert.equal(await ask(again.server, 'select 1'), 1);
});

test('a stale lock file with the number of a living stranger does not hinder', async (t) => {
  const dataDir = folder(t);
  const first = await start(t, { dataDir });
  await first.server.stop();
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore' });
  t.after(() => stranger.kill('SIGKILL'));
  const cluster = join(dataDir, 'cluster');
  const stale = `${stranger.pid}\n${cluster}\n1\n5432\n${join(dataDir, 'socket')}\n\n 1 1\nready   \n`;
  writeFileSync(join(cluster, 'postmaster.pid'), stale);
  writeFileSync(join(dataDir, 'socket', '.s.PGSQL.5432.lock'), stale);
  writeFileSync(join(dataDir, 'owner.json'), JSON.stringify({ pid: stranger.pid }));
  const { server, told } = await start(t, { dataDir });
  assert.deepEqual(told, []);
  assert.equal(await ask(server, 'select 1'), 1);
  assert.equal(whatIs(stranger.pid ?? 0, cluster), 'somebody else');
});

test('a dead server that is never reaped does not hinder', onLinux, async (t) => {
  const cluster = folder(t);
  // The shell becomes `sleep`, which doesn't know of the child it has and never asks for it. The child ends after that, or
  // the shell might have asked for it.
  const script = 'exec 3<&0; cat <&3 >/dev/null & echo $!; exec sleep 60';
  const parent = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => parent.kill('SIGKILL'));
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  const zombie = Number(line);
  const becameSleep = () => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n';
  assert.ok(await waitUntil(becameSleep, 10_000));
  parent.stdin.end();
  assert.ok(await waitUntil(() => whatIs(zombie, cluster) === 'zombie', 10_000));
  writeFileSync(join(cluster, 'postmaster.pid'), `${zombie}\n${cluster}\n`);
  const told: string[] = [];
  await endOrphan(cluster, (what) => told.push(what), { fastMs: 100, immediateMs: 100, zombieMs: 100 });
  assert.deepEqual(told, [`waiting for process ${zombie}, which is dead, to be reaped`]);
  assert.ok(!existsSync(join(cluster, 'postmaster.pid')));
});

test('a path too long for a socket gets one elsewhere, for our eyes only, and says so', async (t) => {
  const dataDir = join(folder(t), 'x'.repeat(60), 'y'.repeat(60));
  const { server, told } = await start(t, { dataDir });
  assert.equal(told.length, 2);
  assert.match(told[1] ?? '', /too long for a Unix socket: using `.*sallyport-[0-9a-f]{20}`/);
  assert.equal(statSync(server.socketFolder).mode & 0o777, 0o700);
  assert.equal(await ask(server, 'select 1'), 1);
  await server.stop();
  rmSync(server.socketFolder, { recursive: true });
  // Somebody who was there first would own the way to the database.
  symlinkSync(folder(t), server.socketFolder);
  t.after(() => rmSync(server.socketFolder));
  await assert.rejects(startEmbeddedPostgres({ dataDir }), refusal('folder_unusable', /not a folder of ours/));
});

test('data of another major version are refused, and stay as they are', async (t) => {
  const dataDir = folder(t);
  mkdirSync(join(dataDir, 'cluster'));
  writeFileSync(join(dataDir, 'cluster', 'PG_VERSION'), '14\n');
  await assert.rejects(startEmbeddedPostgres({ dataDir }), (error) => {
    refusal('wrong_version', /written by PostgreSQL 14, and this release runs PostgreSQL 18$/)(error);
    assert.match((error as EmbeddedPostgresError).hint ?? '', /pg_dump/);
    return true;
  });
  assert.deepEqual(readdirSync(join(dataDir, 'cluster')), ['PG_VERSION']);
});

test('a folder that is something else is refused, and stays as it is', async (t) => {
  const dataDir = folder(t);
  mkdirSync(join(dataDir, 'cluster'));
  writeFileSync(join(dataDir, 'cluster', 'diary.txt'), 'dear');
  await assert.rejects(
    startEmbeddedPostgres({ dataDir }),
    refusal('folder_unusable', /not a PostgreSQL data directory/),
  );
  assert.deepEqual(readdirSync(join(dataDir, 'cluster')), ['diary.txt']);
});

test('an initialisation that was cut short is begun again', async (t) => {
  const dataDir = folder(t);
  mkdirSync(join(dataDir, 'cluster.new-abc', 'base'), { recursive: true });
  const { server, told } = await start(t, { dataDir });
  assert.deepEqual(told, ['initialising the store']);
  assert.equal(await ask(server, 'select 1'), 1);
  assert.deepEqual(
    readdirSync(dataDir).filter((name) => name.startsWith('cluster')),
    ['cluster'],
  );
});

test('a taken port is refused by its number; any free one is found', async (t) => {
  const dataDir = folder(t);
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const address = other.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { port } = address;
  await assert.rejects(
    startEmbeddedPostgres({ dataDir, name: 'sample target', tcp: { port }, durable: false }),
    refusal('port_in_use', new RegExp(`^port ${port} on 127\\.0\\.0\\.1, meant for the sample target, is taken$`)),
  );
  const { server } = await start(t, { dataDir, tcp: { port: 0 } });
  assert.ok(server.port > 0 && server.port !== port);
});

test('a setting the server does not understand is told in its own words', async (t) => {
  const dataDir = folder(t);
  await assert.rejects(
    startEmbeddedPostgres({ dataDir, durable: false, settings: { shared_buffers: 'much' } }),
    refusal('start_failed', /did not start: invalid value for parameter "shared_buffers": "much"/),
  );
  const { server } = await start(t, { dataDir });
  assert.equal(await ask(server, 'select 1'), 1);
});

test('the log starts a new file when it has grown too long', async (t) => {
  const dataDir = folder(t);
  writeFileSync(join(dataDir, 'server.log'), 'x'.repeat(9 << 20));
  const { server } = await start(t, { dataDir });
  assert.ok(statSync(server.logFile).size < 1 << 20);
  assert.equal(statSync(`${server.logFile}.1`).size, 9 << 20);
});

test('INVARIANT 10: neither statements nor values reach the log of the store', async (t) => {
  const { server } = await start(t, { dataDir: folder(t) });
  await ask(server, 'create table secrets (word text primary key)');
  await ask(server, "insert into secrets values ('hunter2')");
  await assert.rejects(ask(server, "insert into secrets values ('hunter2')"), /duplicate key/);
  await assert.rejects(ask(server, "select 'hunter2'::integer"), /invalid input/);
  const log = readFileSync(server.logFile, 'utf8');
  assert.match(log, /ready to accept connections/);
  assert.doesNotMatch(log, /hunter2|secrets/);
});

test('library links that the install script would have made are made, and only those', async (t) => {
  const root = folder(t);
  const lib = join(root, 'native', 'lib');
  mkdirSync(lib, { recursive: true });
  writeFileSync(join(lib, 'libx.so.1.2'), '');
  writeFileSync(
    join(root, 'native', 'pg-symlinks.json'),
    JSON.stringify([
      { source: 'native/lib/libx.so.1.2', target: 'native/lib/libx.so' },
      { source: 'native/lib/libx.so.1.2', target: 'native/lib/libx.so.1' },
    ]),
  );
  const binaries = { ...findBinaries('store'), root };
  const elsewhereLib = join(folder(t), 'lib');
  assert.equal(ensureLibraryLinks(binaries, elsewhereLib), undefined);
  assert.equal(ensureLibraryLinks(binaries, elsewhereLib), undefined);
  assert.deepEqual(readdirSync(lib).sort(), ['libx.so', 'libx.so.1', 'libx.so.1.2']);
  assert.ok(!existsSync(elsewhereLib));
});

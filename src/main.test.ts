import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { emptyDatabase, query } from '#test/support/postgres.ts';
import { createConfig, type Environment, type ServerConfig, type ServerOptions } from './config.ts';
import type { DatabaseAddress } from './store/database.ts';
import { startSally } from './main.ts';
import { DataDirLock } from './store/embedded/data-dir-lock.ts';

function configFor(t: TestContext, env: Environment, options: ServerOptions): ServerConfig {
  const folder = mkdtempSync(join(tmpdir(), 'sally-main-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const outcome = createConfig({
    env,
    options: { consoleListen: '127.0.0.1:0', postgresListen: '127.0.0.1:0', dataDirectory: folder, ...options },
    file: undefined,
    workingDirectory: folder,
  });
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  return outcome.config;
}

async function takenPort(t: TestContext): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** As the pool of `pg` reads it: a socket's folder as a parameter. */
function urlOf(address: DatabaseAddress): string {
  if (typeof address === 'string') return address;
  const { host, port, user, database, password } = address;
  const url = new URL(`postgres://localhost/${encodeURIComponent(database)}`);
  url.searchParams.set('host', host);
  url.searchParams.set('port', String(port));
  url.searchParams.set('user', user);
  if (password !== undefined) url.searchParams.set('password', password);
  return url.href;
}

test('a start that fails while the sample target is on its way leaves nothing running', async (t) => {
  const config = configFor(t, { SALLY_DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nowhere' }, { sample: true });
  await assert.rejects(startSally(config, { webRoot: config.dataDirectory, logToFile: true }), {
    code: 'ECONNREFUSED',
  });
  const cluster = join(config.dataDirectory, 'sample', 'cluster');
  assert.ok(existsSync(cluster), 'it was on its way');
  assert.equal(existsSync(join(cluster, 'postmaster.pid')), false, 'and was stopped');
  DataDirLock.take(config.dataDirectory)[Symbol.dispose]();
});

for (const what of ['console', 'postgres'] as const) {
  test(`a port that somebody else has is named, and everything else is stopped: ${what}`, async (t) => {
    const listen = `127.0.0.1:${await takenPort(t)}`;
    const config = configFor(
      t,
      { SALLY_DATABASE_URL: urlOf((await emptyDatabase(t)).address) },
      { sample: false, ...(what === 'console' ? { consoleListen: listen } : { postgresListen: listen }) },
    );
    await assert.rejects(startSally(config, { webRoot: config.dataDirectory, logToFile: true }), (error: Error) => {
      assert.match(error.message, new RegExp(`another process listens on \`${listen}\``));
      return true;
    });
    DataDirLock.take(config.dataDirectory)[Symbol.dispose]();
    const connections = process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap');
    assert.equal(connections.length, 1, 'only the one that has the port');
  });
}

test('a key file of another store is told at once, and how to mend it; what is said last at a stop is in the tree', async (t) => {
  const { address } = await emptyDatabase(t);
  const env = { SALLY_DATABASE_URL: urlOf(address) };
  const config = configFor(t, env, { sample: false });
  const running = await startSally(config, { webRoot: config.dataDirectory, logToFile: true });
  await running.stop();
  const kinds = await query(
    address,
    'select kind, seq in (select seq from log_waiting) as waits from log_entry order by seq',
  );
  assert.deepEqual(kinds.at(-1), { kind: 'system.stopped', waits: false });
  assert.ok(kinds.some((row) => (row as { kind: string }).kind === 'system.started'));
  const other = configFor(t, env, { sample: false });
  await assert.rejects(startSally(other, { webRoot: other.dataDirectory, logToFile: true }), {
    code: 'master_key_wrong',
  });
  const again = await startSally(config, { webRoot: config.dataDirectory, logToFile: true });
  await again.stop();
});

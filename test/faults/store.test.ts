/**
 * The store is away. The gateway goes on for its grace with what is decided already, cuts then, lets nobody in, keeps what it
 * has recorded, and ships it once when the store is back. What happens in ten minutes of it is in
 * gateway/long-outage.test.ts, where timers are the test's own.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { startCopy, testTarget } from '../support/postgres.ts';
import { openRelay } from '../support/relay.ts';
import { leftOn, until } from '../support/wait.ts';
import { openProduct } from './_product.ts';

const target = await testTarget({ after });
const store = await startCopy('store', { name: 'store' });
after(() => store.release());
const socket = join(store.server.socketFolder, `.s.PGSQL.${store.server.port}`);
const relay = await openRelay({ after }, socket);
const databaseUrl = `postgresql://${store.server.superuser}@127.0.0.1:${relay.port}/postgres`;
const product = await openProduct({ after }, { target, databaseUrl });

const told = (error: Error & { readonly code?: string }) => `${error.code}: ${error.message}`;
const noWay = (credential: Awaited<ReturnType<typeof product.give>>) =>
  product.connect(credential).then(
    async (client) => {
      await client.end();
      return 'it opened';
    },
    (error: Error) => told(error),
  );

for (const [how, leave] of [
  ['refuses connections', () => relay.refuse()],
  ['says nothing any more', async () => relay.silence()],
] as const) {
  test(`INVARIANT 1, 4, 6: the store ${how} for longer than the grace, and comes back`, async () => {
    const credential = await product.give();
    const client = await product.connect(credential);
    const statement = 'select count(*)::int as n from orders';
    await client.query(statement);
    const ended = new Promise<Error & { code?: string }>((resolve) => client.once('error', resolve));
    await leave();
    // What is decided needs nobody.
    for (let i = 0; i < 20; i += 1) assert.equal((await client.query(statement)).rows[0].n, 180);
    assert.match(await noWay(credential), /^57P03: sallyport: the gateway has lost the control plane/);
    const cut = await ended;
    assert.equal(cut.code, '57P01');
    assert.match(cut.message, /the gateway has lost the control plane$/);
    assert.match(await noWay(credential), /^57P03: sallyport: the gateway has lost the control plane/);
    await relay.restore();
    await until('somebody comes in again', async () => (await noWay(credential)) === 'it opened', 45_000);
    await until(
      'everything is in the log',
      async () => {
        const count = async (kind: string) => (await product.log({ grant: credential.grant, kind })).length;
        const [begun, done] = [await count('statement.begun'), await count('statement.ended')];
        assert.ok(begun <= 21 && done <= 21, 'nothing is there twice');
        return begun === 21 && done === 21 && (await count('session.ended')) > 0;
        // The shipper tries again after up to half a minute.
      },
      45_000,
    );
    await product.revoke(credential.grant);
    await until('nothing is left', async () => {
      const { logins, backends } = await leftOn(target);
      return logins.length + backends.length === 0;
    });
  });
}

test('INVARIANT 6: the disk of the journal is full: sessions end, nobody comes in, and it goes on by itself', async () => {
  const credential = await product.give();
  const client = await product.connect(credential);
  await client.query('select 1');
  const ended = new Promise<Error & { code?: string }>((resolve) => client.once('error', resolve));
  // Of this very process: what it writes to a file from here on is refused, as on a full disk.
  const limit = (bytes: string) => execFileSync('prlimit', [`--pid=${product.pid()}`, `--fsize=${bytes}:unlimited`]);
  limit('0');
  const unrecorded = await client.query(`select 'unrecorded'`).then(
    () => 'it ran',
    (error: Error) => told(error),
  );
  assert.match(`${unrecorded} ${told(await ended)}`, /57P01: sallyport: .*can not record what is done/);
  await until('refused', async () => /^53100: .*can not record/.test(await noWay(credential)));
  limit('unlimited');
  await until('it goes on', async () => (await noWay(credential)) === 'it opened');
  await until('the end is in the log', async () => {
    const entries = await product.log({ grant: credential.grant });
    assert.ok(!JSON.stringify(entries).includes('unrecorded') || unrecorded !== 'it ran');
    const of = (kind: string) => entries.filter((entry) => entry.kind === kind).length;
    return of('session.opened') === of('session.ended') && entries.some((e) => e.facts['how'] === 'journal_failed');
  });
  await product.revoke(credential.grant);
});

test('a start without its store, or with a journal that is broken, is refused with a word about what to do', async () => {
  assert.equal(await product.stop(), 0);
  await relay.refuse();
  const without = await product.startRefused();
  assert.notEqual(without.code, 0);
  assert.match(without.said, /sally: start Sallyport: .*(ECONNREFUSED|refused)/i);
  await relay.restore();

  const journal = join(product.dataFolder, 'journal');
  const segment = execFileSync('find', [journal, '-name', '*.journal'], { encoding: 'utf8' }).split('\n')[0] ?? '';
  const whole = readFileSync(segment);
  const second = `${segment.slice(0, -'0000000000000001.journal'.length)}0000000000900000.journal`;
  writeFileSync(second, 'not what comes next\n');
  const broken = await product.startRefused();
  assert.notEqual(broken.code, 0);
  assert.match(broken.said, /journal segment `.*` does not continue the one before it/);
  assert.match(broken.said, /move the folder `journal` .* aside/);
  execFileSync('rm', [second]);
  assert.deepEqual(readFileSync(segment), whole, 'nothing of it was touched');
  await product.start();
  const report = await product.verifyLog();
  assert.deepEqual(report.faults, []);
});

/** The control plane is away for ten minutes. The gateway's timers are the test's own here: a hundred times as fast. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, test } from 'node:test';
import { testTarget } from '#test/support/postgres.ts';
import { leftOn, until } from '#test/support/wait.ts';
import { startTestingGateway, supportRead } from './_testing-gateway.ts';
import { realTimers } from './timers.ts';

const target = await testTarget({ after });
const speed = 100;

test('INVARIANT 4, 6: after ten minutes without the control plane nothing is lost, and nothing is there twice', async (t) => {
  const g = await startTestingGateway(target, tmpdir(), {
    timers: { setTimer: (ms, run) => realTimers.setTimer(ms / speed, run) },
    // Of beats, which are as fast.
    graceMs: 60_000,
  });
  t.after(() => g.stop());
  const [login, over] = [g.give(supportRead), g.give(supportRead)];
  const [client, other] = [await g.connect(login), await g.connect(over)];
  const statement = 'select count(*)::int as n from orders';
  await client.query(statement);
  const ended = Promise.all(
    [client, other].map((one) => new Promise<Error & { code?: string }>((resolve) => one.once('error', resolve))),
  );
  g.controlPlane.isAway = true;
  for (let i = 0; i < 10; i += 1) await client.query(statement);
  for (const error of await ended) assert.match(error.message, /lost the control plane/);
  // It ends while nobody can be told.
  g.controlPlane.endSilently(over.grant);
  for (const deadline = performance.now() + 600_000 / speed; performance.now() < deadline; await sleep(200))
    await assert.rejects(g.connect(login), { code: '57P03', message: /has lost the control plane/ });
  g.controlPlane.isAway = false;
  await until('who may comes in again', () =>
    g.connect(login).then(
      () => true,
      () => false,
    ),
  );
  await assert.rejects(g.connect(over), { code: '28000' });
  await g.gateway.reconcile();
  assert.deepEqual(
    (await leftOn(target)).logins.map((name) => name.endsWith(login.grant.slice(4))),
    [true],
    'the login of what ended meanwhile is gone',
  );
  await until(
    'all is there',
    () => g.controlPlane.events().filter((e) => e.kind === 'session.ended').length === 2,
    45_000,
  );
  const numbers = g.controlPlane.records.map((record) => record.number);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i + 1),
  );
  assert.equal(g.controlPlane.events().filter((e) => e.kind === 'statement.begun').length, 11);
});

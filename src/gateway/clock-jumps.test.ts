/** A clock that is set while sessions run, by somebody or by a server of time that was wrong. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import type { Instant } from '#core/instant.ts';
import { testTarget } from '#test/support/postgres.ts';
import { leftOn, until } from '#test/support/wait.ts';
import { startTestingGateway, supportRead, wallClock } from './_testing-gateway.ts';

const target = await testTarget({ after });

async function gatewayFor(t: TestContext) {
  const set = { by: 0 };
  const clock = { now: () => (wallClock.now() + set.by) as Instant };
  const g = await startTestingGateway(target, tmpdir(), { clock });
  t.after(() => g.stop());
  return { g, set };
}

test('INVARIANT 4: a clock that is set back gives nobody more time', async (t) => {
  const { g, set } = await gatewayFor(t);
  const [login, later] = [g.give(supportRead, 3000), g.give(supportRead, 2500)];
  const client = await g.connect(login);
  const running = client.query('select pg_sleep(600)').then(
    () => assert.fail('it ended by itself'),
    (error: Error) => error,
  );
  await g.event('statement.begun');
  set.by -= 3_600_000;
  assert.match((await running).message, /the time is over/);
  assert.equal((await g.event('session.ended')).reason, 'expired');
  await assert.rejects(g.connect(later), { code: '57P01', message: /the time is over/ }, 'nor to come in');
  await until('nothing is left', async () => {
    const { logins, backends } = await leftOn(target);
    return logins.length + backends.length === 0;
  });
});

test('INVARIANT 4: a clock that is set past the end ends the session', async (t) => {
  const { g, set } = await gatewayFor(t);
  const client = await g.connect(g.give(supportRead, 3_600_000));
  const ended = new Promise<Error>((resolve) => client.once('error', resolve));
  set.by += 7_200_000;
  assert.match((await ended).message, /the time is over/);
});

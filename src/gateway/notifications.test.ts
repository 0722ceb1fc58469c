import assert from 'node:assert/strict';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import type { Client, Notification } from 'pg';
import type { RoleName } from '#core/ids.ts';
import type { ChannelPermission, Role } from '#core/role.ts';
import { testTarget } from '#test/support/postgres.ts';
import { startTestingGateway, supportRead } from './_testing-gateway.ts';

const withChannels = (name: string, channels: readonly ChannelPermission[]): Role => ({
  ...supportRead,
  name: `orders/${name}` as RoleName,
  permissions: { ...supportRead.permissions, channels },
});
const listener = withChannels('listener', [
  { channel: { name: 'jobs' }, listen: true },
  { channel: { name: 'Odd "Name"' }, listen: true, notify: true },
]);
const sender = withChannels('sender', [{ channel: { name: 'jobs' }, notify: true }]);
const everything = withChannels('everything', [{ channel: 'any', listen: true, notify: true }]);

const target = await testTarget({ after });
const t = await startTestingGateway(target, tmpdir());
after(() => t.stop());

function heard(client: Client): Notification[] {
  const found: Notification[] = [];
  client.on('notification', (notification) => found.push(notification));
  return found;
}

test('INVARIANT 1: a role listens and notifies on the channels that it names, and on no other', async () => {
  const login = t.give(listener);
  const client = await t.connect(login);
  const other = await t.connect(t.give(sender));
  const found = heard(client);
  await client.query('listen jobs');
  await client.query('LISTEN Jobs');
  for (const text of ['listen secrets', 'listen "Jobs"', 'notify jobs', `select pg_notify('jobs', '')`])
    await assert.rejects(client.query(text), { code: '42501' }, text);
  await assert.rejects(client.query(`select pg_notify($1, '')`, ['jobs']), {
    code: '42501',
    message: 'sallyport: notify on any channel is not in orders/listener',
  });
  await assert.rejects(other.query('listen jobs'), {
    code: '42501',
    message: 'sallyport: listen on channel jobs is not in orders/sender',
  });

  const arrived = once(client, 'notification');
  await other.query(`notify jobs, 'one'`);
  await arrived;
  await other.query('begin');
  await other.query(`select pg_notify('jobs', 'two')`);
  await other.query('rollback');
  // The same statement but for the value.
  await assert.rejects(other.query(`select pg_notify('secrets', 'two')`), { code: '42501' });
  await other.query(`select pg_notify('jobs'::text, $1)`, ['three']);
  await client.query('listen "Odd ""Name"""');
  await client.query(`notify "Odd ""Name""", 'four'`);
  await client.query('unlisten jobs');
  await other.query(`notify jobs, 'five'`);
  await client.query('unlisten *');
  await client.query(`notify "Odd ""Name""", 'six'`);
  assert.deepEqual(
    found.map(({ channel, payload }) => [channel, payload]),
    [
      ['jobs', 'one'],
      ['jobs', 'three'],
      ['Odd "Name"', 'four'],
    ],
  );
  await Promise.all([client.end(), other.end()]);
  const ended = await t.event('session.ended', (event) => event.on.grant === login.grant);
  assert.equal(ended.notifications, 3);
});

test('any channel is any, one that only the run shows as well', async () => {
  const client = await t.connect(t.give(everything));
  const found = heard(client);
  await client.query('listen a; listen "B"');
  await client.query('select pg_notify(channel, channel) from (values ($1), ($2)) v (channel)', ['a', 'B']);
  assert.deepEqual(
    found.map(({ payload }) => payload),
    ['a', 'B'],
  );
  await client.end();
});

test('INVARIANT 4: who may no longer listen hears nothing more, though the server still sends', async () => {
  const role = withChannels('changing', listener.permissions.channels ?? []);
  const client = await t.connect(t.give(role));
  const other = await t.connect(t.give(sender));
  const found = heard(client);
  await client.query('listen jobs');
  await client.query('listen "Odd ""Name"""');
  const first = once(client, 'notification');
  await other.query(`notify jobs, 'before'`);
  await first;

  t.controlPlane.declare({ ...role, permissions: { ...role.permissions, channels: [] } });
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' });
  await other.query(`notify jobs, 'meanwhile'`);
  // It has been sent, or dropped, before the second answer.
  for (const x of [1, 2]) assert.deepEqual((await client.query(`select ${x} as x`)).rows, [{ x }]);

  t.controlPlane.declare(role);
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v3' });
  const again = once(client, 'notification');
  await other.query(`notify jobs, 'after'`);
  await again;
  assert.deepEqual(
    found.map(({ payload }) => payload),
    ['before', 'after'],
  );
  await Promise.all([client.end(), other.end()]);
});

test('notifications by the thousand arrive whole and in order, between the rows of others and while idle', async () => {
  const client = await t.connect(t.give(listener));
  const others = await Promise.all([t.connect(t.give(sender)), t.connect(t.give(sender))]);
  const found = heard(client);
  await client.query('listen jobs');
  const payload = 'ü'.repeat(1500);
  const rounds = 20;
  const running = client.query(`select repeat('x', 2000) as x from generate_series(1, 5000)`);
  await Promise.all(
    others.map(async (other, who) => {
      for (let round = 0; round < rounds; round += 1)
        await other.query(
          `select pg_notify('jobs', '${who} ' || (n + ${round * 50}) || ' ${payload}') from generate_series(0, 49) n`,
        );
    }),
  );
  assert.equal((await running).rowCount, 5000);
  while (found.length < 2 * rounds * 50) await once(client, 'notification');
  for (const who of ['0', '1']) {
    const numbers = found.map(({ payload: text = '' }) => text.split(' ')).filter(([from]) => from === who);
    assert.deepEqual(
      numbers.map(([, number]) => Number(number)),
      Array.from({ length: rounds * 50 }, (_, i) => i),
    );
    assert.ok(numbers.every(([, , text]) => text === payload));
  }
  await Promise.all([client, ...others].map((each) => each.end()));
});

/** What changes where no session is looking: between two of one grant, while one is being opened, in a long transaction. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import { testTarget } from '#test/support/postgres.ts';
import { startTestingGateway, supportRead, type TestingGateway } from './_testing-gateway.ts';
import type { GatewayOptions } from './gateway.ts';

const target = await testTarget({ after }, { major: 15 });

async function gatewayFor(t: TestContext, options: Partial<GatewayOptions> = {}): Promise<TestingGateway> {
  const gateway = await startTestingGateway(target, tmpdir(), options);
  t.after(() => gateway.stop());
  return gateway;
}

test('INVARIANT 4: groups that have changed between two sessions of a grant void what was decided in the first', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const first = await g.connect(login);
  const [session] = g.gateway.sessions();
  assert.ok(session !== undefined);
  await first.query('select count(*) from orders');
  await first.end();
  await g.event('session.ended', (e) => e.on.session === session.id);
  assert.equal(g.gateway.sessions().length, 0);
  g.controlPlane.denyAll = true;
  g.controlPlane.change({ kind: 'principal_changed', principal: session.principal.id });
  const second = await g.connect(login);
  await assert.rejects(second.query('select count(*) from orders'), { code: '42501' });
});

test('INVARIANT 4: a session that is being opened when the control plane is lost is cut as those that are open', async (t) => {
  const isLost = Promise.withResolvers<void>();
  const g = await gatewayFor(t, { graceMs: 1000, events: { controlPlaneLost: isLost.resolve } });
  const { openSession } = g.controlPlane;
  Object.assign(g.controlPlane, {
    async openSession(ask: Parameters<typeof openSession>[0]) {
      const answer = await openSession(ask);
      // It has let somebody in, and nothing is heard of it any more. Its answer takes its time.
      g.controlPlane.isAway = true;
      await isLost.promise;
      return answer;
    },
    // What the session needs from it afterwards is there, or it would fail for another reason.
    resourceTarget: () => Promise.resolve(g.access),
  });
  await assert.rejects(g.connect(g.give(supportRead)), /lost the control plane/);
});

const migrate = {
  ...supportRead,
  name: 'orders/migrate',
  permissions: {
    functions: [],
    tables: [...supportRead.permissions.tables, { schema: 'public', name: 'made', select: 'all', insert: 'all' }],
  },
} as unknown as typeof supportRead;

test('INVARIANT 7: what somebody else defines meanwhile counts in a transaction with definitions of its own', async (t) => {
  await target.query('create schema other; grant usage on schema other to public');
  const g = await startTestingGateway(target, tmpdir(), { catalogueEveryMs: 100, roles: [migrate] });
  t.after(() => g.stop());
  const client = await g.connect(g.give(migrate));
  const other = await g.connect(g.give(migrate));
  await other.query('set search_path to other, public');
  const read = 'select count(*) from products';
  await other.query(read);
  await client.query('begin');
  await client.query('set local search_path to other, public');
  await client.query('create temp table t (a int)');
  await client.query(read);
  await target.query('create table other.products ()');
  t.after(() => target.query('drop table if exists other.products'));
  for (let isSeen = false; !isSeen;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    await other.query(read).catch((error: Error) => (isSeen = error.message.includes('other.products')));
  }
  await assert.rejects(client.query(read), /other\.products/);
});

test('roles over the same tables whose first sessions come at once: everybody is let in', async (t) => {
  const roles = Array.from({ length: 6 }, (_, i) => ({
    ...supportRead,
    name: `orders/read-${i}`,
  })) as unknown as readonly (typeof supportRead)[];
  const g = await startTestingGateway(target, tmpdir(), { roles });
  t.after(() => g.stop());
  await Promise.all(roles.map((role, i) => g.connect(g.give(role, 3_600_000, `user${i}`))));
});

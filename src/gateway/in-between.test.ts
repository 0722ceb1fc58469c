/** What changes where no session is looking: between two of one grant, while one is being opened, in a long transaction. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import type { GrantId, PrincipalId } from '#core/ids.ts';
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

/** The control plane lets somebody in; before the gateway hears of it, this happens. */
function beforeTheAnswer(g: TestingGateway, happens: (principal: PrincipalId, grant: GrantId) => void): void {
  const { openSession } = g.controlPlane;
  Object.assign(g.controlPlane, {
    async openSession(ask: Parameters<typeof openSession>[0]) {
      const answer = await openSession(ask);
      if (answer.kind === 'opened') happens(answer.session.principal.id, answer.session.grant);
      return answer;
    },
  });
}

for (const [what, how, happens] of [
  ['an account is suspended', 'revoked', (g, _) => g.controlPlane.suspend('ada')],
  ['groups change', 'revoked', (g, principal) => g.controlPlane.change({ kind: 'principal_changed', principal })],
  ['policy changes', 'revoked', (g, _) => g.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' })],
  ['a grant is shortened', 'expired', (g, _, grant) => g.controlPlane.extend(grant, -3_599_000)],
] as readonly (readonly [string, string, (g: TestingGateway, principal: PrincipalId, grant: GrantId) => void])[])
  for (const threads of [0, 1])
    test(
      `INVARIANT 4: ${what} while a session is being opened: it is cut as those that are open (threads: ${threads})`,
      {
        timeout: 20_000,
      },
      async (t) => {
        const g = await gatewayFor(t, { threads });
        const login = g.give(supportRead);
        beforeTheAnswer(g, (principal, grant) => {
          // Whoever asks is told that it is over; only a grant with another end goes on until then.
          if (how === 'revoked') Object.assign(g.controlPlane, { liveSessions: () => Promise.resolve([]) });
          happens(g, principal, grant);
        });
        await g.connect(login).catch(() => {});
        const ended = await g.event('session.ended', (e) => e.on.grant === login.grant);
        assert.equal(ended.reason, how);
      },
    );

/** The gateway asks where the target is: for a session that was opened, the first time. */
function beforeTheLogin(g: TestingGateway, happens: () => Promise<unknown>): void {
  const { openSession } = g.controlPlane;
  let isOpened = false;
  Object.assign(g.controlPlane, {
    async openSession(ask: Parameters<typeof openSession>[0]) {
      const answer = await openSession(ask);
      isOpened = true;
      return answer;
    },
    async resourceTarget() {
      const isFirst = isOpened;
      isOpened = false;
      if (isFirst) await happens();
      return g.access;
    },
  });
}

for (const threads of [0, 1])
  test(`INVARIANT 12: a grant that ends between the opening of its session and the making of its login gets none (threads: ${threads})`, async (t) => {
    const g = await gatewayFor(t, { threads });
    const login = g.give(supportRead);
    beforeTheLogin(g, async () => {
      g.controlPlane.endGrant(login.grant);
      // An engine in a thread has yet to hear of it; with one in ours, nothing is found to be dropped.
      if (threads === 0) await g.gateway.reconcile();
    });
    await assert.rejects(g.connect(login), /was revoked/);
    await g.gateway.stop();
    assert.deepEqual(
      g.controlPlane.events().filter((e) => e.kind === 'target.login_created'),
      [],
    );
  });

test('INVARIANT 12: a gateway that has stopped makes no login for whom it was letting in', async (t) => {
  let isStopped = false;
  let made = 0;
  const g = await gatewayFor(t, {
    random: (length) => {
      if (isStopped) made += 1;
      return randomBytes(length);
    },
  });
  beforeTheLogin(g, async () => {
    await g.gateway.stop();
    isStopped = true;
  });
  await assert.rejects(g.connect(g.give(supportRead)));
  while (!isStopped) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  // The making of one begins with its salt.
  assert.equal(made, 0);
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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Principal } from '#core/principal.ts';
import { configuration, now, openPolicyEngine, person, role, shippedPolicies } from '#test/support/policy.ts';

const root = person('root', ['administrators']);
const bob = person('bob', ['dba']);
const eve = person('eve', ['dba', 'engineering']);
const read = role('orders/read');

async function lockedOut(
  people: readonly Principal[],
  more: { readonly roles?: Parameters<typeof configuration>[0]; readonly policy?: string } = {},
) {
  const { roles = [read], policy } = more;
  const engine = await openPolicyEngine();
  const policies = policy === undefined ? {} : { 'x.cedar': policy };
  return engine
    .lockouts({ shipped: shippedPolicies(), configuration: configuration(roles, policies) }, people)
    .map(({ what, name }) => `${what} ${name}`);
}

test('INVARIANT 13: nobody is locked out: with an administrator and an approver all is well', async () => {
  assert.deepEqual(await lockedOut([root, bob]), []);
});

test('INVARIANT 13: nobody is locked out: a role without a reachable approver is found', async () => {
  assert.deepEqual(await lockedOut([root]), ['role orders/read']);
  const twice = role('orders/read', { approvers: { groups: ['dba', 'security'], count: 2 } });
  // One person in two groups is one person (INVARIANT 2).
  assert.deepEqual(await lockedOut([root, person('bob', ['dba', 'security'])], { roles: [twice] }), [
    'role orders/read',
  ]);
  assert.deepEqual(await lockedOut([root, bob, eve], { roles: [twice] }), []);
  assert.deepEqual(await lockedOut([root, person('bob', ['dba'], { state: 'suspended' })]), ['role orders/read']);
  assert.deepEqual(await lockedOut([root, person('bot', ['dba'], { kind: 'agent' })]), ['role orders/read']);
});

test('INVARIANT 13: nobody is locked out: a forbid that no approver passes is found', async () => {
  const policy = '@id("x") forbid (principal in Group::"dba", action == Action::"approve_request", resource);';
  assert.deepEqual(await lockedOut([root, bob], { policy }), ['role orders/read']);
  const curable = `@id("x") @cure("proof") forbid (principal, action == Action::"approve_request", resource) unless { context.proof.covers_action };`;
  assert.deepEqual(await lockedOut([root, bob], { policy: curable }), []);
  const others = `${policy} @id("y") permit (principal in Group::"security", action == Action::"approve_request", resource);`;
  assert.deepEqual(await lockedOut([root, bob, person('sam', ['security'])], { policy: others }), []);
});

test('INVARIANT 13: nobody is locked out: administration without anybody is found', async () => {
  assert.deepEqual(await lockedOut([bob]), ['administration principals', 'administration configuration']);
  const policy =
    '@id("x") forbid (principal, action == Action::"administer", resource == Administration::"configuration");';
  assert.deepEqual(await lockedOut([root, bob], { policy }), ['administration configuration']);
  assert.equal((await lockedOut([root, bob], { policy: 'nonsense' })).length, 2);
});

test('INVARIANT 13: nobody is locked out: what is possible by day, from the office or by a known device is not locked', async () => {
  const engine = await openPolicyEngine();
  const of = (condition: string) =>
    engine.lockouts(
      {
        shipped: shippedPolicies(),
        configuration: {
          ...configuration([read], {
            'x.cedar': `@id("x") forbid (principal, action, resource) unless { ${condition} };`,
          }),
          networks: { office: ['10.0.0.0/8'] },
          workingHours: { zone: 'Europe/Berlin', days: [5], from: 600, to: 660 },
        },
      },
      [root, bob],
    ).length;
  for (const condition of [
    'context.working_hours',
    '!context.working_hours',
    'context.client.networks.contains("office")',
    'context.client.tls && context.device.known && context.sign_in.method == "passkey"',
  ])
    assert.equal(of(condition), 0, condition);
  assert.equal(of('context.client.networks.contains("office") && context.time < datetime("2020-01-01")'), 4);
});

test('INVARIANT 13: nobody is locked out: a resource that nobody could connect to is found', async () => {
  const forbid = (scope: string) =>
    `@id("x") forbid (${scope}, action == Action::"connect", resource == Resource::"orders");`;
  assert.deepEqual(await lockedOut([root, bob], { policy: forbid('principal') }), ['resource orders']);
  // Somebody who is yet to come could, so long as there is a way in for the role's own people.
  assert.deepEqual(await lockedOut([root, bob], { policy: forbid('principal in Group::"dba"') }), []);
  assert.deepEqual(await lockedOut([root, bob], { policy: forbid('principal in Group::"engineering"') }), [
    'resource orders',
  ]);
});

test('INVARIANT 13: nobody is locked out: a cure that asks for more people than there are is found', async () => {
  const asking = (by: string) =>
    `@id("x") @cure("approval by ${by}") forbid (principal, action == PG::Action::"ddl", resource) unless { context.approval.covers_action };`;
  assert.deepEqual(await lockedOut([root, bob], { policy: asking('dba') }), []);
  assert.deepEqual(await lockedOut([root, bob], { policy: asking('security') }), ['cure x']);
  assert.deepEqual(await lockedOut([root, bob], { policy: asking('dba, @bob count 2') }), ['cure x']);
  assert.deepEqual(await lockedOut([root, bob, eve], { policy: asking('@eve, dba count 2') }), []);
  assert.deepEqual(await lockedOut([root, bob], { policy: asking('@mallory') }), ['cure x']);
  const preview = asking('security').replace('approval by', 'preview by');
  assert.deepEqual(await lockedOut([root, bob], { policy: preview }), ['cure x']);
  const robot = person('robot', ['security'], { kind: 'agent' });
  assert.deepEqual(await lockedOut([root, bob, robot], { policy: asking('security') }), ['cure x']);
});

test('INVARIANT 13: nobody is locked out: administration that asks for a second person needs one', async () => {
  const policy = `@id("x") @cure("approval by administrators") forbid (principal, action == Action::"administer", resource == Administration::"configuration") unless { context.approval.covers_action };`;
  assert.deepEqual(await lockedOut([root, bob], { policy }), ['administration configuration']);
  assert.deepEqual(await lockedOut([root, bob, person('rita', ['administrators'])], { policy }), []);
});

test('looking at a set does not take it into use', async () => {
  const engine = await openPolicyEngine();
  engine.load({ shipped: shippedPolicies(), configuration: configuration([read]) });
  const { version } = engine;
  const forbidding = configuration([read], { 'x.cedar': '@id("x") forbid (principal, action, resource);' });
  assert.equal(engine.lockouts({ shipped: shippedPolicies(), configuration: forbidding }, [root, bob]).length, 4);
  assert.equal(engine.version, version);
  assert.equal(engine.decide({ now, action: 'administer', principal: root, what: 'grants' }).kind, 'allow');
});

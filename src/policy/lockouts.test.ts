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

test('looking at a set does not take it into use', async () => {
  const engine = await openPolicyEngine();
  engine.load({ shipped: shippedPolicies(), configuration: configuration([read]) });
  const { version } = engine;
  const forbidding = configuration([read], { 'x.cedar': '@id("x") forbid (principal, action, resource);' });
  assert.equal(engine.lockouts({ shipped: shippedPolicies(), configuration: forbidding }, [root, bob]).length, 3);
  assert.equal(engine.version, version);
  assert.equal(engine.decide({ now, action: 'administer', principal: root, what: 'grants' }).kind, 'allow');
});

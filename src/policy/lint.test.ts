import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Role } from '#core/role.ts';
import {
  configuration,
  exampleConfiguration,
  exampleOn,
  openPolicyEngine,
  role,
  shippedPolicies,
} from '#test/support/policy.ts';

let engine: Awaited<ReturnType<typeof openPolicyEngine>>;
before(async () => {
  engine = await openPolicyEngine();
});

const read = role('orders/read', {
  permissions: { tables: [{ schema: 'public', name: 'orders', select: 'all', update: 'all' }], functions: [] },
});

function findings(text: string, roles: readonly Role[] = [read]): readonly string[] {
  const outcome = engine.lint({ shipped: shippedPolicies(), configuration: configuration(roles, { 'x.cedar': text }) });
  assert.ok(outcome.kind === 'linted', JSON.stringify(outcome));
  return outcome.findings.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

test('the example and the shipped policies have nothing to complain about', () => {
  const outcome = engine.lint({ shipped: shippedPolicies(), configuration: exampleOn(engine) });
  assert.deepEqual(outcome, { kind: 'linted', findings: [] });
  assert.ok(exampleConfiguration().policies.length > 0);
});

const all = 'principal, action == PG::Action::"update", resource';
for (const [name, text, expected] of [
  [
    'a cure that the policy does not look at',
    `@id("x") @cure("proof") forbid (${all}) when { context.approval.covers_action };`,
    ["1:1 `x` is never lifted: it doesn't look at what its cure `proof` changes"],
  ],
  [
    'a cure without a condition',
    `@id("x") @cure("reason") forbid (${all});`,
    ["1:1 `x` is never lifted: it doesn't look at what its cure `reason` changes"],
  ],
  [
    'a permit below a forbid of everything',
    `@id("a") forbid (${all});\n@id("b") permit (principal in Group::"g", action in PG::Action::"writing", resource);\n@id("c") permit (${all});`,
    ['3:1 `c` permits nothing: `a` forbids all of it'],
  ],
  [
    'a forbid below a forbid',
    `@id("a") forbid (principal, action in PG::Action::"writing", resource);\n@id("b") forbid (principal, action == PG::Action::"update", resource in Resource::"orders") when { context.has_where };`,
    ['2:1 `b` takes nothing away: `a` forbids all of it, and more'],
  ],
  [
    'not below one that can be cured',
    `@id("a") @cure("proof") forbid (principal, action in PG::Action::"writing", resource) unless { context.proof.covers_action };\n@id("b") forbid (${all}) when { !context.has_where };`,
    [],
  ],
  [
    'a permit of what is permitted',
    `@id("a") permit (principal, action in PG::Action::"reading", resource in Resource::"orders");\n@id("b") permit (principal in Group::"g", action == PG::Action::"select", resource == PG::Table::"orders/public.orders") when { context.has_where };`,
    ['2:1 `b` adds nothing: `a` permits all of it already'],
  ],
  [
    'the same again',
    `@id("a") forbid (${all}) when { !context.has_where };\n@id("b") forbid (${all}) when { !context.has_where };`,
    ['2:1 `b` says the same as `a`'],
  ],
  [
    'the same permit again',
    `@id("a") permit (principal in Group::"g", action == PG::Action::"select", resource);\n@id("b") permit (principal in Group::"g", action == PG::Action::"select", resource);`,
    ['2:1 `b` adds nothing: `a` permits all of it already'],
  ],
  [
    'a forbid of what nothing permits',
    '@id("x") forbid (principal, action == PG::Action::"truncate", resource);',
    ['1:1 `x` forbids what nothing permits'],
  ],
  [
    'a forbid about a table that no role gives',
    '@id("x") forbid (principal, action == PG::Action::"update", resource == PG::Table::"orders/public.order");',
    ['1:1 `x` forbids what nothing permits'],
  ],
  [
    'a forbid of what a policy permits',
    '@id("a") permit (principal in Role::"orders/read", action == PG::Action::"truncate", resource);\n@id("x") forbid (principal, action == PG::Action::"truncate", resource) when { !context.has_where };',
    [],
  ],
  [
    'an impossible condition',
    `@id("x") forbid (${all}) when { false };`,
    ['1:1 policy is impossible: the policy expression evaluates to false for all valid requests'],
  ],
  [
    'a role that nobody could ask for',
    '@id("x") forbid (principal, action == Action::"request_role", resource == Role::"orders/read");',
    ['1:1 nobody could ask for `orders/read`'],
  ],
  [
    'a role that nobody could approve',
    '@id("x") forbid (principal in Group::"dba", action == Action::"approve_request", resource);',
    ['1:1 too few could approve a request for `orders/read`'],
  ],
  [
    'a role that could be approved by night',
    '@id("x") forbid (principal, action == Action::"approve_request", resource) when { context.working_hours };',
    [],
  ],
  [
    'a grant that nobody could use',
    '@id("x") forbid (principal, action == Action::"connect", resource);',
    ['1:1 nobody could connect under `orders/read`'],
  ],
  [
    'a connection that asks too many people',
    '@id("x") @cure("approval by @bob") forbid (principal, action == Action::"connect", resource) unless { context.approval.count >= 2 };',
    ['1:1 nobody could connect under `orders/read`'],
  ],
  ['nothing', '', []],
] as const) {
  test(`lint: ${name}`, () => {
    assert.deepEqual(findings(text), expected);
  });
}

test('a set with faults is not linted but refused', () => {
  const outcome = engine.lint({ shipped: [], configuration: configuration([read], { 'x.cedar': 'nonsense' }) });
  assert.equal(outcome.kind, 'faults');
});

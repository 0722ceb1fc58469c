import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  configuration,
  engineWith,
  exampleConfiguration,
  exampleEngine,
  role,
  shippedCases,
} from '#test/support/policy.ts';
import { runCases } from './cases.ts';

let engine: Awaited<ReturnType<typeof exampleEngine>>;
before(async () => {
  engine = await exampleEngine();
});

for (const { name, text } of [...shippedCases(), ...exampleConfiguration().cases]) {
  test(`every case of ${name} holds on the example`, () => {
    const outcome = runCases(engine, { file: name, text });
    assert.equal(outcome.kind, 'ran', JSON.stringify(outcome));
    if (outcome.kind !== 'ran') return;
    assert.ok(outcome.results.length > 5);
    const failed = outcome.results.filter(({ kind }) => kind === 'failed');
    assert.deepEqual(failed, []);
  });
}

test('a case that does not hold fails with its place, what was expected and what came', () => {
  const text =
    'principals:\n  ada: {}\ncases:\n  - name: wishful\n    who: ada\n    administer: grants\n    expect: allow\n';
  assert.deepEqual(runCases(engine, { file: 'x.cases.yaml', text }), {
    kind: 'ran',
    results: [
      {
        file: 'x.cases.yaml',
        line: 4,
        name: 'wishful',
        kind: 'failed',
        expected: 'allow',
        got: 'deny: no policy permits it',
        policies: [],
      },
    ],
  });
});

test('a case that names other policies than those that answered fails', () => {
  const text =
    'principals: { ada: {} }\ncases: [{ name: a, who: ada, read-log: own, expect: allow, by: [default:auditors-read-log] }]';
  const outcome = runCases(engine, { file: 'x', text });
  assert.equal(outcome.kind === 'ran' && outcome.results[0]?.kind, 'failed');
});

test('a curable denial is expected with its cures', async () => {
  const curing = await engineWith(
    configuration([role('orders/read')], {
      'x.cedar':
        '@id("x:proof") @cure("proof") forbid (principal, action == Action::"read_log", resource) unless { context.proof.covers_action };',
    }),
  );
  const run = (rest: string) => {
    const text = `principals: { ada: {} }\ncases: [{ name: a, who: ada, read-log: own, ${rest} }]`;
    const outcome = runCases(curing, { file: 'x', text });
    return outcome.kind === 'ran' ? outcome.results[0]?.kind : JSON.stringify(outcome);
  };
  assert.equal(run('expect: curable, cures: [proof]'), 'passed');
  assert.equal(run('expect: curable, cures: [reason]'), 'failed');
  assert.equal(run('expect: deny'), 'failed');
  assert.equal(run('cured: [proof], expect: allow'), 'passed');
});

test('a case says from where, when, by what device and with what it is asked', async () => {
  const one = role('orders/read', {
    permissions: { tables: [{ schema: 'public', name: 'orders', select: 'all', delete: true }], functions: [] },
  });
  const say = (id: string, condition: string, cure = '') =>
    `@id("x:${id}") ${cure} forbid (principal, action in [PG::Action::"reading", PG::Action::"destructive"], resource) unless { ${condition} };`;
  const engineOf = (condition: string, cure = '') =>
    engineWith({
      ...configuration([one], { 'x.cedar': say('one', condition, cure) }),
      networks: { office: ['10.0.0.0/8'] },
    });
  for (const [condition, passes, fails] of [
    ['context.working_hours', '', 'at: "2026-01-10T12:00:00Z"'],
    ['context.client.networks.contains("office")', 'from: 10.1.2.3', ''],
    ['context.client.tls', '', 'tls: false'],
    ['context.device.known', 'device: known', 'device: unknown'],
    ['context.device has age && context.device.age > duration("7d")', 'device: 8d', 'device: 6d'],
    ['context.sign_in has age && context.sign_in.age < duration("5m")', 'signed-in: 4m', 'signed-in: 6m'],
    ['context.sign_in.method == "passkey"', 'signed-in: 1m', 'signed-in-by: totp'],
    ['context.acts_for.isEmpty()', '', 'acts-for: [ada]'],
    ['context.grant.reason like "*OPS-*"', 'reason: see OPS-1', 'reason: why not'],
    ['context.grant has ticket', 'ticket: OPS-1', ''],
    ['context.grant.approvals >= 2', 'approvals: 2', 'approvals: 1'],
    [
      'context.grant has activated_at && context.time.durationSince(context.grant.activated_at) < duration("1h")',
      'activated: "2026-01-07T11:30:00Z"',
      'activated: "2026-01-07T10:30:00Z"',
    ],
    [
      'context.grant has ends_at && context.grant.ends_at.durationSince(context.time) > duration("5m")',
      'ends: "2026-01-07T12:10:00Z"',
      'ends: "2026-01-07T12:03:00Z"',
    ],
    ['context has estimated_rows && context.estimated_rows < 10', 'rows: 9', 'rows: 10'],
    ['!context.functions.contains("public.refund")', '', 'functions: [public.refund]'],
    [
      'context.tables.contains(PG::Table::"orders/public.orders")',
      '',
      'statement: select on pg_catalog.pg_class (oid)',
    ],
    ['context.preview.confirmed', 'cured: [preview]', 'cured: [proof]'],
    ['context.approval.count >= 1', 'approved-by: 1', 'cured: [approval]'],
    ['context.proof has age && context.proof.age < duration("5m")', 'proof-age: 4m', 'proof-age: 5m'],
    [
      'context.proof has authenticator_age && context.proof.authenticator_age > duration("1d")',
      'key-age: 2d',
      'key-age: 1h',
    ],
  ] as const) {
    const asked = await engineOf(condition);
    const run = (more: string) => {
      const statement = more.includes('statement:') ? '' : 'statement: select on public.orders (id), ';
      const fields = `name: a, who: ada, in: orders/read, ${statement}${more}${more === '' ? '' : ','} expect: allow`;
      const outcome = runCases(asked, { file: 'x', text: `principals: { ada: {} }\ncases: [{ ${fields} }]` });
      return outcome.kind === 'ran' ? outcome.results[0]?.kind : JSON.stringify(outcome);
    };
    assert.deepEqual([run(passes), run(fails)], ['passed', 'failed'], condition);
  }
  const keys = await engineOf(
    'context.proof has authenticator_age && context.proof.authenticator_age > duration("1d")',
    '@cure("proof")',
  );
  const text = `principals: { ada: {} }
cases:
  - { name: a, who: ada, in: orders/read, statement: select on public.orders, oldest-key: 2d, expect: curable }
  - { name: b, who: ada, in: orders/read, statement: select on public.orders, oldest-key: 2h, expect: deny }`;
  const outcome = runCases(keys, { file: 'x', text });
  assert.deepEqual(outcome.kind === 'ran' && outcome.results.map(({ kind }) => kind), ['passed', 'passed']);
});

for (const [name, body, message] of [
  [
    'an unknown principal',
    '{ name: a, who: bob, read-log: own, expect: allow }',
    'there is no principal `bob` in the file',
  ],
  [
    'two questions',
    '{ name: a, who: ada, read-log: own, administer: grants, expect: allow }',
    'a case asks one question, this one 2',
  ],
  ['no question', '{ name: a, who: ada, expect: allow }', 'a case asks one question, this one 0'],
  ['a misspelt key', '{ name: a, who: ada, raed-log: own, expect: allow }', 'a case has no key `raed-log`'],
  ['no expectation', '{ name: a, who: ada, read-log: own }', 'a case needs `expect`'],
  [
    'a need that is none',
    '{ name: a, who: ada, in: o/r, statement: select orders, expect: allow }',
    '`select orders` is not a need',
  ],
  ['no device', '{ name: a, who: ada, read-log: own, device: mine, expect: allow }', '`mine` is not a device'],
  ['no time', '{ name: a, who: ada, read-log: own, at: noon, expect: allow }', '`noon` is not a time in UTC'],
  ['no duration', '{ name: a, who: ada, read-log: own, signed-in: 5, expect: allow }', '`signed-in` must be text'],
  ['no cure', '{ name: a, who: ada, read-log: own, cured: [luck], expect: allow }', '`luck` is not a cure'],
  ['no case', '', 'there are no cases in the file'],
] as const) {
  test(`a file with ${name} is refused`, () => {
    const outcome = runCases(engine, { file: 'x', text: `principals: { ada: {} }\ncases: [${body}]` });
    assert.equal(outcome.kind, 'faults');
    assert.ok(outcome.kind === 'faults' && outcome.faults.some((f) => f.message === message), JSON.stringify(outcome));
  });
}

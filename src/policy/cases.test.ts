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
  ['no case', '', 'there are no cases in the file'],
] as const) {
  test(`a file with ${name} is refused`, () => {
    const outcome = runCases(engine, { file: 'x', text: `principals: { ada: {} }\ncases: [${body}]` });
    assert.equal(outcome.kind, 'faults');
    assert.ok(outcome.kind === 'faults' && outcome.faults.some((f) => f.message === message), JSON.stringify(outcome));
  });
}

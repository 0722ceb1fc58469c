import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hours } from '#core/instant.ts';
import { configuration, engineWith, now, openCedar, person, role } from '#test/support/policy.ts';

const poison = (levels = 3000) =>
  `permit (principal, action, resource) when { ${'('.repeat(levels)}true${')'.repeat(levels)} };`;

test('an instance that has thrown is never asked again; the spare takes over at once', async () => {
  const cedar = await openCedar();
  const generation = () => {
    const outcome = cedar.attempt((_, current) => current);
    return outcome.kind === 'done' ? outcome.value : undefined;
  };
  assert.equal(generation(), 1);
  const first = cedar.attempt((instance) => instance.checkParsePolicySet({ staticPolicies: { x: poison() } }));
  assert.equal(first.kind, 'fault');
  // Without waiting for anything.
  const next = cedar.attempt((instance) =>
    instance.checkParsePolicySet({ staticPolicies: { x: 'permit (principal, action, resource);' } }),
  );
  assert.deepEqual(next, { kind: 'done', value: { type: 'success' } });
  assert.equal(generation(), 2);
  assert.equal(cedar.faults(), 1);
});

test('faults faster than instances can be made are refused, and then it recovers', async () => {
  const cedar = await openCedar();
  const hit = () => cedar.attempt((instance) => instance.checkParsePolicySet({ staticPolicies: { x: poison() } }));
  assert.deepEqual([hit().kind, hit().kind, hit().kind], ['fault', 'fault', 'fault']);
  assert.equal(cedar.attempt(() => true).kind, 'fault');
  await cedar.settled();
  assert.deepEqual(
    cedar.attempt(() => true),
    { kind: 'done', value: true },
  );
});

test('INVARIANT 1: closed by default: a question that kills the evaluator is denied, and the next is answered', async () => {
  const one = role('orders/one');
  const engine = await engineWith(configuration([one]));
  // What no typed caller can send: a value nested deep enough to overflow the evaluator's stack.
  let deep: unknown = 'ada';
  for (let i = 0; i < 100_000; i += 1) deep = [deep];
  const ask = (handle: string) =>
    engine.decide({
      now,
      action: 'request_role',
      principal: { ...person('ada', ['engineering']), handle },
      role: one.name,
      duration: hours(1),
    });
  assert.equal(ask('ada').kind, 'allow');
  for (let round = 0; round < 3; round += 1) {
    const killed = ask(deep as string);
    assert.equal(killed.kind, 'deny');
    assert.equal(ask('ada').kind, 'allow');
    await engine.settled();
  }
  assert.equal(engine.faults, 3);
});

test('many loads of many sets do not grow the evaluator', async () => {
  const engine = await engineWith(configuration([role('orders/one')]));
  const sizes: number[] = [];
  for (let i = 0; i < 60; i += 1) {
    engine.load({
      shipped: [],
      configuration: configuration([role('orders/one')], {
        'x.cedar': Array.from({ length: 50 }, (_, j) => `@id("p${i}-${j}") permit (principal, action, resource);`).join(
          '\n',
        ),
      }),
    });
    engine.decide({ now, action: 'read_log', principal: person('ada'), scope: 'own' });
    if (i % 20 === 19) sizes.push(engine.memoryBytes);
  }
  assert.ok(sizes.length === 3 && sizes[2] === sizes[1], sizes.join());
});

test('two engines in one process know nothing of each other', async () => {
  const one = role('orders/one');
  const generous = await engineWith(
    configuration([one], { 'x.cedar': '@id("x") permit (principal, action, resource);' }),
  );
  const strict = await engineWith(configuration([one]), []);
  const read = (engine: typeof strict) =>
    engine.decide({ now, action: 'read_log', principal: person('ada'), scope: 'own' }).kind;
  assert.deepEqual([read(generous), read(strict), read(generous)], ['allow', 'deny', 'allow']);
});

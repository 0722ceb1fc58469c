import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hours } from '#core/instant.ts';
import { configuration, now, openPolicyEngine, person, role } from '#test/support/policy.ts';
import { maxDepth, maxFileLength, maxNesting, maxPolicyLength, scanPolicies } from './_scan.ts';

const texts = (text: string) => scanPolicies(text).policies.map((policy) => policy.text);

test('policies are cut at their semicolons and nowhere else', () => {
  const first = '@id("a;b") permit (principal, action, resource) when { context.x == "; \\" }" };';
  const second = 'forbid (principal, action, resource);';
  const text = `// a comment; with a semicolon\n${first}\n// "an open string\n  ${second} // the end;\n`;
  assert.deepEqual(texts(text), [first, second]);
  for (const { text: policy, start } of scanPolicies(text).policies)
    assert.equal(text.slice(start, start + policy.length), policy);
});

test('what has no semicolon is left for the parser to complain about', () => {
  assert.deepEqual(texts('permit (principal, action, resource) '), ['permit (principal, action, resource)']);
  assert.deepEqual(texts(' // nothing\n'), []);
});

test('no text makes it throw or lose its place', () => {
  const piece = fc.constantFrom(
    '"',
    '\\',
    '//',
    '\n',
    ';',
    '(',
    ')',
    '{',
    '}',
    '[',
    ']',
    ',',
    '&&',
    'if ',
    'when ',
    'é',
    '😀',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const text = pieces.join('');
      const { policies } = scanPolicies(text);
      for (const { text: policy, start } of policies) assert.ok(text.startsWith(policy, start) && policy.length > 0);
    }),
  );
});

test('files and policies have a largest size', () => {
  assert.equal(scanPolicies(' '.repeat(maxFileLength + 1)).faults.length, 1);
  assert.equal(scanPolicies(`@id("${'x'.repeat(maxPolicyLength)}");`).faults.length, 1);
  assert.equal(scanPolicies('a;'.repeat(1002)).faults.length, 1);
});

const policy = (condition: string) => `@id("deep") permit (principal, action, resource) when ${condition};`;
// `when` itself counts as one operator, its braces and those of the scope as brackets.
const shapes: Readonly<Record<string, (n: number) => string>> = {
  parentheses: (n) => policy(`{ ${'('.repeat(n)}true${')'.repeat(n)} }`),
  sets: (n) => policy(`{ ${'['.repeat(n)}true${']'.repeat(n)} == [] }`),
  records: (n) => policy(`{ ${'{ a: '.repeat(n)}true${' }'.repeat(n)} == {} }`),
  'chain of and': (n) => policy(`{ ${Array.from({ length: n + 1 }, () => 'true').join(' && ')} }`),
  'chain of or': (n) => policy(`{ ${Array.from({ length: n + 1 }, () => 'false').join(' || ')} }`),
  'chain of plus': (n) => policy(`{ ${Array.from({ length: n + 1 }, () => '1').join(' + ')} == 1 }`),
  'chain of if': (n) => policy(`{ ${'if true then true else '.repeat(n)}true }`),
  'nested if': (n) => policy(`{ ${'if ('.repeat(n)}true${') then true else true'.repeat(n)} }`),
  'chain of when': (n) => policy(Array.from({ length: n }, () => '{ true }').join(' when ')),
  'chain of methods': (n) =>
    policy(`{ ${Array.from({ length: n }, () => '[true].contains(').join('')}true${')'.repeat(n)} }`),
  'chain of attributes': (n) => policy(`{ {a: 1} has ${Array.from({ length: n + 1 }, () => 'a').join('.')} }`),
  'mixed with and': (n) => policy(`{ ${'(true && '.repeat(n)}true${')'.repeat(n)} }`),
};

/** The largest accepted by the scan. */
function largest(shape: (n: number) => string): number {
  let n = 1;
  while (n < 2000 && scanPolicies(shape(n + 1)).faults.length === 0) n += 1;
  return n;
}

for (const [name, shape] of Object.entries(shapes)) {
  test(`the deepest ${name} that is let through does the evaluator no harm, and the limit is there`, async () => {
    const n = largest(shape);
    assert.ok(n >= 30 && n <= maxDepth, `${n}`);
    assert.ok(scanPolicies(shape(25_000)).faults.length > 0);
    const engine = await openPolicyEngine();
    const one = role('orders/one');
    // Whether it is valid is another matter; it must not take the instance with it.
    engine.load({ shipped: [], configuration: configuration([one], { 'x.cedar': shape(n) }) });
    const sound = '@id("a") permit (principal, action == Action::"request_role", resource);';
    engine.load({ shipped: [], configuration: configuration([one], { 'x.cedar': `${shape(n)}\n${sound}` }) });
    const after = engine.load({ shipped: [], configuration: configuration([one], { 'x.cedar': sound }) });
    assert.equal(after.kind, 'loaded');
    const question = {
      now,
      action: 'request_role',
      principal: person('ada'),
      role: one.name,
      duration: hours(1),
    } as const;
    assert.equal(engine.decide(question).kind, 'allow');
    assert.equal(engine.faults, 0);
  });
}

test('the limits leave room for real policies', () => {
  const list = Array.from({ length: 2000 }, (_, i) => `"table_${i}"`).join(', ');
  assert.equal(scanPolicies(policy(`{ [${list}].contains(resource.name) }`)).faults.length, 0);
  const long = Array.from({ length: 90 }, (_, i) => `resource.name == "t${i}"`).join(' || ');
  assert.equal(scanPolicies(policy(`{ ${long} }`)).faults.length, 0);
  assert.ok(maxNesting >= 50);
});

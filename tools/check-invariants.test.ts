import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { faults, testsIn, threatModel } from './check-invariants.ts';

// Put together, so that this file names no invariant itself.
const mark = (number: number): string => ['INVARIANT', `${number}:`].join(' ');

const names = (text: string): readonly string[] => testsIn('a.test.ts', text).map(({ name }) => name);

test('a name is found in a call and in a table, in any quotes', () => {
  assert.deepEqual(
    names(`test('${mark(1)} it\\'s shut', f); [["${mark(2)} not one's own", 1]]; test(\`${mark(3)} as one\`, f);`),
    ["it's shut", "not one's own", 'as one'],
  );
});

test('what a template fills in reads …, whatever stands in the placeholder', () => {
  assert.deepEqual(names(`test(\`${mark(1)} \${a ? \`}\${b}\` : '}'} is { refused }\`, f)`), ['… is { refused }']);
});

test('one test may hold several invariants', () => {
  const text = `test('${['INVARIANT', '4 and 12:'].join(' ')} cut', f)`;
  assert.deepEqual(
    testsIn('a.test.ts', text).map(({ invariant, name }) => [invariant, name]),
    [
      [4, 'cut'],
      [12, 'cut'],
    ],
  );
});

test('a comment names no test', () => {
  assert.deepEqual(names(`// ${mark(1)} closed`), []);
});

const document = (lists: readonly [string, string]) =>
  [
    '### 1. Closed',
    '<!-- tests of 1 -->',
    lists[0],
    '<!-- end -->',
    '### 2. Two',
    '<!-- tests of 2 -->',
    lists[1],
    '<!-- end -->',
    '',
  ].join('\n');

test('an invariant without a test is a fault, and so is a test of an invariant that is not stated', () => {
  const tests = testsIn('a.test.ts', `test('${mark(1)} shut'); test('${mark(15)} new');`);
  assert.deepEqual(faults(document(['', '']), tests), [
    'INVARIANT 2 is held by no test',
    'a.test.ts: INVARIANT 15 is not in docs/threat-model.md',
  ]);
});

test('a document that states nothing is a fault', () => {
  assert.equal(faults('# Threat model', []).length, 1);
});

test('the lists are made from the tests of the tree, and made again are the same', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-invariants-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, 'src/core'), { recursive: true });
  mkdirSync(join(root, 'test/e2e'), { recursive: true });
  writeFileSync(join(root, 'src/core/a.test.ts'), `test('${mark(1)} a * b'); test('${mark(1)} c');`);
  writeFileSync(join(root, 'test/e2e/story.ts'), `step('${mark(2)} d');`);
  const made = threatModel(document(['old', '']), root);
  assert.equal(made, document(['* `src/core/a.test.ts`\n  * a \\* b\n  * c', '* `test/e2e/story.ts`\n  * d']));
  assert.equal(threatModel(made, root), made);
});

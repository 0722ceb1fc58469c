import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { runTests, testFiles } from './run-tests.ts';

async function runs(t: TestContext, ...texts: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-run-tests-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const files = texts.map((text, index) => {
    const file = join(folder, `${index}.test.mjs`);
    writeFileSync(file, `import { test } from 'node:test';\nimport assert from 'node:assert';\n${text}`);
    return file;
  });
  const said: string[] = [];
  const totals = await runTests('trial', files, { say: (line) => said.push(line) });
  return { totals, said: said.join('\n') };
}

test('what passes and fails is counted over all files, and a failure is shown', async (t) => {
  const { totals, said } = await runs(
    t,
    "test('good', () => {}); test('bad', () => assert.equal(1, 2));",
    "test('fine', () => {});",
  );
  assert.deepEqual(totals, { passed: 2, failed: 1, skipped: 0 });
  assert.match(said, /FAIL .*0\.test\.mjs: 1 passed, 1 failed/);
  assert.match(said, /1 == 2/);
});

test('what was skipped is named with its reason', async (t) => {
  const { totals, said } = await runs(t, "test('good', () => {}); test('later', { skip: 'no moon' }, () => {});");
  assert.deepEqual(totals, { passed: 1, failed: 0, skipped: 1 });
  assert.match(said, /skipped: later.*no moon/);
});

for (const [name, text] of [
  ['throws while it is loaded', "throw new Error('early');"],
  ['leaves in the middle', "test('good', () => {}); test('exit', () => process.exit(0));"],
  ['has no test', ''],
  ['throws after its tests', "test('good', () => {}); setTimeout(() => { throw new Error('late'); });"],
] as const)
  test(`a file that ${name} has failed`, async (t) => {
    const { totals } = await runs(t, text);
    assert.ok(totals.failed >= 1, JSON.stringify(totals));
  });

test('a pattern that matches nothing is a fault', () => {
  assert.throws(() => testFiles('src/**/*.tset.ts'), /no file matches/);
});

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test, type TestContext } from 'node:test';
import { generate, generated } from './generate.ts';

const root = resolve(import.meta.dirname, '..');

/** A tree with the generated files and nothing else. */
function copy(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-generate-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const { file } of generated) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  return folder;
}

test('a drifted file is named, and with `check` left as it is', async (t) => {
  const folder = copy(t);
  writeFileSync(join(folder, 'docs/openapi.json'), '{}\n');
  assert.ok((await generate(folder, { check: true })).includes('docs/openapi.json'));
  assert.equal(readFileSync(join(folder, 'docs/openapi.json'), 'utf8'), '{}\n');
});

test('what was written doesn’t drift', async (t) => {
  const folder = copy(t);
  writeFileSync(join(folder, 'docs/openapi.json'), '{}\n');
  await generate(folder, { check: false });
  assert.deepEqual(await generate(folder, { check: true }), []);
});

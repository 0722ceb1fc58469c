import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { spawnSync } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { checkFile, checkTree, rules } from './check-imports.ts';

const root = resolve(import.meta.dirname, '..');
const check = (file: string, text: string): string[] =>
  checkFile(join('/r', file), text, '/r').violations.map(({ because }) => because);

for (const [name, file, text, because] of [
  ['a folder it may not import', 'src/core/a.ts', "import { a } from '#app/a.ts';", 'core may import: nothing'],
  ['a type of such a folder', 'src/gateway/a.ts', "import type { A } from '#store/a.ts';", 'gateway may import: '],
  ['a re-export of such a folder', 'src/log/a.ts', "export { a } from '#policy/a.ts';", 'log may import: core'],
  ['an import over several lines', 'src/core/a.ts', "import {\n  a,\n  b,\n} from '#log/a.ts';", 'core may import'],
  ['an import when it is needed', 'src/core/a.ts', "const a = await import('#log/a.ts');", 'core may import'],
  ['an import for its effect', 'src/core/a.ts', "import 'reflect-metadata';", 'core may use of npm: nothing'],
  ['a built-in', 'src/policy/a.ts', "import { readFileSync } from 'node:fs';", 'policy may use of Node: nothing'],
  ['a scoped package', 'src/app/a.ts', "import x from '@hono/node-server/x';", 'app may use of npm: kysely'],
  ['a private file elsewhere', 'src/app/a.ts', "import { a } from '#store/_a.ts';", 'private to its folder'],
  ['a private file below', 'src/app/a.ts', "import { a } from './deep/_a.ts';", 'private to its folder'],
  ['a private file, by a test', 'test/a.test.ts', "import { a } from '#store/_a.ts';", 'private to its folder'],
  ['another folder by a path', 'src/app/a.ts', "import { a } from '../core/a.ts';", 'relative imports stay inside'],
  ['the tests, by shipped code', 'src/app/a.ts', "import { a } from '#test/support/a.ts';", 'nothing of the tests'],
  ['its own folder by its name', 'src/app/a.ts', "import { a } from '#app/b.ts';", 'inside a folder imports are'],
  ['anything, from a folder without a row', 'src/new/a.ts', "import { a } from './b.ts';", 'is not in the table'],
  ['the server, by the console', 'web/src/a.tsx', "import { a } from '#app/a.ts';", 'web may import: contract, core'],
  ['the composition root, by a part', 'src/app/a.ts', "import { a } from '#src/main.ts';", 'app may import'],
] as const)
  test(`refused: ${name}`, () => {
    const found = check(file, text);
    assert.equal(found.length, 1, found.join('; '));
    assert.ok(found[0]?.includes(because), found[0]);
  });

for (const [name, file, text] of [
  ['a file beside it', 'src/app/a.ts', "import { a } from './_a.ts';"],
  ['a folder below', 'src/app/a.ts', "import { a } from '#core/a.ts';"],
  ['what a test needs', 'src/core/a.test.ts', "import 'node:fs'; \nimport fc from 'fast-check';"],
  ['the support of tests, by a test', 'src/core/a.test.ts', "import { a } from '#test/support/a.ts';"],
  ['everything, by the composition root', 'src/main.ts', "import { a } from '#app/a.ts';\nimport 'node:fs';"],
  ['everything, by its pieces', 'src/start/a.ts', "import { a } from '#app/a.ts';\nimport pino from 'pino';"],
  ['the composition root, by the command', 'src/cli/up.ts', "import { startSally } from '#src/main.ts';"],
  ['nothing, in a comment', 'src/core/a.ts', "// import { a } from '#app/a.ts';\n/**\n * import '#app/a.ts'\n */"],
] as const)
  test(`allowed: ${name}`, () => {
    assert.deepEqual(check(file, text), []);
  });

function tree(t: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-imports-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

function run(folder: string): { readonly status: number | null; readonly said: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'tools/check-imports.ts'), folder], {
    encoding: 'utf8',
  });
  return { status, said: stderr };
}

test('a tree in which it sees no imports fails: then the check is broken', (t) => {
  const { status, said } = run(tree(t, { 'src/core/a.ts': 'export const a = 1;' }));
  assert.equal(status, 1);
  assert.match(said, /core: the import check saw no imports/);
});

test('an empty tree fails', (t) => {
  assert.equal(run(tree(t, {})).status, 1);
});

test('one folder in which it sees no imports fails, whatever it sees elsewhere', (t) => {
  const folder = tree(t, { 'src/core/a.ts': "import './b.ts';", 'src/log/a.ts': 'export const a = 1;' });
  assert.deepEqual(checkTree(folder).blind, ['log']);
});

test('a violation ends the script with 1 and is named', (t) => {
  const { status, said } = run(tree(t, { 'src/core/a.ts': "import { a } from '#app/a.ts';" }));
  assert.equal(status, 1);
  assert.match(said, /src\/core\/a\.ts imports #app\/a\.ts: core may import: nothing/);
});

test('each folder of src has a row', () => {
  for (const entry of readdirSync(join(root, 'src'), { withFileTypes: true }))
    if (entry.isDirectory()) assert.ok(entry.name in rules, entry.name);
});

test('arrows point down only: no two folders may import each other', () => {
  for (const [from, { folders }] of Object.entries(rules))
    for (const to of folders === 'any' ? [] : folders) {
      if (to === 'src') continue;
      const back = rules[to]?.folders ?? [];
      assert.ok(back !== 'any' && !back.includes(from), `${from} and ${to}`);
    }
});

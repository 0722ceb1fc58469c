import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { cliReference } from './cli-reference.ts';

test('docs/cli.md says what the commands say', () => {
  const committed = readFileSync(new URL('../docs/cli.md', import.meta.url), 'utf8');
  assert.equal(committed, cliReference(), 'run `node tools/cli-reference.ts`');
});

test('every command has an example', () => {
  const sections = cliReference().split('\n### ').slice(1);
  assert.ok(sections.length > 20);
  for (const section of sections) assert.match(section, /\nExamples:\n/, section.split('\n')[0]);
});

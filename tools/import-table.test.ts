import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rules } from './check-imports.ts';
import { architecture } from './import-table.ts';

test('every row of the rule is in the table, and what stands around it stays', () => {
  const made = architecture('before\n<!-- import table -->\nstale words\n<!-- end -->\nafter\n');
  assert.match(made, /^before\n/);
  assert.match(made, /\nafter\n$/);
  assert.ok(!made.includes('stale words'));
  assert.equal(made.split('\n').filter((line) => line.startsWith('| ')).length, Object.keys(rules).length + 1);
  assert.match(made, /^\| `log` \| core \| – \| crypto \|$/m);
  assert.equal(architecture(made), made);
});

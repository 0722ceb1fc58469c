import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { schema } from './schema.ts';

test('the copy of the schema for editors is the schema', () => {
  const copy = new URL('../../policies/sallyport.cedarschema', import.meta.url);
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(copy, schema);
  assert.equal(
    readFileSync(copy, 'utf8'),
    schema,
    'run `UPDATE_GOLDEN=1 node --test src/policy/schema.test.ts` and commit the difference',
  );
});

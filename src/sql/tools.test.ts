/**
 * What well-known tools send on their own must pass: they would be unusable behind the gateway otherwise.
 * `captured-queries.json` holds the statements that psql 15 (every `\d…`, tab completion, `\copy`), pg_dump 15 (nine ways) and
 * pgjdbc 42.5 (its metadata, updatable results, both query modes) sent to a PostgreSQL 15 with the shop of these tests, as that
 * server logged them; repetitions that differ in numbers only were left out.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { sqlTarget } from '#test/support/sql-target.ts';
import { analyse } from './analyse.ts';
import { describeNeed, type StatementAnalysis } from './needs.ts';

type Captured = { readonly tool: string; readonly text: string };
const captured = JSON.parse(
  readFileSync(new URL('captured-queries.json', import.meta.url), 'utf8'),
) as readonly Captured[];
const { parser, catalogue } = await sqlTarget({ after });

/** As the gateway would: what is prepared is kept, and pg_dump has emptied its search path. */
function replay(tool: string): readonly (StatementAnalysis & { readonly sent: string })[] {
  const prepared = new Map<string, string>();
  const searchPath = tool === 'pg_dump' ? ['pg_catalog'] : ['pg_catalog', 'public'];
  const names = { catalogue, searchPath, user: 'ada', prepared, changedInTransaction: false };
  return captured
    .filter((query) => query.tool === tool)
    .flatMap(({ text }) => {
      const analysis = analyse(parser, text, names);
      assert.ok(analysis.kind === 'statements', text);
      for (const { prepares } of analysis.statements) {
        if (prepares !== undefined) prepared.set(prepares.name, prepares.text);
      }
      return analysis.statements.map((statement) => ({ ...statement, sent: text }));
    });
}

for (const [tool, fewest] of [
  ['psql', 100],
  ['pg_dump', 80],
  ['pgjdbc', 40],
] as const) {
  test(`${tool}: nothing it sends on its own is undecidable or a call, and it only reads the catalogue`, () => {
    const statements = replay(tool);
    assert.ok(statements.length >= fewest, `only ${statements.length} statements`);
    for (const { because, needs, sent } of statements) {
      assert.equal(because, undefined, sent);
      for (const need of needs) {
        const own = need.object.kind === 'table' && need.object.schema !== 'pg_catalog';
        assert.ok(own || need.action === 'select', `${describeNeed(need)}: ${sent}`);
      }
    }
  });
}

test('pg_dump of one table needs to read that table, and no other', () => {
  const dump = replay('pg_dump').filter(({ sent }) => /^(?:COPY|LOCK TABLE) public\.customers/.test(sent));
  assert.ok(dump.length >= 2);
  for (const { needs } of dump) {
    assert.deepEqual(needs.map(describeNeed), ['select on public.customers (email, id, name, tags, tax_id)']);
  }
});

test('information_schema is read like a table, and its functions are PostgreSQL’s own', () => {
  const names = { catalogue, searchPath: ['pg_catalog', 'public'], user: 'ada' };
  for (const text of [
    `select table_schema, table_name, column_name from information_schema.columns where table_name = $1 order by ordinal_position`,
    `select (information_schema._pg_expandarray(i.indkey)).n from pg_catalog.pg_index i`,
    `select * from information_schema.tables natural join information_schema.schemata limit 1`,
    `select t.oid, typarray from pg_type t join pg_namespace ns on typnamespace = ns.oid where typname = 'hstore'`,
    `select typname, oid from pg_type where typname = any($1::text[])`,
    `select current_schema(), session_user, version(), pg_is_in_recovery(), current_setting('server_version_num')`,
  ]) {
    const analysis = analyse(parser, text, names);
    assert.ok(analysis.kind === 'statements');
    assert.equal(analysis.statements[0]?.because, undefined, text);
    assert.equal(analysis.statements[0]?.class, 'read', text);
  }
});

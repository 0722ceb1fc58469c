import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { emptyDatabase } from '#test/support/postgres.ts';
import type { DatabaseAddress } from './database.ts';
import { MigrationError, type MigrationFault, migrate, readMigrations } from './migrate.ts';

function folderWith(t: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-migrations-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

async function query(address: DatabaseAddress, text: string): Promise<unknown[]> {
  const client = new pg.Client(typeof address === 'string' ? address : { ...address });
  await client.connect();
  try {
    return (await client.query({ text, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

const refusal = (code: MigrationFault, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof MigrationError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

test('migrate: applies each file once, in order, and then finds nothing to do', async (t) => {
  const { address } = await emptyDatabase(t);
  const folder = folderWith(t, {
    '0001-first.sql': "create table a (n int);\ncomment on table a is 'x'; insert into a values (1);",
    '0002-second.sql': 'create function f() returns int language plpgsql as $$ begin return 2; end; $$;',
  });
  const told: string[] = [];
  const first = await migrate(address, { folder, onProgress: (what) => told.push(what) });
  assert.deepEqual(first, { applied: ['0001-first.sql', '0002-second.sql'], version: 2 });
  assert.deepEqual(told, ['migrating the store: 0001-first.sql', 'migrating the store: 0002-second.sql']);
  assert.deepEqual(await migrate(address, { folder }), { applied: [], version: 2 });
  assert.deepEqual(await query(address, 'select f() + n from a'), [3]);
});

test('migrate: processes that start at once do the work once', async (t) => {
  const { address } = await emptyDatabase(t);
  const folder = folderWith(t, {
    '0001-first.sql': 'create table a (n int)',
    '0002-more.sql': 'create table b (n int)',
  });
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => migrate(address, { folder })));
  assert.deepEqual(
    outcomes.map(({ applied }) => applied.length).sort((a, b) => a - b),
    [0, 0, 0, 0, 2],
  );
});

test('migrate: a file that fails leaves nothing of itself, keeps those before it, and is named with its line', async (t) => {
  const { address } = await emptyDatabase(t);
  const folder = folderWith(t, {
    '0001-good.sql': 'create table good (n int)',
    '0002-bad.sql': '-- \u{1f600}\ncreate table half (n int);\n\nselect nonsense;\n',
  });
  await assert.rejects(migrate(address, { folder }), refusal('migration_failed', /0002-bad\.sql:4 failed: .*nonsense/));
  assert.deepEqual(
    await query(address, "select tablename::text from pg_tables where schemaname = 'public' order by 1"),
    ['good', 'schema_migration'],
  );
  writeFileSync(join(folder, '0002-bad.sql'), 'create table half (n int)');
  assert.deepEqual((await migrate(address, { folder })).applied, ['0002-bad.sql']);
});

test('migrate: an applied file that was edited is refused', async (t) => {
  const { address } = await emptyDatabase(t);
  const folder = folderWith(t, { '0001-first.sql': 'create table a (n int)' });
  await migrate(address, { folder });
  writeFileSync(join(folder, '0001-first.sql'), 'create table a (n int) ');
  await assert.rejects(migrate(address, { folder }), refusal('migration_edited', /0001-first\.sql/));
});

test('migrate: a database newer than the release is refused', async (t) => {
  const { address } = await emptyDatabase(t);
  const folder = folderWith(t, { '0001-first.sql': 'create table a (n int)', '0002-later.sql': 'create table b ()' });
  await migrate(address, { folder });
  rmSync(join(folder, '0002-later.sql'));
  await assert.rejects(migrate(address, { folder }), refusal('database_newer', /at migration 0002-later\.sql/));
});

for (const [what, files, message] of [
  ['a gap', { '0001-a.sql': '', '0003-c.sql': '' }, /`0003-c\.sql` should have number 0002/],
  ['a number used twice', { '0001-a.sql': '', '0001-b.sql': '' }, /`0001-b\.sql` should have number 0002/],
  ['an odd name', { '0001_a.sql': '' }, /not named NNNN-name\.sql/],
  ['a commit inside', { '0001-a.sql': 'create table a ();\ncommit;\n' }, /ends a transaction/],
] as const) {
  test(`migrate: refuses files with ${what}`, (t) => {
    assert.throws(() => readMigrations(folderWith(t, files)), refusal('bad_migration_files', message));
  });
}

test('migrate: the shipped migrations apply to an empty database', async (t) => {
  const { address } = await emptyDatabase(t);
  const { applied } = await migrate(address);
  const shipped = readdirSync(join(import.meta.dirname, 'migrations')).filter((name) => name.endsWith('.sql'));
  assert.equal(applied.length, shipped.length);
});

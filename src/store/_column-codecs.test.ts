import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kysely, sql } from 'kysely';
import { parseInstant } from '#core/instant.ts';
import { emptyDatabase, testDatabase } from '#test/support/postgres.ts';
import { instantColumns, jsonColumns } from './_column-codecs.ts';
import { at, json, openDatabase } from './database.ts';

test('columns: the lists of instants and JSON are what the migrated database has, and a name means one type', async (t) => {
  const { db } = await testDatabase(t);
  const { rows } = await sql<{ name: string; type: string }>`
    select distinct column_name::text as name, data_type::text as type from information_schema.columns
    where table_schema = 'public' order by 1`.execute(db);
  const named = (type: string) => rows.filter((row) => row.type === type).map(({ name }) => name);
  assert.deepEqual(
    named('timestamp with time zone'),
    [...instantColumns].toSorted(),
    'see src/store/_column-codecs.ts',
  );
  assert.deepEqual(named('jsonb'), [...jsonColumns].toSorted(), 'see src/store/_column-codecs.ts');
  for (const { name, type } of rows) {
    if (instantColumns.has(name)) assert.equal(type, 'timestamp with time zone', name);
    if (jsonColumns.has(name)) assert.equal(type, 'jsonb', name);
  }
});

type Things = { thing: { id: number; created_at: number; used_at: number | null; changes: unknown; words: string[] } };

test('columns: instants and JSON are written as such in insert, update and conditions', async (t) => {
  const { address } = await emptyDatabase(t);
  const db = openDatabase(address) as unknown as Kysely<Things>;
  t.after(() => db.destroy());
  await sql`create table thing (id int primary key, created_at timestamptz, used_at timestamptz, changes jsonb, words text[])`.execute(
    db,
  );
  const early = parseInstant('2026-01-01T00:00:00Z') ?? 0;
  const late = parseInstant('2026-01-02T00:00:00.001Z') ?? 0;
  await db
    .insertInto('thing')
    .values([
      { id: 1, created_at: early, used_at: null, changes: [1, { a: 'b' }], words: ['x', 'y'] },
      { id: 2, created_at: late, used_at: sql<number>`now()`, changes: 'text', words: [] },
    ])
    .execute();
  await db
    .insertInto('thing')
    .values({ id: 1, created_at: late, used_at: null, changes: null, words: [] })
    .onConflict((oc) => oc.column('id').doUpdateSet({ used_at: late, changes: [{ b: 1 }] }))
    .execute();
  await db.updateTable('thing').set({ used_at: early, changes: [] }).where('id', '=', 2).execute();
  assert.deepEqual(await db.selectFrom('thing').selectAll().orderBy('id').execute(), [
    { id: 1, created_at: early, used_at: late, changes: [{ b: 1 }], words: ['x', 'y'] },
    { id: 2, created_at: late, used_at: early, changes: [], words: [] },
  ]);
  const idsWhere = async (build: (q: ReturnType<typeof pick>) => ReturnType<typeof pick>) =>
    (await build(pick()).orderBy('id').execute()).map(({ id }) => id);
  const pick = () => db.selectFrom('thing').select('thing.id');
  assert.deepEqual(await idsWhere((q) => q.where('created_at', '<', late as never)), [1]);
  assert.deepEqual(await idsWhere((q) => q.where('thing.created_at', '=', late)), [2]);
  assert.deepEqual(await idsWhere((q) => q.where('created_at', 'in', [early, late])), [1, 2]);
  assert.deepEqual(await idsWhere((q) => q.where((eb) => eb.between('created_at', early, early))), [1]);
  assert.deepEqual(await idsWhere((q) => q.where('created_at', '>', at((late - 1) as never) as never)), [2]);
  assert.deepEqual(await idsWhere((q) => q.where('changes', '@>', json([{ b: 1 }]))), [1]);
  assert.deepEqual(await idsWhere((q) => q.where('used_at', 'is not', null)), [1, 2]);
});

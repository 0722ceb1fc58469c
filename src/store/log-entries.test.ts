import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyDatabase, query, testDatabase } from '#test/support/postgres.ts';
import { migrate } from './migrate.ts';

type Client = (text: string, values?: unknown[]) => Promise<unknown>;

const entry = (id: string) =>
  `insert into log_entry (id, at, kind, actor, subjects, leaf) values ('${id}', now(), 'principal.invited', 'system', '{}', '\\x00');`;
const principal = (id: string, entryId: string) =>
  `insert into principal (id, handle, name, kind, state, groups, created_at, entry)
   values ('${id}', '${id}', 'Ada', 'user', 'invited', '{}', now(), '${entryId}');`;

/** Statements in one string are one transaction. */
const refused = (run: Promise<unknown>, constraint: string) =>
  assert.rejects(run, (error: Error & { constraint?: string }) => error.constraint === constraint);

test('INVARIANT 3: the database takes no change without an entry of the same transaction', async (t) => {
  const { address } = await testDatabase(t);
  const run: Client = (text) => query(address, text);
  await run(entry('e1') + principal('ada', 'e1'));

  await refused(run(principal('bob', 'e1')), 'no_change_without_its_entry');
  await run(entry('e2'));
  await refused(run(principal('bob', 'e2')), 'no_change_without_its_entry');
  await refused(run(`update principal set state = 'active' where id = 'ada'`), 'no_change_without_its_entry');
  await refused(
    run(`update principal set state = 'active', entry = 'e2' where id = 'ada'`),
    'no_change_without_its_entry',
  );
  await run(entry('e3') + `update principal set state = 'active', entry = 'e3' where id = 'ada';`);
  assert.deepEqual(await query(address, 'select id, state, entry from principal'), [
    { id: 'ada', state: 'active', entry: 'e3' },
  ]);
});

test('INVARIANT 3: a change that fails takes its entry along', async (t) => {
  const { address } = await testDatabase(t);
  await refused(
    query(address, entry('e1') + principal('ada', 'e1') + entry('e2') + principal('bob', 'e3')),
    'no_change_without_its_entry',
  );
  assert.deepEqual(await query(address, 'select id from log_entry union all select id from principal'), []);
});

test('INVARIANT 3: every table that names an entry demands it', async (t) => {
  const { address } = await testDatabase(t);
  const tables = (await query(
    address,
    `select c.relname as name,
            array(select p.proname::text from pg_trigger g join pg_proc p on p.oid = g.tgfoid
                  where g.tgrelid = c.oid and g.tgenabled = 'O') as triggers
     from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'entry' and not a.attisdropped
     where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname <> 'log_content' order by 1`,
  )) as { name: string; triggers: string[] }[];
  assert.ok(tables.length >= 5, tables.map(({ name }) => name).join());
  for (const { name, triggers } of tables) {
    assert.ok(triggers.includes('demand_entry'), `${name} takes changes without an entry`);
  }
});

for (const [what, text] of [
  ['changed', `update log_entry set kind = 'grant.ended'`],
  ['redated', `update log_entry set at = at - interval '1 day'`],
  ['deleted', 'delete from log_entry'],
  ['emptied', 'truncate log_entry cascade'],
] as const)
  test(`INVARIANT 3: the log can't be ${what}`, async (t) => {
    const { address } = await testDatabase(t);
    await query(address, entry('e1'));
    await refused(query(address, text), 'the_log_is_append_only');
  });

const place = (index: number, seq: string) => `insert into log_place (leaf_index, seq) select ${index}, ${seq};`;
const key = `insert into content_key (id, principal, wrapped, created_at) values ('k', null, '\\x00', now());`;
const content = (of: string, under = 'k') =>
  `insert into log_content (entry, key, blob) values ('${of}', '${under}', '\\x00');`;

test('an entry waits for its place from the moment it is written', async (t) => {
  const { address } = await testDatabase(t);
  await query(address, entry('e1') + entry('e2'));
  assert.deepEqual(await query(address, 'select seq from log_waiting order by seq'), [{ seq: '1' }, { seq: '2' }]);
});

for (const [what, text] of [
  ['given to another', 'update log_place set seq = 2'],
  ['moved', 'update log_place set leaf_index = 7'],
  ['taken away', 'delete from log_place'],
  ['emptied with all others', 'truncate log_place'],
] as const)
  test(`INVARIANT 3: a place in the tree can't be ${what}`, async (t) => {
    const { address } = await testDatabase(t);
    await query(address, entry('e1') + place(0, '1'));
    await refused(query(address, text), 'the_log_is_append_only');
  });

for (const [what, text, constraint] of [
  ['two places for one entry', place(1, '1'), 'an_entry_has_one_place'],
  ['two entries in one place', entry('e2') + place(0, '2'), 'a_place_is_taken_once'],
  ['a place without an entry', place(1, '99'), 'a_place_is_of_an_entry'],
  ['content without an entry', content('e9'), 'content_is_of_an_entry'],
  ['content under no known key', content('e1', 'other'), 'content_names_its_key'],
  ['other content', content('e1') + `update log_content set blob = '\\x01'`, 'content_stays_what_was_sealed'],
  ['a key of another name', `update content_key set id = 'other'`, 'content_stays_what_was_sealed'],
  ['no key', 'delete from content_key', 'what_happened_is_kept'],
] as const)
  test(`INVARIANT 3: what the log refuses: ${what}`, async (t) => {
    const { address } = await testDatabase(t);
    await query(address, key + entry('e1') + place(0, '1'));
    await refused(query(address, text), constraint);
  });

test('entries of an older store keep their places, and those that wait go on waiting', async (t) => {
  const { address } = await emptyDatabase(t);
  const folder = mkdtempSync(join(tmpdir(), 'sally-migrations-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ['0001-beginnings.sql', '0002-ends-and-evidence.sql'])
    cpSync(join(import.meta.dirname, 'migrations', name), join(folder, name));
  await migrate(address, { folder });
  await query(address, entry('e1') + entry('e2') + entry('e3'));
  await query(address, 'update log_entry set leaf_index = 2 - seq where seq < 3');
  await migrate(address);
  assert.deepEqual(
    await query(
      address,
      `select id, leaf_index::int, w.seq is not null as waits
       from log_entry left join log_place using (seq) left join log_waiting w using (seq) order by id`,
    ),
    [
      { id: 'e1', leaf_index: 1, waits: false },
      { id: 'e2', leaf_index: 0, waits: false },
      { id: 'e3', leaf_index: null, waits: true },
    ],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query, testDatabase } from '#test/support/postgres.ts';

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

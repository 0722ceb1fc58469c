import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'kysely';
import { parseInstant } from '#core/instant.ts';
import { emptyDatabase } from '#test/support/postgres.ts';
import { at, json, listen, openDatabase, sqlState, transaction } from './database.ts';

async function open(t: Parameters<typeof emptyDatabase>[0]) {
  const { address } = await emptyDatabase(t);
  const db = openDatabase(address);
  t.after(() => db.destroy());
  return { db, address };
}

test('values: each type comes back as the one TypeScript value it stands for', async (t) => {
  const { db } = await open(t);
  const { rows } = await sql`
    select 9007199254740991::int8 as big, count(*) as count, '{1,null,-2}'::int8[] as bigs,
           '2026-11-22 11:02:40.927999+05:30'::timestamptz as instant,
           array['2026-01-01T00:00:00Z'::timestamptz, null] as instants,
           '2026-11-22'::date as date, '1 day 2 hours'::interval as interval, 1.50::numeric as numeric,
           '\\x00ff10'::bytea as bytes, array['\\x01'::bytea] as many_bytes,
           '[1,{"a":null}]'::jsonb as array, '"text"'::jsonb as text, 'null'::jsonb as json_null, null as nothing
  `.execute(db);
  assert.deepEqual(rows[0], {
    big: Number.MAX_SAFE_INTEGER,
    count: 1,
    bigs: [1, null, -2],
    instant: Date.parse('2026-11-22T05:32:40.927Z'),
    instants: [Date.parse('2026-01-01T00:00:00Z'), null],
    date: '2026-11-22',
    interval: 'P1DT2H',
    numeric: '1.50',
    bytes: Uint8Array.of(0, 255, 16),
    many_bytes: [Uint8Array.of(1)],
    array: [1, { a: null }],
    text: 'text',
    json_null: null,
    nothing: null,
  });
});

test('values: what is written comes back, JSON arrays and instants included', async (t) => {
  const { db } = await open(t);
  const instant = parseInstant('2026-02-28T23:59:59.999Z');
  assert.ok(instant !== undefined);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const value = [{ a: ["quote ' and \\ and \u{1f600}"] }, 'text', null, 1.5];
  const { rows } = await sql`
    select ${at(instant)} as instant, ${json(value)} as value, ${json('x')} as word, ${bytes} ::bytea as bytes,
           ${['a,b', '"', '{}']}::text[] as words
  `.execute(db);
  assert.deepEqual(rows[0], { instant, value, word: 'x', bytes, words: ['a,b', '"', '{}'] });
});

for (const [what, expression] of [
  ['an int8 beyond 2^53', '9007199254740993::int8'],
  ['infinity', "'infinity'::timestamptz"],
  ['a year before Christ', "'0044-03-15 BC'::timestamptz"],
] as const) {
  test(`values: ${what} is an error, not a wrong value`, async (t) => {
    const { db } = await open(t);
    await assert.rejects(sql.raw(`select ${expression}`).execute(db), RangeError);
    assert.equal((await sql`select 1 as one`.execute(db)).rows.length, 1);
  });
}

test('statements that run too long are cancelled by the server', async (t) => {
  const { address } = await emptyDatabase(t);
  const db = openDatabase(address, { statementTimeoutMs: 50 });
  t.after(() => db.destroy());
  await assert.rejects(sql`select pg_sleep(30)`.execute(db), (error) => sqlState(error) === '57014');
});

test('transaction: writers that collide are run again until both have happened', async (t) => {
  const { db } = await open(t);
  await sql`create table counter (n integer not null)`.execute(db);
  await sql`insert into counter values (0)`.execute(db);
  let runs = 0;
  const { promise: bothHaveRead, resolve: release } = Promise.withResolvers<void>();
  const increment = () =>
    transaction(
      db,
      async (trx) => {
        runs += 1;
        const { rows } = await sql<{ n: number }>`select n from counter`.execute(trx);
        if (runs === 2) release();
        await bothHaveRead;
        await sql`update counter set n = ${(rows[0]?.n ?? 0) + 1}`.execute(trx);
      },
      { isolation: 'serializable' },
    );
  await Promise.all([increment(), increment()]);
  assert.deepEqual((await sql`select n from counter`.execute(db)).rows, [{ n: 2 }]);
  // Three, and more when the one that was broken off comes back before the other has committed.
  assert.ok(runs >= 3, `${runs} runs`);
});

test('transaction: a deadlock is broken and both happen', async (t) => {
  const { db } = await open(t);
  await sql`create table pair (id integer primary key, n integer not null)`.execute(db);
  await sql`insert into pair values (1, 0), (2, 0)`.execute(db);
  let runs = 0;
  const { promise: bothHoldOne, resolve: release } = Promise.withResolvers<void>();
  const both = (first: number, second: number) =>
    transaction(db, async (trx) => {
      runs += 1;
      await sql`update pair set n = n + 1 where id = ${first}`.execute(trx);
      if (runs === 2) release();
      await bothHoldOne;
      await sql`update pair set n = n + 1 where id = ${second}`.execute(trx);
    });
  await Promise.all([both(1, 2), both(2, 1)]);
  assert.deepEqual((await sql`select n from pair order by id`.execute(db)).rows, [{ n: 2 }, { n: 2 }]);
  assert.equal(runs, 3);
});

test('transaction: gives up after the attempts it was given, and other errors at once', async (t) => {
  const { db } = await open(t);
  let runs = 0;
  const fail = (state: string, attempts: number) =>
    transaction(
      db,
      async (trx) => {
        runs += 1;
        await sql.raw(`do $$ begin raise exception 'no' using errcode = '${state}'; end $$`).execute(trx);
      },
      { attempts },
    );
  await assert.rejects(fail('40001', 3), (error) => sqlState(error) === '40001');
  assert.equal(runs, 3);
  await assert.rejects(fail('23505', 3), (error) => sqlState(error) === '23505');
  assert.equal(runs, 4);
});

test('listen: hears, and hears again after its connection was cut', async (t) => {
  const { db, address } = await open(t);
  const heard: string[] = [];
  let wake = () => {};
  let connects = 0;
  const until = async (holds: () => boolean) => {
    while (!holds())
      await new Promise<void>((done) => {
        wake = done;
      });
  };
  await using _listener = await listen(address, ['grants', 'Odd "name'], {
    onNotification: (channel, payload) => {
      heard.push(`${channel}=${payload}`);
      wake();
    },
    onConnected: () => {
      connects += 1;
      wake();
    },
  });
  await sql`select pg_notify('grants', 'one'), pg_notify('Odd "name', '')`.execute(db);
  await until(() => heard.length === 2);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
            where application_name = 'sallyport listener' and datname = current_database()`.execute(db);
  await until(() => connects === 2);
  await sql`select pg_notify('grants', 'two')`.execute(db);
  await until(() => heard.length === 3);
  assert.deepEqual(heard, ['grants=one', 'Odd "name=', 'grants=two']);
});

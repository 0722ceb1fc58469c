import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import postgres from 'postgres';
import type { House } from '#test/support/driver-house.ts';
import { bigQuery, failureOf, type Outcome, testDriver, values } from './_matrix.ts';

await testDriver({
  name: 'postgres.js',
  run: runPostgresJs,
  // It makes a `Date` of a time, which has milliseconds.
  stores: { at: '2026-11-22 13:14:15.123+00' },
  also: { 'several in a string': [1, 2] },
});

async function runPostgresJs(house: House): Promise<Outcome> {
  const options = {
    host: 'localhost',
    port: house.gateway.gateway.port,
    database: house.target.database,
    username: house.login.user,
    password: house.login.password,
    ssl: { ca: readFileSync(house.ca, 'utf8') },
    types: { bigint: postgres.BigInt },
    onnotice: () => {},
  };
  const outcome: Record<string, unknown> = {};
  const sql = postgres({ ...options, max: 1 });
  const [who] = await sql<{ current_user: string }[]>`select current_user`;
  outcome['connect'] = `${who?.current_user.slice(0, 8)} over TLS`;

  const row = {
    small: -7,
    whole: 2_147_483_647,
    big: 9_007_199_254_740_993n,
    num: values.num,
    word: values.word,
    bytes: Buffer.from('00ff107f80', 'hex'),
    at: values.at,
    uid: values.uid,
    doc: sql.json(JSON.parse(values.doc) as postgres.JSONValue),
    list: [1, null, 3],
    words: ['a,b', '"q"', null, 'ü'],
    yes: true,
    nothing: null,
  };
  await sql`insert into driver_values ${sql(row as unknown as Record<string, string>)}`;
  const [back] =
    await sql`select small, whole, big, num, word, bytes, at, uid, doc, list, words, yes, nothing from driver_values`;
  const shown = (of: object) =>
    JSON.stringify(of, (_, value) => (typeof value === 'bigint' ? String(value) : (value as unknown)));
  const read = {
    ...row,
    at: new Date('2026-11-22T13:14:15.123Z'),
    doc: JSON.parse(values.doc) as object,
    // It reads a NULL in an array of texts as that word.
    words: ['a,b', '"q"', 'NULL', 'ü'],
  };
  outcome['parameters'] = shown(back ?? {}) === shown(read) ? 'as sent' : shown(back ?? {});

  // All of them are on their way before the first is answered.
  await Promise.all(Array.from({ length: 500 }, (_, n) => sql`insert into driver_rows values (${n}, ${`row ${n}`})`));
  outcome['batch'] = (await sql`select count(*)::int as n from driver_rows`)[0]?.['n'];
  const several = (await sql`select 1 as n; select 2 as n`.simple()) as unknown as { n: number }[][];
  outcome['several in a string'] = several.map(([one]) => one?.n);

  const lines = Array.from({ length: 1000 }, (_, n) => `${n}\tü ${n}\n`);
  await pipeline(Readable.from(lines), await sql`copy driver_copies from stdin`.writable());
  outcome['copy in'] = (await sql`select count(*)::int as n from driver_copies`)[0]?.['n'];
  let copied = '';
  for await (const chunk of await sql`copy driver_copies to stdout`.readable()) copied += String(chunk);
  outcome['copy out'] = copied.split('\n').length - 1;

  const sleeping = sql`select pg_sleep(60)`;
  const slept = failureOf(sleeping);
  await house.begun('pg_sleep');
  sleeping.cancel();
  outcome['cancel'] = (await slept).code;

  const other = postgres({ ...options, max: 1 });
  const news = new EventTarget();
  let heard = '';
  await other.listen('driver_news', (payload) => {
    heard = payload;
    news.dispatchEvent(new Event('heard'));
  });
  await Promise.all([once(news, 'heard'), sql.notify('driver_news', 'Grüße')]);
  outcome['notification'] = ['driver_news', heard];
  await other.end();

  const note = (on: postgres.TransactionSql<{ bigint: bigint }>, word: string) =>
    on`insert into driver_notes (word) values (${word})`;
  await sql.begin((tx) => note(tx, 'committed'));
  await failureOf(
    sql.begin(async (tx) => {
      await note(tx, 'rolled back');
      throw new Error('no');
    }),
  );
  await sql.begin(async (tx) => {
    await note(tx, 'before the savepoint');
    await failureOf(
      tx.savepoint(async (inner) => {
        await note(inner, 'behind the savepoint');
        await inner`select 1/0`;
      }),
    );
    await note(tx, 'after the error');
  });
  outcome['transaction'] = (await sql`select word from driver_notes order by n`).map((each) => each['word'] as unknown);

  const zero = 0;
  const states = [
    await failureOf(sql`select 1/${zero}::int`),
    await failureOf(sql`insert into driver_rows values (${1})`),
  ];
  outcome['errors of the server'] = states.map(({ code }) => code);
  const refused = await failureOf(sql`select word from driver_secrets where id = ${1}`);
  outcome['refused'] = [refused.code, refused.hint];
  const codes: (string | undefined)[] = [];
  await failureOf(
    sql.begin(async (tx) => {
      codes.push((await failureOf(tx`select * from driver_secrets`)).code);
      codes.push((await failureOf(tx`select 1`)).code);
      throw new Error('back');
    }),
  );
  await sql`select 1`;
  outcome['refused in a transaction'] = [...codes, 'usable after rollback'];

  let [count, sum] = [0, 0];
  for await (const rows of sql.unsafe(bigQuery).cursor(20_000)) {
    count += rows.length;
    for (const each of rows) sum += Number(each['n']);
  }
  outcome['big result'] = [count, sum];
  await sql.end();

  const pool = postgres({ ...options, max: 100 });
  const taken = await Promise.all(Array.from({ length: 100 }, () => pool.reserve()));
  const answers = await Promise.all(
    taken.map(async (each, n) => (await each`select ${n}::int as n`)[0]?.['n'] as number),
  );
  outcome['many connections'] = new Set(answers).size;
  for (const each of taken) each.release();
  await pool.end();
  return outcome;
}

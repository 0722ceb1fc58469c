import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import type { House } from '#test/support/driver-house.ts';
import { bigQuery, failureOf, type Outcome, testDriver, values } from './_matrix.ts';

await testDriver({
  name: 'node-postgres',
  run: runNodePostgres,
  without: {
    'copy in': 'it is in another package',
    'copy out': 'it is in another package',
  },
  also: { 'prepared by name': [0, 1, 2, 3], 'several in a string': [1, 2], 'ten at once': 10 },
});

async function runNodePostgres(house: House): Promise<Outcome> {
  const config = {
    ...house.gateway.config(house.login),
    host: 'localhost',
    ssl: { ca: readFileSync(house.ca, 'utf8') },
  };
  const outcome: Record<string, unknown> = {};
  const client = new pg.Client(config);
  await client.connect();
  const who = await client.query<{ current_user: string }>('select current_user');
  const { stream } = (client as unknown as { connection: { stream: { encrypted?: boolean } } }).connection;
  outcome['connect'] = `${who.rows[0]?.current_user.slice(0, 8)} over ${stream.encrypted === true ? 'TLS' : 'nothing'}`;

  const names = Object.keys(values).join(', ');
  const sent = [
    -7,
    2_147_483_647,
    9_007_199_254_740_993n,
    values.num,
    values.word,
    Buffer.from('00ff107f80', 'hex'),
    values.at,
    values.uid,
    JSON.parse(values.doc) as object,
    [1, null, 3],
    ['a,b', '"q"', null, 'ü'],
    true,
    null,
  ];
  const places = sent.map((_, i) => `$${i + 1}`).join(', ');
  await client.query(`insert into driver_values (${names}) values (${places})`, sent);
  const back = await client.query<unknown[]>({ text: `select ${names} from driver_values`, rowMode: 'array' });
  const shown = (row: readonly unknown[]) =>
    JSON.stringify(row.map((value) => (typeof value === 'bigint' ? String(value) : value)));
  const read = sent.with(6, new Date('2026-11-22T13:14:15.123Z'));
  outcome['parameters'] = shown(back.rows[0] ?? []) === shown(read) ? 'as sent' : shown(back.rows[0] ?? []);

  await Promise.all(
    Array.from({ length: 500 }, (_, n) => client.query('insert into driver_rows values ($1, $2)', [n, `row ${n}`])),
  );
  outcome['batch'] = Number((await client.query<{ n: string }>('select count(*) as n from driver_rows')).rows[0]?.n);

  const named = [0, 1, 2, 3].map((n) =>
    client.query<{ n: number }>({ name: 'plus', text: 'select $1::int as n', values: [n] }),
  );
  outcome['prepared by name'] = (await Promise.all(named)).map(({ rows }) => rows[0]?.n);
  const several = (await client.query('select 1 as n; select 2 as n')) as unknown as pg.QueryResult<{ n: number }>[];
  outcome['several in a string'] = several.map(({ rows }) => rows[0]?.n);

  const begun = failureOf(client.query('select pg_sleep(60)'));
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  await house.begun('pg_sleep');
  await cancel(config, processID, secretKey);
  outcome['cancel'] = (await begun).code;

  const other = new pg.Client(config);
  await other.connect();
  await other.query('listen driver_news');
  const [[news]] = (await Promise.all([
    once(other, 'notification'),
    client.query(`select pg_notify('driver_news', $1)`, ['Grüße']),
  ])) as unknown as [[pg.Notification]];
  outcome['notification'] = [news.channel, news.payload];
  await other.end();

  const note = (word: string) => client.query('insert into driver_notes (word) values ($1)', [word]);
  await client.query('begin');
  await note('committed');
  await client.query('commit');
  await client.query('begin');
  await note('rolled back');
  await client.query('rollback');
  await client.query('begin');
  await note('before the savepoint');
  await client.query('savepoint here');
  await note('behind the savepoint');
  await failureOf(client.query('select 1/0'));
  await client.query('rollback to here');
  await note('after the error');
  await client.query('commit');
  const notes = await client.query<{ word: string }>('select word from driver_notes order by n');
  outcome['transaction'] = notes.rows.map(({ word }) => word);

  const states = [
    await failureOf(client.query('select 1/$1::int', [0])),
    await failureOf(client.query('insert into driver_rows values ($1)', [1])),
  ];
  outcome['errors of the server'] = states.map(({ code }) => code);
  const refused = await failureOf(client.query('select word from driver_secrets where id = $1', [1]));
  outcome['refused'] = [refused.code, refused.hint];
  await client.query('begin');
  const first = await failureOf(client.query('select * from driver_secrets'));
  const second = await failureOf(client.query('select 1'));
  await client.query('rollback');
  await client.query('select 1');
  outcome['refused in a transaction'] = [first.code, second.code, 'usable after rollback'];

  await client.query('begin');
  await client.query(`declare portions cursor for ${bigQuery}`);
  let [count, sum] = [0, 0];
  for (;;) {
    const { rows } = await client.query<{ n: string }>('fetch 20000 from portions');
    if (rows.length === 0) break;
    count += rows.length;
    for (const { n } of rows) sum += Number(n);
  }
  await client.query('commit');
  outcome['big result'] = [count, sum];
  await client.end();

  const pool = new pg.Pool({ ...config, max: 100 });
  const connections = await Promise.all(Array.from({ length: 100 }, () => pool.connect()));
  const answers = await Promise.all(
    connections.map(async (each, n) => (await each.query<{ n: number }>('select $1::int as n', [n])).rows[0]?.n),
  );
  outcome['many connections'] = new Set(answers).size;
  for (const each of connections) each.release();
  outcome['ten at once'] = (await Promise.all(Array.from({ length: 10 }, () => pool.query('select 1')))).length;
  await pool.end();
  return outcome;
}

/** As `pg` does it: a connection of its own, and the request in clear text. */
async function cancel(config: pg.ClientConfig, processId: number, secretKey: number): Promise<void> {
  const connection = new (pg as unknown as { Connection: new (options: object) => Cancelling }).Connection({
    ssl: false,
  });
  connection.connect(config.port ?? 0, '127.0.0.1');
  await once(connection, 'connect');
  connection.cancel(processId, secretKey);
  await once(connection, 'end');
}

type Cancelling = NodeJS.EventEmitter & {
  readonly connect: (port: number, host: string) => void;
  readonly cancel: (processId: number, secretKey: number) => void;
};

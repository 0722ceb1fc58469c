/**
 * INVARIANT 7: what is judged is what the server will run. Each case is a way to make one text mean two things. The target
 * here would let every session read everything, so that nothing but the gateway stands between a session and `secret`.
 *
 * Which defence holds which case: with it taken out the case was seen to fail.
 *
 * `set` and `set_config` of search_path make names unknown: set in the session, by set_config, prepared under one path
 * a function of somebody's own makes names unknown: by a function of somebody
 * what a table or view runs that is changed or read does: by a trigger, a default, a check, a view, a policy
 * what stands behind such a statement in a string is judged without a path: in the same string
 * the path is asked for when the session begins: by login, by database
 * `commit` and `rollback` make names unknown: taken back by a savepoint
 * names are compared as they are: quoted and folded names
 * a function, and a view, is what the role must name: a function is …, a view is …, a temporary view
 * `role` and `session_authorization` are no settings for a session: set role …
 * the user comes with the answer about the path: a function that sets role
 * client_encoding, and standard_conforming_strings, as a setting: the cases named so
 * the same two, as the server reports them: a function that sets …
 * standard_conforming_strings is set at the start: strings of the database
 * a prepared statement is judged again under other names: prepared under one path
 * what `execute` runs is walked each time: prepare and execute in SQL
 * a message must be used up: a NUL
 * the catalogue is read anew after the session's own definitions: of the session's own that stands before another
 * while those are open it isn't looked into: in the transaction in which it was made, what is taken back by a savepoint
 * nor behind them in the same string: a definition earlier in the same string
 * the session's own view of it is taken under read committed only: a transaction that does not see …
 * and only when PostgreSQL's own operators are first: operators of somebody
 * of temporary objects only tables need nothing: a temporary view
 *
 * Comments and strings that end elsewhere are the parser's own, and have no defence of ours to take out.
 */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import pg from 'pg';
import type { RoleName } from '#core/ids.ts';
import { testTarget } from '#test/support/postgres.ts';
import { MessageWriter } from '#wire/postgres/bytes.ts';
import { rawClient } from './_testing-raw-client.ts';
import { startTestingGateway, supportRead } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query(`
  create schema other;
  create table other.orders as select 'secret' as what;
  create table other.only_there as select 'secret' as what;
  create table "Orders" as select 'secret' as what;
  create table "o""rders" as select 'secret' as what;
  create view secrets as select what from other.orders;
  create function secret() returns text language sql as 'select what from other.orders';
  create function flips(setting text, value text) returns text language plpgsql as
    $$ begin return set_config(setting, value, false); end $$;
  create function stays() returns text language sql set search_path to other as 'select $s$nothing$s$';
  create function flips_when_fired() returns trigger language plpgsql as
    $$ begin perform set_config('search_path', 'other, public', false); return null; end $$;
  create table fired (id int primary key);
  create trigger flips after insert or delete on fired for each statement execute function flips_when_fired();
  create view over_fired as select id from fired;
  create table above_fired (id int primary key);
  insert into above_fired values (1);
  create table below (id int references above_fired on delete cascade);
  insert into below values (1);
  create trigger flips after delete on below for each row execute function flips_when_fired();
  create table split (id int) partition by range (id);
  create table split_low partition of split for values from (0) to (10);
  create trigger flips after insert on split_low for each row execute function flips_when_fired();
  create table defaulted (id int, what text default flips('search_path', 'other, public'));
  create table checked (id int check (flips('search_path', 'other, public') <> ''));
  create view seen as select flips('search_path', 'other, public');
  create view seen_through as select * from seen;
  create table policed (id int);
  insert into policed values (1);
  alter table policed enable row level security;
  create policy flips on policed using (flips('search_path', 'other, public') <> '');
  grant insert, delete on fired, over_fired, above_fired, split, defaulted, checked to public;
  grant usage on schema other to public;
  grant select on all tables in schema other, public to public;
  grant create on schema public, other to public`);
const functions = ['flips', 'stays'].map((name) => ({ schema: 'public', name }));
const role = {
  ...supportRead,
  name: 'orders/judged' as RoleName,
  permissions: { ...supportRead.permissions, functions },
} as unknown as typeof supportRead;
const migrate = {
  ...role,
  name: 'orders/migrate' as RoleName,
  permissions: {
    functions,
    tables: [
      ...supportRead.permissions.tables,
      { schema: 'public', name: 'made', select: 'all', insert: 'all' },
      { schema: 'public', name: 'mine', select: ['a'] },
    ],
  },
} as unknown as typeof role;
const hidden = [
  'fired',
  'over_fired',
  'above_fired',
  'split',
  'defaulted',
  'checked',
  'seen',
  'seen_through',
  'policed',
];
const writes = {
  ...role,
  name: 'orders/writes' as RoleName,
  permissions: {
    functions,
    tables: [
      ...supportRead.permissions.tables,
      ...hidden.map((name) => ({ schema: 'public', name, select: 'all', insert: 'all', delete: true })),
    ],
  },
} as unknown as typeof role;
const t = await startTestingGateway(target, tmpdir(), { catalogueEveryMs: 100, roles: [role, migrate, writes] });
after(() => t.stop());

const probe = 'select * from orders limit 1';

type Case = {
  readonly name: string;
  readonly role?: typeof role;
  /** All of these must be allowed. */
  readonly before?: readonly string[];
  /** Must be refused by the gateway, whatever was before. */
  readonly refused: readonly string[];
  readonly because: RegExp;
  /** Must still be allowed afterwards. */
  readonly allowed?: readonly string[];
};

const cases: readonly Case[] = [
  {
    name: 'search_path set in the session',
    before: ['set search_path to other, public'],
    refused: [probe],
    because: /other\.orders/,
  },
  {
    name: 'search_path set by set_config() in a select',
    before: [`select set_config('search_path', 'other, public', false)`],
    refused: [probe],
    because: /other\.orders/,
  },
  {
    name: 'search_path set by a function of somebody',
    before: [`select flips('search_path', 'other, public')`],
    refused: [probe],
    because: /other\.orders/,
  },
  ...(
    [
      ['a trigger', 'insert into fired values (1)'],
      ['a trigger of the table behind a view', 'insert into over_fired values (2)'],
      ['a trigger of a partition', 'insert into split values (3)'],
      ['a trigger of a table that references cascade to', 'delete from above_fired'],
      ['a default', 'insert into defaulted (id) values (4)'],
      ['a check', 'insert into checked values (5)'],
      ['a view', 'select * from seen'],
      ['a view of a view', 'select * from seen_through'],
      ['a policy on rows', 'select * from policed'],
    ] as const
  ).map(([what, text]) => ({
    name: `search_path set by ${what}`,
    role: writes,
    before: [probe, text],
    refused: [probe],
    because: /other\.orders/,
  })),
  {
    name: 'search_path set by a function for itself alone',
    before: ['select stays()', probe],
    refused: ['select * from only_there'],
    because: /only_there/,
  },
  {
    name: 'search_path set earlier in the same string',
    refused: [
      `set search_path to other; ${probe}`,
      `select set_config('search_path', 'other', false); ${probe}`,
      `select flips('search_path', 'other'); ${probe}`,
    ],
    because: /search path may have changed|other\.orders/,
    allowed: [probe],
  },
  {
    name: 'search_path taken back by the end of a transaction',
    before: ['set search_path to other, public', 'begin', 'set local search_path to public', probe, 'commit'],
    refused: [probe],
    because: /other\.orders/,
  },
  {
    name: 'search_path taken back by a savepoint',
    before: [
      'begin',
      'set local search_path to other, public',
      'savepoint a',
      'set local search_path to public',
      probe,
      'rollback to a',
    ],
    refused: [probe],
    because: /other\.orders/,
  },
  {
    name: 'the end of a transaction in the same string',
    before: ['set search_path to other, public', 'begin', 'set local search_path to public', probe],
    refused: [`commit; ${probe}`],
    because: /search path may have changed|other\.orders/,
  },
  {
    name: 'quoted and folded names',
    before: ['select id from ORDERS limit 1', 'select "id" from "orders" limit 1', 'select id from public . Orders'],
    refused: ['select * from "Orders"', 'select * from U&"\\004frders"', `select * from U&"!004frders" uescape '!'`],
    because: /public\."Orders"/,
    allowed: ['select id from U&"\\006frders" limit 1'],
  },
  {
    name: 'a quote in a name',
    refused: ['select * from "o""rders"'],
    because: /public\."o""rders"/,
  },
  { name: 'a view is what the role must name', refused: ['select * from secrets'], because: /public\.secrets/ },
  {
    name: 'a function is what the role must name',
    refused: ['select secret()', 'select * from secret()', 'select (select secret())', `select 1 where secret() = 'x'`],
    because: /call on public\.secret\(\)/,
  },
  {
    name: 'a temporary view that stands before another',
    role: migrate,
    before: [probe, 'create temp view orders as select 1 as what'],
    refused: [probe, 'select * from pg_temp.orders'],
    because: /pg_temp_\d+\.orders/,
    allowed: ['select id from public.orders limit 1', 'drop view pg_temp.orders', probe],
  },
  {
    name: 'a temporary view that stands before another, in the transaction in which it was made',
    role: migrate,
    before: ['begin', probe, 'create temp view orders as select 1 as what'],
    refused: [probe],
    because: /pg_temp_\d+\.orders/,
  },
  {
    name: 'a definition of the session’s own in between',
    role: migrate,
    before: ['set search_path to other, public', 'select count(*) from products'],
    refused: ['create table other.products as select what from other.orders'],
    because: /other\.orders/,
    allowed: ['create table other.products ()', 'drop table other.products', 'select count(*) from products'],
  },
  {
    name: 'a table of the session’s own that stands before another',
    role: migrate,
    before: ['set search_path to other, public', 'select count(*) from products', 'create table other.products ()'],
    refused: ['select count(*) from products'],
    because: /other\.products/,
    allowed: ['drop table other.products'],
  },
  {
    name: 'a table of the session’s own, in the transaction in which it was made',
    role: migrate,
    before: [
      'begin',
      'set local search_path to other, public',
      'select count(*) from products',
      'create table other.products (a int)',
    ],
    refused: ['select count(*) from products'],
    because: /other\.products/,
  },
  {
    name: 'a table that has got the name of another, in the transaction in which it did',
    role: migrate,
    before: [
      'create table public.hidden as select 1 as what',
      'begin',
      'create table public.mine (a int)',
      'alter table public.mine rename to yours',
      'alter table public.hidden rename to mine',
    ],
    refused: ['select a from public.mine'],
    because: /column "a" does not exist|public\.mine \(a\)/,
  },
  {
    name: 'a definition earlier in the same string',
    role: migrate,
    refused: [
      'alter table public.hidden rename to products_too; select * from public.products',
      'create table other.products (); select count(*) from public.products',
      `create function public.lower(int) returns text language sql as 'select 1'; select pg_catalog.lower('A')`,
      'create temp table t (a int); select 1 + 1',
    ],
    because: /definitions have changed/,
  },
  {
    name: 'what is taken back by a savepoint',
    role: migrate,
    before: [
      'set search_path to other, public',
      'begin',
      'create table other.products (a int)',
      'savepoint a',
      'drop table other.products',
      'select count(*) from products',
      'rollback to a',
    ],
    refused: ['select count(*) from products'],
    because: /other\.products/,
  },
  {
    name: 'a transaction that does not see what others define',
    role: migrate,
    before: ['begin isolation level repeatable read', probe, 'create table public.fresh (a int)'],
    refused: [probe],
    because: /definitions have changed/,
  },
  {
    name: 'operators of somebody before PostgreSQL’s own',
    role: migrate,
    before: ['set search_path to public, pg_catalog', 'begin', probe, 'create table public.fresh (a int)'],
    refused: [probe],
    because: /definitions have changed/,
  },
  {
    name: 'set role, reset role, set session authorization',
    refused: [
      'set role postgres',
      'set local role none',
      'reset role',
      'set session authorization postgres',
      'reset session authorization',
      `select set_config('role', 'none', false)`,
      'set "role" to none',
    ],
    because: /who the session is/,
    allowed: [probe],
  },
  {
    name: 'prepare and execute in SQL',
    before: ['prepare p as select * from orders limit 1', 'execute p', 'set search_path to other, public'],
    refused: ['execute p', 'prepare q as select * from orders', 'create table x as execute p'],
    because: /other\.orders/,
  },
  {
    name: 'other client encodings',
    refused: [
      'set client_encoding to latin1',
      `set names 'gbk'`,
      `set client_encoding to 'sjis'`,
      `select set_config('client_encoding', 'big5', false)`,
    ],
    because: /client encoding other than UTF8/,
    allowed: [`set names 'utf8'`, 'set client_encoding to default', probe],
  },
  {
    name: 'comments',
    before: [
      'select /* * from other.orders */ 1 -- ; select * from other.orders',
      'select/**/*/**/from/**/orders limit 1',
    ],
    refused: [
      'select * from other.orders -- limit 1',
      '/* select 1 */ select * from other.orders',
      '/* /* nested */ select 1; */ select * from other.orders',
      'select 1 -- \n; select * from other.orders',
      'select 1 --\r; select * from other.orders',
    ],
    because: /other\.orders/,
  },
  {
    name: 'standard_conforming_strings and backslash_quote',
    before: [`select '\\'`, `select E'\\''`, `select U&'\\0027'`, `select '\\' || ' -- '`],
    refused: [
      'set standard_conforming_strings to off',
      'set backslash_quote to on',
      'set standard_conforming_strings to 0',
    ],
    because: /string may end|not known to be harmless/,
    allowed: ['set standard_conforming_strings to on', 'reset standard_conforming_strings'],
  },
  {
    name: 'strings that end elsewhere than they seem',
    refused: [
      `select E'\\'', what from other.orders`,
      `select '\\', what from other.orders --'`,
      `select $a$ $b$ $a$, what from other.orders -- $b$ $a$`,
      `select U&'\\0027', what from other.orders`,
      `select 'a'\n'b', what from other.orders`,
    ],
    because: /other\.orders/,
  },
];

const isOurs = (error: unknown): error is pg.DatabaseError =>
  error instanceof pg.DatabaseError && error.file === undefined;

for (const { name, before = [], refused, because, allowed = [], role: as = role } of cases)
  test(`INVARIANT 7: what is judged is what the server will run: ${name}`, async () => {
    const client = await t.connect(t.give(as));
    for (const text of before) await client.query(text);
    for (const [i, text] of refused.entries()) {
      // In a transaction only the first one is judged by itself.
      if (i > 0 && before.includes('begin')) break;
      await assert.rejects(client.query(text), (error) => {
        assert.ok(isOurs(error), `${text}: ${String(error)}`);
        assert.match(error.message, because, text);
        return true;
      });
    }
    for (const text of allowed) await client.query(text);
    await client.query('rollback');
    await client.end();
  });

for (const [by, set, unset] of [
  ['login', 'alter role %LOGIN% set search_path to other, public', 'alter role %LOGIN% reset search_path'],
  ['database', 'alter database %DB% set search_path to other, public', 'alter database %DB% reset search_path'],
  [
    'strings of the database',
    'alter database %DB% set standard_conforming_strings to off',
    'alter database %DB% reset all',
  ],
] as const)
  test(`INVARIANT 7: what is judged is what the server will run: what the target has set by ${by}`, async () => {
    const login = t.give(role);
    const first = await t.connect(login);
    await first.query(probe);
    const { login: user } = await t.event('target.login_created', (e) => e.grant === login.grant);
    const say = (text: string) => target.query(text.replace('%LOGIN%', `"${user}"`).replace('%DB%', target.database));
    await say(set);
    try {
      const client = await t.connect(login);
      if (by === 'strings of the database') {
        assert.deepEqual((await client.query(`select '\\' as s`)).rows, [{ s: '\\' }]);
        await client.query('reset standard_conforming_strings');
        assert.deepEqual((await client.query(`select '\\' as s`)).rows, [{ s: '\\' }]);
      } else await assert.rejects(client.query(probe), { code: '42501', message: /other\.orders/ });
      await client.end();
    } finally {
      await say(unset);
    }
    await first.end();
  });

for (const [setting, value] of [
  ['client_encoding', 'latin1'],
  ['standard_conforming_strings', 'off'],
  ['role', 'none'],
] as const)
  test(`INVARIANT 7: what is judged is what the server will run: a function that sets ${setting} ends the session`, async () => {
    const login = t.give(role);
    const client = await t.connect(login);
    await client.query(`select flips('${setting}', '${value}')`).catch(() => {});
    await client.query(probe).catch(() => {});
    const ended = await t.event('session.ended', (e) => e.on.grant === login.grant);
    assert.notEqual(ended.reason, 'client_closed');
    assert.match(ended.message ?? '', /must stay|does not run as its role/);
  });

test('INVARIANT 7: what is judged is what the server will run: discard all, and the session goes on as its role', async () => {
  const client = await t.connect(t.give(role));
  const user = async () => (await client.query('select current_user as me')).rows[0].me as string;
  const before = await user();
  await client.query('set search_path to other, public');
  await client.query({ name: 's', text: 'select 1', values: [] });
  await client.query('discard all');
  assert.equal(await user(), before);
  await client.query(probe);
  await client.end();
});

test('INVARIANT 7: what is judged is what the server will run: prepared under one path, executed under another', async () => {
  const client = await t.connect(t.give(role));
  const prepared = { name: 's', text: probe, values: [] };
  await client.query(prepared);
  await client.query('set search_path to other, public');
  await assert.rejects(client.query(prepared), { code: '42501', message: /other\.orders/ });
  await client.end();
});

test('INVARIANT 7: what is judged is what the server will run: a NUL in a text ends the session', async () => {
  for (const [type, body] of [
    ['Q', 'select 1\0; select * from other.orders'],
    ['P', '\0select 1\0; select * from other.orders'],
  ] as const) {
    const login = t.give(role);
    const client = await rawClient({ to: { port: t.gateway.port }, ...login, database: target.database });
    const writer = new MessageWriter().begin(type).bytes(Buffer.from(`${body}\0`));
    client.send((type === 'P' ? writer.uint16(0) : writer).finish().toBuffer());
    const frames = await client.rest();
    assert.match(frames.at(-1)?.body.toString() ?? '', /08P01/);
  }
});

test('INVARIANT 7: what is judged is what the server will run: a definition of somebody else in between', async () => {
  const client = await t.connect(t.give(role));
  await client.query('set search_path to other, public');
  const read = () => client.query('select count(*) from order_items');
  await read();
  await target.query('create table other.order_items (); grant select on other.order_items to public');
  for (let seen = ''; !seen.includes('other.order_items');)
    await read().then(
      () => new Promise((resolve) => setImmediate(resolve)),
      (error: Error) => (seen = error.message),
    );
  await target.query('drop table other.order_items');
  await client.end();
});

test('a temporary table and a table of the session’s own are used in the transaction that makes them', async () => {
  const login = t.give(migrate);
  const client = await t.connect(login);
  const rows = async (text: string) => (await client.query(text)).rows as unknown[];
  await client.query('begin');
  await client.query('create temp table t (a int)');
  await client.query('insert into t select generate_series(1, 3)');
  await client.query('create temp table u as select a + 1 as b from t');
  assert.deepEqual(await rows('select sum(b)::int as sum from u join t on b = a'), [{ sum: 5 }]);
  await client.query('commit');
  assert.deepEqual(await rows('select count(*)::int as n from t'), [{ n: 3 }]);
  await client.query('begin');
  await client.query('create table made (id int primary key, what text)');
  await client.query('create index on made (what)');
  await client.query({ text: 'insert into made values ($1, $2)', values: [1, 'x'] });
  await client.query({ name: 's', text: 'select what from made where id = $1', values: [1] });
  await client.query('alter table made rename what to other_name');
  await assert.rejects(client.query('select what from made'), { code: '42703' });
  await client.query('rollback');
  await assert.rejects(client.query('select * from made'), { code: '42P01' });
  await client.query('begin');
  await client.query('create table made (id int)');
  await client.query('insert into made values (1)');
  await client.query('commit');
  assert.deepEqual(await rows('select id from made'), [{ id: 1 }]);
  await client.query('drop table made');
  await client.end();
});

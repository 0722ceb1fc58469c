import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { sqlTarget } from '#test/support/sql-target.ts';
import { analyse, longestText } from './analyse.ts';
import type { Names, UnknownNames } from './names.ts';
import { describeNeed, type Analysis, type StatementAnalysis } from './needs.ts';
import type { Parser } from './parser.ts';

const target = await sqlTarget({ after });
const names: Names = { catalogue: target.catalogue, searchPath: ['pg_catalog', 'public'], user: 'ada' };

function statements(text: string, under: Names | UnknownNames = names): readonly StatementAnalysis[] {
  const analysis = analyse(target.parser, text, under);
  assert.equal(analysis.kind, 'statements', JSON.stringify(analysis));
  return analysis.kind === 'statements' ? analysis.statements : [];
}

function only(text: string, under: Names | UnknownNames = names): StatementAnalysis {
  const [statement, ...more] = statements(text, under);
  assert.ok(statement !== undefined && more.length === 0, `one statement: ${text}`);
  return statement;
}

/** The needs in words, sorted. */
function needs(statement: StatementAnalysis): string[] {
  return statement.needs.map(describeNeed).toSorted();
}

const other = 'other on the database';
const ddl = 'ddl on the database';

/** Text, what it needs in words (public is left out in the table), class. */
const table: readonly (readonly [text: string, needs: readonly string[], kind: string])[] = [
  // Columns of one table.
  ['select 1', [], 'read'],
  ['select status from orders', ['select on orders (status)'], 'read'],
  ['select * from payments', ['select on payments (amount, id, order_id)'], 'read'],
  ['table payments', ['select on payments (amount, id, order_id)'], 'read'],
  ['select count(*) from orders', ['select on orders'], 'read'],
  ['select count(o.*) from payments o', ['select on payments (amount, id, order_id)'], 'read'],
  ['select o from payments o', ['select on payments (amount, id, order_id)'], 'read'],
  ['select (o).amount from payments o', ['select on payments (amount, id, order_id)'], 'read'],
  ['select public.orders.id from public.orders', ['select on orders (id)'], 'read'],
  ['select postgres.public.orders.id from postgres.public.orders', ['select on orders (id)'], 'read'],
  ['select a, c from orders as o (a, b, c)', ['select on orders (id, status)'], 'read'],
  ['select ctid, xmin from orders', ['select on orders (ctid, xmin)'], 'read'],
  ['select tags[1] from customers', ['select on customers (tags)'], 'read'],
  ['select 1 from orders where total > 3 order by status limit 5', ['select on orders (status, total)'], 'read'],
  ['select id as total from orders order by total', ['select on orders (id)'], 'read'],
  ['select id as total from orders group by id, total', ['select on orders (id, total)'], 'read'],
  ['select id as t from orders group by t having max(net) > 1', ['select on orders (id, net)'], 'read'],
  ['select distinct on (status) id from orders', ['select on orders (id, status)'], 'read'],
  ['select sum(total) over w from orders window w as (order by id)', ['select on orders (id, total)'], 'read'],
  ['select count(*) filter (where net > 1) from orders', ['select on orders (net)'], 'read'],
  ['select grouping(status) from orders group by rollup (status, id)', ['select on orders (id, status)'], 'read'],
  ['select region from sales.orders', ['select on sales.orders (region)'], 'read'],
  ['select "Mixed" from "Odd Name"', ['select on public."Odd Name" ("Mixed")'], 'read'],
  ['select PLAIN from only "Odd Name"', ['select on public."Odd Name" (plain)'], 'read'],
  ['select last_value from tickets', ['select on tickets (last_value)'], 'read'],
  ['select total from open_orders', ['select on open_orders (total)'], 'read'],
  ['select id from orders tablesample bernoulli (10)', ['select on orders (id)'], 'read'],
  ['values (1), ((select max(id) from orders))', ['select on orders (id)'], 'read'],
  ['select relname from pg_class', ['select on pg_catalog.pg_class (relname)'], 'read'],
  // Joins.
  [
    'select name from orders join customers on customer_id = customers.id',
    ['select on customers (id, name)', 'select on orders (customer_id)'],
    'read',
  ],
  ['select 1 from orders join payments using (id)', ['select on orders (id)', 'select on payments (id)'], 'read'],
  [
    'select amount from orders natural join payments',
    ['select on orders (id)', 'select on payments (amount, id)'],
    'read',
  ],
  [
    'select j.b from (payments cross join customers) as j (a, b)',
    ['select on customers', 'select on payments (order_id)'],
    'read',
  ],
  ['select 1 from orders, customers', ['select on customers', 'select on orders'], 'read'],
  [
    'select x.name from orders o, lateral (select name from customers c where c.id = o.customer_id) x',
    ['select on customers (id, name)', 'select on orders (customer_id)'],
    'read',
  ],
  // Subqueries see outwards; the nearest scope wins.
  [
    'select id from orders where exists (select 1 from payments where order_id = orders.id and amount > total)',
    ['select on orders (id, total)', 'select on payments (amount, order_id)'],
    'read',
  ],
  ['select (select id) from orders', ['select on orders (id)'], 'read'],
  ['select (select id from payments) from orders', ['select on orders', 'select on payments (id)'], 'read'],
  ['select s.n from (select name as n, email from customers) s', ['select on customers (email, name)'], 'read'],
  [
    'select id from orders union select amount from payments order by id',
    ['select on orders (id)', 'select on payments (amount)'],
    'read',
  ],
  ['select a from unnest(array[1]) a, generate_series(1, 2) as g (b) where b > 0', [], 'read'],
  ['select case status when $1 then array[id] end from orders', ['select on orders (id, status)'], 'read'],
  // With.
  ['with orders as (select 1 as a) select a from orders', [], 'read'],
  ['with orders as (select id from orders) select * from orders', ['select on orders (id)'], 'read'],
  ['with orders as (select 1 as a) select region from sales.orders', ['select on sales.orders (region)'], 'read'],
  ['select 1 from (with orders as (select 1) select * from orders) x, orders', ['select on orders'], 'read'],
  [
    'with recursive t (id) as (select id from orders union all select p.order_id from payments p join t on t.id = p.id) select * from t',
    ['select on orders (id)', 'select on payments (id, order_id)'],
    'read',
  ],
  [
    'with gone as (delete from payments where order_id = 3 returning amount) select sum(amount) from gone',
    ['delete on payments', 'select on payments (amount, order_id)'],
    'write',
  ],
  // Changes.
  ['insert into payments (id, amount) values (1, 2)', ['insert on payments (amount, id)'], 'write'],
  ['insert into payments values (1, default)', ['insert on payments (id, order_id)'], 'write'],
  ['insert into payments default values', ['insert on payments'], 'write'],
  [
    'insert into payments select id, id, total from orders',
    ['insert on payments (amount, id, order_id)', 'select on orders (id, total)'],
    'write',
  ],
  [
    'insert into payments (id) values (1) returning id, amount',
    ['insert on payments (id)', 'select on payments (amount, id)'],
    'write',
  ],
  [
    'insert into orders as o (id, status) values (1, $1) on conflict (id) do update set status = excluded.status, total = o.total + 1 where o.net > 1',
    ['insert on orders (id, status)', 'select on orders (id, net, status, total)', 'update on orders (status, total)'],
    'write',
  ],
  [
    'insert into orders (id) values (1) on conflict on constraint one_per_status do nothing',
    ['insert on orders (id)', 'select on orders (customer_id, status)'],
    'write',
  ],
  ['update orders set status = $1', ['update on orders (status)'], 'write'],
  [
    'update orders set status = lower(status) where id = 1',
    ['select on orders (id, status)', 'update on orders (status)'],
    'write',
  ],
  [
    'update orders o set (status, total) = (select name, 1 from customers c where c.id = o.customer_id)',
    ['select on customers (id, name)', 'select on orders (customer_id)', 'update on orders (status, total)'],
    'write',
  ],
  [
    'update orders set total = amount from payments p where p.order_id = orders.id returning p.id',
    ['select on orders (id)', 'select on payments (amount, id, order_id)', 'update on orders (total)'],
    'write',
  ],
  ['update customers set tags[1] = $1', ['update on customers (tags)'], 'write'],
  ['delete from payments', ['delete on payments'], 'write'],
  [
    'delete from payments p using orders o where o.id = p.order_id and o.status = $1',
    ['delete on payments', 'select on orders (id, status)', 'select on payments (order_id)'],
    'write',
  ],
  ['delete from payments where current of c', ['delete on payments'], 'write'],
  [
    'merge into payments p using orders o on o.id = p.order_id when matched and p.amount > 1 then update set amount = o.total when matched then delete when not matched then insert (id) values (o.id)',
    [
      'delete on payments',
      'insert on payments (id)',
      'select on orders (id, total)',
      'select on payments (amount, order_id)',
      'update on payments (amount)',
    ],
    'write',
  ],
  ['truncate payments, sales.orders', ['truncate on payments', 'truncate on sales.orders'], 'write'],
  ['select id from orders for update', ['select on orders (id)', 'update on orders'], 'write'],
  [
    'select 1 from orders o, (select id from payments) p for share of p',
    ['select on orders', 'select on payments (id)', 'update on payments'],
    'write',
  ],
  ['lock table payments in access share mode', ['select on payments (amount, id, order_id)'], 'read'],
  ['lock table payments', ['update on payments (amount, id, order_id)'], 'write'],
  // Copy.
  ['copy orders to stdout', ['select on orders (customer_id, id, status, total)'], 'read'],
  ['copy orders (id) from stdin with (format csv)', ['insert on orders (id)'], 'write'],
  ['copy (select name from customers) to stdout', ['select on customers (name)'], 'read'],
  [
    'copy payments from stdin where amount > 1',
    ['insert on payments (amount, id, order_id)', 'select on payments (amount)'],
    'write',
  ],
  [`copy payments to '/tmp/x'`, ['copy on the database', 'select on payments (amount, id, order_id)'], 'dangerous'],
  [
    `copy payments from program 'id'`,
    ['copy on the database', 'insert on payments (amount, id, order_id)'],
    'dangerous',
  ],
  // Definitions.
  ['create table t as select id from orders', [ddl, 'select on orders (id)'], 'ddl'],
  ['select id into t from orders', [ddl, 'select on orders (id)'], 'ddl'],
  ['create temp table t (a int)', [ddl], 'ddl'],
  ['create view v as select email from customers', [ddl, 'select on customers (email)'], 'ddl'],
  ['drop table orders', [ddl], 'ddl'],
  ['alter table orders add x int', [ddl], 'ddl'],
  ['create index on orders (total)', [ddl], 'ddl'],
  ['comment on table orders is null', [ddl], 'ddl'],
  ['vacuum orders', [ddl], 'ddl'],
  ['analyze', [ddl], 'ddl'],
  ['grant select on orders to ada', [ddl], 'ddl'],
  // Functions.
  ['select now(), lower($1), random(), current_user, version()', [], 'read'],
  ['select pg_catalog.pg_sleep(1)', [], 'read'],
  [
    `select nextval('tickets'), currval('public.tickets'::regclass)`,
    ['select on tickets', 'update on tickets'],
    'write',
  ],
  [`select nextval('"tickets"')`, ['update on tickets'], 'write'],
  ['select refund(1)', ['call on refund()'], 'write'],
  ['select id from orders where refund(id) = 1', ['call on refund()', 'select on orders (id)'], 'write'],
  ['call settle(1)', ['call on settle()'], 'write'],
  [`select $1 operator(sales.%%) $2`, ['call on glue()'], 'write'],
  ['select 1::colour', ['call on paint()'], 'write'],
  [`select pg_read_file('/etc/passwd')`, ['call on pg_catalog.pg_read_file()'], 'dangerous'],
  [`select query_to_xml('select 1', true, true, '')`, ['call on pg_catalog.query_to_xml()'], 'dangerous'],
  [`select table_to_xml('customers', true, true, '')`, ['call on pg_catalog.table_to_xml()'], 'dangerous'],
  [`select * from ts_stat('select email from customers')`, ['call on pg_catalog.ts_stat()'], 'dangerous'],
  ['select pg_terminate_backend(1)', ['call on pg_catalog.pg_terminate_backend()'], 'dangerous'],
  [`select lo_get(1)`, ['call on pg_catalog.lo_get()'], 'dangerous'],
  ['select * from pg_stat_get_activity(null)', ['call on pg_catalog.pg_stat_get_activity()'], 'dangerous'],
  // INVARIANT 7: the notation of a column calls a function as well, with a value of any type.
  ['select (1).refund', ['call on refund()'], 'write'],
  ['select (o.id).refund from orders o', ['call on refund()', 'select on orders (id)'], 'write'],
  [
    'select s.refund from (select (o).* from payments o) s',
    ['call on refund()', 'select on payments (amount, id, order_id)'],
    'write',
  ],
  // What drivers with a pool send before a connection goes back to it.
  ['select pg_advisory_unlock_all()', [], 'read'],
  ['close all', [], 'read'],
  ['reset all', [], 'session'],
  ['discard all', [], 'session'],
  ['deallocate all', [], 'session'],
  ['select (1).pg_advisory_lock', ['call on pg_catalog.pg_advisory_lock()'], 'dangerous'],
  [`select ('select email from customers'::text).ts_stat`, ['call on pg_catalog.ts_stat()'], 'dangerous'],
  [`select ('tickets'::regclass).nextval`, ['update on tickets'], 'write'],
  [`select ('A'::text).lower`, [], 'read'],
  [`notify jobs, 'x'`, ['notify on channel jobs'], 'write'],
  [`select pg_notify('Jobs', $1)`, ['notify on channel "Jobs"'], 'write'],
  [`select pg_catalog.pg_notify('jobs'::text, 'x')`, ['notify on channel jobs'], 'write'],
  [`select pg_notify($1, 'x')`, ['notify on any channel'], 'write'],
  [
    `select pg_notify('jo' || 'bs', 'x'), pg_notify('jobs', '')`,
    ['notify on any channel', 'notify on channel jobs'],
    'write',
  ],
  [`select pg_notify(name, '') from customers`, ['notify on any channel', 'select on customers (name)'], 'write'],
  [`explain analyze select pg_notify('jobs', '')`, ['notify on channel jobs'], 'write'],
  ['listen Jobs', ['listen on channel jobs'], 'session'],
  ['listen "any channel"', ['listen on channel "any channel"'], 'session'],
  ['unlisten jobs', [], 'session'],
  ['unlisten *', [], 'session'],
  [`select set_config('search_path', '', false)`, [], 'read'],
  [`select set_config('timezone', 'UTC', false)`, [], 'read'],
  // The session.
  ['begin', [], 'transaction'],
  ['start transaction isolation level serializable read only', [], 'transaction'],
  ['savepoint a', [], 'transaction'],
  ['commit', [], 'transaction'],
  ['set constraints all deferred', [], 'transaction'],
  ['set statement_timeout = 5', [], 'session'],
  ['set session characteristics as transaction read only', [], 'session'],
  ['set transaction isolation level repeatable read, read only', [], 'transaction'],
  [`set time zone 'UTC'`, [], 'session'],
  [`set names 'utf-8'`, [], 'session'],
  [`set client_encoding = UNICODE`, [], 'session'],
  ['set standard_conforming_strings = on', [], 'session'],
  ['set EXTRA_FLOAT_DIGITS to 3', [], 'session'],
  ['reset statement_timeout', [], 'session'],
  ['reset all', [], 'session'],
  ['show all', [], 'session'],
  ['discard all', [], 'session'],
  ['deallocate all', [], 'session'],
  ['prepare p (int) as select name from customers where id = $1', ['select on customers (id, name)'], 'read'],
  ['prepare p as delete from payments', ['delete on payments'], 'write'],
  ['explain select name from customers', ['select on customers (name)'], 'read'],
  ['explain (analyze) delete from payments', ['delete on payments'], 'write'],
  ['declare c cursor with hold for select id from orders', ['select on orders (id)'], 'read'],
  ['fetch all c', [], 'read'],
  ['close c', [], 'read'],
];

describe('a statement needs', () => {
  for (const [text, expected, kind] of table) {
    test(text, () => {
      const statement = only(text);
      const full = expected.map((need) => need.replace(/ on (?=[a-z_]+( \(|\(|$))/, ' on public.'));
      assert.deepEqual([needs(statement), statement.class, statement.because], [full.toSorted(), kind, undefined]);
    });
  }
});

/** Undecidable or dangerous: needs `other` and says why. */
const closed: readonly (readonly [text: string, because: RegExp])[] = [
  ['do $$ begin delete from orders; end $$', /known only when it runs/],
  ['set role postgres', /who the session is/],
  ['set local role none', /who the session is/],
  ['reset role', /who the session is/],
  ['set session authorization postgres', /who the session is/],
  ['reset session authorization', /who the session is/],
  [`select set_config('role', 'postgres', false)`, /who the session is/],
  [`select set_config('ro' || 'le', 'postgres', false)`, /does not name its setting/],
  [`select set_config(name, 'x', false) from pg_settings`, /does not name its setting/],
  [`select set_config(name, 'x', false) from pg_settings where name = 'role'`, /who the session is/],
  [`select set_config(name, 'x', false) from pg_settings where name <> 'timezone'`, /does not name its setting/],
  [
    `select set_config(name, 'x', false) from pg_settings, (select 'role' as name) r where name = 'timezone'`,
    /does not name/,
  ],
  [`set names 'latin1'`, /encoding/],
  [`set client_encoding to 'SQL_ASCII'`, /encoding/],
  [`select set_config('client_encoding', 'gbk', false)`, /encoding/],
  [`select set_config('client_encoding', $1, false)`, /encoding/],
  ['set standard_conforming_strings = off', /string may end/],
  ['set app.tenant = 1', /not known to be harmless/],
  [`set work_mem = '257MB'`, /may not be set to more than 256MB/],
  ['set work_mem = 262145', /more than 256MB/],
  [`set work_mem = '1e9'`, /more than 256MB/],
  [`set work_mem = '0x7fffffff'`, /more than 256MB/],
  [`set work_mem = '1TB'`, /more than 256MB/],
  ['set work_mem = 1e9', /more than 256MB/],
  [`select set_config('work_mem', $1, false)`, /more than 256MB/],
  [`set local maintenance_work_mem = '2GB'`, /more than 1024MB/],
  ['set temp_buffers = 65536', /more than 256MB/],
  ['set hash_mem_multiplier = 1000', /more than 8/],
  ['set max_parallel_workers_per_gather = 1024', /more than 8/],
  ['set session_replication_role = replica', /not known to be harmless/],
  [`select nextval($1)`, /sequence as a plain string/],
  [`select nextval('tick' || 'ets')`, /sequence as a plain string/],
  ['alter system set fsync = off', /whole server/],
  ['create role eve superuser', /who may do what/],
  ['alter role ada set search_path = sales', /who may do what/],
  ['grant postgres to ada', /who may do what/],
  ['create extension dblink', /outside/],
  [`load 'x'`, /outside/],
  ['execute nothing_prepared', /does not exist/],
  ['truncate orders cascade', /does not name/],
  [`prepare transaction 'x'`, /lives on/],
  ['select * from nothing', /relation `nothing` does not exist/],
  ['select nothing from orders', /column `nothing` does not exist/],
  ['select o.nothing from orders o', /column `o.nothing` does not exist/],
  ['select orders.id from orders o', /column `orders.id` does not exist/],
  ['select nothing()', /function `nothing`/],
  ['select refund(1, 2)', /function `refund` with 2 arguments/],
  ['select * from elsewhere.public.orders', /another database/],
  ['select json_value($1, $2)', /older than the syntax/],
  ['update nothing set a = 1', /relation `nothing` does not exist/],
  ['update orders set nothing = 1', /column `nothing` does not exist/],
];

describe('a statement is `other`, with a reason', () => {
  for (const [text, because] of closed) {
    test(text, () => {
      const statement = only(text);
      assert.deepEqual([needs(statement), statement.class], [[other], 'dangerous']);
      assert.match(statement.because ?? '', because);
    });
  }
});

describe('INVARIANT 7: judged is what the server will see', () => {
  test('a second statement in the same string is judged on its own', () => {
    const found = statements('select 1; /* x */ truncate orders -- y\n; delete from public.payments;;');
    assert.deepEqual(found.map(needs), [[], ['truncate on public.orders'], ['delete on public.payments']]);
    assert.deepEqual(found.map(({ text }) => text).slice(2), ['delete from public.payments']);
  });

  test('after a definition in the same string nothing is looked up in the definitions before it', () => {
    const [, ...after] = statements('drop table orders; delete from public.payments; select 1 + 1; select 1; rollback');
    assert.deepEqual(after.map(needs), [[other], [other], [], []]);
    assert.match(after[0]?.because ?? '', /definitions have changed/);
  });

  test('texts are cut at bytes, not at characters', () => {
    const found = statements(`select 'äöü€😀'; select 'ß' as "ü"; select 2`);
    assert.deepEqual(
      found.map(({ text }) => text),
      [`select 'äöü€😀'`, `select 'ß' as "ü"`, 'select 2'],
    );
  });

  test('comments, dollar quotes and escapes hide nothing', () => {
    assert.deepEqual(needs(only('select /* from customers */ 1 -- delete')), []);
    assert.deepEqual(needs(only('select $$; drop table orders;$$')), []);
    assert.equal(statements(`select E'\\'; drop table orders; --'`).length, 1);
    assert.equal(statements(`select '\\'; drop table orders; --'`).length, 2);
    assert.deepEqual(needs(only('de/**/lete from orders'.replace('/**/', ''))), ['delete on public.orders']);
  });

  test('NUL and broken characters are refused, not cut', () => {
    for (const text of ['select 1\0; drop table orders', 'select \ud800', '\0']) {
      assert.equal(analyse(target.parser, text, names).kind, 'unparsable', JSON.stringify(text));
    }
  });

  test('names are folded, quoted and cut to 63 bytes as the server does', () => {
    assert.deepEqual(needs(only('SELECT ID FROM PUBLIC.ORDERS')), ['select on public.orders (id)']);
    assert.equal(only('select id from "ORDERS"').missing?.name, 'ORDERS');
    assert.deepEqual(needs(only('select id from U&"\\006frders"')), ['select on public.orders (id)']);
    assert.equal(only(`select 1 from ${'x'.repeat(70)}`).missing?.name, 'x'.repeat(63));
  });

  test('the search path decides, and pg_temp comes first', () => {
    const sales = { ...names, searchPath: ['pg_catalog', 'sales', 'public'] };
    assert.deepEqual(needs(only('select id from orders', sales)), ['select on sales.orders (id)']);
    assert.deepEqual(needs(only('select id from orders', { ...names, searchPath: ['pg_catalog'] })), [other]);
    // A function on the path may fit better than PostgreSQL's own of the same name.
    assert.deepEqual(needs(only('select lower($1)', sales)), ['call on sales.lower()']);
    assert.deepEqual(needs(only(`select $1 %% $2`, sales)), ['call on public.glue()']);
  });

  test('after the path may have changed, bare names of tables are not guessed at', () => {
    const [first, second, third] = statements(
      'set search_path = sales; select id from orders; select id from public.orders',
    );
    assert.equal(first?.mayChangeNames, true);
    assert.match(second?.because ?? '', /search path may have changed/);
    assert.deepEqual(third === undefined ? [] : needs(third), ['select on public.orders (id)']);
    const unknown: UnknownNames = { unknownPath: true, catalogue: target.catalogue };
    assert.deepEqual(needs(only('select now()', unknown)), []);
    assert.deepEqual(needs(only('select lower($1)', unknown)), ['call on sales.lower()']);
  });

  test('the end of a transaction takes a changed path back', () => {
    const text = 'commit; select id from orders';
    assert.match(statements(text)[1]?.because ?? '', /search path/);
    const unchanged = statements(text, { ...names, changedInTransaction: false });
    assert.equal(unchanged[1]?.because, undefined);
    assert.equal(unchanged[0]?.endsTransaction, true);
  });

  for (const text of [
    'set search_path = sales',
    'reset search_path',
    `select set_config('search_path', $1, true)`,
    'discard all',
    'create temp table orders (a int)',
    'select 1 into temp x',
    'drop view open_orders',
    'reset all',
    'select refund(1)',
    'call settle(1)',
    'do $$ begin end $$',
  ]) {
    test(`may change names: ${text}`, () => assert.equal(only(text).mayChangeNames, true));
  }
});

test('nothing to do is no statement', () => {
  for (const text of ['', ' \n\t', '-- only a comment', '/* a */ ;; ; -- b', ';;'])
    assert.deepEqual(statements(text), []);
});

test('INVARIANT 1: bad SQL is unparsable, with the message and position PostgreSQL gives', () => {
  assert.deepEqual(analyse(target.parser, `select 'ü€😀', from x`, names), {
    kind: 'unparsable',
    message: 'syntax error at or near "from"',
    position: 15,
  } satisfies Analysis);
});

test('INVARIANT 1: too long, too deep, or a failing parser is `other`', () => {
  assert.match(only(`select '${'x'.repeat(longestText)}'`).because ?? '', /longer than/);
  for (const text of [`select ${'1+'.repeat(10_000)}1`, `select ${'1+'.repeat(3_000)}1`]) {
    const statement = only(text);
    if (statement.because !== undefined) assert.deepEqual(needs(statement), [other]);
  }
  const failing: Parser = {
    parse: () => {
      throw new RangeError('out of stack');
    },
  };
  const analysis = analyse(failing, 'select 1', names);
  assert.ok(analysis.kind === 'statements');
  assert.deepEqual(analysis.statements.map(needs), [[other]]);
});

test('a hostile text can not make the analysis grow without end', () => {
  const doubled = Array.from({ length: 40 }, (_, i) => `a${i + 1} as (select *, * from a${i})`).join(', ');
  const squared = Array.from({ length: 13 }, (_, i) => `a${i + 1} as (select * from a${i} x, a${i} y)`).join(', ');
  const stars = Array.from({ length: 300 }, () => 'select * from a13').join(' union all ');
  const joined = `select 1 from orders${' cross join orders'.repeat(5_000)}`;
  const using = `select id from orders${' natural join payments'.repeat(1_500)}`;
  // The processor's time and not the clock's: other tests run beside this one.
  const starting = process.cpuUsage();
  for (const text of [
    `with a0 as (select * from orders), ${doubled} select * from a40`,
    `with a0 as (select * from orders), ${squared} ${stars}`,
    joined,
  ]) {
    assert.deepEqual(needs(only(text)), [other]);
  }
  assert.equal(statements(using).length, 1);
  const { user, system } = process.cpuUsage(starting);
  const took = (user + system) / 1000;
  assert.ok(took < 10_000, `it took ${took} ms`);
});

test('where, copy and functions are reported', () => {
  assert.equal(only('update orders set status = $1').hasWhere, false);
  assert.equal(only('delete from orders where true').hasWhere, true);
  assert.equal(only('explain analyze delete from orders').hasWhere, false);
  assert.equal(only('select 1').hasWhere, undefined);
  // INVARIANT 7: one that has a `where` doesn't hide another that has none.
  const all = 'with gone as (delete from payments)';
  assert.equal(only(`${all} select 1`).hasWhere, false);
  assert.equal(only(`${all} update orders set status = 'x' where id = 1`).hasWhere, false);
  assert.equal(only(`${all} delete from orders where id = 1`).hasWhere, false);
  assert.equal(only('with a as (delete from payments where id = 1) delete from orders where id = 1').hasWhere, true);
  assert.equal(only('prepare p as delete from payments').hasWhere, false);
  const merge = 'merge into orders using payments p on p.order_id = orders.id when matched then delete';
  assert.equal(only(`with x as (delete from payments where id = 1) ${merge}`).hasWhere, false);
  assert.equal(only('copy orders to stdout').copy, 'out');
  assert.equal(only('copy orders from stdin').copy, 'in');
  assert.equal(only(`copy orders from '/x'`).copy, undefined);
  assert.deepEqual(only('select refund(1), now()').functions, ['pg_catalog.now', 'public.refund']);
});

test('a prepared statement is judged when it is made and again when it runs', () => {
  const [prepare, execute, gone, after] = statements(
    'prepare p as delete from payments; execute p; deallocate p; execute p',
  );
  assert.deepEqual(prepare?.prepares, { name: 'p', text: 'prepare p as delete from payments' });
  assert.deepEqual(execute === undefined ? [] : needs(execute), ['delete on public.payments']);
  assert.equal(execute?.tag, 'DELETE');
  assert.deepEqual(gone?.deallocates, { name: 'p' });
  assert.equal(after?.missing?.kind, 'prepared statement');

  const prepared = new Map([
    ['p', 'prepare p as select id from orders'],
    ['protocol', 'select region from sales.orders'],
  ]);
  assert.deepEqual(needs(only('execute p(1)', { ...names, prepared })), ['select on public.orders (id)']);
  assert.deepEqual(needs(only('explain execute protocol', { ...names, prepared })), [
    'select on sales.orders (region)',
  ]);
  // The path has changed since: PostgreSQL resolves the names again.
  const sales = { ...names, searchPath: ['pg_catalog', 'sales'], prepared };
  assert.deepEqual(needs(only('execute p', sales)), ['select on sales.orders (id)']);
});

test('the analysis is plain data', () => {
  for (const [text] of [...table, ...closed]) {
    const analysis = analyse(target.parser, text, names);
    assert.deepEqual(structuredClone(analysis), analysis);
  }
  assert.deepEqual(structuredClone(names), names);
});

test('INVARIANT 1: whatever is done to a text, the analysis never throws, and `other` always says why', () => {
  const texts = [...table, ...closed].map(([text]) => text);
  const piece = fc.constantFrom(
    ';',
    '(',
    ')',
    '--',
    '/*',
    `'`,
    '"',
    '$$',
    '\\',
    ',',
    ' orders ',
    ' select ',
    '*',
    '\n',
    '.',
    '\u2028',
    '::x',
    'é',
  );
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.nat(), fc.nat(), piece, fc.boolean(), (text, at, length, insert, cut) => {
      const start = at % (text.length + 1);
      const mutated = text.slice(0, start) + insert + text.slice(start + (cut ? length % 8 : 0));
      const analysis = analyse(target.parser, mutated, names);
      if (analysis.kind !== 'statements') return;
      for (const statement of analysis.statements) {
        assert.equal(
          statement.because !== undefined,
          statement.needs.some(({ action }) => action === 'other'),
        );
      }
    }),
    { numRuns: 3_000 },
  );
});

test('INVARIANT 1: a node or a field that the walker has not been told about makes the statement `other`', () => {
  const parser = target.parser;
  let changed = 0;
  for (const [text] of table) {
    const tree = JSON.stringify(parser.parse(text));
    // Every object in the tree in turn gets a field from the future, or becomes a node of an unknown kind.
    const spots = [...tree.matchAll(/"([A-Z]\w+)":\{/g)].filter(
      ([, kind]) => !/^(String|A_Star|DefElem|Integer)$/.test(kind ?? ''),
    );
    for (const spot of spots) {
      const strange = `${tree.slice(0, spot.index)}"FromTheFuture":{${tree.slice(spot.index + spot[0].length)}`;
      const future: Parser = { parse: () => JSON.parse(strange) };
      const analysis = analyse(future, text, names);
      assert.ok(analysis.kind === 'statements');
      const [statement] = analysis.statements;
      if (statement?.because !== undefined) changed += 1;
      else if (statement?.class !== 'ddl' && statement?.class !== 'session' && statement?.class !== 'transaction') {
        assert.fail(`${text}: ${spot[1]} was not missed`);
      }
    }
  }
  assert.ok(changed > 300, `only ${changed} changes were refused`);
});

for (const [text, leaves] of [
  ['set transaction_read_only = off', true],
  ['set transaction_read_only = on', false],
  ['set local transaction_read_only to false', true],
  ['set default_transaction_read_only = 0', true],
  ['set default_transaction_read_only to default', false],
  ['reset default_transaction_read_only', false],
  ['reset transaction_read_only', true],
  ['reset all', false],
  ['set transaction read write', true],
  ['set transaction isolation level repeatable read, read only', false],
  ['set transaction isolation level repeatable read, read write', true],
  ['set session characteristics as transaction read write', true],
  ['begin read write', true],
  ['begin read only', false],
  ['begin', false],
  ['start transaction isolation level serializable, read write, deferrable', true],
  [`select set_config('transaction_read_only', 'off', true)`, true],
  [`select set_config('transaction_read_only', $1, true)`, true],
  [`SET "Transaction_Read_Only" = off`, true],
  ['set work_mem = 262144', false],
  [`set work_mem = '256MB'; set temp_buffers to default; set hash_mem_multiplier = 2`, false],
] as const)
  test(`\`${text}\` ${leaves ? 'may leave' : 'stays'} read-only`, () => {
    const all = statements(text);
    assert.equal(
      all.some((statement) => statement.mayLeaveReadOnly),
      leaves,
    );
    assert.ok(all.every((statement) => statement.because === undefined));
  });

test('INVARIANT 14: a text that names very much of very many things is refused before it has held up all others', () => {
  const times = (count: number, one: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => one(i)).join(',');
  const text = (items: number, uses: number) =>
    `select 1 from orders, ${times(items, (i) => `(select 1) x${i}`)} where id in (${times(uses, () => 'id')})`;
  assert.equal(only(text(200, 2000)).because, undefined);
  assert.equal(only(text(4000, 2000)).because, 'it names too many columns of too many tables');
  const grouped = `select 1 from orders, ${times(4000, (i) => `(select 1) x${i}`)} group by ${times(2000, () => 'status')}`;
  assert.equal(only(grouped).because, 'it names too many columns of too many tables');
});

/**
 * PostgreSQL itself as the judge: a role that holds exactly what the analysis says can run the statement, and a role that
 * lacks any one piece of it can't. Too little would be a hole in the gateway, too much would refuse what should pass.
 */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { sqlTarget, type SqlTarget } from '#test/support/sql-target.ts';
import { analyse } from './analyse.ts';
import { relationKey } from './catalogue.ts';
import { describeNeed, quoteName, type Need } from './needs.ts';

const targets = { sample: await sqlTarget({ after }, 'sample'), store: await sqlTarget({ after }, 'store') };

/** The privileges that a need asks for, one by one: each of them must be necessary. */
function privileges(target: SqlTarget, need: Need, whole: boolean): string[] {
  if (need.object.kind !== 'table') return [];
  const { schema, name } = need.object;
  const relation = target.catalogue.relations.get(relationKey(schema, name));
  const table = `${quoteName(schema)}.${quoteName(name)}`;
  const system = need.columns.some((column) => relation?.columns.includes(column) !== true);
  if (need.action === 'delete' || need.action === 'truncate' || system || whole) return [`${need.action} on ${table}`];
  // No particular column: the right to any of them will do.
  const columns = need.columns.length > 0 ? need.columns : (relation?.columns.slice(-1) ?? []);
  return columns.map((column) => `${need.action} (${quoteName(column)}) on ${table}`);
}

async function outcome(target: SqlTarget, held: readonly string[], text: string): Promise<string | undefined> {
  const grants = held.map((privilege) => `grant ${privilege} to somebody;`).join('\n');
  const setup = `create role somebody; grant usage on schema public, sales to somebody; ${grants} set local role somebody;`;
  return target.run(`${setup}\n${text}`).then(
    () => undefined,
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
}

const denied = '42501';

/** False when PostgreSQL itself does not take the statement, whoever sends it. */
async function check(target: SqlTarget, text: string): Promise<boolean> {
  const asOwner = await target.run(text).then(
    () => true,
    () => false,
  );
  if (!asOwner) return false;
  const names = { catalogue: target.catalogue, searchPath: ['pg_catalog', 'public'], user: 'somebody' };
  const analysis = analyse(target.parser, text, names);
  assert.ok(analysis.kind === 'statements' && analysis.statements.length === 1, text);
  const [statement] = analysis.statements;
  assert.equal(statement?.because, undefined, text);
  const needs = statement?.needs ?? [];
  // A lock takes the right to the whole table; that to each of its columns is not enough.
  const whole = text.startsWith('lock');
  const all = needs.flatMap((need) => privileges(target, need, whole));
  const said = needs.map(describeNeed).join('; ');
  assert.equal(await outcome(target, all, text), undefined, `too little for: ${text}\n${said}`);
  for (const one of all) {
    const others = all.filter((privilege) => privilege !== one);
    assert.equal(await outcome(target, others, text), denied, `${one} is not needed for: ${text}\n${said}`);
  }
  return true;
}

const fixed = [
  'select count(*) from orders',
  'select (o).status from orders o',
  'select o from payments o',
  'select a from orders o (a, b) order by b',
  'select id as total from orders order by total',
  'select id as total from orders group by id, total',
  'select ctid from payments',
  'select 1 from orders join payments using (id)',
  'select amount from orders natural join payments',
  'select j.b from (payments cross join customers) as j (a, b)',
  'select x.name from orders o, lateral (select name from customers c where c.id = o.customer_id) x',
  'select (select id) from orders',
  'select s.n from (select name as n, email from customers) s',
  'select id from orders where exists (select * from payments where order_id = orders.id)',
  'select 1 from (with orders as (select 1) select * from orders) x, orders',
  'with recursive t (id) as (select id from orders union all select p.order_id from payments p join t on t.id = p.id where false) select * from t',
  'with gone as (delete from payments where order_id = 3 returning amount) select sum(amount) from gone',
  'insert into payments (id, amount) values (1, 2)',
  'insert into payments values (1, default)',
  'insert into payments default values',
  'insert into payments select id, id from orders',
  'insert into payments (id) values (1) returning amount',
  `insert into orders as o (id, status) values (1, 'a') on conflict (id) do update set status = excluded.status, total = o.total + 1 where o.net > 1`,
  'insert into customers (id) values (1) on conflict (id) do nothing',
  'insert into orders (id) values (99) on conflict on constraint one_per_status do nothing',
  `insert into orders (id) values (77) on conflict do nothing`,
  `update orders set status = 'x'`,
  'update orders set status = lower(status) where id = 1',
  'update orders o set (status, total) = (select name, 1 from customers c where c.id = o.customer_id)',
  'update orders set total = amount from payments p where p.order_id = orders.id returning p.id',
  `update customers set tags[1] = 'x'`,
  'delete from payments',
  'delete from payments p using orders o where o.id = p.order_id and o.total > 1',
  'merge into payments p using orders o on o.id = p.order_id when matched and p.amount > 1 then update set amount = o.total when matched then delete when not matched then insert (id) values (o.id)',
  'truncate payments',
  'select id from orders for update',
  'select 1 from orders o, (select id from payments) p for share of p',
  'select 1 from (payments p join customers c on true) for key share of c',
  'lock table orders in access share mode',
  'lock table payments in exclusive mode',
  'select total from open_orders',
  'update open_orders set total = 2 where id = 1',
  'explain select name from customers',
  'declare c cursor for select name from customers',
  'select sum(total) over w from orders window w as (partition by status order by id)',
  'select count(*) filter (where net > 1) from orders group by grouping sets ((status), (customer_id, total))',
  'select distinct on (status) id from orders order by status, total',
  'select last_value from tickets',
  'select id from orders union select amount from payments order by id',
  'select region from sales.orders',
  'values ((select max(id) from orders))',
  'select array(select id from orders), row(p.*) from payments p',
  'select t.* from (select o.id, p.* from orders o left join payments p on p.order_id = o.id) t (x)',
];

for (const set of ['sample', 'store'] as const) {
  describe(`INVARIANT 1: PostgreSQL ${set === 'sample' ? 15 : 18} asks for exactly what the analysis says`, () => {
    for (const text of fixed) {
      test(text, async () => {
        assert.ok(await check(targets[set], text), 'PostgreSQL takes the statement');
      });
    }
  });
}

test('PostgreSQL 18: old and new rows, and more of merge', async () => {
  const target = targets.store;
  for (const text of [
    'update payments set amount = 2 returning old.id, new.order_id',
    'delete from payments returning with (old as gone) gone.amount',
    'merge into payments p using orders o on o.id = p.order_id when not matched by source then delete returning merge_action(), p.id',
    `select * from json_table('[1]', '$[*]' columns (a int path '$'))`,
    `select json_value('{"a":1}'::jsonb, '$.a') from payments where id is json`,
  ]) {
    await check(target, text).then((taken) => assert.ok(taken || text.includes('is json'), text));
  }
});

const columnsOf: Readonly<Record<string, readonly string[]>> = {
  orders: ['id', 'customer_id', 'status', 'total', 'net'],
  customers: ['id', 'name', 'email', 'tags'],
  payments: ['id', 'order_id', 'amount'],
  open_orders: ['id', 'total'],
};
const everyColumn = [...new Set(Object.values(columnsOf).flat())];

/**
 * Random selects over the shop: names that may be bare, qualified, correlated, aliased away or ambiguous. Functions in the
 * from clause are left out: their columns aren't known to the analysis, which then asks for more than PostgreSQL would.
 */
const { query } = fc.letrec<{ query: string; expression: string; item: string }>((tie) => ({
  expression: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(...everyColumn),
    fc
      .tuple(fc.constantFrom('a', 'b', 'orders', 'payments', 'c'), fc.constantFrom(...everyColumn, '*'))
      .map(([t, c]) => (c === '*' ? `count(${t}.*)` : `${t}.${c}`)),
    fc.constantFrom('a', 'b', 'orders', '1', 'count(*)', `'x'`).map((e) => `${e}`),
    tie('expression').map((e) => `coalesce((${e})::text, '')`),
    fc.tuple(tie('expression'), tie('expression')).map(([x, y]) => `((${x})::text = (${y})::text)`),
    fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom(...everyColumn)).map(([t, c]) => `(${t}).${c}`),
    tie('query').map((q) => `exists (${q})`),
    tie('query').map((q) => `(select count(*) from (${q}) b)`),
  ),
  item: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('orders', 'customers', 'payments', 'open_orders'),
    fc
      .tuple(
        fc.constantFrom('orders', 'customers', 'payments', 'open_orders'),
        fc.constantFrom('a', 'b', 'c', 'a (id)', 'b (x, id)'),
      )
      .map(([t, a]) => `${t} ${a}`),
    fc
      .tuple(tie('query'), fc.constantFrom('a', 'b', 'c (id, total)'), fc.constantFrom('', 'lateral '))
      .map(([q, a, l]) => `${l}(${q}) ${a}`),
    fc
      .tuple(
        tie('item'),
        fc.constantFrom('cross join', 'natural join', 'left join', 'using'),
        tie('item'),
        tie('expression'),
      )
      .map(([l, kind, r, on]) => {
        if (kind === 'using') return `${l} join ${r} using (id)`;
        return kind === 'left join' ? `${l} left join ${r} on ((${on})::text = 'true')` : `${l} ${kind} ${r}`;
      }),
  ),
  query: fc
    .record({
      with: fc.oneof(
        { weight: 4, arbitrary: fc.constant(undefined) },
        fc.tuple(fc.constantFrom('a', 'orders'), tie('query')),
      ),
      targets: fc.array(
        fc.oneof(
          fc.constantFrom('*', 'a.*'),
          tie('expression'),
          fc.tuple(tie('expression'), fc.constantFrom('id', 'total', 'x')).map(([e, n]) => `${e} as ${n}`),
        ),
        { minLength: 1, maxLength: 3 },
      ),
      from: fc.array(tie('item'), { minLength: 1, maxLength: 2 }),
      where: fc.option(tie('expression')),
      order: fc.option(fc.constantFrom(...everyColumn, '1', 'x')),
    })
    .map((q) => {
      const where = q.where === null ? '' : ` where (${q.where})::text <> ''`;
      const order = q.order === null ? '' : ` order by ${q.order}`;
      const select = `select ${q.targets.join(', ')} from ${q.from.join(', ')}${where}${order}`;
      // PostgreSQL doesn't even look at rights for a `with` query that nobody reads; the analysis does.
      return q.with === undefined
        ? select
        : `with ${q.with[0]} as (${q.with[1]}) ${select.replace(' from ', ` from ${q.with[0]} z, `)}`;
    }),
}));

test('INVARIANT 1: random selects need exactly what PostgreSQL asks for', async () => {
  const target = targets.sample;
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(query, async (text) => {
      if (text.length < 2_000 && (await check(target, text))) taken += 1;
    }),
    { numRuns: 5_000 },
  );
  assert.ok(taken > 300, `PostgreSQL took only ${taken} of them`);
});

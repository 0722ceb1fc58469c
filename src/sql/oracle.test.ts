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
async function check(target: SqlTarget, text: string, exactly = true): Promise<boolean> {
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
  for (const one of exactly ? all : []) {
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
  customers: ['id', 'name', 'email', 'tax_id', 'tags'],
  payments: ['id', 'order_id', 'amount'],
  open_orders: ['id', 'total'],
};

type Named = { readonly name: string; readonly columns: readonly string[] };

/**
 * A random select over the shop, mostly one that PostgreSQL takes: bare, qualified, correlated and ambiguous names, aliases
 * for tables and columns, `with` queries that hide tables, joins that merge columns, functions in the from clause.
 */
function randomSelect(seed: number): { readonly text: string; readonly mayHaveUnused: boolean } {
  let state = seed >>> 0;
  // What PostgreSQL throws away before it looks at the rights to it: a subquery in a select that stands in another, when
  // nobody asks for its result; and all that a condition rules out that is never true, since it tests a literal for null.
  let mayHaveUnused = false;
  let nesting = 0;
  let conditions = 0;
  const below = (bound: number): number => {
    // Numbers as in Park and Miller's generator: good enough, and the seed says it all.
    state = (state * 48_271 + 11) % 2_147_483_647;
    return state % bound;
  };
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const chance = (percent: number): boolean => below(100) < percent;
  let aliases = 0;

  function base(ctes: readonly Named[]): { text: string; item: Named } {
    const tables = [...Object.entries(columnsOf).map(([name, columns]) => ({ name, columns })), ...ctes, ...ctes];
    const table = pick(tables);
    const columns = ctes.findLast(({ name }) => name === table.name)?.columns ?? table.columns;
    if (chance(8)) {
      const name = pick(['id', 't', 'total']);
      return { text: `generate_series(1, 2) ${name}`, item: { name, columns: [name] } };
    }
    if (chance(40)) return { text: table.name, item: { name: table.name, columns } };
    const name = chance(80) ? `t${++aliases}` : pick(Object.keys(columnsOf));
    if (chance(70)) return { text: `${table.name} ${name}`, item: { name, columns } };
    const renamed = [pick(['id', 'total', 'x']), ...columns.slice(1)];
    return { text: `${table.name} as ${name} (${renamed[0]})`, item: { name, columns: renamed } };
  }

  function from(scopes: readonly Named[][], ctes: readonly Named[], depth: number): { text: string; items: Named[] } {
    const kind = below(10);
    if (kind < 4 || depth === 0) {
      const { text, item } = base(ctes);
      return { text, items: [item] };
    }
    if (kind < 6) {
      const lateral = chance(50);
      const inner = select(lateral ? scopes : scopes.slice(0, -1), ctes, depth - 1);
      const name = `t${++aliases}`;
      return { text: `${lateral ? 'lateral ' : ''}(${inner.text}) ${name}`, items: [{ name, columns: inner.columns }] };
    }
    const left = from(scopes, ctes, depth - 1);
    const right = from(scopes, ctes, depth - 1);
    const items = [...left.items, ...right.items];
    const join = (how: string, on: string): { text: string; items: Named[] } => {
      const text = `${left.text} ${how} ${right.text}${on}`;
      if (!chance(15)) return { text, items };
      const name = `t${++aliases}`;
      return { text: `(${text}) as ${name}`, items: [{ name, columns: items.flatMap(({ columns }) => columns) }] };
    };
    switch (kind) {
      case 6:
        return join('cross join', '');
      case 7:
        return join('natural left join', '');
      case 8:
        return join('join', ' using (id)');
      default:
        return join('left join', ` on ${condition([...scopes.slice(0, -1), items], ctes, 0)}`);
    }
  }

  function expression(scopes: readonly Named[][], ctes: readonly Named[], depth: number): string {
    // Mostly the nearest scope, sometimes one around it.
    const scope = chance(80) ? scopes.at(-1) : pick(scopes);
    const item = scope === undefined || scope.length === 0 ? undefined : pick(scope);
    const column = item === undefined || item.columns.length === 0 ? '1' : pick(item.columns);
    switch (below(depth > 0 ? 9 : 7)) {
      case 0:
      case 1:
        return `${column}::text`;
      case 2:
      case 3:
        return item === undefined ? `'x'` : `${item.name}.${column}::text`;
      case 4:
        return item === undefined
          ? '$$a$$'
          : pick([`${item.name}::text`, `(${item.name}).${column}::text`, `row(${item.name}.*)::text`]);
      case 5:
        return `coalesce(${column}::text, 'orders.id')`;
      case 6:
        if (conditions > 0 && column === '1') mayHaveUnused = true;
        return `case when ${column} is null then 'a' end`;
      case 7:
        if (nesting > 1) mayHaveUnused = true;
        return `exists (${select(scopes, ctes, depth - 1).text})::text`;
      default:
        mayHaveUnused = true;
        return `(select count(*) from (${select(scopes, ctes, depth - 1).text}) z)::text`;
    }
  }

  function condition(scopes: readonly Named[][], ctes: readonly Named[], depth: number): string {
    conditions += 1;
    const text = `${expression(scopes, ctes, depth)} = ${expression(scopes, ctes, depth)}`;
    conditions -= 1;
    return text;
  }

  function select(
    outer: readonly Named[][],
    ctes: readonly Named[],
    depth: number,
  ): { text: string; columns: string[] } {
    nesting += 1;
    let before = '';
    let known = ctes;
    const items: Named[] = [];
    const texts: string[] = [];
    if (depth > 0 && chance(20)) {
      const inner = select(outer, ctes, depth - 1);
      const name = pick(['orders', 'payments', 'w']);
      before = `with ${name} as (${inner.text}) `;
      known = [...ctes, { name, columns: inner.columns }];
      // PostgreSQL doesn't even look at rights for a `with` query that nobody reads; the analysis does.
      texts.push(`${name} z${++aliases}`);
      items.push({ name: `z${aliases}`, columns: inner.columns });
    }
    for (let count = chance(30) ? 2 : 1; count > 0; count -= 1) {
      const one = from([...outer, [...items]], known, depth);
      texts.push(one.text);
      items.push(...one.items);
    }
    const scopes = [...outer, items];
    const columns: string[] = [];
    const targets: string[] = [];
    for (let count = 1 + below(3); count > 0; count -= 1) {
      const item = pick(items);
      if (chance(10)) {
        targets.push(`${item.name}.*`);
        columns.push(...item.columns);
      } else if (chance(15) && items.length === 1) {
        targets.push('*');
        columns.push(...item.columns);
      } else {
        const name = pick(['id', 'total', `c${below(5)}`]);
        targets.push(`${expression(scopes, known, depth)} as ${name}`);
        columns.push(name);
      }
    }
    const where = chance(40) ? ` where ${condition(scopes, known, depth)}` : '';
    const order = chance(20) ? ` order by ${pick([...columns, ...pick(items).columns, '1'])}` : '';
    nesting -= 1;
    return { text: `${before}select ${targets.join(', ')} from ${texts.join(', ')}${where}${order}`, columns };
  }

  const { text } = select([], [], 2);
  return { text, mayHaveUnused };
}

test('INVARIANT 1: random selects need exactly what PostgreSQL asks for', async () => {
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 2_147_483_646 }), async (seed) => {
      const { text, mayHaveUnused } = randomSelect(seed);
      if (text.length < 2_000 && (await check(targets.sample, text, !mayHaveUnused))) taken += 1;
    }),
    { numRuns: 1_500, endOnFailure: true, includeErrorInReport: true },
  );
  assert.ok(taken > 150, `PostgreSQL took only ${taken} of them`);
});

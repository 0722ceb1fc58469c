import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { sqlTarget } from '#test/support/sql-target.ts';
import { analyse } from './analyse.ts';
import { literalFree } from './literal-free.ts';
import type { Names, UnknownNames } from './names.ts';

const target = await sqlTarget({ after });
const path: Names = { catalogue: target.catalogue, searchPath: ['pg_catalog', 'public'], user: 'ada' };
const ways: readonly (Names | UnknownNames)[] = [path, { catalogue: target.catalogue, unknownPath: true }];

/** All that is decided by, and all that a verdict does: everything but the texts. */
function decided(text: string, names: Names | UnknownNames): unknown {
  const analysis = analyse(target.parser, text, names);
  // Positions and messages of texts that don't parse quote the text.
  if (analysis.kind !== 'statements') return { kind: analysis.kind };
  return analysis.statements.map(({ text: _, ...rest }) => rest);
}

test('texts that differ in literals only have one form, which still tells everything else apart', () => {
  const one = literalFree("select a from t where b = 5 and c in ('x', 'y') order by 1 limit 10;");
  assert.notEqual(one, undefined);
  assert.equal(one, literalFree("select a from t where b = 77 and c in ('', 'it''s') order by 1 limit 10;"));
  for (const other of [
    "select a from t where b = 5 and c in ('x') order by 1 limit 10;",
    "select a from t where b = 5.0 and c in ('x', 'y') order by 1 limit 10;",
    "select a from t where b = -5 and c in ('x', 'y') order by 1 limit 10;",
    "select a from t where b = '5' and c in ('x', 'y') order by 1 limit 10;",
    "select a from t where b = 5 and c in ('x', 'y') order by 2 limit 10;",
    "select a from t where b = 5 and c in ('x', 'y') order by 1 limit 11;",
    "select d from t where b = 5 and c in ('x', 'y') order by 1 limit 10;",
  ])
    assert.notEqual(one, literalFree(other), other);
  for (const text of [
    'select a from t where b = 5',
    'select count(*) from orders where id = 5 and total >= 3.5',
    "update t set a = 'x', b = b + 1 where id between 1 and 3",
    "delete from t where note like '%x%'",
    "insert into public.t (a, b) values (1, 'x'), (2, 'ü')",
    'select "a" from "T" where "b" = 1',
    "select a from t where b = 'where' and c = 'select'",
  ])
    assert.notEqual(literalFree(text), undefined, text);
});

test('what may mean more than it looks has no form', () => {
  for (const text of [
    'select 1',
    'select a from t where b = $1',
    "select set_config(name, 'x', false) from pg_settings where name = 'search_path'",
    "select nextval('s') from t where a = 1",
    "select 1 where ('orders_id_seq').nextval = 5",
    'select a from t where f(b) = 1',
    'select a from t where b = 1 -- c',
    'select a from t where b = 1 /* c */',
    "select a from t where b = E'x'",
    "select a from t where b = e'x' and c = 1",
    "select a from t where b = U&'x'",
    "select a from t where b = u&'x' and c = 1",
    "select a from t where b = 'x\\'",
    'select a from t where b = 1a',
    'select a from t where b = 1e5',
    'select a from t where b = 0x1F',
    'select a from t where b = 1_000',
    'select a from t where b = 1.',
    'select a from t where b = .5',
    'select a from t where b = 99999999999999999999',
    "select a from t where b = 'x'::regclass and c = $$x$$",
    "select a from t where b = interval '1' day",
    'select a from t where b = (select 1)',
    'select a from t where b = 1 union select 2',
    'select a into x from t where b = 1',
    'with x as (delete from t where a = 1 returning a) select a from x where a = 1',
    'select a from t where b = 1; select 2',
    "select a from t where b = 'x",
    'select a from t where b = (1',
    "set search_path = 'x'",
    "copy t from 'x'",
    "do 'x'",
    'execute x (1)',
    'prepare x as select 1 where 1 = 1',
    'delete from t where current of c and a = 1',
    'select a from t where b = 1 \u0001',
    "select a from t where b = '\u0001'",
    'select a from t where b = 1 and ü = 1',
    `select a from t where b = ${'1 + '.repeat(5000)} 1`,
  ])
    assert.equal(literalFree(text), undefined, text);
});

test('a literal that is cast, continued, subscripted or prefixed by a type stays as it is', () => {
  for (const [a, b] of [
    ["select a from t where b = 1 and c = 'x'::regclass", "select a from t where b = 1 and c = 'y'::regclass"],
    ["select a from t where b = 1 and c = date 'x'", "select a from t where b = 1 and c = date 'y'"],
    ["select a from t where b = 1 and c = regclass 'x'", "select a from t where b = 1 and c = regclass 'y'"],
    ["select a from t where b = 1 and c = 'x'\n'z'", "select a from t where b = 1 and c = 'x'\n'y'"],
    ['select a from t where b = 1 limit 1', 'select a from t where b = 1 limit 2'],
    ["select 'x' from t where b = 1", "select 'y' from t where b = 1"],
  ] as const)
    assert.ok(literalFree(a) === undefined || literalFree(a) !== literalFree(b), a);
});

/** Values that would matter to the analyser somewhere: names of settings, sequences, columns, positions. */
const strings = fc.constantFrom(
  "'search_path'",
  "'role'",
  "'work_mem'",
  "'tickets'",
  "'public.tickets'",
  "'sales.orders'",
  "''",
  "'x'",
  "'it''s'",
  "'1'",
  "'$1'",
  "'--'",
  "'/*'",
  "';'",
  "'select'",
  "'execute x'",
  "'\"'",
  "'ü'",
  "' '",
);
const numbers = fc.constantFrom('0', '1', '2', '3', '17', '2147483648', '999999999999999999', '1.5', '0.0', '007');
const literal = fc.oneof(strings, numbers);

/** A text with places for literals. Everything that has a trap in it somewhere is in here, in any order. */
const column = fc.constantFrom(
  'id',
  'status',
  'o.id',
  'total',
  '"Mixed"',
  'name',
  'ctid',
  'nosuch',
  'public.orders.id',
);
const piece: fc.Arbitrary<readonly string[]> = fc.oneof(
  {
    weight: 12,
    arbitrary: column.chain((c) =>
      fc.constantFrom('=', '<>', '<', '>=', 'like', '+', '||', '->>', '=-', '~').map((o) => [`${c} ${o} `, '']),
    ),
  },
  { weight: 3, arbitrary: column.map((c) => [`${c} in (`, ', ', ')']) },
  { weight: 3, arbitrary: column.map((c) => [`${c} between `, ' and ', '']) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(['', ' = ', ''], ['(', ') = ', ''], ['(', ' + ', ') > 1'], ['-', ' = - ', '']),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom<readonly string[]>(
      ['(', ').nextval = 5'],
      ['(', ').tickets = ', ''],
      ['nextval(', ') = ', ''],
      ['name = ', '::regclass'],
      ['id = regclass ', ''],
      ['id = date ', ' + interval ', ' day'],
      ['set_config(name, ', ", false) = ''"],
      ['id = E', ''],
      ['id = U&', ''],
      ['id = ', '\n', ''],
      ['id = ', ' -- x\n', ''],
      ['id = any (array[', ', ', '])'],
      ['tags[', '] = ', ''],
      ['exists (select 1 from payments where amount = ', ')'],
      ['id = lower(', ')'],
      ['count(', ') > ', ''],
      ['id = f(', ')'],
      ['id is distinct from ', ''],
      ['case when id = ', ' then ', ' end = 1'],
      ['(id, total) = (', ', ', ')'],
      ['name = ', ' collate "C"'],
      ['id = ', '::public.mood'],
      ['id operator(pg_catalog.=) ', ''],
      ['id = $1 + ', ''],
    ),
  },
);
const joined = fc
  .array(fc.tuple(piece, fc.constantFrom(' and ', ' or ', ' and not ', ' , ')), { minLength: 1, maxLength: 4 })
  .map((parts) =>
    parts.flatMap(([one, join], i) =>
      i === 0
        ? one.map((t, k) => ({ t, glue: k > 0 }))
        : [{ t: join, glue: false }, ...one.map((t, k) => ({ t, glue: k > 0 }))],
    ),
  );
const template = fc
  .record({
    head: fc.constantFrom(
      'select id from orders o where ',
      'select * from orders where ',
      'select count(*), max(total) from orders o where ',
      "select set_config(name, 'x', false) from pg_settings where ",
      "select set_config('search_path', name, false) from pg_settings where ",
      'select name from pg_settings where ',
      'update orders set status = status where ',
      'update orders set ',
      'delete from orders where ',
      'delete from payments using orders where ',
      'insert into payments (id, amount) values (',
      'insert into orders values (',
      'select id from orders order by ',
      'select id from orders limit ',
      'select ',
      'select id from orders o join customers c on ',
      'select 1 from customers where ',
      'SELECT ID FROM ORDERS WHERE ',
      'with x as (select 1) select id from orders where ',
      'values (',
    ),
    body: joined,
    end: fc.constantFrom(
      '',
      ';',
      ')',
      ' order by 1',
      ' limit 1',
      ' returning id',
      ' for update',
      ' group by id',
      ') on conflict do nothing',
      ' union select 1',
      '; select 1',
      ' ; ',
    ),
  })
  .map(({ head, body, end }) => {
    const parts: string[] = [head];
    for (const { t, glue } of body) {
      if (glue) parts.push(t);
      else parts[parts.length - 1] += t;
    }
    parts[parts.length - 1] += end;
    return parts;
  });

/** Whole statements in which a literal does matter. */
const trap: fc.Arbitrary<readonly string[]> = fc.constantFrom<readonly string[]>(
  ["select set_config(name, 'public', false) from pg_settings where name = ", ''],
  ["select set_config(name, 'public', false) from pg_settings where name = ", ' and id = ', ''],
  ['select id from orders where nextval(', ') = ', ''],
  ['select id from orders where id = ', ' and (', ').nextval > 5'],
  ['select id from orders where (', ').currval = ', ''],
  ['select currval(', ') from orders where id = ', ''],
  ['select id from orders where set_config(', ', ', ', true) = ', ''],
  ['update orders set total = nextval(', ') where id = ', ''],
  ['insert into payments (id, amount) values (nextval(', '), ', ')'],
  ['set search_path = ', ''],
  ['select pg_notify(', ", 'x') from orders where id = ", ''],
  ['delete from orders where id = ', ' and setval(', ', ', ') = 1'],
);

const fill = (parts: readonly string[], literals: readonly string[]): string =>
  parts.map((part, i) => (i === 0 ? part : `${literals[(i - 1) % literals.length] ?? ''}${part}`)).join('');

test('INVARIANT 7: texts with one form are decided alike, whatever their literals', () => {
  let same = 0;
  let formless = 0;
  let wouldDiffer = 0;
  fc.assert(
    fc.property(
      fc.oneof({ weight: 4, arbitrary: template }, { weight: 1, arbitrary: trap }),
      fc.array(literal, { minLength: 6, maxLength: 6 }),
      fc.array(literal, { minLength: 6, maxLength: 6 }),
      fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
      (parts, first, second, isSame) => {
        // Of the same kind each, or there would hardly ever be two with one form.
        const others = first.map((value, i) => {
          const other = second[i] ?? value;
          const alike = value.startsWith("'") === other.startsWith("'") && value.includes('.') === other.includes('.');
          return isSame[i] === true || !alike ? value : other;
        });
        const one = fill(parts, first);
        const two = fill(parts, others);
        const form = literalFree(one);
        if (one === two) return;
        const isAlike = form !== undefined && form === literalFree(two);
        for (const names of ways) {
          if (isAlike) {
            assert.deepEqual(decided(one, names), decided(two, names), `${one}\n${two}`);
            same += 1;
          } else {
            formless += 1;
            if (JSON.stringify(decided(one, names)) !== JSON.stringify(decided(two, names))) wouldDiffer += 1;
          }
        }
      },
    ),
    { numRuns: 4000 },
  );
  assert.ok(same > 300, `only ${same} pairs had one form`);
  assert.ok(wouldDiffer > 20, `only ${wouldDiffer} of ${formless} other pairs would have been decided otherwise`);
});

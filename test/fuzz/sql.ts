/**
 * Statements: a small grammar, with random bytes mixed in, against a real server, through roles that may read one table and
 * nothing else. On the target everything is granted to everybody, so that nothing but the gateway stands between a session
 * and what it may not have. That has a wire across it: whoever reads a row of the shut table moves a sequence, which no
 * rollback takes back, and the secret words must be in no answer, in whatever form a function could give them.
 */
import fc from 'fast-check';
import type { RoleName } from '#core/ids.ts';
import type { Role } from '#core/role.ts';
import { startGatewayChild, type GatewayChild } from '../support/gateway-child.ts';
import type { Login } from '../support/gateway-process.ts';
import { shorter, type Area } from './_area.ts';
import { fuzzRole, late, patienceMs, within, type Bench } from './_bench.ts';
import { Client, framesOf, signIn } from './_client.ts';
import { encode, mutate, type Message, type Mutation } from './_messages.ts';

const secret = 'kAnArY7fRqZ';
/** What the words become on the way through the usual functions. */
const traces = [
  secret,
  secret.split('').toReversed().join(''),
  Buffer.from(secret).toString('hex'),
  Buffer.from(secret).toString('base64').slice(0, 12),
].map((text) => text.toLowerCase());

const setup = `
  drop schema if exists fuzz_other cascade;
  drop table if exists fuzz_open, fuzz_shut, fuzz_mixed, fuzz_notes cascade;
  drop sequence if exists fuzz_wire;
  drop function if exists fuzz_leak, fuzz_peek cascade;
  create sequence fuzz_wire;
  create table fuzz_open (a int primary key, b text);
  insert into fuzz_open select n, 'row ' || n from generate_series(1, 3) n;
  create table fuzz_shut (a int primary key, b text);
  insert into fuzz_shut values (1, '${secret}');
  alter table fuzz_shut enable row level security;
  create policy wire on fuzz_shut using (nextval('public.fuzz_wire') > 0) with check (nextval('public.fuzz_wire') > 0);
  create table fuzz_mixed (a int primary key, b text, shut text default '${secret}');
  insert into fuzz_mixed values (1, 'seen');
  create table fuzz_notes (a int, b text);
  create view fuzz_view as select * from fuzz_shut;
  create schema fuzz_other;
  create table fuzz_other.fuzz_open (a int, b text);
  insert into fuzz_other.fuzz_open values (1, '${secret}');
  create function fuzz_leak() returns text language sql immutable as $$ select '${secret}'::text $$;
  create function fuzz_other.lower(text) returns text language sql as $$ select '${secret}'::text $$;
  create function fuzz_peek(text) returns text language plpgsql security definer as
    $$ declare out text; begin execute 'select b from fuzz_shut' into out; return out; end $$;
  create function fuzz_other.glue(text, int) returns text language sql as $$ select '${secret}'::text $$;
  create operator fuzz_other.|| (leftarg = text, rightarg = int, function = fuzz_other.glue);
`;
const grants = `
  grant all on all tables in schema public, fuzz_other to public;
  grant all on sequence fuzz_wire to public;
  grant usage on schema fuzz_other to public;
`;
/** All that may not have changed. */
const stateQuery = `
  select (select last_value::text || is_called from fuzz_wire) || ' '
    || (select string_agg(t::text, '|' order by a) from fuzz_open t) || ' '
    || (select string_agg(t::text, '|' order by a) from fuzz_shut t) || ' '
    || (select string_agg(t::text, '|' order by a) from fuzz_mixed t) || ' '
    || (select string_agg(t::text, '|' order by a) from fuzz_other.fuzz_open t) || ' '
    || (select string_agg(concat_ws(',', relname, relkind, relnatts, relfilenode, relacl::text), ' ' order by oid)
        from pg_class where relname like 'fuzz%' and relnamespace::regnamespace::text !~ '^pg_temp') || ' '
    || (select count(*) from pg_proc where pronamespace::regnamespace::text in ('public', 'fuzz_other')) as state`;

const table = (name: string) => ({ schema: 'public', name });
const readRole: Role = {
  ...fuzzRole,
  name: 'orders/fuzz-reads' as RoleName,
  permissions: {
    tables: [
      { ...table('fuzz_open'), select: 'all' },
      { ...table('fuzz_mixed'), select: ['a', 'b'] },
    ],
    functions: [],
  },
};
/** The same, and not read-only: such a session may do more of what changes things for itself. */
const writeRole: Role = {
  ...readRole,
  name: 'orders/fuzz-writes' as RoleName,
  permissions: {
    tables: [...readRole.permissions.tables, { ...table('fuzz_notes'), select: 'all', insert: 'all', update: 'all' }],
    functions: [],
  },
};

type Ground = {
  readonly gateway: GatewayChild;
  readonly logins: readonly [read: Login, write: Login];
  readonly state: string;
};
/** Of each bench the one that is in use: made anew when something of it was changed, or its gateway has gone. */
const grounds = new WeakMap<Bench, Promise<Ground>>();
function ground(bench: Bench): Promise<Ground> {
  const made = grounds.get(bench) ?? prepare(bench);
  grounds.set(bench, made);
  return made;
}

const stateOf = async (bench: Bench): Promise<string> =>
  ((await bench.real.query(stateQuery)) as { readonly state: string }[])[0]?.state ?? '';

async function prepare(bench: Bench): Promise<Ground> {
  const { real } = bench;
  await real.query(setup);
  await real.query(grants);
  const gateway = await startGatewayChild({
    target: {
      host: real.host,
      port: real.port,
      database: real.database,
      adminUser: real.adminUser,
      adminPassword: real.adminPassword,
      ca: real.ca,
    },
    roles: [readRole, writeRole],
    listen: { maxFailuresPerMinute: 1_000_000 },
  });
  bench.onEnd(() => gateway.stop());
  const logins = [await gateway.give(readRole), await gateway.give(writeRole, 'eve')] as const;
  return { gateway, logins, state: await stateOf(bench) };
}

// --- the grammar

/** Those between the bars. */
const any = (parts: TemplateStringsArray) => pick(...(parts.raw[0] ?? '').split('¦').map((text) => text.trim()));
const pick = (...texts: readonly string[]) => fc.constantFrom(...texts);
const open = any`
      fuzz_open ¦ fuzz_open ¦ public.fuzz_open ¦ "fuzz_open" ¦ FUZZ_Open ¦ fuzz_mixed ¦
      public."fuzz_mixed"`;
const shut = any`
      fuzz_shut ¦ public.fuzz_shut ¦ Fuzz_Shut ¦ U&"fuzz\005fshut" ¦ fuzz_view ¦ fuzz_other.fuzz_open ¦
      "public"."fuzz_shut" ¦ only fuzz_shut ¦ fuzz_shut* ¦ pg_temp.fuzz_open ¦ t ¦ x ¦ fuzz_wire`;
const column = fc.oneof(
  { weight: 6, arbitrary: any`a ¦ b ¦ a ¦ b ¦ * ¦ "b" ¦ ctid` },
  {
    weight: 1,
    arbitrary: any`shut ¦ t.* ¦ t.b ¦ t ¦ x.shut ¦ (t).b ¦ (x).* ¦ xmin ¦ fuzz_open ¦ fuzz_mixed.*`,
  },
);
const word = any`'x' ¦ E'a\'b' ¦ $$a$$ ¦ $q$ 'b' $q$ ¦ U&'\0061' ¦ 'a''b' ¦ null ¦ 1 ¦ 1.5 ¦ true ¦ B'1'`;
const gap = pick(
  ' ',
  ' ',
  ' ',
  '\n',
  '\t',
  ' /* c */ ',
  ' /* /* n */ ; */ ',
  ' -- c\n',
  '/**/',
  '\f',
  '\u00a0',
  '\u3000',
);

const { expression, select, statement } = fc.letrec<{
  expression: string;
  select: string;
  from: string;
  statement: string;
}>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    { weight: 4, arbitrary: column },
    { weight: 4, arbitrary: word },
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          any`
      lower ¦ upper ¦ md5 ¦ length ¦ row_to_json ¦ to_json ¦ array_agg ¦ pg_typeof ¦ max ¦ reverse ¦
      quote_literal ¦ format ¦ concat ¦ count ¦ pg_catalog.upper ¦ json_agg ¦ hashtext`,
          tie('expression'),
        )
        .map(([name, one]) => `${name}(${one})`),
    },
    fc
      .tuple(
        any`public.lower ¦ fuzz_other.lower ¦ fuzz_peek ¦ query_to_xml ¦ pg_read_file ¦ set_config ¦ lo_import`,
        tie('expression'),
      )
      .map(([name, one]) => `${name}(${one})`),
    any`
      fuzz_leak() ¦ nextval('fuzz_wire') ¦ query_to_xml('table fuzz_shut', true, false, '') ¦ b || 1 ¦
      lo_get(1) ¦ table_to_xml('fuzz_shut', true, false, '') ¦ to_regclass('fuzz_shut') ¦
      'fuzz_shut'::regclass ¦ $1 ¦ $2 ¦ set_config('search_path', 'fuzz_other,public', false) ¦
      set_config('search_path', 'public', true) ¦ current_setting('search_path') ¦ current_user ¦
      null::fuzz_shut ¦ (select b from fuzz_shut) ¦ pg_get_viewdef('fuzz_view') ¦ '1'::fuzz_view ¦
      xpath('/a', b::xml) ¦ b operator(fuzz_other.||) 1 ¦ ts_stat('select b from fuzz_shut') ¦
      database_to_xml(true, false, '') ¦ schema_to_xml('public', true, true, '')`,
    fc
      .tuple(
        tie('expression'),
        pick('=', '||', '<', 'operator(fuzz_other.||)', 'is not distinct from'),
        tie('expression'),
      )
      .map(([a, by, b]) => `${a} ${by} ${b}`),
    fc.tuple(tie('expression'), pick('text', 'int', 'fuzz_shut', 'regclass')).map(([one, type]) => `(${one})::${type}`),
    tie('select').map((one) => `(${one})`),
    tie('select').map((one) => `array(${one})`),
    tie('select').map((one) => `exists (${one})`),
    fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => `case when ${a} is null then ${b} end`),
  ),
  from: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    { weight: 12, arbitrary: fc.tuple(open, pick('', '', ' t', ' as t', ' x', ' t(b, a)')).map(([a, b]) => a + b) },
    { weight: 1, arbitrary: fc.tuple(shut, pick('', ' t', ' x', ' t(a, b)')).map(([a, b]) => a + b) },
    fc
      .tuple(
        tie('from'),
        pick('join', 'left join', 'cross join', 'natural join', ','),
        tie('from'),
        pick('', ' on true'),
      )
      .map(([a, how, b, on]) => `${a} ${how} ${b}${how.endsWith('t join') || how === 'join' ? ' on true' : on}`),
    fc.tuple(pick('', 'lateral '), tie('select')).map(([how, one]) => `${how}(${one}) t`),
    pick('generate_series(1, 3) t', "json_to_record('{}') as t(b text)", 'fuzz_leak() t', "unnest(array['x']) t(b)"),
    pick('rows from (generate_series(1,2), fuzz_leak()) t', 'information_schema.tables t', 'pg_class t', 'pg_stats t'),
  ),
  select: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    {
      weight: 6,
      arbitrary: fc
        .tuple(
          gap,
          tie('expression'),
          gap,
          tie('from'),
          fc.option(tie('expression')),
          pick('', ' limit 3', ' for update'),
        )
        .map(
          ([g, what, h, where, filter, end]) =>
            `select${g}${what}${h}from ${where}${filter === null ? '' : ` where (${filter}) is not null`}${end}`,
        ),
    },
    tie('expression').map((what) => `select ${what}`),
    fc.oneof({ weight: 3, arbitrary: open }, { weight: 1, arbitrary: shut }).map((name) => `table ${name}`),
    fc.tuple(tie('select'), pick('union', 'union all', 'except'), tie('select')).map(([a, by, b]) => `${a} ${by} ${b}`),
    fc
      .tuple(
        pick('t', 'x', 'fuzz_open', 'fuzz_shut'),
        pick('', 'materialized ', 'not materialized '),
        tie('select'),
        tie('select'),
      )
      .map(([name, how, one, last]) => `with ${name} as ${how}(${one}) ${last}`),
    fc.tuple(tie('select'), tie('select')).map(([one, last]) => `with recursive t(b) as (${one} union ${one}) ${last}`),
    fc.tuple(tie('expression'), word).map(([a, b]) => `values (${a}, ${b})`),
    fc.tuple(shut, tie('select')).map(([name, one]) => `with t as (delete from ${name} returning *) ${one}`),
  ),
  statement: fc.oneof(
    { weight: 10, arbitrary: tie('select') },
    {
      weight: 3,
      arbitrary: any`
      begin ¦ commit ¦ rollback ¦ savepoint s ¦ rollback to s ¦ discard all ¦ reset all ¦ deallocate all ¦
      set search_path to fuzz_other, public ¦ set search_path to public ¦
      set local search_path = 'fuzz_other' ¦ set role postgres ¦ reset role ¦
      set session authorization 'postgres' ¦ reset search_path ¦ show search_path ¦
      set client_encoding to 'LATIN1' ¦ set client_encoding = 'SJIS' ¦ set names 'GBK' ¦ close all ¦
      discard temp ¦ set standard_conforming_strings = off ¦ set transaction read write ¦
      set row_security = off ¦ end; begin ¦ create temp table fuzz_open (a int, b text) ¦
      create temp table x as table fuzz_shut ¦ drop table fuzz_open ¦
      create temp view t as table fuzz_shut ¦ truncate fuzz_shut ¦ lock table fuzz_shut ¦
      drop table fuzz_shut ¦
      create or replace function lower(text) returns text language sql as $$ select b from fuzz_shut $$ ¦
      alter table fuzz_shut disable row level security ¦ grant all on fuzz_shut to public ¦
      analyze fuzz_shut ¦ do $$ begin perform * from fuzz_shut; end $$ ¦
      do $x$ begin execute 'delete from fuzz_shut'; end $x$ ¦ call fuzz_leak() ¦ notify n, 'x' ¦
      listen n ¦ vacuum fuzz_shut ¦ create schema s ¦ copy fuzz_open to stdout ¦
      copy fuzz_shut to stdout ¦ copy fuzz_shut from stdin ¦ copy fuzz_open to program 'id' ¦
      fetch all c ¦ move c ¦ execute p ¦ execute p('x') ¦ execute q ¦ deallocate p ¦
      refresh materialized view fuzz_view ¦ checkpoint ¦
      create rule r as on select to fuzz_open do instead select * from fuzz_shut ¦
      comment on table fuzz_shut is $$x$$ ¦
      merge into fuzz_notes n using fuzz_shut s on n.a = s.a when not matched then insert values (s.a, s.b)`,
    },
    fc
      .tuple(pick('p', 'q', 'P', '"p"'), pick('', '(text)'), tie('select'))
      .map(([n, t, one]) => `prepare ${n}${t} as ${one}`),
    fc
      .tuple(pick('', 'analyze ', '(analyze, verbose, format json) '), tie('select'))
      .map(([how, one]) => `explain ${how}${one}`),
    fc
      .tuple(tie('select'), pick('', ' with (format csv)', ' (header)'))
      .map(([one, how]) => `copy (${one}) to stdout${how}`),
    fc
      .tuple(pick('', 'scroll ', 'binary '), pick('', 'with hold '), tie('select'))
      .map(([s, h, one]) => `declare c ${s}cursor ${h}for ${one}`),
    fc
      .tuple(pick('fuzz_notes', 'fuzz_open', 'fuzz_shut'), tie('select'), pick('', ' returning *'))
      .map(([to, one, end]) => `insert into ${to} ${one}${end}`),
    fc
      .tuple(pick('fuzz_notes', 'fuzz_open', 'fuzz_view'), tie('expression'), tie('from'))
      .map(([on, one, from]) => `update ${on} u set b = ${one} from ${from}`),
    fc
      .tuple(fc.oneof(open, shut), tie('expression'))
      .map(([on, one]) => `delete from ${on} t where (${one}) is null returning t.*`),
    fc
      .tuple(tie('select'))
      .map(([one]) => `do $d$ declare v text; begin for v in ${one} loop raise notice '%', v; end loop; end $d$`),
    fc
      .tuple(pick('create temp table t as ', 'create table made as ', 'select * into temp x from ('), tie('select'))
      .map(([how, one]) => (how.endsWith('(') ? `${how}${one}) y` : how + one)),
  ),
}));
// Alone, so that every kind of expression comes by itself as well.
const single = fc.oneof(
  { weight: 8, arbitrary: statement },
  { weight: 1, arbitrary: expression.map((one) => `select ${one}`) },
  { weight: 1, arbitrary: select },
);

const textMutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('flip' as const), at: fc.nat(999_999), bits: fc.integer({ min: 1, max: 255 }) }),
    fc.record({
      do: fc.constant('insert' as const),
      at: fc.nat(999_999),
      hex: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 3 }).map((bytes) => Buffer.from(bytes).toString('hex')),
        // Quotes, escapes, comments, the ends of statements; lead bytes of other encodings in front of them.
        any`
      27 ¦ 22 ¦ 5c ¦ 2424 ¦ 2d2d ¦ 2f2a ¦ 2a2f ¦ 3b ¦ 28 ¦ 29 ¦ 8127 ¦ 815c ¦ bf27 ¦ c027 ¦ e38080 ¦ 0a ¦
      0d ¦ 0b`,
      ),
    }),
    fc.record({
      do: pick('remove', 'repeat') as fc.Arbitrary<'remove' | 'repeat'>,
      at: fc.nat(999_999),
      count: fc.integer({ min: 1, max: 12 }),
    }),
  ),
  { minLength: 1, maxLength: 3 },
);

type Step = {
  readonly text: string;
  readonly via: 'query' | 'extended' | 'prepared';
  readonly mutations: readonly Mutation[];
};
export type SqlCase = { readonly writes: boolean; readonly steps: readonly Step[] };

const step: fc.Arbitrary<Step> = fc.record({
  text: fc.oneof(
    { weight: 5, arbitrary: single },
    { weight: 1, arbitrary: fc.array(single, { minLength: 2, maxLength: 3 }).map((texts) => texts.join(';')) },
  ),
  via: fc.constantFrom('query', 'query', 'extended', 'prepared'),
  mutations: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: textMutations }),
});

function messagesOf({ text, via, mutations }: Step, i: number): Buffer {
  // A NUL ends the text, and what comes behind it would be the next field.
  const bytes = Buffer.from(mutate(Buffer.from(text), mutations).map((byte) => (byte === 0 ? 0x20 : byte)));
  const nul = Buffer.from([0]);
  if (via === 'query') return framed('Q', bytes, nul);
  const name = via === 'prepared' ? `s${i}` : '';
  const values = /\$2/.test(text) ? ['x', 'y'] : /\$1/.test(text) ? ['x'] : [];
  const rest: readonly Message[] = [
    { send: 'bind', portal: '', name, values },
    { send: 'describe', on: 'portal', name: '' },
    { send: 'execute', portal: '', rows: 0 },
    { send: 'sync' },
  ];
  return Buffer.concat([framed('P', Buffer.from(`${name}\0`), bytes, nul, Buffer.alloc(2)), ...rest.map(encode)]);
}

/** What is prepared stays, and runs again after whatever has come since. */
const again = (i: number): readonly Message[] => [
  { send: 'bind', portal: '', name: `s${i}`, values: [] },
  { send: 'execute', portal: '', rows: 0 },
  { send: 'sync' },
];

function framed(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** How many statements have run, and how many were refused or failed: none of either would say that nothing was tried. */
export const tally = { ran: 0, refused: 0, failed: 0 };

export const sql: Area<SqlCase> = {
  name: 'sql',
  abreast: 6,
  cases: fc.record({ writes: fc.boolean(), steps: fc.array(step, { minLength: 1, maxLength: 8 }) }),
  *smaller(one) {
    for (const steps of shorter(one.steps)) if (steps.length > 0) yield { ...one, steps };
    for (const [i, each] of one.steps.entries())
      if (each.mutations.length > 0) yield { ...one, steps: one.steps.with(i, { ...each, mutations: [] }) };
  },
  async play(one, bench) {
    const at = await ground(bench);
    const { gateway, logins, state } = at;
    const faults = gateway.faults.length;
    const name = bench.name();
    const peer = new Client(gateway.port);
    try {
      const login = logins[one.writes ? 1 : 0];
      const signed = await within(patienceMs, signIn(peer, login, { name, database: bench.database }));
      if (signed === late) return 'the client waited in vain to be let in';
      if (typeof signed === 'string') return `${signed} (${(await gateway.state()).lastFailure})`;
      for (const [i, each] of one.steps.entries()) {
        peer.write(messagesOf(each, i));
        // What was prepared under one path is executed under another.
        for (const [j, { via }] of one.steps.slice(0, i).entries())
          if (via === 'prepared') peer.write(Buffer.concat(again(j).map(encode)));
      }
      peer.write(
        Buffer.concat([encode({ send: 'copy_fail' }), encode({ send: 'sync' }), encode({ send: 'terminate' })]),
      );
      if ((await within(2 * patienceMs, peer.closed)) === late) return 'the connection was not closed';
      const answer = peer.take();
      const events = await within(patienceMs, gateway.session(name));
      if (events === late) return 'the session did not end';
      const said = answer.toString('latin1').toLowerCase();
      const trace = traces.find((text) => said.includes(text));
      if (trace !== undefined) return `the answer has \`${trace}\``;
      if (gateway.faults.length > faults) return `the gateway told of a fault: ${gateway.faults[faults]}`;
      for (const event of events)
        if (event.kind === 'statement.denied') tally.refused += 1;
        else if (event.kind === 'statement.ended') tally[event.outcome.kind === 'completed' ? 'ran' : 'failed'] += 1;
      framesOf(answer);
      const now = await stateOf(bench);
      if (now === state) return undefined;
      return `something was read or changed that is shut\n  now:    ${now}\n  before: ${state}`;
    } finally {
      peer.socket.destroy();
      if (gateway.hasEnded() || (await stateOf(bench)) !== state) {
        // The next finds everything as it was.
        const isFirst = (await grounds.get(bench)) === at;
        if (isFirst) grounds.delete(bench);
        if (isFirst) await gateway.stop();
      }
    }
  },
};

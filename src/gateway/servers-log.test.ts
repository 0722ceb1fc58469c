/**
 * The record against what the server itself says. Random traffic runs twice, directly and through the gateway: the same
 * answers, byte for byte; and what the server has logged of the second run (`log_statement = all`, with parameters and
 * virtual transaction ids) is what the record says was executed, in the same order, with the same parameters, in the same
 * transactions, and nothing else. What the record calls committed is what is in the table afterwards.
 *
 * Known exceptions, each exact: `set role …` of the gateway's login and its question how names resolve are in the server's
 * log and not in the record; an error that the gateway gives in the server's place has the same SQLSTATE and other words;
 * an Execute whose Parse or Bind has failed, and a function call in a failed transaction, are recorded as failed and not logged.
 *
 * Seeds are free, and printed on failure. `SALLY_TRAFFIC_MINUTES=10` goes on for as long.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { RoleName } from '#core/ids.ts';
import { namesQuery } from '#sql/catalogue.ts';
import { testTarget } from '#test/support/postgres.ts';
import { MessageWriter } from '#wire/postgres/bytes.ts';
import {
  encodeCopyData,
  encodeCopyDone,
  encodeExecute,
  encodeFlush,
  encodeParse,
  encodeQuery,
  encodeSync,
  encodeTarget,
} from '#wire/postgres/frontend.ts';
import { rawClient, type RawClient, type RawFrame } from './_testing-raw-client.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';
import type { GatewayEvent, RecordedParameter } from './records.ts';

const mark = '@@';
const target = await testTarget(
  { after },
  {
    major: 18,
    settings: {
      log_statement: 'all',
      log_error_verbosity: 'default',
      log_parameter_max_length: '-1',
      log_line_prefix: `${mark}%v %u${mark} `,
    },
  },
);
await target.query(`
  create table marks (tag text primary key);
  create function noisy(what text) returns text language plpgsql as
    $$ begin raise notice 'noise: %', what; return upper(what); end $$;
  create function failing() returns int language plpgsql as $$ begin raise exception 'no way' using errcode = 'P0007'; end $$;
  create procedure twice(a text, b text) language plpgsql as
    $$ begin insert into public.marks values (a); commit; insert into public.marks values (b); end $$;
  grant select, insert on marks to public`);
const role = {
  ...fixOrders,
  name: 'orders/traffic' as RoleName,
  permissions: {
    tables: [{ schema: 'public', name: 'marks', select: 'all', insert: 'all' }],
    functions: ['noisy', 'failing', 'twice'].map((name) => ({ schema: 'public', name })),
  },
} as unknown as typeof fixOrders;
const t = await startTestingGateway(target, tmpdir(), { roles: [role] });
after(() => t.stop());

type Op =
  | { readonly kind: 'parse'; readonly statement: string; readonly text: string; readonly types: readonly number[] }
  | { readonly kind: 'bind'; readonly portal: string; readonly statement: string; readonly values: readonly Value[] }
  | { readonly kind: 'execute'; readonly portal: string; readonly rows: number }
  | { readonly kind: 'describe' | 'close'; readonly on: 'statement' | 'portal'; readonly name: string }
  | { readonly kind: 'flush' };
type Value = { readonly format: 0 | 1; readonly bytes: Buffer | null };
type Step =
  | { readonly kind: 'query'; readonly texts: readonly string[] }
  | { readonly kind: 'pipeline'; readonly ops: readonly Op[] }
  | { readonly kind: 'copy'; readonly rows: readonly string[]; readonly fails: boolean }
  | { readonly kind: 'call'; readonly oid: number; readonly values: readonly Value[] };

const inText = (text: string): Value => ({ format: 0, bytes: Buffer.from(text) });
const int4 = (n: number): Value => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(n);
  return { format: 1, bytes };
};
const tag = fc.integer({ min: 0, max: 40 }).map((n) => `tag${n}`);
const insertText = 'insert into public.marks values ($1)';

const transactionText = fc.constantFrom(
  'begin',
  'start transaction isolation level repeatable read',
  'commit',
  'rollback',
  'commit and chain',
  'savepoint a',
  'savepoint b',
  'rollback to a',
  'rollback to savepoint b',
  'release a',
);
const plainText = fc.oneof(
  { weight: 5, arbitrary: tag.map((v) => `insert into public.marks values ('${v}')`) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'select count(*) from public.marks',
      'select tag from public.marks order by 1',
      'select generate_series(1, 7)',
      'select 1 / 0',
      `select 'not a number'::int`,
      `select noisy('hm')`,
      'select failing()',
      '',
      '/* a comment */ select 1 -- and another\n',
      `select E'\\u00fc', 'ü', U&'\\00fc'`,
      'copy (select n, repeat($$x$$, n) from generate_series(1, 3) n) to stdout',
      'set local search_path to public',
      'set search_path to public',
      'reset search_path',
      'set datestyle to German',
      'reset datestyle',
      `select set_config('application_name', 'traffic', false)`,
      `select '2024-02-29'::date`,
      'selec 1',
      'declare c cursor for select generate_series(1, 9)',
      'fetch 3 from c',
      'move 2 from c',
      'close c',
      'declare h cursor with hold for select tag from public.marks',
      'fetch 2 from h',
    ),
  },
  { weight: 1, arbitrary: fc.tuple(tag, tag).map(([a, b]) => `call twice('${a}', '${b}')`) },
);
const text = fc.oneof({ weight: 3, arbitrary: plainText }, { weight: 2, arbitrary: transactionText });

/** What the gateway may refuse where the server would fail stands alone: of a string it would refuse all. */
const alone = fc.oneof(
  { weight: 4, arbitrary: text },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.constantFrom(
        'select * from public.nowhere',
        'prepare p as select count(*) from public.marks',
        'prepare q(text) as insert into public.marks values ($1)',
        'execute p',
        'deallocate p',
      ),
      tag.map((v) => `execute q('${v}')`),
    ),
  },
);

/** What is prepared under a name is always the same text. */
const named: Readonly<Record<string, { readonly text: string; readonly types: readonly number[] }>> = {
  s0: { text: insertText, types: [25] },
  s1: { text: 'select $1 + 1, $2', types: [23, 25] },
  s2: { text: 'select generate_series(1, $1)', types: [23] },
};
const someText = fc.constantFrom('', `it's`, 'ü "quoted" \\ back', 'two\nlines');
const valuesOf = (name: string): fc.Arbitrary<readonly Value[]> => {
  const number = fc.integer({ min: 0, max: 9 });
  const either = fc.oneof(
    number.map(int4),
    number.map((n) => inText(String(n))),
    fc.constant({ format: 0, bytes: null } as const),
  );
  if (name === 's0')
    return fc.oneof({ weight: 9, arbitrary: tag.map(inText) }, fc.constant(inText('x'))).map((v) => [v]);
  if (name === 's1') return fc.tuple(either, someText.map(inText));
  return fc.oneof(either, fc.constant(inText('seven'))).map((v) => [v]);
};
const name = fc.constantFrom('s0', 's1', 's2');
const ops: fc.Arbitrary<readonly Op[]> = fc.oneof(
  {
    weight: 3,
    arbitrary: alone.map((of): Op[] => [
      { kind: 'parse', statement: '', text: of, types: [] },
      { kind: 'bind', portal: '', statement: '', values: [] },
      { kind: 'describe', on: 'portal', name: '' },
      { kind: 'execute', portal: '', rows: 0 },
    ]),
  },
  {
    weight: 2,
    arbitrary: name.map((of): Op[] => [
      { kind: 'parse', statement: of, text: named[of]?.text ?? '', types: named[of]?.types ?? [] },
    ]),
  },
  {
    weight: 4,
    arbitrary: name.chain((of) =>
      fc
        .tuple(valuesOf(of), fc.constantFrom('', 'po'), fc.constantFrom(0, 2), fc.boolean())
        .map(([values, portal, rows, again]): Op[] => [
          { kind: 'bind', portal, statement: of, values },
          { kind: 'execute', portal, rows },
          ...(again ? [{ kind: 'execute', portal, rows } as const] : []),
        ]),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom('close', 'describe'),
        fc.constantFrom('statement', 'portal'),
        fc.constantFrom('s0', 's1', 'po'),
      )
      .map(([kind, on, of]): Op[] => [{ kind, on, name: of } as Op]),
  },
  { weight: 1, arbitrary: fc.constant<Op[]>([{ kind: 'flush' }]) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: alone.map((of) => ({ kind: 'query', texts: [of] }) as const) },
  {
    weight: 2,
    arbitrary: fc.array(text, { minLength: 2, maxLength: 5 }).map((texts) => ({ kind: 'query', texts }) as const),
  },
  {
    weight: 4,
    arbitrary: fc
      .array(ops, { minLength: 1, maxLength: 4 })
      .map((parts) => ({ kind: 'pipeline', ops: parts.flat() }) as const),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ rows: fc.array(tag, { maxLength: 3 }), fails: fc.boolean() })
      .map((of) => ({ kind: 'copy', ...of }) as const),
  },
  {
    weight: 1,
    // int4pl, int4div
    arbitrary: fc
      .tuple(fc.constantFrom(177, 154), fc.nat(9), fc.nat(2))
      .map(([oid, a, b]) => ({ kind: 'call', oid, values: [int4(a), int4(b)] }) as const),
  },
);

function encodeOp(op: Op): Buffer {
  switch (op.kind) {
    case 'parse':
      return encodeParse({ statement: op.statement, text: op.text, parameterTypes: op.types });
    case 'bind': {
      const writer = new MessageWriter().begin('B').cstring(op.portal).cstring(op.statement);
      return withValues(writer, op.values).uint16(0).finish().toBuffer();
    }
    case 'execute':
      return encodeExecute({ portal: op.portal, maxRows: op.rows });
    case 'describe':
      return encodeTarget('D', op);
    case 'close':
      return encodeTarget('C', op);
    case 'flush':
      return encodeFlush();
    default:
      return op satisfies never;
  }
}

function withValues(writer: MessageWriter, values: readonly Value[]): MessageWriter {
  writer.uint16(values.length);
  for (const { format } of values) writer.uint16(format);
  writer.uint16(values.length);
  for (const { bytes } of values) {
    writer.int32(bytes?.length ?? -1);
    if (bytes !== null) writer.bytes(bytes);
  }
  return writer;
}

const copyFail = new MessageWriter().begin('f').cstring('on purpose').finish().toBuffer();
const copyText = 'copy public.marks from stdin';

/** All that the server answers to a step. */
async function play(client: RawClient, of: Step): Promise<RawFrame[]> {
  switch (of.kind) {
    case 'query':
      client.send(encodeQuery(of.texts.join('; ')));
      break;
    case 'pipeline':
      client.send(...of.ops.map(encodeOp), encodeSync());
      break;
    case 'call':
      client.send(withValues(new MessageWriter().begin('F').int32(of.oid), of.values).uint16(1).finish().toBuffer());
      break;
    case 'copy': {
      client.send(encodeQuery(copyText));
      const frames: RawFrame[] = [];
      for (let frame = await client.next(); frame !== undefined; frame = await client.next()) {
        frames.push(frame);
        if (frame.type === 'Z') return frames;
        if (frame.type !== 'G') continue;
        client.send(
          ...of.rows.map((row) => encodeCopyData(Buffer.from(`${row}\n`))),
          of.fails ? copyFail : encodeCopyDone(),
        );
      }
      return frames;
    }
    default:
      return of satisfies never;
  }
  return await client.until('Z');
}

const fieldsOf = (body: Buffer): ReadonlyMap<string, string> =>
  new Map(
    body
      .toString()
      .split('\0')
      .filter((field) => field !== '')
      .map((field) => [field.slice(0, 1), field.slice(1)]),
  );
/** The gateway's own errors don't say where in the server's source they come from. */
const isOurs = (frame: RawFrame): boolean => frame.type === 'E' && !fieldsOf(frame.body).has('F');
const shownFrame = (frame: RawFrame, other: RawFrame | undefined): string => {
  if (frame.type === 'E' && (isOurs(frame) || (other !== undefined && other.type === 'E' && isOurs(other))))
    return `E ${fieldsOf(frame.body).get('C')}`;
  return `${frame.type} ${frame.body.toString('latin1')}`;
};

/** Where the gateway fails in the server's place it does so at once: what only prepares for the statement isn't answered. */
function asRefused(frames: readonly RawFrame[], wanted: readonly RawFrame[]): readonly RawFrame[] {
  const at = frames.findIndex(isOurs);
  if (at < 0) return wanted;
  let from = at;
  while (/[123ntT]/.test(wanted[from]?.type ?? '')) from += 1;
  return [...wanted.slice(0, at), ...wanted.slice(from)];
}

type Begun = GatewayEvent & { kind: 'statement.begun' };
type Ended = GatewayEvent & { kind: 'statement.ended' };
type Logged = { readonly what: string; readonly parameters: string; readonly transaction: string };

/** What the server has logged under a login since the offset. */
function loggedBy(user: string, since: number): readonly Logged[] {
  const entries: { transaction: string; user: string; severity: string; text: string }[] = [];
  for (const part of target
    .log()
    .slice(since)
    .split(new RegExp(`^${mark}`, 'm'))
    .slice(1)) {
    const match = /^(\S*) (\S*)@@ (\w+): {2}([\s\S]*)$/.exec(part);
    if (match === null) continue;
    const [, transaction = '', by = '', severity = '', said = ''] = match;
    entries.push({ transaction, user: by, severity, text: said.replace(/\n$/, '').replaceAll('\n\t', '\n') });
  }
  const mine = entries.filter((entry) => entry.user === user);
  return mine.flatMap((entry, i): Logged[] => {
    if (entry.severity !== 'LOG') return [];
    const next = mine[i + 1];
    const detail = next?.severity === 'DETAIL' ? next.text : '';
    const { transaction, text: said } = entry;
    const statement = /^statement: ([\s\S]*)$/.exec(said)?.[1];
    if (statement !== undefined) {
      if (statement === namesQuery || /^set role /i.test(statement)) return [];
      const prepared = /^prepare: ([\s\S]*)$/.exec(detail)?.[1];
      return [
        { what: `simple ${statement}`, parameters: prepared === undefined ? '' : `prepared ${prepared}`, transaction },
      ];
    }
    const execute = /^execute (?:fetch from )?[^:]+: ([\s\S]*)$/.exec(said)?.[1];
    const parameters = /^parameters: ([\s\S]*)$/i.exec(detail)?.[1] ?? '';
    if (execute !== undefined) return [{ what: `extended ${execute}`, parameters, transaction }];
    const called = /^fastpath function call: "(.*)" \(OID \d+\)$/.exec(said)?.[1];
    return called === undefined ? [] : [{ what: `function ${called}`, parameters: '', transaction }];
  });
}

const parametersText = (parameters: readonly RecordedParameter[] | undefined): string =>
  (parameters ?? [])
    .map((value, i) => {
      const shown =
        value === null ? 'NULL' : 'text' in value ? `'${value.text.replaceAll(`'`, `''`)}'` : `?${value.hex}`;
      return `$${i + 1} = ${shown}`;
    })
    .join(', ');

function recordedAs(begun: Begun): Omit<Logged, 'transaction'> {
  const { protocol, text: said, parameters, prepared = [] } = begun;
  if (protocol === 'function') return { what: `function ${/"\."(.*)"\(/.exec(said.text)?.[1]}`, parameters: '' };
  // The server tells it of simple queries, and of the first one only.
  const [first] = protocol === 'simple' ? prepared : [];
  return {
    what: `${protocol} ${said.text}`,
    parameters: first === undefined ? parametersText(parameters) : `prepared ${first.text.text}`,
  };
}

async function compare(steps: readonly Step[]): Promise<void> {
  const { server } = target;
  const address = server.connection(target.database) as { host: string; port: number; user: string };
  await target.query('delete from marks');
  const direct = await rawClient({
    to: connect(join(address.host, `.s.PGSQL.${address.port}`)),
    user: address.user,
    password: '',
    database: target.database,
  });
  const expected: RawFrame[][] = [];
  for (const of of steps) expected.push(await play(direct, of));
  direct.socket.destroy();
  const expectedRows = await target.query('select tag from public.marks order by 1');

  await target.query('delete from marks');
  const since = target.log().length;
  const login = t.give(role);
  const client = await rawClient({ to: { port: t.gateway.port }, ...login, database: target.database });
  for (const [i, of] of steps.entries()) {
    const frames = await play(client, of);
    const wanted = asRefused(frames, expected[i] ?? []);
    assert.deepEqual(
      frames.map((frame, n) => shownFrame(frame, wanted[n])),
      wanted.map((frame, n) => shownFrame(frame, frames[n])),
      `the answers to step ${i}`,
    );
  }
  client.socket.end();
  await t.event('session.ended', (e) => e.on.grant === login.grant);
  const rows = await target.query('select tag from public.marks order by 1');
  assert.deepEqual(rows, expectedRows, 'the rows afterwards');

  const events = t.controlPlane.events().filter((e) => 'on' in e && e.on.grant === login.grant);
  const begun = events.filter((e): e is Begun => e.kind === 'statement.begun');
  const ended = events.filter((e): e is Ended => e.kind === 'statement.ended');
  const made = await t.event('target.login_created', (e) => e.grant === login.grant);
  const logged = loggedBy(made.login, since);
  matchLog(begun, ended, logged);
  matchRows(begun, ended, events, rows as { tag: string }[]);
}

/** Same statements, same order, same parameters, same grouping into transactions. */
function matchLog(begun: readonly Begun[], ended: readonly Ended[], logged: readonly Logged[]): void {
  const firstEnds = new Map<number, Ended>();
  for (const end of ended) if (!firstEnds.has(end.statement)) firstEnds.set(end.statement, end);
  const withCalls = new Set(
    begun.flatMap((record) =>
      record.text.text.startsWith('call ') ? [firstEnds.get(record.statement)?.transaction?.number] : [],
    ),
  );
  const numbers = new Map<string, number>();
  const ids = new Map<number, string>();
  let at = 0;
  for (const record of begun) {
    const end = firstEnds.get(record.statement);
    assert.ok(end !== undefined, `statement ${record.statement} has an end`);
    // The server says nothing of an empty text in the extended protocol.
    if (end.outcome.kind === 'skipped' || (record.protocol === 'extended' && record.text.text === '')) continue;
    const line = logged[at];
    const shown = recordedAs(record);
    const isSame = line?.what === shown.what && line.parameters === shown.parameters;
    if (!isSame && record.protocol !== 'simple' && end.outcome.kind === 'failed') continue;
    assert.deepEqual({ what: line?.what, parameters: line?.parameters }, shown, `line ${at} of the server's log`);
    at += 1;
    // In a failed transaction the server has none to name.
    const id = line?.transaction ?? '';
    const number = end.transaction?.number ?? 0;
    if (id.endsWith('/0')) continue;
    // Nobody outside sees how often a procedure commits; what follows it in its pipeline counts as the same transaction.
    if (withCalls.has(number)) continue;
    assert.equal(numbers.get(id) ?? number, number, `one transaction of the server's is one of ours: ${shown.what}`);
    assert.equal(ids.get(number) ?? id, id, `one transaction of ours is one of the server's: ${shown.what}`);
    numbers.set(id, number);
    ids.set(number, id);
  }
  assert.deepEqual(logged.slice(at), [], 'nothing that the record does not have');
}

/** A tag is in the table when, and only when, the record has an insert of it that was committed and not taken back. */
function matchRows(
  begun: readonly Begun[],
  ended: readonly Ended[],
  events: readonly GatewayEvent[],
  rows: readonly { readonly tag: string }[],
): void {
  const outcomes = new Map<number, string>();
  for (const e of events) if (e.kind === 'transaction.ended') outcomes.set(e.transaction, e.outcome);
  const byNumber = new Map(begun.map((record) => [record.statement, record]));
  const committed = new Set<string>();
  const uncertain = new Set<string>();
  for (const [i, end] of ended.entries()) {
    const record = byNumber.get(end.statement);
    const { transaction } = end;
    if (record === undefined || transaction === undefined || end.outcome.kind !== 'completed') continue;
    const state = transaction.state === 'open' ? outcomes.get(transaction.number) : transaction.state;
    assert.notEqual(state, undefined, `transaction ${transaction.number} has an end`);
    assert.notEqual(state, 'open');
    const place = ({ statement, command }: { statement: number; command: number }) => statement * 1000 + command;
    const isTakenBack = ended
      .slice(i + 1)
      .some(
        (later) =>
          later.transaction?.number === transaction.number &&
          later.transaction.undoes !== undefined &&
          later.transaction.undoes !== null &&
          place(end) > place(later.transaction.undoes),
      );
    const into = state === 'unknown' ? uncertain : committed;
    if (state === 'rolled_back' || isTakenBack) continue;
    const said =
      record.protocol === 'simple'
        ? record.text.text.split('; ').filter((one) => one !== '')[end.command]
        : record.text.text;
    for (const [, value = ''] of said?.matchAll(/'(tag\d+)'/g) ?? []) into.add(value);
    const [bound] = record.parameters ?? [];
    if (said === insertText && bound !== null && bound !== undefined && 'text' in bound) into.add(bound.text);
    if (said === copyText)
      for (const e of events)
        if (e.kind === 'statement.copy_in' && e.statement === end.statement)
          for (const value of Buffer.from(e.data, 'base64').toString().split('\n')) if (value !== '') into.add(value);
  }
  const present = rows.map((row) => row.tag);
  for (const { statement, outcome } of ended) {
    const said = byNumber.get(statement)?.text.text ?? '';
    if (!said.includes('call twice') || outcome.kind !== 'failed') continue;
    for (const [, value = ''] of said.matchAll(/'(tag\d+)'/g)) uncertain.add(value);
  }
  const certain = (tags: Iterable<string>) => [...tags].filter((one) => !uncertain.has(one)).toSorted();
  assert.deepEqual(certain(committed), certain(present), 'what the record says was committed');
}

test('behind a failure and what ends it in the same pipeline an error is the one that the server would give', async () => {
  const login = t.give(role);
  const client = await rawClient({ to: { port: t.gateway.port }, ...login, database: target.database });
  const run = (said: string): Buffer[] =>
    [
      { kind: 'parse', statement: '', text: said, types: [] } as const,
      { kind: 'bind', portal: '', statement: '', values: [] } as const,
      { kind: 'execute', portal: '', rows: 0 } as const,
    ].map(encodeOp);
  const close = encodeOp({ kind: 'close', on: 'portal', name: 'none' });
  const prepare = encodeOp({ kind: 'parse', statement: 's', text: 'select 1', types: [] });
  const codes = async (): Promise<(string | undefined)[]> =>
    (await client.until('Z')).filter(({ type }) => type === 'E').map(({ body }) => fieldsOf(body).get('C'));
  client.send(prepare, encodeSync());
  assert.deepEqual(await codes(), []);
  for (const [refused, code] of [
    [run('execute nothing'), '26000'],
    [run('select * from public.nowhere'), '42P01'],
    [[prepare], '42P05'],
  ] as const) {
    client.send(encodeQuery('begin; select 1 / 0'));
    assert.deepEqual(await codes(), ['22012']);
    // Not answered yet when the next is looked at; the transaction has failed.
    client.send(close, ...refused, encodeSync());
    assert.deepEqual(await codes(), ['25P02']);
    // Answered, with no ReadyForQuery yet; the transaction is over.
    client.send(...run('rollback'), encodeFlush());
    await client.until('C');
    client.send(...refused, encodeSync());
    assert.deepEqual(await codes(), [code]);
  }
  client.socket.destroy();
});

test('INVARIANT 6: random traffic has the same answers as without the gateway, and the record is what the server logged', async () => {
  const minutes = Number(process.env['SALLY_TRAFFIC_MINUTES'] ?? 0);
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), compare), {
    numRuns: minutes > 0 ? 1_000_000 : 80,
    interruptAfterTimeLimit: minutes > 0 ? minutes * 60_000 : 25_000,
    endOnFailure: minutes === 0 && process.env['SALLY_SHRINK'] === undefined,
  });
});

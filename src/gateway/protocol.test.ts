/**
 * The protocol as PostgreSQL speaks it: each scenario is played twice, directly and through the gateway, and every message
 * that comes back must be the same, of 15 and of 18.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { testTarget, type TestTarget } from '#test/support/postgres.ts';
import { decodeErrorFields } from '#wire/postgres/backend.ts';
import { MessageReader, MessageWriter } from '#wire/postgres/bytes.ts';
import {
  encodeBind,
  encodeCopyData,
  encodeCopyDone,
  encodeCopyFail,
  encodeExecute,
  encodeFlush,
  encodeParse,
  encodeQuery,
  encodeSync,
  encodeTarget,
} from '#wire/postgres/frontend.ts';
import { encodeSslRequest } from '#wire/postgres/startup.ts';
import { rawClient, type RawClient, type RawFrame } from './_testing-raw-client.ts';
import { databaseRoleName } from './postgres/names.ts';
import { fixOrders, startTestingGateway, testingInstallation, type TestingGateway } from './_testing-gateway.ts';

const parse = (text: string, statement = '', parameterTypes: readonly number[] = []) =>
  encodeParse({ statement, text, parameterTypes });
const bind = (portal = '', statement = '', ...values: readonly (string | null)[]) =>
  encodeBind({ portal, statement, values });
const execute = (portal = '', maxRows = 0) => encodeExecute({ portal, maxRows });
const describe = (on: 'statement' | 'portal', name = '') => encodeTarget('D', { on, name });
const close = (on: 'statement' | 'portal', name = '') => encodeTarget('C', { on, name });
const query = encodeQuery;
const sync = encodeSync();
const flush = encodeFlush();

/** With formats of its own for each value and each column. */
function bindFormats(
  formats: readonly number[],
  values: readonly (Buffer | null)[],
  results: readonly number[],
): Buffer {
  const writer = new MessageWriter().begin('B').cstring('').cstring('').uint16(formats.length);
  for (const format of formats) writer.int16(format);
  writer.uint16(values.length);
  for (const value of values) {
    if (value === null) writer.int32(-1);
    else writer.int32(value.length).bytes(value);
  }
  writer.uint16(results.length);
  for (const format of results) writer.int16(format);
  return writer.finish().toBuffer();
}

const int4 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

const ids = 'select id from public.orders order by id limit 5';
const copyIn = 'copy orders (id, customer_id, total_cents) from stdin with csv';
const rows = (from: number, count: number) =>
  Buffer.from(Array.from({ length: count }, (_, i) => `${from + i},1,5\n`).join(''));

/** What is sent, and with which message the answer to it ends; the last step ends with as many `Z` as it names. */
type Step = readonly [messages: readonly Buffer[], until: string];
type Scenario = readonly Step[];

const scenarios: Readonly<Record<string, Scenario>> = {
  'several statements in one string, with an empty one and a failing one in it': [
    [[query('select 1; ; select 2')], 'Z'],
    [[query('')], 'Z'],
    [[query(' ; ')], 'Z'],
    [[query('select 1; select 1/0; select 3')], 'Z'],
    [[query(`begin; update orders set note = 'x' where id = 1; rollback; select 4`)], 'Z'],
  ],
  'a portal that stops, goes on, comes to its end, and is executed once more': [
    [
      [parse(ids), bind(), describe('portal'), execute('', 2), execute('', 2), execute('', 2), execute('', 2), sync],
      'Z',
    ],
    [[parse(ids), bind(), execute('', 5), execute('', 5), execute(), sync], 'Z'],
  ],
  'several named portals, in turns, as long as their transaction': [
    [[query('begin')], 'Z'],
    [[parse(ids, 's'), bind('a', 's'), bind('b', 's'), execute('a', 1), execute('b', 3), execute('a', 2), sync], 'Z'],
    [[execute('a', 1), describe('portal', 'b'), execute('b'), close('portal', 'a'), execute('a'), sync], 'Z'],
    [[query('rollback')], 'Z'],
    [[execute('b'), sync], 'Z'],
    [[bind('c', 's'), execute('c', 1), sync], 'Z'],
    // Outside of a transaction a portal ends with its Sync.
    [[execute('c'), sync], 'Z'],
  ],
  'an error in mid-pipeline: all is skipped up to the Sync, and what follows works': [
    [
      [
        parse('select 1/$1::int'),
        bind('', '', '0'),
        execute(),
        parse('select 2'),
        bind(),
        execute(),
        sync,
        query('select 3'),
      ],
      'Z',
    ],
    [[], 'Z'],
    [[parse(`select 'x'::int`), describe('statement'), bind(), execute(), sync], 'Z'],
    [[parse('select 4'), bind('', '', 'too', 'many'), execute(), sync], 'Z'],
    [[parse('select 5'), bind(), execute(), sync], 'Z'],
  ],
  'a failed transaction takes nothing but its end': [
    [[query('begin')], 'Z'],
    [[query('select 1/0')], 'Z'],
    [[query('select 1')], 'Z'],
    [[parse('select 2'), bind(), execute(), sync], 'Z'],
    [[parse('rollback'), bind(), execute(), sync], 'Z'],
    [[query('select 3')], 'Z'],
  ],
  'named statements: described, executed, closed, and made again; the name is taken until then': [
    [[parse('select $1::int + 1 as n', 's'), describe('statement', 's'), sync], 'Z'],
    [[parse('select 2', 's'), sync], 'Z'],
    [[bind('', 's', '1'), describe('portal'), execute(), sync], 'Z'],
    [[close('statement', 's'), parse('select 3', 's'), bind('', 's'), execute(), sync], 'Z'],
    [[close('statement', 'nobody'), close('portal', 'nobody'), sync], 'Z'],
    [[query('deallocate s')], 'Z'],
    [[bind('', 's'), execute(), sync], 'Z'],
    [[parse('select 4', 's'), bind('', 's'), execute(), sync], 'Z'],
  ],
  'what nobody has made': [
    [[describe('statement', 'x'), sync], 'Z'],
    [[describe('portal', 'x'), sync], 'Z'],
    [[bind('', 'x'), execute(), sync], 'Z'],
    [[execute('x'), sync], 'Z'],
    [[execute(), sync], 'Z'],
  ],
  'the unnamed statement lives until the next Parse or Query': [
    [[parse('select 1'), sync], 'Z'],
    [[bind(), execute(), sync], 'Z'],
    [[bind(), execute(), sync], 'Z'],
    [[query('select 2')], 'Z'],
    [[bind(), execute(), sync], 'Z'],
    [[parse(`select 'x'::int`), sync], 'Z'],
    [[bind(), execute(), sync], 'Z'],
  ],
  'Flush: answers without a Sync, step by step': [
    [[parse('select $1::text as t', 's'), flush], '1'],
    [[describe('statement', 's'), flush], 'T'],
    [[bind('', 's', 'here'), flush], '2'],
    [[execute(), flush], 'C'],
    [[close('statement', 's'), flush], '3'],
    [[flush, sync], 'Z'],
    [[sync, sync], 'Z'],
    [[], 'Z'],
  ],
  'formats: none, one for all, one each; binary and text, null, no column at all': [
    [
      [
        parse('select $1::int, $2::text, $3::int'),
        bindFormats([1, 0, 1], [int4(7), Buffer.from('ü'), null], [1, 0, 1]),
        describe('portal'),
        execute(),
        sync,
      ],
      'Z',
    ],
    [[parse('select $1::int, $2::int'), bindFormats([1], [int4(1), int4(-2)], [1]), execute(), sync], 'Z'],
    [[parse('select $1::int'), bindFormats([], [Buffer.from('12')], []), execute(), sync], 'Z'],
    [[parse('select from orders limit 2'), bind(), describe('portal'), execute(), sync], 'Z'],
    [
      [
        parse(`update orders set note = 'y' where false`),
        describe('statement'),
        bind(),
        describe('portal'),
        execute(),
        sync,
      ],
      'Z',
    ],
    [[parse(''), bind(), describe('portal'), execute(), sync], 'Z'],
    [[parse('select $1::int'), bindFormats([1], [Buffer.from([1, 2])], []), execute(), sync], 'Z'],
  ],
  'formats that fit nothing': [
    [
      [
        parse('select $1::int, $2::int, $3::int'),
        bindFormats([1, 1], [int4(1), int4(2), int4(3)], []),
        execute(),
        sync,
      ],
      'Z',
    ],
    [[parse('select $1::int'), bindFormats([7], [int4(1)], []), execute(), sync], 'Z'],
    [[parse('select $1::int'), bindFormats([0, 0], [Buffer.from('1')], []), execute(), sync], 'Z'],
    [[parse('select $1::int'), bindFormats([], [Buffer.from('1')], [0, 0]), execute(), sync], 'Z'],
    [[parse('select $1::int'), bindFormats([], [Buffer.from('1')], [9]), execute(), sync], 'Z'],
    [[query('select 1')], 'Z'],
  ],
  'as many parameters as there can be': [
    [
      [
        parse(
          'select $1::int + $65535::int',
          'many',
          Array.from({ length: 65_535 }, () => 23),
        ),
        describe('statement', 'many'),
        sync,
      ],
      'Z',
    ],
    [[bind('', 'many', ...Array.from({ length: 65_535 }, (_, i) => String(i))), execute(), sync], 'Z'],
  ],
  'notices and changed parameters where they fall': [
    [[query('commit; set timezone = $$Asia/Tokyo$$; select 1')], 'Z'],
    [
      [
        parse('rollback'),
        bind(),
        execute(),
        parse('set application_name = here'),
        bind(),
        execute(),
        parse(ids),
        bind(),
        execute('', 1),
        sync,
      ],
      'Z',
    ],
    [[query('begin')], 'Z'],
    [[query('begin')], 'Z'],
    [[query('set local datestyle = german; rollback')], 'Z'],
  ],
  'COPY to the client, as text and binary, and from a pipeline': [
    [[query('copy (select id, total_cents from orders order by id limit 3) to stdout')], 'Z'],
    [[query('copy (select id from orders order by id limit 2) to stdout with binary; select 1')], 'Z'],
    [
      [
        parse('copy (select id from orders order by id limit 2) to stdout'),
        bind(),
        describe('portal'),
        execute(),
        parse('select 2'),
        bind(),
        execute(),
        sync,
      ],
      'Z',
    ],
    [[query('copy (select 1/(3 - n) from generate_series(1, 5) n) to stdout')], 'Z'],
  ],
  'COPY from the client: in pieces, within a row, several times in one string': [
    [[query('begin')], 'Z'],
    [[query(copyIn)], 'G'],
    [
      [
        encodeCopyData(Buffer.from('900001,1,5\n9000')),
        encodeCopyData(Buffer.alloc(0)),
        encodeCopyData(Buffer.from('02,1,5')),
        encodeCopyDone(),
      ],
      'Z',
    ],
    [[query(`${copyIn}; select 1; ${copyIn}; select 2`)], 'G'],
    [[encodeCopyData(rows(900_010, 3)), encodeCopyDone()], 'G'],
    [[encodeCopyData(rows(900_020, 2)), encodeCopyDone()], 'Z'],
    [[query('select count(*) from orders where id > 900000')], 'Z'],
    [[query('rollback')], 'Z'],
  ],
  'COPY from the client that the client breaks off, simple and extended': [
    [[query(copyIn)], 'G'],
    [[encodeCopyData(rows(900_001, 1)), encodeCopyFail('no more')], 'Z'],
    [[query(`${copyIn}; select 'never'`)], 'G'],
    [[encodeCopyFail('not even once')], 'Z'],
    [[parse(copyIn), bind(), execute(), flush], 'G'],
    [[encodeCopyData(rows(900_001, 1)), encodeCopyFail('no more'), parse('select 1'), bind(), execute(), sync], 'Z'],
    [[query('select count(*) from orders where id > 900000')], 'Z'],
  ],
  'COPY from the client that the server breaks off while the client still sends': [
    [[query(copyIn)], 'G'],
    [
      [
        encodeCopyData(Buffer.from('not,a,number\n')),
        ...Array.from({ length: 40 }, (_, i) => encodeCopyData(rows(900_000 + 1000 * i, 1000))),
        encodeCopyDone(),
        query('select 1'),
      ],
      'Z',
    ],
    [[], 'Z'],
    [[parse(copyIn), bind(), execute(), flush], 'G'],
    [
      [
        encodeCopyData(Buffer.from('not,a,number\n')),
        ...Array.from({ length: 40 }, (_, i) => encodeCopyData(rows(900_000 + 1000 * i, 1000))),
        encodeCopyDone(),
        sync,
        query('select 2'),
      ],
      'Z',
    ],
    [[], 'Z'],
    // Left over, with nothing to belong to.
    [[encodeCopyData(rows(1, 1)), encodeCopyDone(), query('select 3')], 'Z'],
  ],
  'COPY by the extended protocol, pipelined with what comes before and behind': [
    [[query('begin')], 'Z'],
    [
      [
        parse('select 1'),
        bind(),
        execute(),
        parse(copyIn),
        bind(),
        execute(),
        encodeCopyData(rows(900_001, 2)),
        encodeCopyDone(),
        sync,
        query('select count(*) from orders where id > 900000'),
      ],
      'Z',
    ],
    [[], 'Z'],
    [[query('rollback')], 'Z'],
  ],
  'a row limit on what returns no rows, and a portal of what changes rows': [
    [[query('begin')], 'Z'],
    [
      [parse(`update orders set note = 'z' where id <= 3 returning id`), bind(), execute('', 2), execute('', 2), sync],
      'Z',
    ],
    [[parse(`update orders set note = 'z' where id <= 3`), bind(), execute('', 1), sync], 'Z'],
    [[query('rollback')], 'Z'],
  ],
};

const started = servers();
after(async () => (await started).forEach(({ g }) => void g.stop()));

async function servers() {
  return Promise.all(
    ([15, 18] as const).map(async (major) => {
      const target = await testTarget({ after }, { major });
      const g = await startTestingGateway(target, tmpdir());
      return { major, target, g };
    }),
  );
}

/** Round the gateway, as a login that is to the database what the gateway's is. */
async function direct(g: TestingGateway, target: TestTarget): Promise<RawClient> {
  const role = databaseRoleName(testingInstallation, fixOrders.name);
  await (await g.connect(g.give(fixOrders))).end();
  await target.query(`
    do $$ begin
      if not exists (select from pg_roles where rolname = 'direct') then
        create role direct login noinherit password 'direct' in role "${role}";
        alter role direct set role to "${role}";
      end if;
    end $$`);
  const raw = connect(target.port, target.host);
  await new Promise((resolve) => raw.once('connect', resolve));
  raw.write(encodeSslRequest());
  await new Promise((resolve) => raw.once('readable', resolve));
  assert.equal(String(raw.read()), 'S');
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const secure = tlsConnect({ socket: raw, ca: target.ca, host: target.host }, () => resolve(secure));
    secure.once('error', reject);
  });
  return rawClient({ to: socket, user: 'direct', password: 'direct', database: target.database });
}

/** Where in the server's source an error comes from is its own matter; the rest is the client's. */
function shown({ type, body }: RawFrame): string {
  if (type !== 'E' && type !== 'N') return `${type} ${body.toString('latin1')}`;
  const fields = [...decodeErrorFields(new MessageReader(body))].filter(([code]) => 'SVCMDHP'.includes(code));
  return `${type} ${JSON.stringify(Object.fromEntries(fields))}`;
}

async function play(client: RawClient, scenario: Scenario): Promise<string[]> {
  const came: string[] = [];
  for (const [messages, until] of scenario) {
    if (messages.length > 0) client.send(...messages);
    const frames = await client.until(until);
    assert.equal(frames.at(-1)?.type, until, `${came.join('\n')} … ${frames.map(shown).join('\n')}`);
    came.push(...frames.map(shown));
  }
  client.socket.destroy();
  return came;
}

for (const [name, scenario] of Object.entries(scenarios))
  for (const index of [0, 1])
    test(`PostgreSQL ${index === 0 ? 15 : 18}, the same as directly: ${name}`, async () => {
      const { g, target } = (await started)[index] ?? assert.fail();
      const expected = await play(await direct(g, target), scenario);
      const through = await rawClient({
        to: { port: g.gateway.port },
        ...g.give(fixOrders),
        database: target.database,
      });
      assert.deepEqual(await play(through, scenario), expected);
    });

import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { testTarget } from '#test/support/postgres.ts';
import {
  encodeBind,
  encodeCopyData,
  encodeCopyDone,
  encodeExecute,
  encodeFlush,
  encodeParse,
  encodeQuery,
  encodeSync,
  encodeTarget,
  encodeTerminate,
} from '#wire/postgres/frontend.ts';
import { rawClient, type RawFrame } from './_testing-raw-client.ts';
import { fixOrders, startTestingGateway, supportRead } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 15 });
const g = await startTestingGateway(target, tmpdir());
after(() => g.stop());
const strict = await startTestingGateway(target, tmpdir(), { strict: true });
after(() => strict.stop());

const login = (to: { user: string; password: string }, minor = 0, on = g) =>
  rawClient({ to: { port: on.gateway.port }, database: target.database, minor, ...to });

const prepared = (text: string, ...values: string[]) => [
  encodeParse({ statement: '', text, parameterTypes: [] }),
  encodeBind({ portal: '', statement: '', values }),
  encodeTarget('D', { on: 'portal', name: '' }),
  encodeExecute({ portal: '', maxRows: 0 }),
];

/** One of each: simple, extended, pipelines with errors and refusals in them, COPY, named statements, suspended portals. */
const script = [
  encodeQuery('select 1; select 2'),
  ...prepared('select $1::text', 'x'.repeat(500)),
  encodeSync(),
  ...prepared('select email from customers'),
  ...prepared('select 3'),
  encodeSync(),
  encodeQuery('begin'),
  ...prepared('select 1/$1::int', '0'),
  ...prepared('select 4'),
  encodeSync(),
  encodeQuery('select 5'),
  encodeQuery('rollback'),
  encodeParse({ statement: 'named', text: 'select id from orders order by id', parameterTypes: [] }),
  encodeTarget('D', { on: 'statement', name: 'named' }),
  encodeBind({ portal: 'p', statement: 'named', values: [] }),
  encodeExecute({ portal: 'p', maxRows: 3 }),
  encodeExecute({ portal: 'p', maxRows: 2 }),
  encodeFlush(),
  encodeTarget('C', { on: 'portal', name: 'p' }),
  encodeSync(),
  encodeParse({ statement: 'named', text: 'select 6', parameterTypes: [] }),
  encodeSync(),
  encodeTarget('C', { on: 'statement', name: 'named' }),
  encodeParse({ statement: 'named', text: 'select 7', parameterTypes: [] }),
  encodeBind({ portal: '', statement: 'named', values: [] }),
  encodeExecute({ portal: '', maxRows: 0 }),
  encodeSync(),
  encodeBind({ portal: '', statement: 'named', values: [] }),
  encodeExecute({ portal: '', maxRows: 0 }),
  encodeSync(),
  encodeExecute({ portal: 'nowhere', maxRows: 0 }),
  encodeSync(),
  encodeQuery('begin'),
  encodeQuery('copy orders (id, customer_id, total_cents) from stdin with csv'),
  encodeCopyData(Buffer.from('900001,1,5\n900002,')),
  encodeCopyData(Buffer.from('1,6\n')),
  encodeCopyDone(),
  encodeParse({
    statement: '',
    text: 'copy orders (id, customer_id, total_cents) from stdin with csv',
    parameterTypes: [],
  }),
  encodeBind({ portal: '', statement: '', values: [] }),
  encodeExecute({ portal: '', maxRows: 0 }),
  encodeSync(),
  encodeCopyData(Buffer.from('900003,1,5\n')),
  encodeCopyDone(),
  encodeSync(),
  encodeQuery('select count(*) from orders where id > 900000'),
  encodeQuery('rollback'),
  encodeQuery(`select repeat('z', 200000)`),
  encodeQuery(''),
  encodeTerminate(),
];

const anyRole = {
  ...fixOrders,
  permissions: { tables: fixOrders.permissions.tables.slice(0, 1), functions: [] },
};

/** What differs from run to run. */
const normal = (frames: readonly RawFrame[]) =>
  frames.map(({ type, body }) => `${type} ${body.toString('latin1', 0, 200)}`);

for (const [mode, on] of [
  ['', g],
  [' (strict)', strict],
] as const)
  test(`INVARIANT 7: however the bytes are cut into pieces, and whatever is cached, the answers are the same${mode}`, async () => {
    const given = on.give(anyRole);
    const whole = Buffer.concat(script);
    const play = async (cuts: readonly number[]): Promise<string[]> => {
      const client = await login(given, 0, on);
      const rest = client.rest();
      let at = 0;
      for (const cut of [...cuts, whole.length]) {
        if (cut <= at) continue;
        client.socket.write(whole.subarray(at, cut));
        at = cut;
        await new Promise((resolve) => setImmediate(resolve));
      }
      return normal(await rest);
    };
    const expected = await play([]);
    assert.equal(expected.filter((f) => f.startsWith('Z')).length, 19);
    assert.deepEqual(
      expected.filter((f) => f.startsWith('E')).map((f) => /C([0-9A-Z]{5})/.exec(f)?.[1]),
      ['42501', '22012', '25P02', '42P05', '34000'],
    );
    assert.ok(
      expected.some((f) => f.startsWith('D') && f.endsWith('3') && f.includes('\x013')),
      'three rows came in by COPY',
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(whole.length), { maxLength: 60 }).map((cuts) => cuts.toSorted((a, b) => a - b)),
        async (cuts) => assert.deepEqual(await play(cuts), expected),
      ),
      { numRuns: 25 },
    );
    // Byte by byte.
    assert.deepEqual(await play(Array.from({ length: 1500 }, (_, i) => i)), expected);
  });

test('protocol 3.2: a longer cancel key; what is newer still is negotiated down', async () => {
  const given = g.give(supportRead);
  for (const [minor, keyBytes, negotiated] of [
    [0, 4, false],
    [2, 32, false],
    [9, 32, true],
  ] as const) {
    const client = await login(given, minor);
    const key = client.greeting.find((f) => f.type === 'K');
    assert.equal(key?.body.length, 4 + keyBytes);
    const answer = client.greeting.find((f) => f.type === 'v');
    assert.equal(answer !== undefined, negotiated);
    if (answer !== undefined) assert.equal(answer.body.readUInt32BE(0), (3 << 16) | 2);
    client.socket.write(encodeTerminate());
    await client.rest();
  }
});

for (const [name, bytes] of [
  ['an unknown type', Buffer.from([0x21, 0, 0, 0, 4])],
  ['a function call that breaks off', Buffer.concat([Buffer.from([0x46, 0, 0, 0, 12]), Buffer.alloc(8)])],
  ['text behind the NUL of a query', Buffer.from([0x51, 0, 0, 0, 8, 0x31, 0, 0x31, 0])],
  ['text that is not UTF-8', Buffer.from([0x51, 0, 0, 0, 6, 0xff, 0])],
  ['a length below four', Buffer.from([0x51, 0, 0, 0, 3])],
  ['a length beyond all measure', Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])],
] as const) {
  test(`INVARIANT 1: ${name} is refused`, async () => {
    const client = await login(g.give(supportRead));
    client.socket.write(Buffer.concat([bytes, encodeTerminate()]));
    const frames = await client.rest();
    const error = frames.find((f) => f.type === 'E');
    assert.match(error?.body.toString('latin1') ?? '', /SFATAL.*C08P01/s);
    assert.equal(
      frames.some((f) => f.type === 'D'),
      false,
    );
  });
}

test('a second COPY in one string takes what was sent ahead for it, also behind one without any data', async () => {
  const client = await login(g.give(fixOrders));
  const copy = 'copy orders (id, customer_id, total_cents) from stdin with csv';
  client.send(encodeQuery(`${copy}; ${copy}`));
  await client.until('G');
  client.send(encodeCopyDone(), encodeCopyData(Buffer.from('900100,1,5\n')), encodeCopyDone());
  const answers = await client.until('Z');
  assert.deepEqual(
    answers.filter(({ type }) => type === 'C').map(({ body }) => body.toString()),
    ['COPY 0\0', 'COPY 1\0'],
  );
  client.socket.destroy();
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import pg from 'pg';
import type { RoleName } from '#core/ids.ts';
import { testCertificates, testTarget } from '#test/support/postgres.ts';
import {
  encodeBind,
  encodeExecute,
  encodeFunctionCall,
  encodeParse,
  encodeQuery,
  encodeSync,
} from '#wire/postgres/frontend.ts';
import { serverEndPointBinding } from '#wire/postgres/scram.ts';
import { encodeCancelRequest, encodeSslRequest } from '#wire/postgres/startup.ts';
import { dialled, rawClient, whatComes, type RawClient } from './_testing-raw-client.ts';
import { fixOrders, startTestingGateway, supportRead, type TestingGateway } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query('create table public.marks (word text); grant all on public.marks to public');
await target.query(`create function public.mark(word text) returns void language sql
  as $$ insert into public.marks values ('called') $$`);
const certificates = await testCertificates({ after });
const tls = () => ({ cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) });

/** In front of the target: new connections can be held up, as a slow network would. */
async function slowNetwork(t: TestContext) {
  let held: (() => void)[] | undefined;
  let heldOne = Promise.withResolvers<void>();
  const server = createServer((from: Socket) => {
    const to = connect(target.port, target.host);
    for (const [a, b] of [[from, to] as const, [to, from] as const])
      a.on('error', () => b.destroy()).on('close', () => b.destroy());
    const go = () => void from.pipe(to).pipe(from);
    if (held === undefined) go();
    else {
      held.push(go);
      heldOne.resolve();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    hold: () => {
      held = [];
      heldOne = Promise.withResolvers();
    },
    whenHeld: () => heldOne.promise,
    letGo: () => {
      const waiting = held ?? [];
      held = undefined;
      for (const go of waiting) go();
    },
  };
}

async function gatewayFor(t: TestContext, port = target.port): Promise<TestingGateway> {
  const g = await startTestingGateway({ ...target, port }, tmpdir(), { listen: { host: '127.0.0.1', port: 0, tls } });
  t.after(() => g.stop());
  return g;
}

const plain = (g: TestingGateway) => dialled(g.gateway.port);

async function overTls(g: TestingGateway): Promise<{ socket: Socket; binding: Buffer | undefined }> {
  const raw = await plain(g);
  raw.write(encodeSslRequest());
  await new Promise((resolve) => raw.once('readable', resolve));
  assert.equal((raw.read() as Buffer).toString(), 'S');
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ socket: raw, servername: 'localhost', ca: certificates.ca }, () =>
      resolve({ socket, binding: serverEndPointBinding(socket.getPeerX509Certificate()?.raw ?? Buffer.alloc(0)) }),
    );
    socket.on('error', reject);
  });
}

const running = async (g: TestingGateway, text: string) => {
  for (;;) {
    const rows = await g.target.query(`select pid from pg_stat_activity where query = $1 and state = 'active'`, [text]);
    if (rows.length > 0) return (rows as { pid: number }[])[0]?.pid;
  }
};

const sqlStates = (frames: readonly { type: string; body: Buffer }[]) =>
  frames.filter((f) => f.type === 'E').map((f) => /\0C([0-9A-Z]{5})\0/.exec(f.body.toString())?.[1]);

function keyOf(client: RawClient) {
  assert.ok(client.key !== undefined);
  return client.key;
}

for (const [name, minor, encrypted] of [
  ['in protocol 3.0, in the clear', 0, false],
  ['in protocol 3.2 with its long key, over tls', 2, true],
] as const)
  test(`a cancel request ${name}: the statement ends, nothing is answered, and it is recorded`, async (t) => {
    const g = await gatewayFor(t);
    const way = encrypted ? await overTls(g) : { socket: await plain(g), binding: undefined };
    const client = await rawClient({
      to: way.socket,
      binding: way.binding,
      ...g.give(supportRead),
      database: target.database,
      minor,
    });
    const { processId, secretKey } = keyOf(client);
    assert.equal(secretKey.length, minor === 2 ? 32 : 4);
    client.send(encodeQuery('select pg_sleep(60)'));
    await running(g, 'select pg_sleep(60)');
    const second = encrypted ? (await overTls(g)).socket : await plain(g);
    const answer = whatComes(second);
    second.write(encodeCancelRequest(processId, secretKey));
    assert.deepEqual(sqlStates(await client.until('Z')), ['57014']);
    assert.equal((await answer).length, 0);
    assert.equal((await g.event('statement.cancelled')).by, 'client');
    client.socket.destroy();
  });

test('a cancel request needs all of the key: of another length, of another session, off by a bit, it does nothing', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const open = () => rawClient({ to: { port: g.gateway.port }, ...login, database: target.database, minor: 2 });
  const [client, other] = [await open(), await open()];
  const { processId, secretKey } = keyOf(client);
  const flipped = Buffer.from(secretKey);
  flipped[31] = (flipped[31] ?? 0) ^ 1;
  client.send(encodeQuery('select pg_sleep(0.6)'));
  await running(g, 'select pg_sleep(0.6)');
  for (const wrong of [
    secretKey.subarray(0, 4),
    secretKey.subarray(0, 31),
    Buffer.concat([secretKey, Buffer.alloc(1)]),
    flipped,
    keyOf(other).secretKey,
  ]) {
    const socket = await plain(g);
    const answer = whatComes(socket);
    socket.write(encodeCancelRequest(processId, wrong));
    assert.equal((await answer).length, 0);
  }
  assert.deepEqual(sqlStates(await client.until('Z')), []);
  assert.equal(
    g.controlPlane.events().some((e) => e.kind === 'statement.cancelled'),
    false,
  );
  for (const { socket } of [client, other]) socket.destroy();
});

test('a cancel request that is slow on its way to the target does not hit the next statement', async (t) => {
  const network = await slowNetwork(t);
  const g = await gatewayFor(t, network.port);
  const client = await rawClient({ to: { port: g.gateway.port }, ...g.give(supportRead), database: target.database });
  const { processId, secretKey } = keyOf(client);
  client.send(encodeQuery('select pg_sleep(61)'));
  const pid = await running(g, 'select pg_sleep(61)');
  network.hold();
  const socket = await plain(g);
  let isClosed = false;
  const answer = whatComes(socket).finally(() => (isClosed = true));
  socket.write(encodeCancelRequest(processId, secretKey));
  await network.whenHeld();
  // Meanwhile it ends by something else, and another runs.
  await target.query('select pg_cancel_backend($1)', [pid]);
  assert.deepEqual(sqlStates(await client.until('Z')), ['57014']);
  client.send(encodeQuery('select pg_sleep(0.5)'));
  await running(g, 'select pg_sleep(0.5)');
  assert.equal(isClosed, false, 'who waits for the cancel waits until it is done');
  network.letGo();
  await answer;
  assert.deepEqual(sqlStates(await client.until('Z')), []);
  client.socket.destroy();
});

const marker = {
  ...fixOrders,
  name: 'orders/marker',
  permissions: {
    tables: [{ schema: 'public', name: 'marks', select: 'all', insert: 'all' }],
    functions: [{ schema: 'public', name: 'mark' }],
  },
} as unknown as typeof fixOrders;

/** A gateway whose control plane takes its time from `stall` to `letGo`. */
async function slowToDecide(t: TestContext) {
  const g = await startTestingGateway(target, tmpdir(), { roles: [marker] });
  t.after(() => g.stop());
  const { decide } = g.controlPlane;
  let gate = Promise.resolve();
  let isAsked = Promise.withResolvers<void>();
  let letGo = () => {};
  Object.assign(g.controlPlane, {
    async decide(ask: Parameters<typeof decide>[0]) {
      isAsked.resolve();
      await gate;
      return decide(ask);
    },
  });
  const stall = () => {
    isAsked = Promise.withResolvers();
    const opened = Promise.withResolvers<void>();
    gate = opened.promise;
    letGo = opened.resolve;
  };
  t.after(() => letGo());
  return { g, stall, whenAsked: () => isAsked.promise, letGo: () => letGo() };
}

const mark = (word: string) => `insert into public.marks values ('${word}')`;

for (const way of ['query', 'parse', 'bind', 'execute', 'function call'] as const)
  test(`INVARIANT 6: a cancel request while ${way === 'execute' ? 'an' : 'a'} ${way} waits for its verdict: it fails, and never runs`, async (t) => {
    const { g, stall, whenAsked, letGo } = await slowToDecide(t);
    await target.query('truncate public.marks');
    const client = await rawClient({ to: { port: g.gateway.port }, ...g.give(marker), database: target.database });
    const parse = encodeParse({ statement: 'a', text: mark('given up'), parameterTypes: [] });
    const bind = encodeBind({ portal: '', statement: 'a', values: [] });
    const execute = encodeExecute({ portal: '', maxRows: 0 });
    client.send(encodeQuery('begin'));
    await client.until('Z');
    if (way === 'bind' || way === 'execute') {
      client.send(parse, ...(way === 'execute' ? [bind] : []), encodeSync());
      await client.until('Z');
      // What was decided holds no more.
      g.controlPlane.change({ kind: 'policy_changed', policyVersion: g.controlPlane.policyVersion });
    }
    const [{ oid } = { oid: 0 }] = (await target.query(`select 'public.mark'::regproc::oid::int4 as oid`)) as {
      oid: number;
    }[];
    stall();
    const ways = {
      query: [encodeQuery(mark('given up'))],
      parse: [parse, bind, execute, encodeSync()],
      bind: [bind, execute, encodeSync()],
      execute: [execute, encodeSync()],
      'function call': [encodeFunctionCall({ function: oid, values: ['x'] })],
    };
    client.send(...ways[way]);
    await whenAsked();
    const { processId, secretKey } = keyOf(client);
    const socket = await plain(g);
    const answer = whatComes(socket);
    socket.write(encodeCancelRequest(processId, secretKey));
    // The verdict is still to come.
    const frames = await client.until('Z');
    await answer;
    assert.deepEqual(sqlStates(frames), ['57014']);
    assert.equal(
      frames.at(-1)?.body.toString(),
      'E',
      'the transaction has failed, as with any statement that is cancelled',
    );
    letGo();
    // What comes then is of no use to the next statement either.
    client.send(encodeQuery('rollback'));
    await client.until('Z');
    client.send(encodeQuery(mark('meant')));
    assert.deepEqual(sqlStates(await client.until('Z')), []);
    assert.deepEqual(await target.query('select word from public.marks'), [{ word: 'meant' }]);
    await g.event('statement.begun', ({ text }) => 'text' in text && text.text === mark('meant'));
    const events = g.controlPlane.events();
    assert.equal((await g.event('statement.denied')).sqlState, '57014');
    assert.equal(
      events.filter((e) => e.kind === 'statement.begun').length,
      3,
      'begin, rollback, and the one that was meant',
    );
    client.socket.destroy();
  });

test('Ctrl-C in psql while the control plane takes its time', async (t) => {
  const { g, stall, whenAsked } = await slowToDecide(t);
  stall();
  const child = spawn('psql', ['-X', '-c', mark('never')], { env: { ...process.env, ...g.env(g.give(marker)) } });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const hasEnded = once(child, 'close');
  // psql puts its handler in place before it sends the query.
  await whenAsked();
  child.kill('SIGINT');
  await hasEnded;
  assert.match(Buffer.concat(said).toString(), /canceling statement due to user request/);
});

test('who is cut while only the gateway itself has asked something has no statement cancelled in the record', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give({ ...fixOrders, name: 'orders/migrate' as RoleName });
  const client = await g.connect(login);
  // What its own definitions are is asked for before the next statement, and is not answered as long as this is locked.
  await client.query('begin; create temp table mine (a int)');
  const locker = new pg.Client(target.server.connection(target.database));
  await locker.connect();
  t.after(() => locker.end());
  await locker.query('begin; lock table pg_catalog.pg_operator in access exclusive mode');
  const never = client.query('select count(*) from orders').catch(() => {});
  const isWaiting = async () =>
    (await locker.query(`select from pg_locks where not granted and relation = 'pg_operator'::regclass`)).rowCount ===
    1;
  while (!(await isWaiting())) await new Promise((resolve) => setTimeout(resolve, 20));
  g.controlPlane.endGrant(login.grant);
  await g.event('session.ended', (e) => e.on.grant === login.grant);
  assert.deepEqual(
    g.controlPlane.events().filter((e) => e.kind === 'statement.cancelled'),
    [],
  );
  await locker.query('rollback');
  await never;
});

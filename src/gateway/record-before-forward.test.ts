import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { parseInstant, type Instant } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { namesQuery } from '#sql/catalogue.ts';
import { encodeCommandComplete, encodeDataRow, encodeReadyForQuery } from '#wire/postgres/backend.ts';
import { frameLengthAt } from '#wire/postgres/bytes.ts';
import { encodeQuery } from '#wire/postgres/frontend.ts';
import { hubOfReads } from '#test/support/hub-of-reads.ts';
import { createTestingDisk, type TestingDisk } from './_testing-disk.ts';
import type { EndReason } from './control-plane.ts';
import { Journal } from './journal.ts';
import { Endpoint } from './postgres/endpoint.ts';
import { createJudge } from './postgres/judge.ts';
import { defaultLimits } from './postgres/link.ts';
import { startProxy, type Proxy } from './postgres/proxy.ts';

const clock = { now: () => parseInstant(1_700_000_000_000) as Instant };
const listening = async (onConnection: (socket: Socket) => void, options = {}): Promise<Server> => {
  const server = createServer(options, onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
  return server;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** Whole messages of a socket. */
function frames(socket: Socket, each: (type: number, body: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5) {
      const length = frameLengthAt(rest, 0);
      if (rest.length < length) break;
      each(rest[0] ?? 0, rest.subarray(5, length));
      rest = rest.subarray(length);
    }
  });
}

/** A server that answers every query with nothing, and says what it was asked at the moment it gets it. */
let asked: (text: string) => void = () => {};
const server = await listening((socket) => {
  frames(socket, (type, body) => {
    if (type !== 0x51) return;
    const text = body.toString('utf8', 0, body.length - 1);
    const row = text === namesQuery ? [encodeDataRow(['["public"]', 'role'])] : [];
    if (text !== namesQuery) asked(text);
    socket.write(Buffer.concat([...row, encodeCommandComplete('SELECT 1'), encodeReadyForQuery('I')]));
  });
});

/** Sessions of one journal, through the real endpoints and sides; everything is allowed. */
async function openSessions(count: number, journal: Journal) {
  const judge = createJudge({
    onFault: (_what, error) => assert.fail(String(error)),
    hub: hubOfReads({
      decide: () => ({ kind: 'allow', policyVersion: 'v1', variesWith: 'nothing', policies: [] }),
    }),
  });
  const proxies: Proxy[] = [];
  const reasons: EndReason[] = [];
  const accepted = new Map<number, Socket>();
  let arrived: () => void = () => {};
  const gateway = await listening(
    (socket) => {
      accepted.set(socket.remotePort ?? 0, socket);
      arrived();
    },
    { pauseOnConnect: true },
  );
  const clients: Socket[] = [];
  for (let i = 0; i < count; i += 1) {
    const client = connect(portOf(gateway), '127.0.0.1');
    client.on('error', () => {});
    await once(client, 'connect');
    while (!accepted.has(client.localPort ?? 0)) await new Promise<void>((resolve) => (arrived = resolve));
    const socket = accepted.get(client.localPort ?? 0);
    assert.ok(socket !== undefined);
    const target = await new Promise<Endpoint>((resolve) => {
      const dialled = Endpoint.dial({ host: '127.0.0.1', port: portOf(server) }, () => resolve(dialled));
    });
    const session = {
      id: `ses_${i}`,
      grant: 'gra_1',
      principal: { id: 'usr_1' },
      policyVersion: 'v1',
      role: {
        name: 'orders/read',
        resource: 'orders',
        statementTimeout: 60_000,
        permissions: { tables: [], functions: [], channels: [] },
      },
    } as unknown as AuthorizedSession;
    proxies.push(
      startProxy({
        session,
        client: Endpoint.adopt(socket),
        target,
        early: Buffer.alloc(0),
        earlyOfTarget: Buffer.alloc(0),
        databaseRole: 'role',
        statementsBefore: 0,
        journal,
        judge,
        holds: {
          open: () => Promise.reject(new Error('nothing is held here')),
          report: () => Promise.resolve(),
          told: () => {},
          changed: () => {},
        },
        clock,
        random: randomBytes,
        backend: 0,
        onNote: (_, error) => assert.fail(String(error)),
        limits: defaultLimits,
        strict: false,
        cancelUpstream: () => {},
        onFault: (error) => assert.fail(String(error)),
        onEnd: (reason) => void reasons.push(reason),
      }),
    );
    clients.push(client);
  }
  return { clients, proxies, reasons };
}

const written = (disk: TestingDisk): string =>
  disk
    .list()
    .map((name) => disk.bytes(name).toString())
    .join('');

test('INVARIANT 6: many sessions at once, in pieces, on a disk that may fill up: nothing reaches the target unrecorded', async () => {
  let failures = 0;
  await fc.assert(
    fc.asyncProperty(
      // By session: how many statements it sends at once, in pieces of which size, and how long they are.
      fc.array(
        fc.record({
          statements: fc.integer({ min: 1, max: 6 }),
          piece: fc.integer({ min: 3, max: 6000 }),
          size: fc.nat(9000),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      fc.option(fc.nat(60_000), { nil: undefined }),
      async (plans, room) => {
        const disk = createTestingDisk();
        // So that nothing gets there by the way.
        let proxies: readonly Proxy[] = [];
        const onFailure = () => {
          for (const proxy of proxies) proxy.mark();
          for (const proxy of proxies) proxy.cut('journal_failed', 'test')?.();
        };
        const journal = new Journal({ disk, clock, syncEveryMs: 60_000, onFailure });
        const { clients, reasons, ...opened } = await openSessions(plans.length, journal);
        proxies = opened.proxies;
        const got: string[] = [];
        let unrecorded: string | undefined;
        let progress: () => void = () => {};
        asked = (text) => {
          got.push(text);
          if (!written(disk).includes(`"text":{"text":${JSON.stringify(text)}}`)) unrecorded ??= text.slice(0, 30);
          progress();
        };
        const closed = clients.map((client) => once(client, 'close'));
        for (const client of clients) client.resume();
        if (room !== undefined) disk.room = room;
        const texts = plans.map(({ statements, size }, i) =>
          Array.from({ length: statements }, (_, k) => `select ${i} + ${k} as "${'x'.repeat(size)}"`),
        );
        for (const [i, plan] of plans.entries()) {
          const bytes = Buffer.concat((texts[i] ?? []).map((text) => encodeQuery(text)));
          for (let at = 0; at < bytes.length; at += plan.piece) clients[i]?.write(bytes.subarray(at, at + plan.piece));
        }
        const wanted = texts.flat();
        while (got.length < wanted.length && reasons.length < plans.length)
          await Promise.race([new Promise<void>((resolve) => (progress = resolve)), ...closed]);
        assert.equal(unrecorded, undefined);
        if (reasons.length > 0) {
          // A journal that fails ends whoever has something to record, and no statement is left half recorded.
          failures += 1;
          assert.equal(journal.state, 'failed');
          assert.ok(reasons.every((reason) => reason === 'journal_failed'));
        } else assert.deepEqual(got.toSorted(), wanted.toSorted());
        for (const [i] of plans.entries())
          assert.deepEqual(
            got.filter((text) => text.startsWith(`select ${i} `)),
            (texts[i] ?? []).slice(0, got.filter((text) => text.startsWith(`select ${i} `)).length),
            'in order',
          );
        disk.room = Infinity;
        for (const proxy of proxies) proxy.cut('gateway_stopped', 'test')?.();
        await Promise.all(closed);
        journal.retry();
        await journal[Symbol.asyncDispose]();
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(failures > 3, `the disk was full ${failures} times only`);
});

test('INVARIANT 4: a session that is marked while its record is written forwards nothing more', async () => {
  const disk = createTestingDisk();
  const journal = new Journal({ disk, clock, syncEveryMs: 60_000 });
  const { clients, proxies } = await openSessions(2, journal);
  const [first, second] = clients;
  assert.ok(first !== undefined && second !== undefined);
  const got: string[] = [];
  const settled = new Promise<void>((resolve) => {
    asked = (text) => {
      got.push(text);
      if (got.filter((one) => one.startsWith('select 2')).length === 2) resolve();
    };
  });
  // Known to the judge from here on, so that the next time they go through without a pause.
  first.write(encodeQuery('select 1'));
  second.write(encodeQuery('select 2'));
  await once(second, 'data');
  while (got.length < 2) await once(first, 'data');
  const flush = journal.flush.bind(journal);
  journal.flush = () => {
    proxies[0]?.mark();
    return flush();
  };
  first.write(encodeQuery('select 1'));
  second.write(encodeQuery('select 2'));
  await settled;
  assert.deepEqual(got.toSorted(), ['select 1', 'select 2', 'select 2']);
  assert.match(written(disk), /"session":"ses_0".*"statement":2,/);
  for (const proxy of proxies) proxy.cut('gateway_stopped', 'test')?.();
  for (const client of clients) client.destroy();
  await journal[Symbol.asyncDispose]();
});

test('INVARIANT 6: a write that fails ends all who have something to forward, and nothing of it is forwarded', async () => {
  const disk = createTestingDisk();
  // Nobody else cuts them here.
  const journal = new Journal({ disk, clock, syncEveryMs: 60_000 });
  const { clients, reasons } = await openSessions(5, journal);
  const got: string[] = [];
  asked = (text) => void got.push(text);
  const closed = clients.map((client) => once(client.resume(), 'close'));
  disk.room = 0;
  for (const client of clients) client.write(encodeQuery('select 1'));
  await Promise.all(closed);
  assert.deepEqual(new Set(reasons), new Set(['journal_failed']));
  assert.deepEqual(got, []);
  disk.room = Infinity;
  journal.retry();
  await journal[Symbol.asyncDispose]();
});

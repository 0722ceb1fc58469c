/**
 * Clients that mean no good: silent, slow, many, greedy, guessing, gone. A gateway in a process of its own stands before a
 * real server; what such a client costs is looked at from outside, and a good client works all the while.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import {
  encodeQuery,
  encodeSaslInitialResponse,
  encodeSaslResponse,
  encodeTerminate,
} from '#wire/postgres/frontend.ts';
import { encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';
import { startGatewayChild } from '../support/gateway-child.ts';
import type { Login } from '../support/gateway-process.ts';
import { testCertificates, testTarget } from '../support/postgres.ts';
import { fuzzRole, late, within } from './_bench.ts';
import { Client, framesOf, signIn } from './_client.ts';

const handshakeMs = 2000;
const megabyte = 1 << 20;
const target = await testTarget({ after }, { major: 15 });
const certificates = await testCertificates({ after });
const gateway = await startGatewayChild({
  target: { ...target, ca: target.ca },
  roles: [fuzzRole],
  listen: { handshakeMs, maxFailuresPerMinute: 5, refuseAfterMs: 500 },
  tls: { cert: readFileSync(certificates.certFile, 'utf8'), key: readFileSync(certificates.keyFile, 'utf8') },
});
const login = await gateway.give(fuzzRole);
let named = 0;

async function signedIn(from = '127.0.0.1', as: Login = login): Promise<{ client: Client; name: string }> {
  const name = `hostile-${(named += 1)}`;
  const client = new Client(gateway.port, { from });
  const signed = await signIn(client, as, { name, database: target.database });
  if (typeof signed === 'string') assert.fail(signed);
  return { client, name };
}

/** It gets in, and gets its answer. */
async function goodClient(from?: string): Promise<void> {
  const { client, name } = await signedIn(from);
  client.write(Buffer.concat([encodeQuery('select id from public.orders where id < 3'), encodeTerminate()]));
  await client.closed;
  assert.match(client.take().toString('latin1'), /SELECT 2/);
  await gateway.session(name);
}

const startup = (user: string) =>
  encodeStartup(
    0,
    new Map([
      ['user', user],
      ['database', target.database],
    ]),
  );

/** Waits until nothing of what was is left. */
async function allGone(descriptors: number): Promise<void> {
  for (let i = 0; ; i += 1) {
    const state = await gateway.settled();
    if (state.sessions === 0 && state.descriptors <= descriptors) return;
    assert.ok(i < 100, `left: ${JSON.stringify(state)}, at first ${descriptors} descriptors`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Everything is warm: the catalogue is loaded, the role is there, the first clients have come and gone. */
await goodClient();
await goodClient();
const atFirst = await gateway.settled();
// The administrator's connection may come and go.
const fewDescriptors = atFirst.descriptors + 10;

test('INVARIANT 14: the deadline is one for the whole of a sign-in, however slowly it comes', async () => {
  const hello = Buffer.from('160301020001000100', 'hex');
  const drip = async (client: Client, bytes: Buffer, at = 0): Promise<void> => {
    if (client.isClosed || at >= bytes.length) return;
    client.write(bytes.subarray(at, at + 1));
    await new Promise((resolve) => setTimeout(resolve, 100));
    return drip(client, bytes, at + 1);
  };
  const dial = (i: number) => new Client(gateway.port, { from: `127.0.1.${i}` });
  const inTls = dial(2);
  inTls.write(encodeSslRequest());
  await inTls.more();
  const inScram = dial(3);
  inScram.write(startup(login.user));
  await inScram.more();
  const slow = [
    { client: dial(1), bytes: startup(login.user) },
    { client: inTls, bytes: Buffer.concat([hello, Buffer.alloc(200)]) },
    { client: inScram, bytes: encodeSaslInitialResponse('SCRAM-SHA-256', Buffer.from(`n,,n=,r=${'a'.repeat(100)}`)) },
    { client: dial(4), bytes: hello },
    { client: dial(5), bytes: Buffer.alloc(0) },
  ];
  const dripped = Promise.all(slow.map(({ client, bytes }) => drip(client, bytes)));
  await goodClient();
  for (const { client } of slow) assert.notEqual(await within(handshakeMs + 5000, client.closed), late);
  await dripped;
  await allGone(fewDescriptors);
});

test('INVARIANT 14: 5,000 silent sockets, and others from the same addresses get in all the same', async () => {
  const addresses = Array.from({ length: 25 }, (_, i) => `127.0.2.${i + 1}`);
  const crowd = Array.from({ length: 5000 }, (_, i) => new Client(gateway.port, { from: addresses[i % 25] ?? '' }));
  await goodClient();
  await goodClient(addresses[0]);
  await goodClient(addresses[24]);
  const { descriptors } = await gateway.state();
  assert.ok(descriptors < 5000, `${descriptors} descriptors are open`);
  await goodClient('127.0.3.1');
  await allGone(fewDescriptors);
  for (const client of crowd) client.socket.destroy();
  assert.ok(((await gateway.state()).refusals['too_many_handshakes'] ?? 0) > 0);
});

test('INVARIANT 14: who guesses passwords waits, and a right one from the same address does not', async () => {
  const from = '127.0.4.1';
  const wrong = async (user: string): Promise<string> => {
    const name = `guess-${(named += 1)}`;
    const client = new Client(gateway.port, { from });
    const signed = await signIn(client, { user, password: 'wrong' }, { name, database: target.database });
    client.socket.destroy();
    return typeof signed === 'string' ? signed : assert.fail('it opened');
  };
  const said = new Set<string>();
  for (const user of [login.user, 'nobody.at.all'])
    for (let i = 0; i < 4; i += 1) said.add((await wrong(user)).replaceAll(user, 'USER'));
  assert.equal(said.size, 1, [...said].join('\n'));
  const before = (await gateway.state()).refusals['too_many_failures'] ?? 0;
  assert.ok(before > 0, 'it was noticed');
  const guesses = Array.from({ length: 40 }, (_, i) => wrong(i % 2 === 0 ? login.user : 'nobody.at.all'));
  await goodClient(from);
  await goodClient();
  await Promise.all(guesses);
  assert.equal((await gateway.state()).refusals['too_many_failures'], before + 40);
  await allGone(fewDescriptors);
});

/** Writes until the socket is closed or `total` is written; how much was taken. */
async function pour(client: Client, total: number): Promise<number> {
  const chunk = Buffer.alloc(megabyte, 0x61);
  let poured = 0;
  while (poured < total && !client.isClosed && client.socket.writable) {
    const part = chunk.subarray(0, Math.min(chunk.length, total - poured));
    await within(5000, new Promise<void>((resolve) => client.socket.write(part, () => resolve())));
    poured += part.length;
  }
  return poured;
}

const header = (type: string, length: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes.write(type);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

test('INVARIANT 14: who sends much before signing in is refused at once, by size', async () => {
  const huge = Buffer.alloc(8);
  huge.writeUInt32BE(0x7fff_ffff);
  huge.writeUInt32BE(196_608, 4);
  const cases: (readonly [string, readonly Buffer[]])[] = [
    ['a start-up packet of 2 GB', [huge]],
    ['nothing that makes sense', [Buffer.alloc(64, 0xff)]],
    ['a SASL message of 1 GB', [startup(login.user), header('p', 0x3fff_ffff)]],
    ['a SASL message of 4 GB', [startup(login.user), header('p', 0xffff_ffff)]],
  ];
  for (const [what, packets] of cases) {
    const client = new Client(gateway.port, { from: '127.0.5.1' });
    for (const packet of packets) {
      client.write(packet);
      await within(200, client.more());
    }
    const poured = await pour(client, 1024 * megabyte);
    assert.ok(poured < 64 * megabyte, `${what}: ${poured} bytes were taken`);
    assert.notEqual(await within(5000, client.closed), late, what);
  }
  const { rss } = await gateway.settled();
  assert.ok(rss < atFirst.rss + 150 * megabyte, `rss ${rss >> 20} MiB, was ${atFirst.rss >> 20}`);
});

/** Nothing of what goes through is kept: the process stays small while it does. */
async function watchSize<T>(work: Promise<T>): Promise<T> {
  let largest = 0;
  let isOver = false;
  const watch = (async () => {
    while (!isOver) {
      largest = Math.max(largest, (await gateway.state()).rss);
      await within(100, work).catch(() => {});
    }
  })();
  try {
    return await work;
  } finally {
    isOver = true;
    await watch;
    assert.ok(largest < atFirst.rss + 200 * megabyte, `rss grew from ${atFirst.rss >> 20} to ${largest >> 20} MiB`);
  }
}

test('a statement of 1 GB is refused without being held, and the session goes on', async () => {
  const { client, name } = await signedIn();
  const length = 0x3fff_fffe;
  client.write(header('Q', length));
  assert.equal(await watchSize(pour(client, length - 4)), length - 4);
  client.write(Buffer.concat([encodeQuery('select 1'), encodeTerminate()]));
  await client.closed;
  const { frames } = framesOf(client.take());
  assert.match(frames.find(({ type }) => type === 'E')?.body.toString('latin1') ?? '', /C54000.*longer than/s);
  assert.ok(frames.some(({ type, body }) => type === 'C' && body.toString('latin1').startsWith('SELECT 1')));
  await gateway.session(name);
});

test('a parameter of 256 MB goes through without being held', async () => {
  const { client, name } = await signedIn();
  const size = 256 * megabyte;
  const parse = Buffer.from('\0select length($1::text)\0\0\0', 'latin1');
  const bind = Buffer.from([0, 0, 0, 0, 0, 1]);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(size);
  client.write(Buffer.concat([header('P', parse.length + 4), parse]));
  client.write(Buffer.concat([header('B', 4 + bind.length + 4 + size + 2), bind, count]));
  await watchSize(pour(client, size));
  const execute = Buffer.from([0, 0, 0, 0, 0]);
  client.write(Buffer.concat([Buffer.alloc(2), header('E', 4 + execute.length), execute, header('S', 4)]));
  client.write(encodeTerminate());
  await client.closed;
  assert.ok(client.take().toString('latin1').includes(String(size)));
  const events = await gateway.session(name);
  const begun = events.find((event) => event.kind === 'statement.begun');
  assert.match(JSON.stringify(begun?.kind === 'statement.begun' ? begun.parameters : undefined), /sha256/);
});

test('INVARIANT 6: a client that reads nothing makes the target wait, and nobody else', async () => {
  const { client, name } = await signedIn();
  client.socket.pause();
  const text = `select repeat('z', 1000000) as z from public.orders a, public.orders b limit 1000`;
  client.write(encodeQuery(text));
  await watchSize(
    (async () => {
      for (let i = 0; ; i += 1) {
        const [row] = (await target.query(
          `select wait_event from pg_stat_activity where query = $1 and state = 'active' and pid <> pg_backend_pid()`,
          [text],
        )) as { wait_event: string | null }[];
        if (row?.wait_event === 'ClientWrite') break;
        assert.ok(i < 200, `the server waits for ${row?.wait_event}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await goodClient();
    })(),
  );
  client.socket.destroy();
  const events = await gateway.session(name);
  const ended = events.at(-1);
  // Two pipes and a kernel's buffers, and by far not the gigabyte.
  assert.ok(ended?.kind === 'session.ended' && ended.bytesOut < 64 * megabyte, JSON.stringify(ended));
  await allGone(fewDescriptors);
});

test('a client that sends for ever and never reads is not read any more', async () => {
  const { client, name } = await signedIn();
  client.socket.pause();
  const query = encodeQuery(`select repeat('z', 10000)`);
  const many = Buffer.concat(Array.from({ length: 1000 }, () => query));
  const work = (async () => {
    for (let i = 0; i < 10_000; i += 1) {
      const taken = within(1500, new Promise<void>((resolve) => client.socket.write(many, () => resolve())));
      if ((await taken) === late) return;
    }
    assert.fail('it was read without end');
  })();
  await watchSize(work);
  await goodClient();
  client.socket.destroy();
  await gateway.session(name);
  await allGone(fewDescriptors);
});

test('who has ended its own side still gets all that was asked for', async () => {
  for (const count of [1, 20]) {
    const { client, name } = await signedIn();
    client.socket.end(encodeQuery(`select repeat('y', 1000000) from public.orders limit ${count}`));
    await client.closed;
    const { frames } = framesOf(client.take());
    assert.equal(frames.filter(({ type }) => type === 'D').length, count);
    assert.equal(frames.at(-1)?.type, 'Z');
    const events = await gateway.session(name);
    assert.ok(events.some((event) => event.kind === 'statement.ended' && event.outcome.kind === 'completed'));
  }
});

test('INVARIANT 12: whatever the moment of a reset, nothing is left', async () => {
  const copy = encodeQuery('copy public.orders (id) from stdin');
  const signedPackets: readonly (readonly Buffer[])[] = [
    [],
    [encodeQuery('select 1')],
    [encodeQuery(`select repeat('x', 1000000) from public.orders`)],
    [encodeQuery('begin'), encodeQuery('select id from public.orders for update')],
    [copy],
    [copy, header('d', 1000)],
    [header('Q', 1000)],
  ];
  for (const packets of signedPackets) {
    const { client, name } = await signedIn();
    for (const packet of packets) client.write(packet);
    if (packets.length > 0) await within(30, client.more());
    client.socket.resetAndDestroy();
    assert.notEqual(await within(10_000, gateway.session(name)), late, 'the session goes on');
  }
  const strangers: readonly (readonly Buffer[])[] = [
    [],
    [encodeSslRequest()],
    [startup(login.user)],
    [startup(login.user), encodeSaslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,n=,r=abcdefghijkl'))],
    [startup(login.user), encodeSaslResponse(Buffer.from('x'))],
  ];
  for (const packets of strangers) {
    const client = new Client(gateway.port, { from: '127.0.6.1' });
    for (const packet of packets) {
      client.write(packet);
      await within(100, client.more());
    }
    client.socket.resetAndDestroy();
  }
  await allGone(fewDescriptors);
});

test('60 connections at once, then 2,000 one after the other, leave nothing behind', async () => {
  await Promise.all(Array.from({ length: 60 }, () => goodClient()));
  const before = await gateway.settled();
  const total = 2000;
  let begun = 0;
  const churn = async (): Promise<void> => {
    while (begun < total) {
      begun += 1;
      // One in four signs in; the others leave on the way.
      if (begun % 4 === 0) await goodClient();
      else {
        const client = new Client(gateway.port, { from: `127.0.7.${1 + (begun % 200)}` });
        if (begun % 4 === 1) client.write(encodeSslRequest());
        else if (begun % 4 === 2) client.write(startup(login.user));
        await within(20, client.more());
        client.socket.destroy();
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, churn));
  await allGone(fewDescriptors);
  const count = (resources: Readonly<Record<string, number>>) =>
    Object.entries(resources)
      .filter(([type]) => /Socket|TCP|TLS|Pipe|Timeout/.test(type))
      .reduce((sum, [, n]) => sum + n, 0);
  let now = await gateway.settled();
  // The administrator's connections close when nobody has used them for ten seconds.
  for (let i = 0; i < 200 && count(now.resources) > count(atFirst.resources) + 10; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    now = await gateway.settled();
  }
  assert.ok(count(now.resources) <= count(atFirst.resources) + 10, JSON.stringify([atFirst.resources, now.resources]));
  assert.ok(now.heapUsed < before.heapUsed + 16 * megabyte, `heap ${before.heapUsed} → ${now.heapUsed}`);
});

test('and nothing of it was a fault of ours', async () => {
  assert.deepEqual(gateway.faults, []);
  await goodClient();
  await gateway.stop();
});

/** Engines in threads: the same promises as with one, over all of them together. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import type { Client } from 'pg';
import type { GrantId } from '#core/ids.ts';
import { testCertificates, testTarget } from '#test/support/postgres.ts';
import { encodeSaslInitialResponse } from '#wire/postgres/frontend.ts';
import { encodeCancelRequest, encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';
import {
  fixOrders,
  startTestingGateway,
  supportRead,
  testingInstallation,
  type TestingGateway,
} from './_testing-gateway.ts';
import { dialled, whatComes } from './_testing-raw-client.ts';
import type { GatewayOptions } from './gateway.ts';
import { engineOf } from './postgres/cancel.ts';
import { loginName as nameOfLogin } from './postgres/names.ts';

const target = await testTarget({ after }, { major: 15 });

type Death = { readonly engine: number; readonly sessions: number; readonly error: unknown };
type Threads = TestingGateway & {
  readonly deaths: Death[];
  /** The next engine that comes to that point breaks there. */
  readonly breakNext: (how: string) => void;
  readonly hasBroken: () => boolean;
};

async function gatewayFor(t: TestContext, options: Partial<GatewayOptions> = {}): Promise<Threads> {
  const deaths: Death[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'sally-threads-'));
  const dieAt = join(folder, 'die-at');
  const gateway = await startTestingGateway(target, tmpdir(), {
    threads: 2,
    dieAt,
    events: { engineDied: (engine, why) => deaths.push({ engine, ...why }) },
    ...options,
  });
  t.after(async () => {
    await gateway.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return Object.assign(gateway, {
    deaths,
    breakNext: (how: string) => writeFileSync(dieAt, how),
    hasBroken: () => !existsSync(dieAt),
  });
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`not within twenty seconds: ${what}`);
}

const loginName = (grant: GrantId) => nameOfLogin(testingInstallation, grant);

type Login = ReturnType<TestingGateway['give']>;
const keyOf = (client: Client) => client as unknown as { readonly processID: number; readonly secretKey: number };
const engineOfClient = (client: Client) => engineOf(keyOf(client).processID);
const endOf = (client: Client) => new Promise<Error>((resolve) => client.on('error', resolve));
const backendsOf = async (login: Login) =>
  (await target.query('select pid from pg_stat_activity where usename = $1', [loginName(login.grant)])).length;

/** The kernel shares connections out as it likes: one on each engine. */
async function onEach(g: TestingGateway, login: Login): Promise<readonly [Client, Client]> {
  const found = new Map<number, Client>();
  for (let tries = 0; tries < 100; tries += 1) {
    const client = await g.connect(login);
    const engine = engineOfClient(client);
    if (found.has(engine)) await client.end();
    else found.set(engine, client);
    const [one, two] = [found.get(1), found.get(2)];
    if (one !== undefined && two !== undefined) return [one, two];
  }
  return assert.fail('all connections go to one engine');
}

test('INVARIANT 4 and 6: sessions on two engines are recorded by both, and a revocation cuts both', async (t) => {
  const g = await gatewayFor(t);
  const [login, other] = [g.give(supportRead), g.give(fixOrders)];
  const [clients, others] = [await onEach(g, login), await onEach(g, other)];
  assert.equal(g.gateway.sessions().length >= 4, true);
  for (const [i, client] of clients.entries())
    assert.equal((await client.query(`select count(*)::int as n, ${i} as which from orders`)).rows[0].n, 180);
  const told = Promise.all(clients.map(endOf));
  g.controlPlane.endGrant(login.grant, 'revoked', 'by bob');
  for (const { message } of await told) assert.match(message, /it was revoked by bob/);
  await until('backends and login are gone', async () => (await backendsOf(login)) === 0);
  for (const client of others) assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
  for (const which of [0, 1])
    await g.event('statement.begun', (e) => JSON.stringify(e.text).includes(`${which} as which`));
  const ended = () =>
    g.controlPlane
      .events()
      .filter((e) => e.kind === 'session.ended' && e.reason === 'revoked' && e.on.grant === login.grant);
  await until('both ends are recorded', () => ended().length === 2);
  await g.event('target.login_dropped', (e) => e.login === loginName(login.grant));
  await assert.rejects(g.connect(login), { code: '28000' });
});

test('a cancel request reaches its session through whichever engine takes it, and no other key does', async (t) => {
  const g = await gatewayFor(t);
  const [client] = await onEach(g, g.give(supportRead));
  const { processID, secretKey } = keyOf(client);
  const key = Buffer.alloc(4);
  key.writeInt32BE(secretKey);
  const send = async (processId: number, secret: Buffer) => {
    const socket = connect(g.gateway.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(encodeCancelRequest(processId, secret));
    await new Promise((resolve) => socket.on('close', resolve).resume());
  };
  for (let i = 0; i < 8; i += 1) {
    let isCancelled = false;
    const slow = client.query('select pg_sleep(60)').catch((error: { code: string }) => {
      isCancelled = true;
      return error;
    });
    await until('it runs', async () => {
      const rows = await target.query(
        `select from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'`,
      );
      return rows.length === 1;
    });
    if (i === 0)
      for (const [processId, secret] of [
        [processID, Buffer.alloc(4)],
        [processID ^ 3, key],
        [(processID & ~15) | 9, key],
      ] as const)
        await send(processId, secret);
    assert.equal(isCancelled, false);
    await send(processID, key);
    assert.equal(((await slow) as { code: string }).code, '57014');
  }
});

test('INVARIANT 6 and 12: an engine that dies in mid-statement takes its sessions along and nobody else’s', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const [one, two] = await onEach(g, login);
  const before = g.gateway.sessions();
  g.breakNext('statement_recorded throws');
  const told = endOf(one);
  one.query(`select count(*), 'the last' from orders, pg_sleep(60)`).catch(() => {});
  await told;
  await until('it was seen', () => g.deaths.length === 1);
  assert.equal(g.deaths[0]?.engine, engineOfClient(one));
  assert.equal(g.deaths[0]?.sessions, before.length - 1);
  // Others notice nothing, under the very same grant; nothing of the dead one's goes on.
  assert.equal((await two.query('select 1 as one')).rows[0].one, 1);
  await until('its backends have ended', async () => (await backendsOf(login)) === 1);
  // What it had written down is there, and its sessions are ended in the record.
  await g.event('statement.begun', (e) => JSON.stringify(e.text).includes('the last'));
  await until('the record shows the end', () => g.controlPlane.orphans.size === before.length - 1);
  assert.ok(!g.controlPlane.orphans.has(g.gateway.sessions()[0]?.id ?? before[0]!.id));
  // It is back, and takes its share.
  for (const client of await onEach(g, login)) await client.end();
  assert.equal(g.deaths.length, 1);
});

test('INVARIANT 4: an engine that hangs loses its sockets when something is to be cut', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const other = g.give(fixOrders);
  const [one] = await onEach(g, login);
  const others = await onEach(g, other);
  g.breakNext('statement_recorded hangs');
  const closed = Promise.all([endOf(one), endOf(others[engineOfClient(one) - 1] ?? one)]);
  one.query('select 1').catch(() => {});
  await until('it hangs', g.hasBroken);
  g.controlPlane.endGrant(login.grant);
  await closed;
  const alive = others[2 - engineOfClient(one)];
  assert.equal((await alive?.query('select 1 as one'))?.rows[0].one, 1);
  await until('nothing is left on the target', async () => (await backendsOf(login)) === 0);
  for (const client of await onEach(g, other)) await client.end();
});

test('INVARIANT 4: engines that hear nothing from the control plane cut, and open nothing until it is back', async (t) => {
  const lost: string[] = [];
  const g = await gatewayFor(t, {
    graceMs: 1000,
    events: { controlPlaneLost: () => lost.push('lost'), controlPlaneBack: () => lost.push('back') },
  });
  const login = g.give(supportRead);
  const told = Promise.all((await onEach(g, login)).map(endOf));
  g.controlPlane.isAway = true;
  for (const { message } of await told) assert.match(message, /lost the control plane/);
  g.controlPlane.isAway = false;
  await until('it is back', () =>
    onEach(g, login).then(
      () => true,
      () => false,
    ),
  );
  assert.deepEqual(lost, ['lost', 'back']);
});

test('INVARIANT 6: what an engine wrote down reaches the record when there are fewer after a restart', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const clients = await onEach(g, login);
  await g.event('target.login_created');
  // From here on the control plane stores nothing that it admits to.
  g.controlPlane.storesAndFails = true;
  for (const [i, client] of clients.entries()) await client.query(`select ${i} as kept`);
  for (const client of clients) await client.end();
  await g.gateway.stop({ shipWithinMs: 0 });
  const left = join(g.journalFolder, 'engine-2');
  assert.ok(existsSync(left));
  g.controlPlane.storesAndFails = false;
  await g.restart({ threads: 1 });
  await g.gateway.recover(AbortSignal.timeout(10_000));
  for (const i of [0, 1]) await g.event('statement.begun', (e) => JSON.stringify(e.text).includes(`${i} as kept`));
  await until('the folder is not needed any more', () => !existsSync(left));
  await (await g.connect(login)).end();
  assert.equal(g.gateway.unshippedBytes() >= 0, true);
});

test('INVARIANT 14: the caps on what is at the door hold over all engines together', async (t) => {
  const refusals: string[] = [];
  const g = await gatewayFor(t, {
    listen: {
      host: '127.0.0.1',
      port: 0,
      handshakeMs: 3000,
      maxHandshakesPerAddress: 6,
      maxFailuresPerMinute: 4,
      refuseAfterMs: 1,
    },
    events: { connectionRefused: (why) => void refusals.push(why) },
  });
  const login = g.give(supportRead);
  await (await g.connect(login)).end();
  const silent = await Promise.all(Array.from({ length: 16 }, () => dialled(g.gateway.port)));
  const came = await Promise.all(silent.map(whatComes));
  assert.equal(came.filter((bytes) => /too many connections/.test(bytes.toString())).length, 10);
  const guess = () => assert.rejects(g.connect({ ...login, password: 'wrong' }), { code: '28P01' });
  for (let i = 0; i < 12; i += 1) await guess();
  // The fourth is soon known everywhere. Alone, each of two engines would have let four pass, and told of four at most.
  const waited = refusals.filter((why) => why === 'too_many_failures').length;
  assert.ok(waited > 4, String(waited));
  await (await g.connect(login)).end();
});

test('INVARIANT 14: a name that nobody has gets the same salt from every engine', async (t) => {
  const g = await gatewayFor(t);
  const salts = new Set<string>();
  for (let i = 0; i < 8; i += 1) {
    const socket = await dialled(g.gateway.port);
    const came = whatComes(socket);
    socket.write(
      encodeStartup(
        0,
        new Map([
          ['user', 'nobody'],
          ['database', 'orders'],
        ]),
      ),
    );
    socket.once('data', () => {
      socket.write(encodeSaslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,n=,r=abcdefghijklmnopqr')));
      socket.once('data', () => socket.destroy());
    });
    salts.add(/,s=([^,]+),/.exec((await came).toString('latin1'))?.[1] ?? '');
  }
  assert.equal(salts.size, 1);
});

test('a renewed certificate is shown by every engine from the next beat on', async (t) => {
  const [first, second] = [await testCertificates({ after }), await testCertificates({ after })];
  const read = (of: typeof first) => ({ cert: readFileSync(of.certFile), key: readFileSync(of.keyFile) });
  let current = read(first);
  const g = await gatewayFor(t, { listen: { host: '127.0.0.1', port: 0, tls: () => current } });
  const shown = async () => {
    const raw = await dialled(g.gateway.port);
    raw.write(encodeSslRequest());
    await new Promise((resolve) => raw.once('readable', resolve));
    assert.equal((raw.read() as Buffer).toString(), 'S');
    const socket = tlsConnect({ socket: raw, rejectUnauthorized: false });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const { raw: certificate } = socket.getPeerX509Certificate() ?? {};
    const isResumed = socket.isSessionReused();
    socket.destroy();
    assert.equal(isResumed, false);
    return certificate?.toString('hex');
  };
  const before = await shown();
  for (let i = 0; i < 5; i += 1) assert.equal(await shown(), before);
  current = read(second);
  await until('ten in a row show the new one', async () => {
    for (let i = 0; i < 10; i += 1) if ((await shown()) === before) return false;
    return true;
  });
});

test('another server on the port is noticed, although engines share theirs', async (t) => {
  const g = await gatewayFor(t);
  await assert.rejects(
    startTestingGateway(target, tmpdir(), { threads: 2, listen: { host: '127.0.0.1', port: g.gateway.port } }),
    { code: 'EADDRINUSE' },
  );
});

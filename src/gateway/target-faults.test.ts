/**
 * What a target can do to us: be away, silent, slow, full, restarted, somebody else, read-only, locked. Clients are told what
 * it is and no more, what runs is recorded as it ended, and nothing of ours stays behind when it can be reached again.
 */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, afterEach, test } from 'node:test';
import pg from 'pg';
import { Secret } from '#core/secret.ts';
import type { Duration } from '#core/instant.ts';
import { fixOrders, startTestingGateway, supportRead, type TestingGateway } from './_testing-gateway.ts';
import { testTarget, type TestTarget } from '#test/support/postgres.ts';
import { openRelay } from '#test/support/relay.ts';
import { leftOn, until } from '#test/support/wait.ts';

const target = await testTarget({ after });
const other = await testTarget({ after });
const relay = await openRelay({ after }, target.port);
const told: unknown[] = [];
const g: TestingGateway = await startTestingGateway(
  target,
  tmpdir(),
  { events: { targetFailed: (_, error) => void told.push(error) }, reconcileEveryMs: 3_600_000 },
  { address: { host: '127.0.0.1', port: relay.port }, connectTimeout: 1500 as Duration },
);
after(() => g.stop());
const registered = { ...g.access };
/** The resource is registered otherwise from now on. */
const register = (change: object): object => Object.assign(g.access, change);

afterEach(async () => {
  relay.to = target.port;
  await relay.restore();
  register(registered);
  for (const grant of given.splice(0)) g.controlPlane.endGrant(grant);
  await g.gateway.reconcile();
  await until('nothing is left', async () => {
    const { logins, backends } = await leftOn(target);
    return logins.length + backends.length === 0;
  });
});

const given: ReturnType<TestingGateway['give']>['grant'][] = [];
const give: TestingGateway['give'] = (...args) => {
  const login = g.give(...args);
  given.push(login.grant);
  return login;
};
const works = async (client: pg.Client): Promise<void> => {
  assert.equal((await client.query('select count(*)::int as n from orders')).rows[0].n, 180);
};
/** What a client hears, which is never what is for the operator. */
async function refused(login: ReturnType<typeof give>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(g.connect(login), (error: Error & { code?: string; hint?: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    const said = `${error.message} ${error.hint}`;
    for (const secret of [target.adminPassword, other.adminPassword, target.adminUser, String(relay.port), 'sally_l_'])
      assert.ok(!said.includes(secret), said);
    return true;
  });
  assert.ok(told.length > 0, 'the operator is told as well');
}
const endOf = (client: pg.Client) =>
  new Promise<Error & { code?: string }>((resolve) => {
    client.once('error', resolve);
  });
const sessionEnded = (grant: string) => g.event('session.ended', (event) => event.on.grant === grant);

test('it is down: refused at once with a word, and it works again by itself', async () => {
  const [fresh, made] = [give(supportRead), give(supportRead)];
  await (await g.connect(made)).end();
  await relay.refuse();
  for (const login of [fresh, made])
    await refused(login, '08006', /^sallyport: `orders` is down: it refuses connections$/);
  assert.equal((await sessionEnded(fresh.grant)).reason, 'target_closed');
  await relay.restore();
  await works(await g.connect(fresh));
  await works(await g.connect(made));
});

test('it is a black hole: refused when its time to connect is over, and nobody else waits', async () => {
  const [running, login] = [give(supportRead), give(supportRead)];
  const client = await g.connect(running);
  // Connections of our administrator that are idle would wait for longer.
  await target.query(
    `select pg_terminate_backend(pid, 1000) from pg_stat_activity where application_name = 'sallyport'`,
  );
  relay.silence();
  const refusal = refused(login, '08006', /^sallyport: `orders` does not answer$/);
  await assert.rejects(g.connect({ user: 'nobody', password: 'x' }), { code: '28P01' });
  await refusal;
  // The session that was there is cut when its grant ends, whether or not the target hears of it.
  const ended = endOf(client);
  g.controlPlane.endGrant(running.grant);
  assert.match((await ended).message, /it was revoked/);
  await relay.restore();
  await works(await g.connect(login));
});

test('it is slow: everything works, only later', async () => {
  relay.delayMs = 60;
  const client = await g.connect(give(supportRead));
  await works(client);
  await client.end();
});

for (const [how, signal, code] of [
  ['is restarted', 'SIGINT', '57P01'],
  ['crashes', 'SIGKILL', '57P01'],
] as const) {
  test(`it ${how} in mid-statement: the client is told, the record says so, and the login works again`, async () => {
    const login = give(supportRead);
    const client = await g.connect(login);
    const ended = endOf(client);
    const statement = client.query('select pg_sleep(600)').then(
      () => assert.fail('it ended by itself'),
      (error: Error & { code?: string }) => error,
    );
    await until('it runs', async () => (await leftOn(target)).backends.some((b) => b.includes('pg_sleep')));
    process.kill(target.server.pid ?? assert.fail('it does not run'), signal);
    await ended;
    assert.equal((await statement).code, code);
    assert.equal((await sessionEnded(login.grant)).reason, 'target_closed');
    const outcome = (await g.event('statement.ended', (e) => e.on.grant === login.grant)).outcome;
    assert.ok(outcome.kind === 'cut' || (outcome.kind === 'failed' && outcome.sqlState === '57P01'), outcome.kind);
    await until('it is back', () =>
      target.query('select 1').then(
        () => true,
        () => false,
      ),
    );
    await works(await g.connect(login));
  });
}

test('it runs out of connections: said as it is; logins go as soon as there is one again', async () => {
  const [login, another] = [give(supportRead), give(supportRead)];
  await g.connect(login);
  const crowd: pg.Client[] = [];
  for (;;) {
    const one = new pg.Client(target.login(target.adminUser, target.adminPassword));
    one.on('error', () => undefined);
    const got = await one.connect().then(
      () => true,
      () => false,
    );
    if (!got) break;
    crowd.push(one);
  }
  // The connections of our administrator that were idle are of no use to a new login's own connection.
  await refused(another, '53300', /^sallyport: `orders` has no connection left for anybody$/);
  g.controlPlane.endGrant(login.grant);
  await sessionEnded(login.grant);
  await Promise.all(crowd.map((one) => one.end()));
  await until('the login is dropped', async () =>
    (await leftOn(target)).logins.every((name) => !name.endsWith(login.grant.slice(4))),
  );
  await works(await g.connect(another));
});

test('its certificate is another one: nothing is sent to it; the next session trusts what is registered then', async () => {
  await setAdminPassword(other, target.adminPassword);
  const login = give(supportRead);
  await (await g.connect(login)).end();
  relay.to = other.port;
  relay.cut();
  await refused(
    login,
    '08006',
    /^sallyport: the certificate of `orders` can not be verified, so nothing was sent to it$/,
  );
  register({ tls: { mode: 'verify-full', ca: other.ca } });
  await works(await g.connect(login));
  g.controlPlane.endGrant(login.grant);
  await until('dropped there, with the certificate of now', async () => (await leftOn(other)).logins.length === 0);
});

test('it fails over to a server that has never heard of us, and back', async () => {
  await setAdminPassword(other, target.adminPassword);
  register({ tls: { mode: 'verify-full', ca: `${target.ca}\n${other.ca}` } });
  const login = give(supportRead);
  const before = await g.connect(login);
  const ended = endOf(before);
  relay.to = other.port;
  relay.cut();
  assert.match((await ended).message, /target closed the connection/);
  await Promise.all([1, 2, 3].map(async () => works(await g.connect(login))));
  assert.equal((await leftOn(other)).logins.length, 1);
  relay.to = target.port;
  relay.cut();
  await works(await g.connect(login));
  g.controlPlane.endGrant(login.grant);
  await until('gone from where it is', async () => (await leftOn(target)).logins.length === 0);
  relay.to = other.port;
  relay.cut();
  await until('and gone from where it was, when that can be reached', async () => {
    await g.gateway.reconcile();
    return (await leftOn(other)).logins.length === 0;
  });
});

test('it is a read-only standby: no login can be made there, and that is said', async () => {
  await target.query('alter system set default_transaction_read_only = on');
  await target.query('select pg_reload_conf()');
  relay.cut();
  const login = give(supportRead);
  try {
    await refused(
      login,
      '08006',
      /^sallyport: `orders` is read-only: it may be a standby, where no login can be made$/,
    );
  } finally {
    await writable(target);
  }
  relay.cut();
  await works(await g.connect(login));
});

test('its administrator may do nothing any more: said, alarmed, and made good when it may again', async () => {
  const running = give(supportRead);
  const client = await g.connect(running);
  await target.query(`alter role ${target.adminUser} nocreaterole`);
  try {
    await refused(give(supportRead), '08006', /^sallyport: the gateway may not make logins on `orders`$/);
    const ended = endOf(client);
    g.controlPlane.endGrant(running.grant);
    assert.match((await ended).message, /it was revoked/);
    await g.event('target.alarm', (e) => e.what === 'login_not_dropped');
  } finally {
    await target.query(`alter role ${target.adminUser} createrole`);
  }
  await until('dropped', async () => (await leftOn(target)).logins.length === 0);
});

test('the password of its administrator is another one: who has a login comes in, and the drop waits for the new one', async () => {
  const login = give(supportRead);
  await works(await g.connect(login));
  await setAdminPassword(target, 'rotated by somebody');
  relay.cut();
  try {
    await refused(give(supportRead), '08006', /^sallyport: `orders` did not let the gateway in$/);
    await works(await g.connect(login));
    g.controlPlane.endGrant(login.grant);
    await sessionEnded(login.grant);
    assert.equal((await leftOn(target)).logins.length, 1);
    register({ admin: { user: target.adminUser, password: new Secret('rotated by somebody') } });
    await until('dropped', async () => (await leftOn(target)).logins.length === 0);
  } finally {
    await setAdminPassword(target, target.adminPassword);
  }
});

test('its disk is full: the statement fails as it would without us, and is recorded so', async () => {
  await target.query(`
    create function full_disk() returns trigger language plpgsql as
      $$ begin raise exception 'could not extend file: no space left on device' using errcode = 'disk_full'; end $$;
    create trigger full_disk before update on orders execute function full_disk()`);
  try {
    const login = give(fixOrders);
    const client = await g.connect(login);
    await assert.rejects(client.query(`update orders set note = 'x' where id = 1`), { code: '53100' });
    await works(client);
    const { outcome } = await g.event('statement.ended', (e) => e.on.grant === login.grant);
    assert.ok(outcome.kind === 'failed' && outcome.sqlState === '53100');
  } finally {
    await target.query('drop trigger full_disk on orders; drop function full_disk()');
  }
});

test('its own administrators and limits end a session: the client hears them, and may come again', async () => {
  const login = give(supportRead);
  const terminated = await g.connect(login);
  const first = endOf(terminated);
  await target.query(`select pg_terminate_backend(pid) from pg_stat_activity where starts_with(usename, 'sally_l_')`);
  assert.equal((await first).code, '57P01');
  const idle = await g.connect(login);
  const second = endOf(idle);
  await idle.query(`set idle_session_timeout = '100ms'`);
  assert.equal((await second).code, '57P05');
  assert.equal((await sessionEnded(login.grant)).reason, 'target_closed');
  await works(await g.connect(login));
});

test('somebody holds a lock that dropping the login needs: the session is cut at once, the login goes later', async () => {
  const login = give(supportRead);
  const client = await g.connect(login);
  const ended = endOf(client);
  const lock = new pg.Client(target.server.connection(target.database));
  await lock.connect();
  await lock.query('begin; lock table pg_authid in share mode');
  try {
    g.controlPlane.endGrant(login.grant);
    assert.match((await ended).message, /it was revoked/);
    // Our own time for locks is five seconds: it has given up at least once.
    await refused(give(supportRead), '08006', /^sallyport: `orders` is held up by a lock$/);
    assert.equal((await leftOn(target)).logins.length, 1);
  } finally {
    await lock.query('commit');
    await lock.end();
  }
  await until('dropped', async () => (await leftOn(target)).logins.length === 0);
});

test('somebody holds locks on logins that are to be dropped: others come in meanwhile', async () => {
  const logins = Array.from({ length: 5 }, (_, i) => give(supportRead, 3_600_000, `user${i}`));
  const clients = await Promise.all(logins.map((login) => g.connect(login)));
  const lock = new pg.Client(target.server.connection(target.database));
  await lock.connect();
  await lock.query('begin');
  try {
    for (const name of (await leftOn(target)).logins) await lock.query(`grant select on products to "${name}"`);
    const ends = clients.map(endOf);
    for (const { grant } of logins) g.controlPlane.endGrant(grant);
    await Promise.all(ends);
    // They are at it: each has a connection of the administrator, and waits.
    await until('three wait', async () => {
      const rows = await target.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'drop role%'`,
      );
      return rows.length >= 3;
    });
    await works(await g.connect(give(supportRead)));
  } finally {
    await lock.query('rollback');
    await lock.end();
  }
});

async function writable(server: TestTarget): Promise<void> {
  const client = new pg.Client(server.server.connection(server.database));
  await client.connect();
  await client.query('set default_transaction_read_only = off');
  await client.query('alter system reset default_transaction_read_only');
  await client.query('select pg_reload_conf()');
  await client.end();
}

async function setAdminPassword(server: TestTarget, password: string): Promise<void> {
  await server.query(`alter role ${server.adminUser} password '${password}'`);
}

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import pg, { type Client } from 'pg';
import type { GrantId, ResourceName } from '#core/ids.ts';
import { seconds } from '#core/instant.ts';
import { testTarget } from '#test/support/postgres.ts';
import { encodeStartup } from '#wire/postgres/startup.ts';
import { createTestingDisk } from './_testing-disk.ts';
import {
  fixOrders,
  startTestingGateway,
  supportRead,
  testingInstallation,
  type TestingGateway,
} from './_testing-gateway.ts';
import { dialled, whatComes } from './_testing-raw-client.ts';
import type { GatewayOptions } from './gateway.ts';
import { databaseRoleName, loginName as nameOfLogin } from './postgres/names.ts';

const run = promisify(execFile);
const target = await testTarget({ after }, { major: 15 });

async function gatewayFor(t: TestContext, options: Partial<GatewayOptions> = {}): Promise<TestingGateway> {
  const gateway = await startTestingGateway(target, tmpdir(), options);
  t.after(() => gateway.stop());
  return gateway;
}

/** As the gateway's administrator: since 16 only who made a role may drop it. */
async function asAdmin(...texts: string[]): Promise<void> {
  const admin = new pg.Client(target.login(target.adminUser, target.adminPassword));
  await admin.connect();
  try {
    for (const text of texts) await admin.query(text);
  } finally {
    await admin.end();
  }
}

const loginName = (grant: GrantId) => nameOfLogin(testingInstallation, grant);
const loginsLeft = async () =>
  (await target.query(`select rolname from pg_roles where rolname like 'sally\\_l\\_%'`)) as { rolname: string }[];
const backendsOf = async (user: string) =>
  (await target.query('select pid, query from pg_stat_activity where usename = $1', [user])) as { query: string }[];

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`not within thirty seconds: ${what}`);
}

/** How the connection's end looks to the client. */
const endOf = (client: Client) => new Promise<Error>((resolve) => client.on('error', resolve));

for (const [name, reason, how] of [
  ['its time is over', 'expired', () => {}],
  ['it is revoked', 'revoked', (g: TestingGateway, grant) => g.controlPlane.endGrant(grant, 'revoked')],
  ['it is handed back', 'handed_back', (g: TestingGateway, grant) => g.controlPlane.endGrant(grant, 'handed_back')],
  ['its principal is suspended', 'suspended', (g: TestingGateway) => g.controlPlane.suspend('ada')],
  [
    'the poll finds it ended',
    'revoked',
    (g: TestingGateway, grant) => {
      g.controlPlane.endSilently(grant);
      g.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' });
    },
  ],
] as const satisfies readonly (readonly [
  string,
  string,
  (g: TestingGateway, grant: ReturnType<TestingGateway['give']>['grant']) => void,
])[]) {
  test(`INVARIANT 4 and 12: when ${name}, the statement is cancelled, the client is told, login and backend are gone`, async (t) => {
    const g = await gatewayFor(t, { reconcileEveryMs: 200 });
    const login = g.give(supportRead, reason === 'expired' ? 5000 : 60_000);
    const psql = run('psql', ['-X', '-c', 'select pg_sleep(60)'], { env: { ...process.env, ...g.env(login) } });
    const ended = psql.then(
      () => assert.fail('the statement ended by itself'),
      (error: { stderr: string }) => error.stderr,
    );
    await g.event('statement.begun');
    const user = loginName(login.grant);
    await until('the statement runs', async () => (await backendsOf(user)).some((b) => b.query.includes('pg_sleep')));
    how(g, login.grant);
    assert.match(await ended, new RegExp(`FATAL: {2}sallyport: your access to \`orders/support-read\` has ended`));
    await until('the backend is gone', async () => (await backendsOf(user)).length === 0);
    await until('the login is gone', async () => !(await loginsLeft()).some((l) => l.rolname === user));
    const end = await g.event('session.ended');
    assert.equal(end.reason, reason);
    const statement = await g.event('statement.ended');
    assert.equal(statement.outcome.kind, 'cut');
    await assert.rejects(g.connect(login), { code: '28000' }, 'and nobody comes back in');
  });
}

test('INVARIANT 8: of two overlapping grants the end of one leaves the sessions of the other alone', async (t) => {
  const g = await gatewayFor(t);
  const [one, two] = [g.give(supportRead), g.give(fixOrders)];
  const [first, second] = await Promise.all([g.connect(one), g.connect(two)]);
  const told = endOf(first);
  g.controlPlane.endGrant(one.grant);
  assert.match((await told).message, /it was revoked/);
  await g.event('target.login_dropped');
  assert.equal((await second.query('select 1 as one')).rows[0].one, 1);
  assert.deepEqual(
    (await loginsLeft()).map((l) => l.rolname),
    [loginName(two.grant)],
  );
});

test('an extension moves the deadline of a running session, and of the login', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead, 1000);
  const client = await g.connect(login);
  g.controlPlane.extend(login.grant, 60_000);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
  await until('valid until has moved', async () => {
    const [row] = (await target.query(
      `select rolvaliduntil > now() + interval '30 s' as ok from pg_roles where rolname = $1`,
      [loginName(login.grant)],
    )) as { ok: boolean }[];
    return row?.ok === true;
  });
});

test('what was decided for a grant is asked again when it is extended: a policy may look at its end', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead, 60_000);
  const client = await g.connect(login);
  const text = 'select count(*) from public.orders';
  await client.query(text);
  const before = g.controlPlane.decisions();
  await client.query(text);
  assert.equal(g.controlPlane.decisions(), before);
  g.controlPlane.extend(login.grant, 120_000);
  await until('it was asked again', async () => {
    await client.query(text);
    return g.controlPlane.decisions() > before;
  });
});

test('INVARIANT 4: a gateway that has lost the control plane cuts, and opens nothing until it is back', async (t) => {
  const g = await gatewayFor(t, { graceMs: 1000 });
  const login = g.give(supportRead);
  const client = await g.connect(login);
  const told = endOf(client);
  g.controlPlane.isAway = true;
  assert.match((await told).message, /lost the control plane/);
  g.controlPlane.isAway = false;
  await until('it is back', () =>
    g.connect(login).then(
      () => true,
      () => false,
    ),
  );
});

test('INVARIANT 12: what a killed gateway left on the target is dropped by the next one', async (t) => {
  const g = await gatewayFor(t);
  const [leftover, busy] = [g.give(supportRead), g.give(supportRead)].map(({ grant }) => {
    g.controlPlane.endSilently(grant);
    return loginName(grant);
  });
  assert.ok(leftover !== undefined && busy !== undefined);
  // In one transaction: the gateway, which sweeps at its start, sees all of it or nothing. Made by its administrator.
  await target.query(`
    begin;
    set local role ${target.adminUser};
    create role ${leftover} login valid until 'tomorrow';
    create role ${busy} login password 'x' valid until 'tomorrow';
    reset role;
    grant select on orders to ${busy};
    commit`);
  await g.gateway.reconcile();
  const left = (await loginsLeft()).map((l) => l.rolname);
  assert.ok(!left.includes(leftover));
  // It was given a privilege by somebody else: dropping it needs a person, and a person is told.
  await g.event('target.alarm', (e) => e.what === 'login_not_dropped');
  await target.query(`revoke select on orders from ${busy}`);
  await g.gateway.reconcile();
  assert.deepEqual(await loginsLeft(), []);
});

test('two resources on one server: sweeping for one leaves the logins of the other', async (t) => {
  const g = await gatewayFor(t);
  const other = { ...g.access, resource: 'billing' as ResourceName };
  await g.restart({
    controlPlane: {
      ...g.controlPlane,
      postgresResources: () => Promise.resolve([g.access.resource, other.resource]),
      resourceTarget: (name) => Promise.resolve(name === other.resource ? other : g.access),
    },
  });
  const client = await g.connect(g.give(supportRead));
  await g.gateway.reconcile();
  assert.equal((await client.query('select 1 as one')).rows[0]?.one, 1);
});

test('the database enforces the role as well: with the temporary login itself, round the gateway', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const client = await g.connect(login);
  const user = loginName(login.grant);
  await target.query(`alter role "${user}" password 'direct'`);
  const psql = (...args: string[]) =>
    run('psql', ['-X', '-At', ...args.flatMap((a) => ['-c', a])], {
      env: {
        ...process.env,
        PGHOST: target.host,
        PGPORT: String(target.port),
        PGDATABASE: target.database,
        PGUSER: user,
        PGPASSWORD: 'direct',
      },
    }).catch((e: { stdout: string; stderr: string }) => e);
  const { stdout, stderr } = await psql(
    'select count(*) from orders',
    'select email from customers',
    `update orders set note = ''`,
    'set role none',
    'select count(*) from orders',
    'create table mine ()',
  );
  assert.match(stdout, /^180\n/);
  assert.match(stderr, /permission denied for table customers/);
  assert.match(stderr, /read-only transaction|permission denied for table orders/);
  assert.match(stderr, /permission denied for table orders/);
  assert.match(stderr, /permission denied for schema public|read-only transaction/);
  await client.end();
});

test('a target where connecting was taken from everybody lets the temporary login in, and forgets it', async (t) => {
  const g = await gatewayFor(t);
  await target.query(`revoke connect on database ${target.database} from public`);
  await target.query(`grant connect on database ${target.database} to ${target.adminUser} with grant option`);
  t.after(() => target.query(`grant connect on database ${target.database} to public`));
  const login = g.give(supportRead);
  const client = await g.connect(login);
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
  g.controlPlane.endGrant(login.grant, 'revoked');
  client.on('error', () => {});
  await until('the login is gone', async () => {
    const rows = await target.query(`select from pg_roles where rolname = $1`, [loginName(login.grant)]);
    return rows.length === 0;
  });
});

test('the role on the target converges to what is declared: less is taken away, more is given', async (t) => {
  const g = await gatewayFor(t);
  await (await g.connect(g.give(supportRead))).end();
  const role = databaseRoleName(testingInstallation, supportRead.name);
  await target.query(`grant delete on products to "${role}"`).catch(() => {});
  const narrower = {
    ...supportRead,
    permissions: { tables: supportRead.permissions.tables.slice(0, 1), functions: [] },
  };
  const held = async () =>
    (
      (await target.query(
        `select table_name || ':' || privilege_type as p from information_schema.role_table_grants where grantee = $1
         union select table_name || '.' || column_name from information_schema.column_privileges where grantee = $1 and table_name = 'customers'
         order by 1`,
        [role],
      )) as { p: string }[]
    ).map((r) => r.p);
  // Given by the superuser, so it isn't ours to take: the session is refused rather than opened with more than declared.
  await assert.rejects(g.connect(g.give(narrower)), { code: '08006' });
  await target.query(`revoke delete on products from "${role}"`);
  await (await g.connect(g.give(narrower))).end();
  assert.deepEqual(await held(), ['orders:SELECT']);
  await (await g.connect(g.give(supportRead, 60_000, 'eve'))).end();
  assert.deepEqual(await held(), [
    'customers.city',
    'customers.id',
    'customers.name',
    'order_items:SELECT',
    'orders:SELECT',
    'products:SELECT',
  ]);
});

test('INVARIANT 10: no password of a target is in its log, in a record or in an error', async (t) => {
  const g = await gatewayFor(t);
  await target.logStatements();
  await (await g.connect(g.give(supportRead))).end();
  await g.event('session.ended');
  const log = target.log();
  assert.match(log, /create role "sally_l_/);
  assert.doesNotMatch(log, /password '(?!SCRAM-SHA-256\$)/);
  const written = JSON.stringify(g.controlPlane.records);
  assert.ok(!written.includes(target.adminPassword) && !log.includes(target.adminPassword));
  assert.doesNotMatch(written, /SCRAM-SHA-256\$/);
});

for (const strict of [false, true]) {
  test(`INVARIANT 6: when the journal can not be written nothing is forwarded${strict ? ' (strict)' : ''}`, async (t) => {
    const disk = createTestingDisk();
    const g = await gatewayFor(t, { disk, strict });
    const login = g.give(fixOrders);
    const client = await g.connect(login);
    await client.query('select count(*) from orders');
    disk.room = 10;
    await assert.rejects(client.query(`update orders set note = 'unrecorded' where id = 1`), {
      code: '57P01',
      message: /can not record/,
    });
    const [row] = (await target.query('select note from orders where id = 1')) as { note: string | null }[];
    assert.equal(row?.note, null);
    await assert.rejects(g.connect(login), { code: '53100' });
    disk.room = Infinity;
    await until('it opens sessions again', () =>
      g.connect(login).then(
        () => true,
        () => false,
      ),
    );
  });
}

test('INVARIANT 6: in strict mode statements are on the disk before they are forwarded, pipelines and refusals included', async (t) => {
  const g = await gatewayFor(t, { strict: true });
  const client = await g.connect(g.give(supportRead));
  const results = await Promise.allSettled([
    client.query('select 1 as n'),
    client.query('select email from customers'),
    client.query('select $1::int as n', [2]),
  ]);
  assert.deepEqual(
    results.map((r) => (r.status === 'fulfilled' ? r.value.rows[0].n : r.reason.code)),
    [1, '42501', 2],
  );
  await client.end();
});

test('a new policy version judges running sessions anew', async (t) => {
  const g = await gatewayFor(t);
  const client = await g.connect(g.give(supportRead));
  const ask = () => client.query({ name: 'p', text: 'select count(*) from orders', values: [] });
  await ask();
  const before = g.controlPlane.decisions();
  await ask();
  assert.equal(g.controlPlane.decisions(), before, 'a verdict is kept');
  g.controlPlane.denyAll = true;
  g.controlPlane.policyVersion = 'v2';
  g.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' });
  await assert.rejects(ask(), { code: '42501' });
});

test('INVARIANT 4: groups that have changed void what was decided before', async (t) => {
  const g = await gatewayFor(t);
  const client = await g.connect(g.give(supportRead));
  const [session] = g.gateway.sessions();
  assert.ok(session !== undefined);
  await client.query('select count(*) from orders');
  g.controlPlane.denyAll = true;
  await client.query('select count(*) from orders');
  g.controlPlane.change({ kind: 'principal_changed', principal: session.principal.id });
  await assert.rejects(client.query('select count(*) from orders'), { code: '42501' });
});

test('what one ended session is told is not told to the other sessions of its grant', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const first = await g.connect(login);
  const [session] = g.gateway.sessions();
  assert.ok(session !== undefined);
  g.controlPlane.gone.add(session.id);
  await assert.rejects(first.query('select count(*) from orders'), { code: '42501', message: 'your access has ended' });
  const second = await g.connect(login);
  assert.equal((await second.query('select count(*)::int as n from orders')).rows[0].n, 180);
});

test('a role that is declared anew is what the target gives to those inside, too', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const client = await g.connect(login);
  const held = async () => {
    const rows = (await target.query(
      `select count(*)::int as n from information_schema.column_privileges
       where table_name = 'customers' and column_name = 'city' and grantee like 'sally\\_r\\_%'
         and grantee in (select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid
                         join pg_roles l on l.oid = m.member where l.rolname = $1)`,
      [loginName(login.grant)],
    )) as { n: number }[];
    return rows[0]?.n;
  };
  assert.equal(await held(), 1);
  const { tables } = supportRead.permissions;
  g.controlPlane.declare({
    ...supportRead,
    permissions: { tables: tables.filter((table) => table.name !== 'customers'), functions: [] },
  });
  g.controlPlane.policyVersion = 'v2';
  g.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' });
  await until('the privilege is taken away', async () => (await held()) === 0);
  await assert.rejects(client.query('select city from customers'), { code: '42501' });
  await client.query('select count(*) from orders');
});

for (const [what, stricter, setting] of [
  ['a shorter time for each statement', { statementTimeout: seconds(7) }, ['statement_timeout', '7s']],
  ['the right to read and no other', { permissions: supportRead.permissions }, ['transaction_read_only', 'on']],
] as const)
  test(`INVARIANT 9: a role that is given ${what} ends the sessions that began with more, and the next begin with it`, async (t) => {
    const g = await gatewayFor(t);
    const login = g.give(fixOrders);
    const client = await g.connect(login);
    const told = endOf(client);
    g.controlPlane.declare({ ...fixOrders, ...stricter });
    g.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' });
    assert.match((await told).message, /has stricter limits now, so connect again/);
    const next = await g.connect(login);
    const [name, value] = setting;
    assert.equal((await next.query(`show ${name}`)).rows[0][name], value);
    // What was made wider holds for who comes after, and ends nobody.
    g.controlPlane.declare(fixOrders);
    g.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v3' });
    const wider = await g.connect(login);
    assert.notEqual((await wider.query(`show ${name}`)).rows[0][name], value);
    assert.equal((await next.query(`show ${name}`)).rows[0][name], value);
  });

test('INVARIANT 1: a control plane that does not answer is a denial', async (t) => {
  const g = await gatewayFor(t);
  const client = await g.connect(g.give(supportRead));
  await client.query('select 1');
  g.controlPlane.isAway = true;
  await assert.rejects(client.query('select count(*) from orders'), { code: '42501', message: /could not be judged/ });
  g.controlPlane.isAway = false;
  assert.equal((await client.query('select count(*)::int as n from orders')).rows[0].n, 180);
});

test('INVARIANT 14: unknown user and wrong password get the same answer', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const answer = (user: string) =>
    g.connect({ user, password: 'wrong' }).then(
      () => assert.fail('it opened'),
      (error: Error & { code: string }) => [error.code, error.message.replace(user, 'USER')],
    );
  assert.deepEqual(await answer(login.user), await answer('nobody.at.all'));
  assert.deepEqual(await answer(login.user), ['28P01', 'password authentication failed for user "USER"']);
});

test('INVARIANT 14: a silent client loses its socket, and one address has only so many', async (t) => {
  const g = await gatewayFor(t, {
    listen: { host: '127.0.0.1', port: 0, handshakeMs: 300, maxHandshakesPerAddress: 3 },
  });
  const login = g.give(supportRead);
  const silent = await Promise.all([1, 2, 3].map(() => dialled(g.gateway.port)));
  const all = silent.map(whatComes);
  const fourth = await dialled(g.gateway.port);
  // Who has waited longest makes room.
  assert.match((await all[0])?.toString() ?? '', /too many connections/);
  assert.equal((await whatComes(fourth)).length, 0);
  await Promise.all(all);
  await (await g.connect(login)).end();
});

for (const [name, bytes] of [
  ['nonsense', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['a huge length', Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0])],
  [
    'the same parameter twice',
    Buffer.concat([Buffer.from([0, 0, 0, 23, 0, 3, 0, 0]), Buffer.from('user\0a\0user\0b\0\0')]),
  ],
] as const) {
  test(`a first packet with ${name} is refused, and costs nobody else anything`, async (t) => {
    const g = await gatewayFor(t);
    const socket = await dialled(g.gateway.port);
    const came = whatComes(socket);
    socket.write(bytes);
    await came;
    await (await g.connect(g.give(supportRead))).end();
  });
}

for (const [name, value] of [
  ['options', '-d 5'],
  ['replication', 'database'],
  ['client_encoding', 'SJIS'],
] as const) {
  test(`the start-up parameter ${name} is refused`, async (t) => {
    const g = await gatewayFor(t);
    const socket = await dialled(g.gateway.port);
    const came = whatComes(socket);
    socket.write(
      encodeStartup(
        0,
        new Map([
          ['user', 'ada'],
          ['database', 'orders'],
          [name, value],
        ]),
      ),
    );
    assert.match((await came).toString(), /sallyport: /);
  });
}

test('a slow client holds up the target, not the memory', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const client = await g.connect(login);
  const stream = (client as unknown as { connection: { stream: Socket } }).connection.stream;
  const query = client.query(`select repeat('x', 1000000) from generate_series(1, 300)`);
  await g.event('statement.begun');
  stream.pause();
  const before = process.memoryUsage().external;
  await new Promise((resolve) => setTimeout(resolve, 700));
  // Not the resident set: the parsing thread's compiler takes and gives back hundreds of megabytes of its own.
  assert.ok(process.memoryUsage().external - before < 50e6, '300 MB are not in memory');
  const other = await g.connect(login);
  assert.equal((await other.query('select 1 as one')).rows[0].one, 1);
  stream.resume();
  assert.equal((await query).rows.length, 300);
});

test('a client that goes away while its statement runs: the statement is cancelled', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const client = await g.connect(login);
  client.query('select pg_sleep(60)').catch(() => {});
  await g.event('statement.begun');
  const user = loginName(login.grant);
  await until('it runs', async () => (await backendsOf(user)).length === 1);
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  await until('it is gone', async () => (await backendsOf(user)).length === 0);
  assert.equal((await g.event('session.ended')).reason, 'client_closed');
});

test('many connections at once under one grant, each with its statements', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const [row] = (await target.query(`select current_setting('max_connections')::int as most`)) as { most: number }[];
  const count = Math.min(100, (row?.most ?? 0) - 12);
  assert.ok(count > 0);
  const clients = await Promise.all(Array.from({ length: count }, () => g.connect(login)));
  const sums = await Promise.all(
    clients.map(async (client, i) => {
      let sum = 0;
      for (let k = 0; k < 5; k += 1) sum += (await client.query('select $1::int + $2::int as n', [i, k])).rows[0].n;
      return sum;
    }),
  );
  assert.deepEqual(
    sums,
    Array.from({ length: count }, (_, i) => 5 * i + 10),
  );
  await Promise.all(clients.map((client) => client.end()));
  await until('all have ended', () => g.gateway.sessions().length === 0);
});

test('a restart: the journal is shipped in full, exactly once, although the control plane fails half the time', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  g.controlPlane.storesAndFails = true;
  const client = await g.connect(login);
  for (let i = 0; i < 20; i += 1) await client.query(`select ${i}`);
  await client.end();
  await g.restart();
  g.controlPlane.storesAndFails = false;
  await (await g.connect(login)).end();
  await g.event('session.ended');
  await until('all is there', () => g.gateway.unshippedBytes() < 200);
  const numbers = g.controlPlane.records.map((r) => r.number);
  assert.deepEqual(
    numbers,
    Array.from({ length: numbers.length }, (_, i) => i + 1),
  );
  assert.equal(g.controlPlane.events().filter((e) => e.kind === 'statement.begun').length, 20);
});

test('a cancel request with a wrong key cancels nothing', async (t) => {
  const g = await gatewayFor(t);
  const client = await g.connect(g.give(supportRead));
  const { processID } = client as unknown as { processID: number };
  const slow = client.query('select pg_sleep(0.5), 1 as one');
  const { encodeCancelRequest } = await import('#wire/postgres/startup.ts');
  for (const key of [Buffer.alloc(4), randomBytes(4), randomBytes(32)]) {
    const socket = await dialled(g.gateway.port);
    const came = whatComes(socket);
    socket.write(encodeCancelRequest(processID, key));
    assert.equal((await came).length, 0);
  }
  assert.equal((await slow).rows[0].one, 1);
});

test('INVARIANT 12: a killed gateway that comes back uses the login of a grant that is still active, and drops it at its end', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  const user = loginName(login.grant);
  await (await g.connect(login)).end();
  // What a kill leaves behind: the login, with a password that nobody knows any more.
  await g.restart();
  await asAdmin(`create role "${user}" login password 'lost'`);
  const client = await g.connect(login);
  assert.equal((await client.query('select count(*)::int as n from orders')).rows[0].n, 180);
  g.controlPlane.endGrant(login.grant);
  await until('it is gone', async () => (await loginsLeft()).length === 0);
});

test('a login that somebody changed on the target is made anew', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give({ ...supportRead, maxConnections: 2 });
  await (await g.connect(login)).end();
  await target.query(`alter role "${loginName(login.grant)}" password 'other'`);
  const clients = await Promise.all([g.connect(login), g.connect(login)]);
  await assert.rejects(g.connect(login), { code: '53300', message: /too many connections/ });
  await Promise.all(clients.map((client) => client.end()));
});

test('INVARIANT 12: a login that an earlier life of the gateway made goes with its grant as well', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  await asAdmin(`create role "${loginName(login.grant)}" login`);
  await g.gateway.reconcile();
  assert.ok(
    (await loginsLeft()).some((l) => l.rolname === loginName(login.grant)),
    'the grant is active: it stays',
  );
  g.controlPlane.endGrant(login.grant);
  await until('it is gone', async () => (await loginsLeft()).length === 0);
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { testTarget } from '#test/support/postgres.ts';
import { decodeErrorFields } from '#wire/postgres/backend.ts';
import { MessageReader } from '#wire/postgres/bytes.ts';
import { encodePassword, encodeQuery, encodeTerminate } from '#wire/postgres/frontend.ts';
import { encodeGssEncRequest, encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';
import { rawClient, type RawClient } from './_testing-raw-client.ts';
import { loginName } from './postgres/names.ts';
import { startTestingGateway, supportRead, testingInstallation, type TestingGateway } from './_testing-gateway.ts';

const servers = await Promise.all(
  ([15, 18] as const).map(async (major) => {
    const target = await testTarget({ after }, { major });
    const g = await startTestingGateway(target, tmpdir());
    after(() => g.stop());
    return { major, target, g };
  }),
);

const open = (g: TestingGateway, parameters: Record<string, string> = {}, minor = 0, login = g.give(supportRead)) =>
  rawClient({ to: { port: g.gateway.port }, ...login, database: g.target.database, parameters, minor });

const errorOf = (client: RawClient) => {
  const error = client.greeting.find((frame) => frame.type === 'E');
  return error === undefined ? undefined : decodeErrorFields(new MessageReader(error.body));
};

async function answerTo(client: RawClient, text: string): Promise<string | undefined> {
  client.send(encodeQuery(text));
  const frames = await client.until('Z');
  const row = frames.find((frame) => frame.type === 'D');
  return row?.body.toString('utf8', 6);
}

for (const { major, g } of servers) {
  test(`PostgreSQL ${major}: the client is told what the server is, also what its role and its own settings make of it`, async () => {
    const client = await open(g, { DateStyle: 'German', application_name: 'ünï', TimeZone: 'Europe/Berlin' });
    const told = client.parameters;
    assert.deepEqual(
      [...told.keys()].toSorted(),
      [
        'DateStyle',
        'IntervalStyle',
        'TimeZone',
        'application_name',
        'client_encoding',
        'default_transaction_read_only',
        'in_hot_standby',
        'integer_datetimes',
        'is_superuser',
        'scram_iterations',
        'search_path',
        'server_encoding',
        'server_version',
        'session_authorization',
        'standard_conforming_strings',
      ].filter((name) => major >= 18 || (name !== 'search_path' && name !== 'scram_iterations')),
    );
    assert.match(told.get('server_version') ?? '', new RegExp(`^${major}\\.`));
    assert.equal(told.get('DateStyle'), 'German, DMY');
    assert.equal(told.get('TimeZone'), 'Europe/Berlin');
    assert.equal(told.get('application_name'), '?n?');
    assert.equal(told.get('is_superuser'), 'off');
    assert.equal(told.get('default_transaction_read_only'), 'on', 'the login has it from its role');
    // A change is told as well, in its place.
    client.send(encodeQuery(`set intervalstyle = iso_8601`));
    assert.deepEqual(
      (await client.until('Z')).map(({ type, body }) => `${type} ${body.toString('latin1')}`),
      ['C SET\0', 'S IntervalStyle\0iso_8601\0', 'Z I'],
    );
    client.socket.destroy();
  });

  test(`INVARIANT 6: PostgreSQL ${major}: what is set at the start counts for names, and is recorded as a statement`, async () => {
    const login = g.give(supportRead);
    const client = await open(g, { options: '-c search_path=pg_catalog -c geqo=off' }, 0, login);
    assert.equal(await answerTo(client, 'show search_path'), 'pg_catalog');
    assert.equal(await answerTo(client, 'select current_setting($$geqo$$)'), 'off');
    client.send(encodeQuery('select count(*) from orders'));
    const [refused] = await client.until('Z');
    assert.match(refused?.body.toString() ?? '', /C42P01|C42501/, 'there is no such table in this path');
    assert.equal(await answerTo(client, 'select count(*) from public.orders'), '180');
    client.send(encodeTerminate());
    await client.rest();
    const ended = await g.event('session.ended', (e) => e.on.grant === login.grant);
    assert.equal(ended.statements, 6);
    const texts = g.controlPlane
      .events()
      .flatMap((e) => (e.kind === 'statement.begun' && e.on.grant === login.grant ? [[e.statement, e.text.text]] : []));
    assert.deepEqual(texts.slice(0, 3), [
      [1, `select pg_catalog.set_config('search_path', 'pg_catalog', false)`],
      [2, `select pg_catalog.set_config('geqo', 'off', false)`],
      [3, 'show search_path'],
    ]);
  });
}

const [{ g } = { g: undefined as never }] = servers.slice(1);

test('INVARIANT 6: what is set at the start and recorded has an outcome, also when what stands beside it is refused', async () => {
  const login = g.give(supportRead);
  const fields = errorOf(await open(g, { options: '-c geqo=off -c app.tenant=other' }, 0, login));
  assert.equal(fields?.get('C'), '42501');
  await g.event('session.ended', (e) => e.on.grant === login.grant);
  const records = g.controlPlane
    .events()
    .flatMap((e) => ('statement' in e && e.on.grant === login.grant ? [[e.kind, e.statement]] : []));
  assert.deepEqual(records, [
    ['statement.begun', 1],
    ['statement.denied', 2],
    ['statement.ended', 1],
  ]);
  const ended = await g.event('statement.ended', (e) => e.on.grant === login.grant);
  assert.deepEqual(ended.outcome, { kind: 'skipped' });
});

for (const [name, value, sqlState] of [
  ['role', 'sallyport_admin', '42501'],
  ['session_authorization', 'sallyport_admin', '42501'],
  ['session_preload_libraries', 'x', '42501'],
  ['standard_conforming_strings', 'off', '42501'],
  ['app.tenant', 'other', '42501'],
  ['lock_timeout', 'a lot', '22023'],
  ['nothing_known', 'x', '42501'],
] as const)
  test(`INVARIANT 7: the start-up parameter ${name}=${value} is judged as the \`set\` that it is, and the client is told`, async () => {
    for (const parameters of [{ [name]: value }, { options: `-c ${name}=${value.replaceAll(' ', '\\ ')}` }]) {
      const fields = errorOf(await open(g, parameters));
      assert.equal(fields?.get('C'), sqlState);
      assert.equal(fields?.get('V'), 'FATAL');
      assert.match(fields?.get('M') ?? '', /^sallyport: /);
    }
  });

test('another database than that of the resource is refused, in words that say so', async () => {
  const login = g.give(supportRead);
  const client = await rawClient({ to: { port: g.gateway.port }, ...login, database: 'postgres' });
  const fields = errorOf(client);
  assert.deepEqual([fields?.get('C'), fields?.get('M')], ['3D000', 'sallyport: `orders` has no database `postgres`']);
});

test('the newest protocol that both speak: 3.0, 3.2, the number that nobody will ever have, and options', async () => {
  for (const [minor, parameters, negotiated] of [
    [0, {}, undefined],
    [2, {}, undefined],
    [9999, {}, ['3.2']],
    [2, { '_pq_.test': '1', '_pq_.other': '' }, ['3.2', '_pq_.test', '_pq_.other']],
    [0, { '_pq_.test': '1' }, ['3.0', '_pq_.test']],
  ] as const) {
    const client = await open(g, parameters, minor);
    const answer = client.greeting.find((frame) => frame.type === 'v')?.body;
    const told =
      answer === undefined
        ? undefined
        : [
            `${answer.readUInt16BE(0)}.${answer.readUInt16BE(2)}`,
            ...answer.toString('utf8', 8).split('\0').slice(0, answer.readUInt32BE(4)),
          ];
    assert.deepEqual(told, negotiated);
    assert.equal(client.key?.secretKey.length, minor >= 2 ? 32 : 4);
    assert.equal(client.greeting.at(-1)?.type, 'Z');
    client.socket.destroy();
  }
});

const plain = () =>
  new Promise<Socket>((resolve) => {
    const socket = connect(g.gateway.port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => {});
  });
const nextChunk = (socket: Socket) =>
  new Promise<string>((resolve) => {
    socket.once('data', (chunk) => resolve(chunk.toString('latin1')));
    socket.once('close', () => resolve(''));
  });
const hello = (major: number) => {
  const packet = encodeStartup(0, new Map(Object.entries({ user: 'ada', database: 'orders' })));
  packet.writeUInt16BE(major, 4);
  return packet;
};

test('encryption that is not to be had is answered with N, each kind once, and the client may go on without', async () => {
  const socket = await plain();
  socket.write(encodeGssEncRequest());
  assert.equal(await nextChunk(socket), 'N');
  socket.write(encodeSslRequest());
  assert.equal(await nextChunk(socket), 'N');
  socket.write(hello(3));
  assert.match(await nextChunk(socket), /^R.*SCRAM-SHA-256\0\0$/s);
  socket.destroy();
  const again = await plain();
  again.write(encodeGssEncRequest());
  assert.equal(await nextChunk(again), 'N');
  again.write(encodeGssEncRequest());
  assert.equal(await nextChunk(again), '');
});

test('another major version, and a password where none was asked for', async () => {
  for (const major of [1, 2, 4]) {
    const socket = await plain();
    socket.write(hello(major));
    assert.match(
      await nextChunk(socket),
      new RegExp(
        `^E.*SFATAL\0VFATAL\0C0A000\0Munsupported frontend protocol ${major}.0: server supports 3.0 to 3.2\0`,
        's',
      ),
    );
    socket.destroy();
  }
  const socket = await plain();
  socket.write(hello(3));
  await nextChunk(socket);
  socket.write(encodePassword('open sesame'));
  assert.equal(await nextChunk(socket), '');
});

test('notices of the login reach the client, and a refusal of the target in mid-login says what can be done', async (t) => {
  const { target } = servers[1] ?? assert.fail();
  await target.query(`
    create function hello() returns event_trigger language plpgsql as $$
    begin
      if session_user like 'sally\\_l\\_%' then raise notice 'maintenance at noon' using hint = 'be quick'; end if;
    end $$;
    create event trigger hello on login execute function hello();
    alter event trigger hello enable always`);
  t.after(() => target.query('drop event trigger hello; drop function hello()'));
  const client = await open(g);
  const notice = client.greeting.find((frame) => frame.type === 'N');
  assert.match(notice?.body.toString() ?? '', /Mmaintenance at noon\0Hbe quick\0/);
  assert.ok(
    client.greeting.findIndex((f) => f.type === 'N') >
      client.greeting.findIndex((f) => f.type === 'R' && f.body.readUInt32BE(0) === 0),
  );
  client.socket.destroy();
});

test('a session that is idle when an administrator ends its backend: the client is told, and the record says why', async () => {
  const login = g.give(supportRead);
  const client = await open(g, {}, 0, login);
  assert.equal(await answerTo(client, 'select 1'), '1');
  const user = loginName(testingInstallation, login.grant);
  await g.target.query('select pg_terminate_backend(pid) from pg_stat_activity where usename = $1', [user]);
  const [error] = await client.rest();
  const fields = decodeErrorFields(new MessageReader(error?.body ?? Buffer.alloc(0)));
  const words = 'terminating connection due to administrator command';
  assert.deepEqual([fields.get('V'), fields.get('C'), fields.get('M')], ['FATAL', '57P01', words]);
  const ended = await g.event('session.ended', (e) => e.on.grant === login.grant);
  assert.equal(ended.reason, 'target_closed');
  assert.equal(ended.message, `sallyport: the target has ended the session: ${words} (57P01)`);
});

test('a time-out that the client has set itself ends the idle session in the words of the target', async () => {
  const login = g.give(supportRead);
  const client = await open(g, { idle_session_timeout: '50ms' }, 0, login);
  const [error] = await client.rest();
  assert.match(error?.body.toString() ?? '', /C57P05\0/);
  const ended = await g.event('session.ended', (e) => e.on.grant === login.grant);
  assert.match(ended.message ?? '', /\(57P05\)/);
});

test(
  'an idle session costs nothing, and the system notices when either peer has vanished',
  { skip: process.platform !== 'linux' },
  async () => {
    const client = await open(g);
    const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, '0');
    // Columns: number, local address, remote address, state (01: established), queues, timer (02: keep-alive).
    const timers = () =>
      readFileSync('/proc/self/net/tcp', 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter(([, local, remote, state]) => {
          const isOurs = [`:${hex(g.gateway.port)}`, `:${hex(g.target.port)}`];
          return (
            state === '01' && (local?.endsWith(isOurs[0] ?? '') === true || remote?.endsWith(isOurs[1] ?? '') === true)
          );
        })
        .map(([, , , , , timer]) => timer?.slice(0, 2));
    // Just after something was sent another timer runs.
    for (const deadline = Date.now() + 5000; timers().some((t) => t !== '02') && Date.now() < deadline;)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(timers().length >= 2);
    assert.deepEqual(new Set(timers()), new Set(['02']));
    client.socket.destroy();
  },
);

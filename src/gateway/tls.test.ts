import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { testCertificates, testTarget } from '#test/support/postgres.ts';
import { encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';
import { startTestingGateway, supportRead } from './_testing-gateway.ts';

const run = promisify(execFile);
const target = await testTarget({ after }, { major: 15 });
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

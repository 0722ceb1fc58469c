import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { ResourceName } from '#core/ids.ts';
import type { Duration } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import { openAdmin } from './admin.ts';

/** What a server gets that answers the start-up with this request for a password. */
async function given(request: Buffer): Promise<string> {
  let received = '';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(request));
    socket.on('data', (data) => (received += data.toString('latin1')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await using admin = openAdmin({
    installation: 'testing0',
    resource: 'orders' as ResourceName,
    address: { host: '127.0.0.1', port },
    database: 'orders',
    tls: { mode: 'disable' },
    admin: { user: 'sallyport_admin', password: new Secret('hunter2hunter2') },
    connectTimeout: 2000 as Duration,
  });
  await assert.rejects(admin.query('select 1'), (error: Error) => {
    assert.match(String(error.cause), /not for scram-sha-256/);
    return true;
  });
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  return received;
}

const ok = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const cleartext = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]);
const md5 = Buffer.from([0x52, 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4]);

for (const [name, request] of [
  ['a cleartext password', cleartext],
  ['an MD5 password', md5],
  ['nothing', Buffer.concat([ok, ready])],
] as const)
  test(`INVARIANT 10: a target that asks its administrator for ${name} is given none, and no statement`, async () => {
    const received = await given(request);
    assert.ok(received.includes('sallyport_admin'), 'it has heard the start-up');
    assert.ok(!received.includes('hunter2') && !received.includes('md5') && !received.includes('select'), received);
  });

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import type { ResourceName } from '#core/ids.ts';
import { seconds } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import { testTarget } from '#test/support/postgres.ts';
import { startTestingGateway, supportRead, type TestingGateway } from './_testing-gateway.ts';
import type { TargetAccess } from './control-plane.ts';
import { dialOptions } from './postgres/target-address.ts';

const target = await testTarget({ after }, { major: 15 });

async function gatewayFor(t: TestContext): Promise<TestingGateway> {
  const gateway = await startTestingGateway(target, tmpdir());
  t.after(() => gateway.stop());
  return gateway;
}

/** A server that nobody registered, and how many have come to it. */
async function trap(t: TestContext): Promise<{ readonly port: number; readonly visitors: () => number }> {
  let visitors = 0;
  const server = createServer((socket) => {
    visitors += 1;
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, visitors: () => visitors };
}

for (const [name, databaseOf] of [
  ['parameters', (port: number) => `dbname=orders host=127.0.0.1 port=${port}`],
  ['a URL', (port: number) => `postgresql://127.0.0.1:${port}/orders`],
  ['an address', (port: number) => `127.0.0.1:${port}/orders`],
  ['another database of the same server', () => 'postgres'],
] as const)
  test(`INVARIANT 11: a database name that is ${name} leads nowhere`, async (t) => {
    const g = await gatewayFor(t);
    const elsewhere = await trap(t);
    await assert.rejects(
      g.connect(g.give(supportRead), { database: databaseOf(elsewhere.port) }),
      (error: Error & { code?: string }) => typeof error.code === 'string' && /sallyport/.test(error.message),
    );
    assert.equal(elsewhere.visitors(), 0);
  });

test('INVARIANT 11: a resource that is registered no more is not dialled, under a grant that still lives', async (t) => {
  const g = await gatewayFor(t);
  const login = g.give(supportRead);
  await (await g.connect(login)).end();
  await g.restart({ controlPlane: { ...g.controlPlane, resourceTarget: () => Promise.resolve(undefined) } });
  await assert.rejects(g.connect(login), /sallyport/);
});

const access = (host: string, tls: TargetAccess['tls']): TargetAccess => ({
  installation: 'testing0',
  resource: 'orders' as ResourceName,
  address: { host, port: 5432 },
  database: 'orders',
  tls,
  admin: { user: 'admin', password: new Secret('x') },
  connectTimeout: seconds(5),
});

for (const host of ['db.example.com', 'localhost.example.com', '127.0.0.1.example.com', '0.0.0.0', '10.0.0.1', '::2'])
  test(`INVARIANT 11: without TLS \`${host}\` is not dialled: it is not this machine`, () => {
    assert.throws(() => dialOptions(access(host, { mode: 'disable' })), { code: 'target_misconfigured' });
  });

for (const host of ['localhost', '127.0.0.1', '127.8.8.8', '::1'])
  test(`without TLS \`${host}\` may be dialled`, () => {
    assert.deepEqual(dialOptions(access(host, { mode: 'disable' })).address, { host, port: 5432 });
  });

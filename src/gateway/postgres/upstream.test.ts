import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import type { ResourceName } from '#core/ids.ts';
import type { Duration } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import { testTarget, type TestTarget } from '#test/support/postgres.ts';
import { deriveScramKeys } from '#wire/postgres/scram.ts';
import type { TargetAccess } from '../control-plane.ts';
import { openUpstream } from './upstream.ts';

const servers = { 15: await testTarget({ after }, { major: 15 }), 18: await testTarget({ after }, { major: 18 }) };

const accessTo = (target: TestTarget, more: Partial<TargetAccess> = {}): TargetAccess => ({
  resource: 'orders' as ResourceName,
  installation: 'testing0',
  address: { host: target.host, port: target.port },
  database: target.database,
  tls: { mode: 'verify-full', ca: target.ca },
  admin: { user: target.adminUser, password: new Secret(target.adminPassword) },
  connectTimeout: 5000 as Duration,
  ...more,
});

const identity = (user: string, password: string, startup: Record<string, string> = {}) => ({
  user,
  password: new Secret(password),
  keys: (salt: Buffer, iterations: number) => deriveScramKeys(password, salt, iterations),
  startup: new Map(Object.entries(startup)),
});

const open = async (access: TargetAccess, who = identity(access.admin.user, access.admin.password.reveal())) => {
  const upstream = await openUpstream(access, who, { random: randomBytes, signal: AbortSignal.timeout(5000) });
  upstream.endpoint.destroy();
  return upstream;
};

for (const [major, bytes] of [
  [15, 4],
  [18, 32],
] as const)
  test(`PostgreSQL ${major}: the newest protocol that both speak, with cancel keys of ${bytes} bytes`, async () => {
    const { cancelKey, parameters } = await open(accessTo(servers[major]));
    assert.equal(cancelKey.secretKey.length, bytes);
    assert.match(parameters.get('server_version') ?? '', new RegExp(`^${major}\\.`));
  });

test('PostgreSQL 18: tls from the first byte', async () => {
  const { parameters } = await open(
    accessTo(servers[18], { tls: { mode: 'verify-full', ca: servers[18].ca, direct: true } }),
  );
  assert.equal(parameters.get('integer_datetimes'), 'on');
});

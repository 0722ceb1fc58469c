import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { before, test } from 'node:test';
import type { ResourceName } from '#core/ids.ts';
import type { AppContext } from '#app/context.ts';
import { parseConfiguration } from '#policy/configuration.ts';
import { openPolicyEngine, shippedPolicies } from '#test/support/policy.ts';
import { createControlPlane } from './control-plane.ts';

let engine: Awaited<ReturnType<typeof openPolicyEngine>>;
before(async () => {
  engine = await openPolicyEngine();
});

const text = `version: 1
resources:
  orders:
    kind: postgres
    address: db.example.com:5432
    database: orders
    authentication: scram-sha-256-plus
    tls: { mode: verify-full, ca: ca.pem, direct: true, cert: sally.pem, key: { file: sally.key } }
    admin: { user: admin, password: { env: ADMIN_PASSWORD } }
    roles:
      read: { max: 1h, request: [engineering], approve: { groups: [dba] }, tables: { public.orders: { select: all } } }
`;

test('INVARIANT 10: what the configuration names of a target is read at the moment of use, and prints nothing of a secret', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-target-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const parsed = parseConfiguration({
    file: 'sallyport.yaml',
    text,
    policies: [],
    shipped: shippedPolicies(),
    engine,
  });
  assert.ok(parsed.kind === 'ok', JSON.stringify(parsed));
  const plane = createControlPlane({
    // What a target is made of, and nothing else of it.
    app: {
      policy: { configuration: parsed.configuration },
      logSigner: { vkey: 'a key' },
    } as unknown as AppContext,
    environment: { ADMIN_PASSWORD: 'hunter2hunter2' },
    timers: { setTimer: () => assert.fail('no timer is needed') },
    isAlive: () => Promise.resolve(true),
    folder,
  });
  const orders = 'orders' as ResourceName;
  await assert.rejects(plane.resourceTarget(orders), { code: 'ENOENT' }, 'nothing is left out silently');
  writeFileSync(join(folder, 'ca.pem'), 'CA');
  writeFileSync(join(folder, 'sally.pem'), 'CHAIN');
  writeFileSync(join(folder, 'sally.key'), 'KEY OF OURS\n');
  const access = await plane.resourceTarget(orders);
  assert.ok(access?.tls.mode === 'verify-full');
  const { ca, direct, certificate } = access.tls;
  assert.deepEqual([ca, direct, certificate?.chain], ['CA', true, 'CHAIN']);
  assert.equal(certificate?.key.reveal(), 'KEY OF OURS');
  assert.equal(access.authentication, 'scram-sha-256-plus');
  assert.equal(access.admin.password.reveal(), 'hunter2hunter2');
  assert.doesNotMatch(`${JSON.stringify(access)} ${inspect(access, { depth: 9 })}`, /hunter2|KEY OF OURS/);
});

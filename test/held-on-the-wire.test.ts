/** Held statements from end to end: a client of PostgreSQL, the gateway, the control plane with its store and policies, passkeys. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from 'pg';
import { denyHold } from '#app/settle-hold.ts';
import { issueCredential } from '#app/issue-credential.ts';
import type { HoldId } from '#core/ids.ts';
import type { Duration } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import type { ControlPlane } from '#gateway/control-plane.ts';
import { startGateway, type Gateway } from '#gateway/gateway.ts';
import { createControlPlane } from '#src/start/control-plane.ts';
import { entriesOf } from './support/access.ts';
import { testApp, valueOf } from './support/app.ts';
import { approvalAsked, heard, house, stateOf } from './support/holds.ts';
import { testTarget } from './support/postgres.ts';

test('held on the wire', async (t) => {
  // Hooks run in the order they were added: the gateway ends before its store does.
  let gateway: Gateway | undefined;
  const journalFolder = mkdtempSync(join(tmpdir(), 'sally-held-'));
  t.after(async () => {
    await gateway?.stop();
    rmSync(journalFolder, { recursive: true, force: true });
  });
  const target = await testTarget(t, { major: 18 });
  const app = await testApp(t);
  const { ctx } = app;
  const { ada, bob, cas, grant } = await house(
    app,
    `
@id("updates-ask") @cure("proof over statement for 10m")
forbid (principal, action == PG::Action::"update", resource == PG::Table::"orders/public.orders")
unless { context.proof.covers_action };
${approvalAsked('approval by dba')}
`,
  );
  const timers = {
    setTimer: (ms: number, run: () => void) => {
      const timer = setTimeout(run, ms).unref();
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
  };
  const plane: ControlPlane = {
    ...createControlPlane({
      app: ctx,
      environment: {},
      timers,
      isAlive: () => Promise.resolve(true),
      folder: tmpdir(),
    }),
    resourceTarget: (resource) =>
      Promise.resolve({
        resource,
        installation: 'heldtest',
        address: { host: target.host, port: target.port },
        database: target.database,
        tls: { mode: 'verify-full', ca: target.ca },
        admin: { user: target.adminUser, password: new Secret(target.adminPassword) },
        connectTimeout: 5000 as Duration,
      }),
  };
  gateway = await startGateway({
    controlPlane: plane,
    clock: ctx.clock,
    random: ctx.random,
    journalFolder,
    listen: { host: '127.0.0.1', port: 0 },
  });

  async function connected(): Promise<Client> {
    const { user, password } = valueOf(await issueCredential(ctx, await app.caller(ada), grant));
    const client = new Client({
      host: '127.0.0.1',
      port: gateway?.port ?? 0,
      database: target.database,
      user,
      password: password.reveal(),
    });
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  const noteOf = async (id: number) =>
    ((await target.query('select note from orders where id = $1', [id])) as { note: string | null }[])[0]?.note;

  /** The hold that is opened next. */
  async function nextHold(): Promise<HoldId> {
    const change = await heard(app, ({ kind }) => kind === 'hold');
    assert.ok(change.kind === 'hold');
    return change.hold;
  }

  await t.test(
    'an update waits for its writer’s passkey and an approval, is told of both, runs once, and is in the log',
    async () => {
      const client = await connected();
      const said: string[] = [];
      client.on('notice', ({ message }) => said.push(message ?? ''));
      const opened = nextHold();
      const done = client.query('update orders set note = $1 where id = $2', ['wire', '1']);
      const hold = await opened;
      while (said.length === 0) await new Promise((resolve) => setImmediate(resolve));
      assert.match(
        said[0] ?? '',
        new RegExp(`waiting for an approval by dba and your passkey.*/h/${hold} .*5:00 left`),
      );
      await app.prove(ada, { purpose: 'do_action', hold });
      assert.equal(await stateOf(app, hold), 'waiting');
      assert.notEqual(await noteOf(1), 'wire');
      await app.prove(bob, { purpose: 'approve_action', hold });
      assert.equal((await done).rowCount, 1);
      assert.equal(await noteOf(1), 'wire');
      assert.equal(await stateOf(app, hold), 'released');
      const entries = await entriesOf(app, { hold });
      assert.deepEqual(entries.slice(0, 4), ['hold.opened', 'hold.proven', 'hold.approved', 'hold.released']);
      await client.end();
    },
  );

  await t.test('denied by an approver, in psql’s words', async () => {
    const client = await connected();
    const opened = nextHold();
    const done = client.query(`update orders set note = 'no' where id = 2`).catch((error: unknown) => error);
    const hold = await opened;
    valueOf(await denyHold(ctx, await app.caller(cas), { hold, word: 'not before the backup', endsSession: false }));
    const error = (await done) as { readonly code?: string; readonly message?: string };
    assert.deepEqual([error.code, error.message], ['42501', 'sallyport: denied by cas: not before the backup']);
    assert.notEqual(await noteOf(2), 'no');
    await client.end();
  });
});

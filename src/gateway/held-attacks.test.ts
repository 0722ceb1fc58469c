/** What somebody would try to have another statement run than the one that was let through, or to have it run twice. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import type { RoleName } from '#core/ids.ts';
import { testTarget } from '#test/support/postgres.ts';
import { decodeErrorFields } from '#wire/postgres/backend.ts';
import { MessageReader } from '#wire/postgres/bytes.ts';
import { encodeBind, encodeExecute, encodeParse, encodeQuery, encodeSync } from '#wire/postgres/frontend.ts';
import { rawClient, type RawFrame } from './_testing-raw-client.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query('create schema staging');
await target.query('create table staging.orders (like public.orders including all)');
await target.query('create table counts (id int primary key, n int not null)');
await target.query('insert into counts values (1, 0), (2, 0)');
await target.query('grant usage on schema staging to public');
await target.query('grant all on staging.orders, counts to public');
const all = { select: 'all', insert: 'all', update: 'all', delete: true } as const;
const editor = {
  ...fixOrders,
  name: 'orders/editor' as RoleName,
  permissions: {
    ...fixOrders.permissions,
    tables: [
      ...fixOrders.permissions.tables,
      { schema: 'staging', name: 'orders', ...all },
      { schema: 'public', name: 'counts', ...all },
    ],
  },
} as const;
const g = await startTestingGateway(target, tmpdir(), { roles: [editor] });
after(() => g.stop());
const plane = g.controlPlane;
const login = g.give(editor);
const nextHold = () => plane.held(plane.holds.length);
const newVersion = () => {
  plane.policyVersion += '+';
  plane.change({ kind: 'policy_changed', policyVersion: plane.policyVersion });
};
const raw = () => rawClient({ to: { port: g.gateway.port }, ...login, database: target.database });
const errorOf = (frames: readonly RawFrame[]) => {
  const frame = frames.find(({ type }) => type === 'E');
  return frame === undefined ? undefined : decodeErrorFields(new MessageReader(frame.body));
};

test('INVARIANT 7: a portal is held for the tables that it was bound to, whatever the search path is when it runs', async () => {
  const isProduction = (schema: string, name: string) => schema === 'public' && name === 'orders';
  plane.cures = (ask) =>
    ask.needs.some(
      ({ action, object }) =>
        action === 'update' && object.kind === 'table' && isProduction(object.schema, object.name),
    )
      ? [{ kind: 'proof' }]
      : [];
  newVersion();
  const client = await raw();
  client.send(encodeQuery('begin'));
  await client.until('Z');
  client.send(
    encodeParse({ statement: 's', text: `update orders set note = 'smuggled' where id = 1`, parameterTypes: [] }),
    encodeBind({ portal: 'p', statement: 's', values: [] }),
    encodeSync(),
  );
  assert.equal(errorOf(await client.until('Z')), undefined);
  client.send(encodeQuery('set search_path to staging'));
  assert.equal(errorOf(await client.until('Z')), undefined);
  const before = plane.holds.length;
  client.send(encodeExecute({ portal: 'p', maxRows: 0 }), encodeSync());
  const frames = await client.until('Z');
  client.send(encodeQuery('commit'));
  await client.until('Z');
  client.socket.destroy();
  const [row] = (await target.query('select note from public.orders where id = 1')) as { note: string | null }[];
  assert.notEqual(row?.note, 'smuggled');
  assert.equal(plane.holds.length, before);
  assert.equal(errorOf(frames)?.get('C'), '42501');
});

test('INVARIANT 5: a statement that runs to be looked at runs once, also when policy lets it through meanwhile', async () => {
  plane.wantsPreview = true;
  plane.cures = (ask) => (ask.needs.some(({ action }) => action === 'update') ? [{ kind: 'preview' }] : []);
  newVersion();
  try {
    for (const values of [undefined, [1]] as const) {
      await target.query('update counts set n = 0');
      const blocker = await g.connect(g.give(editor));
      await blocker.query('begin');
      await blocker.query('delete from counts where id = 1');
      const client = await g.connect(login);
      const held = nextHold();
      const done = client.query(
        values === undefined ? 'update counts set n = n + 1 where id = 1' : 'update counts set n = n + 1 where id = $1',
        values === undefined ? undefined : [...values],
      );
      const hold = await held;
      await g.event('statement.begun', (e) => e.hold === hold.id);
      // It waits for a lock on the target; now policy asks nothing any more, and nothing may come of that.
      const cures = plane.cures;
      plane.cures = () => [];
      newVersion();
      await new Promise((resolve) => setTimeout(resolve, 300));
      await blocker.query('rollback');
      assert.equal((await done).rowCount, 1);
      plane.cures = cures;
      newVersion();
      // Whatever else of it was on its way is answered by now.
      await client.query('select 1');
      const [row] = (await target.query('select n from counts where id = 1')) as { n: number }[];
      assert.equal(row?.n, 1);
    }
  } finally {
    plane.wantsPreview = false;
    plane.cures = () => [];
  }
});

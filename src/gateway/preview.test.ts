import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import type { Client } from 'pg';
import type { RoleName } from '#core/ids.ts';
import { testTarget } from '#test/support/postgres.ts';
import { encodeQuery } from '#wire/postgres/frontend.ts';
import { encodeCancelRequest } from '#wire/postgres/startup.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';
import { rawClient, type RawFrame } from './_testing-raw-client.ts';
import type { TestingHold } from './_testing-control-plane.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query('create table drafts (id int primary key, note text, seen boolean not null default false)');
await target.query('grant all on drafts to public');
await target.query(`insert into drafts select i, 'draft ' || i from generate_series(1, 200) i`);
const editor = {
  ...fixOrders,
  name: 'orders/editor' as RoleName,
  permissions: {
    ...fixOrders.permissions,
    tables: [
      ...fixOrders.permissions.tables,
      { schema: 'public', name: 'drafts', select: 'all', insert: 'all', update: 'all', delete: true },
    ],
  },
} as const;
const g = await startTestingGateway(target, tmpdir(), { roles: [editor] });
after(() => g.stop());
const plane = g.controlPlane;
plane.wantsPreview = true;
plane.cures = (ask) =>
  ask.needs.some(({ action }) => ['insert', 'update', 'delete'].includes(action)) ? [{ kind: 'preview' }] : [];
const login = g.give(editor);

const nextHold = () => plane.held(plane.holds.length);
const previewOf = async (hold: TestingHold) => {
  while (hold.preview === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
  return hold.preview;
};
const notesWhere = async (where: string) =>
  ((await target.query(`select note from drafts where ${where} order by id`)) as { note: string }[]).map(
    ({ note }) => note,
  );
const raw = () => rawClient({ to: { port: g.gateway.port }, ...login, database: target.database });
const types = (frames: readonly RawFrame[]) => frames.map(({ type }) => type).join('');
function notices(client: Client): string[] {
  const said: string[] = [];
  client.on('notice', ({ message }) => said.push(message ?? ''));
  return said;
}

test('a previewed update shows the true rows before and after, and stays when somebody says so', async () => {
  const client = await g.connect(login);
  const said = notices(client);
  const held = nextHold();
  const done = client.query(`update drafts set note = 'new' where id <= 2 returning id`);
  const hold = await held;
  const preview = await previewOf(hold);
  assert.deepEqual(preview, {
    rows: 2,
    tag: 'UPDATE 2',
    columns: ['id', 'note', 'seen'],
    before: [
      ['1', 'draft 1', 'false'],
      ['2', 'draft 2', 'false'],
    ],
    after: [
      ['1', 'new', 'false'],
      ['2', 'new', 'false'],
    ],
    notes: [],
  });
  // It has run, and nobody else sees it.
  assert.deepEqual(await notesWhere('id <= 2'), ['draft 1', 'draft 2']);
  plane.settle(hold.id, { state: 'cured' });
  assert.deepEqual((await done).rows, [{ id: 1 }, { id: 2 }]);
  assert.deepEqual(await notesWhere('id <= 2'), ['new', 'new']);
  assert.match(said.join('\n'), /UPDATE 2 so far/);
  const begun = await g.event('statement.begun', (e) => e.hold === hold.id);
  const ended = await g.event(
    'statement.ended',
    (e) => e.on.session === begun.on.session && e.statement === begun.statement,
  );
  assert.equal(ended.transaction?.state, 'committed');
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
});

test('INVARIANT 5: a previewed statement that is denied is taken back, with its parameters, and the record says so', async () => {
  const client = await g.connect(login);
  const held = nextHold();
  const done = client.query('delete from drafts where id between $1 and $2', [11, 13]);
  const hold = await held;
  const preview = await previewOf(hold);
  assert.equal(preview.rows, 3);
  assert.deepEqual(
    preview.before.map(([id]) => id),
    ['11', '12', '13'],
  );
  assert.deepEqual(preview.after, []);
  plane.settle(hold.id, { state: 'denied', message: 'bob: too many' });
  await assert.rejects(done, { code: '42501', message: 'sallyport: denied by bob: too many' });
  assert.equal((await notesWhere('id between 11 and 13')).length, 3);
  const begun = await g.event('statement.begun', (e) => e.hold === hold.id);
  const ended = await g.event(
    'statement.ended',
    (e) => e.on.session === begun.on.session && e.statement === begun.statement,
  );
  assert.equal(ended.transaction?.state, 'rolled_back');
  await client.query('select 1');
  // And the same again, kept this time.
  const again = nextHold();
  const second = client.query('delete from drafts where id between $1 and $2', [11, 13]);
  const other = await again;
  await previewOf(other);
  plane.settle(other.id, { state: 'cured' });
  assert.equal((await second).rowCount, 3);
  assert.equal((await notesWhere('id between 11 and 13')).length, 0);
});

test('an insert shows what would be there', async () => {
  const client = await g.connect(login);
  const held = nextHold();
  const done = client.query(`insert into drafts (id, note) values (1001, 'made')`);
  const hold = await held;
  const preview = await previewOf(hold);
  assert.deepEqual([preview.before, preview.after], [[], [['1001', 'made', 'false']]]);
  plane.settle(hold.id, { state: 'cured' });
  await done;
  assert.deepEqual(await notesWhere('id = 1001'), ['made']);
});

test('within the transaction of the client: kept with it, or the whole of it has failed', async () => {
  const client = await g.connect(login);
  for (const [state, expected] of [
    ['cured', 'within'],
    ['denied', 'draft 21'],
  ] as const) {
    await target.query(`update drafts set note = 'draft 21' where id = 21`);
    await client.query('begin');
    const held = nextHold();
    const done = client.query(`update drafts set note = 'within' where id = 21`);
    const hold = await held;
    await previewOf(hold);
    assert.equal(hold.ask.inTransaction, true);
    plane.settle(hold.id, { state });
    if (state === 'cured') await done;
    else await assert.rejects(done, { code: '42501' });
    await client.query('commit');
    assert.deepEqual(await notesWhere('id = 21'), [expected]);
  }
});

test('a statement that fails by itself says so, and its hold is gone', async () => {
  const client = await g.connect(login);
  const held = nextHold();
  const done = client.query(`insert into drafts (id, note) values (30, 'twice')`);
  const hold = await held;
  await assert.rejects(done, { code: '23505' });
  while (hold.state === 'waiting') await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hold.state, 'withdrawn');
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  const bound = nextHold();
  await assert.rejects(client.query('insert into drafts (id, note) values ($1, $2)', [30, 'twice']), { code: '23505' });
  assert.notEqual((await bound).state, 'cured');
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
});

test('Ctrl-C, and a client that goes away: what ran is taken back', async () => {
  const client = await raw();
  const held = nextHold();
  client.send(encodeQuery(`update drafts set note = 'cancelled' where id = 31`));
  const hold = await held;
  await previewOf(hold);
  await client.until('N');
  assert.ok(client.key !== undefined);
  const { processId, secretKey } = client.key;
  const socket = connect(
    g.gateway.port,
    '127.0.0.1',
    () => void socket.write(encodeCancelRequest(processId, secretKey)),
  );
  assert.equal(types(await client.until('Z')), 'EZ');
  assert.deepEqual(await notesWhere('id = 31'), ['draft 31']);
  const other = nextHold();
  client.send(encodeQuery(`update drafts set note = 'gone' where id = 32`));
  const second = await other;
  await previewOf(second);
  client.socket.destroy();
  while (second.state === 'waiting') await new Promise((resolve) => setImmediate(resolve));
  const ended = await g.event('session.ended', (e) => e.on.session === second.ask.session);
  assert.equal(ended.reason, 'client_closed');
  // Nothing is locked any more.
  await target.query(`update drafts set seen = true where id = 32`);
  assert.deepEqual(await notesWhere('id = 32'), ['draft 32']);
  const begun = await g.event('statement.begun', (e) => e.hold === second.id);
  const last = await g.event(
    'statement.ended',
    (e) => e.on.session === begun.on.session && e.statement === begun.statement,
  );
  assert.equal(last.transaction?.state, 'rolled_back');
});

test('what can not be taken back is refused, with the reason, and is not run', async () => {
  const client = await g.connect(login);
  const before = plane.holds.length;
  for (const text of [
    `update drafts set note = 'two' where id = 41; update drafts set note = 'two' where id = 42`,
    `with gone as (delete from drafts where id = 43 returning id) update orders set note = 'x' where id = 1`,
  ])
    await assert.rejects(client.query(text), { code: '42501', message: /can not be taken back/ });
  assert.equal(
    plane.holds.slice(before).every(({ state }) => state === 'withdrawn'),
    true,
  );
  assert.equal((await notesWhere('id between 41 and 43')).length, 3);
});

test('an answer that is too long to be kept is taken back', async () => {
  const client = await g.connect(login);
  await target.query(`insert into drafts select i, repeat('x', 20000) from generate_series(2001, 2100) i`);
  const done = client.query('update drafts set seen = true where id > 2000 returning note');
  await assert.rejects(done, { code: '42501', hint: /returning/ });
  assert.deepEqual(await target.query('select 1 from drafts where id > 2000 and seen'), []);
});

test('INVARIANT 5: an approval for so many rows is for no more', async () => {
  const client = await g.connect(login);
  plane.wantsPreview = false;
  plane.rowsAtMost = 2;
  try {
    for (const [last, isKept] of [
      [52, true],
      [53, false],
    ] as const) {
      const held = nextHold();
      const done = client.query('update drafts set note = $2 where id between 51 and $1', [last, `to ${last}`]);
      const hold = await held;
      plane.settle(hold.id, { state: 'cured' });
      if (isKept) assert.equal((await done).rowCount, 2);
      else
        await assert.rejects(done, { code: '42501', message: /let through for 2 rows, touched 3, and was taken back/ });
    }
  } finally {
    plane.wantsPreview = true;
    plane.rowsAtMost = undefined;
  }
  assert.deepEqual(await notesWhere('id between 51 and 53'), ['to 52', 'to 52', 'draft 53']);
});

test('policy that asks for the planner’s estimate gets it, also for bound parameters', async () => {
  const client = await g.connect(login);
  plane.wantsPreview = false;
  plane.wantsEstimate = true;
  await target.query('analyze drafts');
  try {
    for (const [text, values] of [
      [`update drafts set seen = true`, undefined],
      [`update drafts set seen = true where id = $1`, [60]],
    ] as const) {
      const held = nextHold();
      const done = client.query(text, values === undefined ? undefined : [...values]);
      const hold = await held;
      if (values === undefined) assert.ok((hold.ask.estimatedRows ?? 0) > 100);
      else assert.equal(hold.ask.estimatedRows, 1);
      plane.settle(hold.id, { state: 'denied' });
      await assert.rejects(done, { code: '42501' });
    }
  } finally {
    plane.wantsPreview = true;
    plane.wantsEstimate = false;
  }
});

test('INVARIANT 7: a preview shows no rows to whom policy would not let read them, whatever the target’s privileges', async () => {
  const cures = plane.cures;
  plane.cures = (ask) => (ask.needs.every(({ action }) => action === 'select') ? [{ kind: 'proof' }] : cures(ask));
  plane.policyVersion += '+';
  plane.change({ kind: 'policy_changed', policyVersion: plane.policyVersion });
  try {
    const client = await g.connect(login);
    const held = nextHold();
    const done = client.query(`update drafts set seen = false where id = 71`);
    const hold = await held;
    const preview = await previewOf(hold);
    assert.deepEqual([preview.rows, preview.before, preview.after, preview.columns], [1, [], [], []]);
    assert.match(preview.notes?.join() ?? '', /no rows are shown/);
    plane.settle(hold.id, { state: 'denied' });
    await assert.rejects(done, { code: '42501' });
  } finally {
    plane.cures = cures;
    plane.policyVersion += '+';
    plane.change({ kind: 'policy_changed', policyVersion: plane.policyVersion });
  }
});

import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import pg from 'pg';
import { testTarget } from '#test/support/postgres.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query(`create function opens_a_cursor() returns refcursor language plpgsql as
  $$ declare r refcursor := 'theirs'; begin open r for select id from public.orders; return r; end $$`);
await target.query('create schema third; grant usage on schema third to public');
await target.query(`create table third.orders as select 1 as id; grant select on third.orders to public`);
const t = await startTestingGateway(target, tmpdir());
after(() => t.stop());

type Sender = {
  parse: (message: { name: string; text: string; types: number[] }) => void;
  bind: (message: { portal: string; statement: string; values: string[] }) => void;
  execute: (message: { portal: string }) => void;
  close: (message: { type: 'S' | 'P'; name: string }) => void;
  sync: () => void;
};

/** Sends messages as they are, up to a Sync, and answers the tag or the SQLSTATE of what came back last. */
function send(client: pg.Client, messages: (to: Sender) => void): Promise<string> {
  return new Promise((resolve) => {
    let last = '';
    const nothing = () => {};
    const query = {
      submit: (connection: Sender) => {
        messages(connection);
        connection.sync();
      },
      handleRowDescription: nothing,
      handleDataRow: nothing,
      handlePortalSuspended: nothing,
      handleEmptyQuery: nothing,
      handleCommandComplete: ({ text }: { text: string }) => (last = text),
      // The driver tells of nothing behind an error.
      handleError: (error: { code: string }) => resolve(error.code),
      handleReadyForQuery: () => resolve(last),
    };
    client.query(query as unknown as pg.Submittable);
  });
}

const unrecorded = () => target.query(`select id from orders where note = 'unrecorded'`);

test('INVARIANT 6: a portal of Bind is not run by `fetch`, past its text and parameters', async () => {
  const client = await t.connect(t.give(fixOrders));
  await client.query('begin');
  await send(client, (to) => {
    to.parse({ name: 's', text: 'update orders set note = $1 returning id', types: [] });
    to.bind({ portal: 'p', statement: 's', values: ['unrecorded'] });
  });
  await assert.rejects(client.query('fetch all from p'), { code: '0A000', message: /bound by the protocol/ });
  await client.query('rollback; begin');
  await send(client, (to) => to.bind({ portal: 'p', statement: 's', values: ['unrecorded'] }));
  assert.equal(
    await send(client, (to) => {
      to.parse({ name: '', text: 'move all from p', types: [] });
      to.bind({ portal: '', statement: '', values: [] });
      to.execute({ portal: '' });
    }),
    '0A000',
  );
  await client.query('rollback');
  assert.deepEqual(await unrecorded(), []);
  await client.query('begin; declare p cursor for select id from orders');
  assert.equal((await client.query('fetch 2 from p')).rowCount, 2);
  await client.query('commit');
  await client.end();
});

test('INVARIANT 6: a refusal runs no portal, whatever name the client has given one', async (c) => {
  const client = await t.connect(t.give(fixOrders));
  for (const name of ['refused', 'sallyport refused this', 'sallyport refused this statement'])
    await c.test(name, async () => {
      const last = await send(client, (to) => {
        to.parse({ name: '', text: `update orders set note = 'unrecorded' where id = 1`, types: [] });
        to.bind({ portal: name, statement: '', values: [] });
        to.parse({ name, text: 'select 1', types: [] });
        to.execute({ portal: 'nowhere' });
      });
      assert.equal(last, '34000');
    });
  assert.deepEqual(await unrecorded(), []);
  await client.end();
});

test('INVARIANT 6: what `execute` runs is in the record, also when it was prepared by the protocol', async () => {
  const login = t.give(fixOrders);
  const client = await t.connect(login);
  const text = `update orders set note = 'x' where id = -1`;
  await send(client, (to) => to.parse({ name: 's', text, types: [] }));
  await client.query('execute s');
  await client.end();
  const begun = await t.event('statement.begun', (e) => e.on.grant === login.grant && e.text.text === 'execute s');
  assert.deepEqual(begun.prepared, [{ name: 's', text: { text } }]);
});

test('INVARIANT 7: a prepared `execute` is judged each time, for what the name stands for then', async () => {
  const login = t.give(fixOrders);
  const client = await t.connect(login);
  await client.query('prepare p as select 1');
  await send(client, (to) => to.parse({ name: 's', text: 'execute p', types: [] }));
  const run = () =>
    send(client, (to) => {
      to.bind({ portal: '', statement: 's', values: [] });
      to.execute({ portal: '' });
    });
  assert.equal(await run(), 'SELECT 1');
  await client.query('deallocate p');
  await client.query(`prepare p as update orders set note = 'x' where id = -1`);
  const before = t.controlPlane.decisions();
  assert.equal(await run(), 'UPDATE 0');
  assert.ok(t.controlPlane.decisions() > before, 'it was asked whether the update may run');
  await client.end();
  await t.event('statement.begun', (e) => e.prepared?.[0]?.text.text.startsWith('prepare p as update') === true);
});

test('INVARIANT 7: names that the server would cut to the same are refused', async () => {
  const client = await t.connect(t.give(fixOrders));
  const [one, two] = [`${'n'.repeat(63)}1`, `${'n'.repeat(63)}2`];
  assert.equal(await send(client, (to) => to.parse({ name: one, text: 'select 1', types: [] })), '42622');
  await send(client, (to) => to.parse({ name: 'short', text: 'select 1', types: [] }));
  assert.equal(await send(client, (to) => to.bind({ portal: two, statement: 'short', values: [] })), '42622');
  assert.equal(await send(client, (to) => to.close({ type: 'S', name: two })), '42622');
  assert.equal(await send(client, (to) => to.parse({ name: 'ü'.repeat(32), text: 'select 1', types: [] })), '42622');
  assert.equal(await send(client, (to) => to.parse({ name: 'n'.repeat(63), text: 'select 1', types: [] })), '');
  await client.end();
});

test('INVARIANT 14: what a session makes the gateway keep has a bound, and going over it costs that session alone', async () => {
  const client = await t.connect(t.give(fixOrders));
  const long = (n: number) => `select 1 /* ${n} ${'x'.repeat(1_000_000)} */`;
  const answers: string[] = [];
  for (let n = 0; n < 19; n += 1)
    answers.push(await send(client, (to) => to.parse({ name: `long${n}`, text: long(n), types: [] })));
  assert.deepEqual(answers, [...Array<string>(17).fill(''), '53400', '53400']);
  await client.query('begin');
  const portals = await send(client, (to) => {
    to.parse({ name: 's', text: 'select 1', types: [] });
    for (let n = 0; n < 1001; n += 1) to.bind({ portal: `p${n}`, statement: 's', values: [] });
  });
  assert.equal(portals, '53400');
  await client.query('rollback');
  // Far more than is kept, without a Sync in between.
  const bound = await send(client, (to) => {
    to.parse({ name: '', text: 'select length($1::text)', types: [] });
    for (let n = 0; n < 150; n += 1) to.bind({ portal: '', statement: '', values: ['y'.repeat(200_000)] });
    to.execute({ portal: '' });
  });
  assert.equal(bound, 'SELECT 1');
  await client.end();
});

test('INVARIANT 4: an open cursor gives nothing that is no longer allowed', async () => {
  const client = await t.connect(t.give(fixOrders));
  await client.query('declare c cursor with hold for select id from orders');
  await client.query(`declare long cursor with hold for select id from orders -- ${'x'.repeat(20_000)}`);
  assert.equal((await client.query('fetch 1 from c')).rowCount, 1);
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v2' });
  assert.equal((await client.query('fetch 1 from c')).rowCount, 1);
  await assert.rejects(client.query('fetch 1 from long'), { code: '42501', message: /before the policy changed/ });
  t.controlPlane.denyAll = true;
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v3' });
  await assert.rejects(client.query('fetch 1 from c'), { code: '42501', message: /select on public\.orders/ });
  await assert.rejects(client.query('move 1 from c'), { code: '42501' });
  t.controlPlane.denyAll = false;
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'v4' });
  assert.equal((await client.query('fetch 1 from c')).rowCount, 1);
  await client.end();
});

test('INVARIANT 4: a cursor that a function has opened gives nothing behind a change of the policy', async () => {
  const { tables } = fixOrders.permissions;
  const functions = [{ schema: 'public', name: 'opens_a_cursor' }];
  const client = await t.connect(t.give({ ...fixOrders, permissions: { tables, functions } }));
  await client.query('begin');
  await client.query('select opens_a_cursor()');
  assert.equal((await client.query('fetch 1 from theirs')).rowCount, 1);
  t.controlPlane.denyAll = true;
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'none' });
  await assert.rejects(client.query('fetch 1 from theirs'), { code: '42501', message: /before the policy changed/ });
  t.controlPlane.denyAll = false;
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: 'all' });
  await client.query('rollback');
  // What it has declared itself is judged again instead.
  await client.query('begin; declare theirs cursor for select id from orders');
  assert.equal((await client.query('fetch 1 from theirs')).rowCount, 1);
  await client.end();
});

test('INVARIANT 4: a name that only seems to be declared again is no way to keep what is no longer allowed', async (c) => {
  const pipelined = (client: pg.Client) =>
    send(client, (to) => {
      for (const each of ['select 1/0', 'declare c cursor for select 1']) {
        to.parse({ name: '', text: each, types: [] });
        to.bind({ portal: '', statement: '', values: [] });
        to.execute({ portal: '' });
      }
    });
  const ways: Readonly<Record<string, (client: pg.Client) => Promise<unknown>>> = {
    'explain declare': (client) => client.query('explain declare c cursor for select 1'),
    'a declare that fails': (client) =>
      assert.rejects(client.query('declare c cursor for select 1'), { code: '42P03' }),
    'a declare that is skipped': async (client) => assert.equal(await pipelined(client), '22012'),
    'many that fail': async (client) => {
      for (let i = 0; i < 20; i += 1) {
        await assert.rejects(client.query(`declare c cursor for select ${i}`), { code: '42P03' });
        await client.query('rollback to s');
      }
    },
  };
  for (const [name, declareAgain] of Object.entries(ways))
    await c.test(name, async () => {
      const client = await t.connect(t.give(fixOrders));
      await client.query('declare c cursor with hold for select id from orders');
      t.controlPlane.denyAll = true;
      t.controlPlane.change({ kind: 'policy_changed', policyVersion: name });
      await client.query('begin; savepoint s');
      await declareAgain(client);
      await client.query('rollback to s');
      await assert.rejects(client.query('fetch 1 from c'), { code: '42501' });
      await client.query('rollback; close c; begin; declare c cursor for select 5 as five');
      assert.deepEqual((await client.query('fetch 1 from c')).rows, [{ five: 5 }]);
      t.controlPlane.denyAll = false;
      t.controlPlane.change({ kind: 'policy_changed', policyVersion: `${name} again` });
      assert.equal((await client.query('fetch 1 from c')).rowCount, 0);
      await client.end();
    });
});

test('begin and what follows in one pipeline, after a transaction that was rolled back or changed the path', async () => {
  const client = await t.connect(t.give(fixOrders));
  const both = (text: string) =>
    send(client, (to) => {
      for (const each of ['begin', text]) {
        to.parse({ name: '', text: each, types: [] });
        to.bind({ portal: '', statement: '', values: [] });
        to.execute({ portal: '' });
      }
    });
  assert.equal(await both('select id from orders limit 1'), 'SELECT 1');
  await client.query('rollback');
  assert.equal(await both('select id from orders limit 1'), 'SELECT 1');
  await client.query('set search_path = public, pg_catalog');
  await client.query('commit');
  assert.equal(await both('select id from orders limit 1'), 'SELECT 1');
  await client.query('rollback');
  await client.end();
});

test('a declared cursor can be described by the protocol, and not run by it', async () => {
  const client = await t.connect(t.give(fixOrders));
  await client.query('begin; declare c cursor for select id from orders');
  const described = await send(client, (to) => {
    (to as unknown as { describe: (of: { type: string; name: string }) => void }).describe({ type: 'P', name: 'c' });
  });
  assert.equal(described, '');
  assert.equal(await send(client, (to) => to.execute({ portal: 'c' })), '34000');
  await client.end();
});

test('INVARIANT 4: a portal bound under one path is not run under another after the policy has changed', async () => {
  const [orders, ...others] = fixOrders.permissions.tables;
  assert.equal(orders?.name, 'orders');
  // A role that becomes read-only ends its sessions: this one may write before and after.
  const third = { schema: 'third', name: 'orders', select: 'all', insert: 'all' } as const;
  const role = {
    ...fixOrders,
    name: 'orders/portals',
    permissions: { functions: [], tables: [orders, third, ...others] },
  };
  const both = role as unknown as typeof fixOrders;
  const client = await t.connect(t.give(both));
  await client.query('begin');
  const bind = () =>
    send(client, (to) => {
      to.parse({ name: '', text: 'select id from orders', types: [] });
      to.bind({ portal: 'p', statement: '', values: [] });
    });
  const execute = () => send(client, (to) => to.execute({ portal: 'p' }));
  await bind();
  await client.query('set local search_path to third');
  assert.match(await execute(), /^SELECT/, 'as long as nothing else has changed');
  await client.query('rollback; begin');
  await bind();
  await client.query('set local search_path to third');
  t.controlPlane.declare({ ...both, permissions: { functions: [], tables: [third] } });
  t.controlPlane.change({ kind: 'policy_changed', policyVersion: t.controlPlane.policyVersion });
  assert.equal(await execute(), '42501');
  await client.end();
});

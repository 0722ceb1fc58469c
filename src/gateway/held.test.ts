import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import type { Client } from 'pg';
import { newId } from '#core/ids.ts';
import { parseInstant, type Clock, type Instant } from '#core/instant.ts';
import { testTarget } from '#test/support/postgres.ts';
import { decodeErrorFields } from '#wire/postgres/backend.ts';
import { MessageReader } from '#wire/postgres/bytes.ts';
import { encodeBind, encodeExecute, encodeParse, encodeQuery, encodeSync } from '#wire/postgres/frontend.ts';
import { encodeCancelRequest } from '#wire/postgres/startup.ts';
import { fixOrders, startTestingGateway, wallClock } from './_testing-gateway.ts';
import { rawClient, type RawFrame } from './_testing-raw-client.ts';
import type { DecideAsk } from './control-plane.ts';

const target = await testTarget({ after }, { major: 18 });
/** The gateway's clock can be moved on. */
let ahead = 0;
const clock: Clock = { now: () => parseInstant(wallClock.now() + ahead) as Instant };
const g = await startTestingGateway(target, tmpdir(), { clock });
after(() => g.stop());
const plane = g.controlPlane;
const changes = (ask: DecideAsk) => ask.needs.some(({ action }) => action === 'update' || action === 'delete');
plane.cures = (ask) => (changes(ask) ? [{ kind: 'proof' }] : []);
const login = g.give(fixOrders);

const noteOf = async (id: number) =>
  ((await target.query('select note from orders where id = $1', [id])) as { note: string | null }[])[0]?.note;
const nextHold = () => plane.held(plane.holds.length);
/** The policy in force is another. */
const newVersion = () => {
  plane.policyVersion += '+';
  plane.change({ kind: 'policy_changed', policyVersion: plane.policyVersion });
};
function notices(client: Client): string[] {
  const said: string[] = [];
  client.on('notice', ({ message }) => said.push(message ?? ''));
  return said;
}
const raw = () => rawClient({ to: { port: g.gateway.port }, ...login, database: target.database });
const fieldsOf = (frame: RawFrame | undefined) => decodeErrorFields(new MessageReader(frame?.body ?? Buffer.alloc(0)));
const types = (frames: readonly RawFrame[]) => frames.map(({ type }) => type).join('');

/** As in docs: written anew from the words, so that it can disagree with the code. */
function digestOf(text: string, parameters: readonly (string | null)[] = [], types: readonly number[] = []): string {
  const u = (bytes: 2 | 4, n: number) => {
    const out = Buffer.alloc(bytes);
    if (bytes === 2) out.writeUInt16BE(n);
    else out.writeInt32BE(n);
    return out;
  };
  const parts = [Buffer.from('sallyport/statement/v1\0'), u(4, Buffer.byteLength(text)), Buffer.from(text)];
  parts.push(u(2, parameters.length));
  for (const [i, value] of parameters.entries()) {
    parts.push(u(4, types[i] ?? 0), u(2, 0), u(4, value === null ? -1 : Buffer.byteLength(value)));
    if (value !== null) parts.push(Buffer.from(value));
  }
  return hash('sha256', Buffer.concat(parts), 'hex');
}

test('a held statement waits, the client is told for what and where, and it runs when it is cured', async () => {
  const client = await g.connect(login);
  const said = notices(client);
  const held = nextHold();
  const text = `update orders set note = 'held' where id = 1`;
  const done = client.query(text);
  const hold = await held;
  assert.equal(hold.ask.text, text);
  assert.equal(hold.ask.digest, digestOf(text));
  assert.equal(hold.ask.inTransaction, false);
  assert.equal(hold.ask.maxSeconds, 300);
  // Nobody else waits, and nothing of it has been done.
  const other = await g.connect(login);
  assert.equal((await other.query('select note from orders where id = 1')).rows[0]?.note, await noteOf(1));
  assert.notEqual(await noteOf(1), 'held');
  plane.settle(hold.id, { state: 'cured' });
  assert.equal((await done).rowCount, 1);
  assert.equal(await noteOf(1), 'held');
  assert.equal(hold.state, 'released');
  assert.match(
    said[0] ?? '',
    /^sallyport: waiting for your passkey: https:\/\/sally\.test\/h\/hld_\w+ \(Ctrl-C gives up, 5:00 left\)$/,
  );
  const begun = await g.event('statement.begun', (e) => e.hold === hold.id);
  assert.equal(begun.digest, hold.ask.digest);
  assert.deepEqual(begun.policies.length > 0, true);
});

test('INVARIANT 5: a hold lets one run through: the same statement again waits anew', async () => {
  const client = await g.connect(login);
  const text = `update orders set note = 'once' where id = 2`;
  for (let round = 0; round < 2; round += 1) {
    const held = nextHold();
    const done = client.query(text);
    const hold = await held;
    plane.settle(hold.id, { state: 'cured' });
    await done;
  }
  const [first, second] = plane.holds.slice(-2);
  assert.notEqual(first?.id, second?.id);
  assert.deepEqual([first?.state, second?.state], ['released', 'released']);
});

test('INVARIANT 5: what is signed is the text with its parameters, byte for byte', async () => {
  const client = await g.connect(login);
  const text = 'update orders set note = $1 where id = $2';
  const held = nextHold();
  const done = client.query(text, ['bound', '3']);
  const hold = await held;
  assert.deepEqual(hold.ask.parameters, [{ text: 'bound' }, { text: '3' }]);
  assert.equal(hold.ask.protocol, 'extended');
  const types = client === undefined ? [] : [25, 23];
  assert.ok([digestOf(text, ['bound', '3']), digestOf(text, ['bound', '3'], types)].includes(hold.ask.digest));
  assert.notEqual(hold.ask.digest, digestOf(text, ['bound', '4']));
  plane.settle(hold.id, { state: 'cured' });
  await done;
  assert.equal(await noteOf(3), 'bound');
});

test('INVARIANT 5: what `execute` runs is part of what is signed', async () => {
  const client = await g.connect(login);
  // To prepare runs nothing.
  await client.query(`prepare change(int) as update orders set note = 'executed' where id = $1`);
  const held = nextHold();
  const done = client.query('execute change(4)');
  const hold = await held;
  assert.match(
    hold.ask.text,
    /^execute change\(4\)\n-- prepared as change:\nprepare change\(int\) as update orders set note = 'executed' where id = \$1$/,
  );
  plane.settle(hold.id, { state: 'cured' });
  await done;
  assert.equal(await noteOf(4), 'executed');
});

test('denied by an approver: 42501 with their word, and nothing was done', async () => {
  const client = await g.connect(login);
  const held = nextHold();
  const update = client.query(`update orders set note = 'no' where id = 5`);
  const hold = await held;
  plane.settle(hold.id, { state: 'denied', message: 'bob: not before the backup' });
  await assert.rejects(update, { code: '42501', message: 'sallyport: denied by bob: not before the backup' });
  assert.notEqual(await noteOf(5), 'no');
  const denied = await g.event('statement.denied', (e) => e.hold === hold.id);
  assert.match(denied.denial ?? '', /^den_/);
  assert.equal(denied.digest, hold.ask.digest);
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
});

test('a hold that takes too long ends with 42501 and a hint, and is withdrawn', async () => {
  const client = await g.connect(login);
  const held = nextHold();
  const done = client.query(`update orders set note = 'late' where id = 6`);
  const hold = await held;
  // The control plane lets it expire; who only polls hears of it as well.
  plane.settle(hold.id, { state: 'ended', message: 'nobody came' }, false);
  await assert.rejects(done, { code: '42501', message: 'sallyport: nobody came', hint: /Run it again/ });
  assert.notEqual(await noteOf(6), 'late');
});

test('in a transaction it waits for less long, and the transaction fails as usual', async () => {
  const client = await g.connect(login);
  await client.query('begin');
  const held = nextHold();
  const done = client.query(`update orders set note = 'within' where id = 7`);
  const hold = await held;
  assert.equal(hold.ask.inTransaction, true);
  assert.equal(hold.ask.maxSeconds, 60);
  plane.settle(hold.id, { state: 'denied' });
  await assert.rejects(done, { code: '42501', message: 'sallyport: denied' });
  // Aborted, as after any error; and what an aborted transaction would not run is asked of nobody.
  const before = plane.holds.length;
  await assert.rejects(client.query(`update orders set note = 'x' where id = 7`), { code: '25P02' });
  assert.equal(plane.holds.length, before);
  await client.query('rollback');
});

test('a second cure is told of once, and what is heard by asking as well', async () => {
  const client = await g.connect(login);
  const said = notices(client);
  const held = nextHold();
  const done = client.query(`update orders set note = 'both' where id = 8`);
  const hold = await held;
  plane.progress(hold.id, 'an approval by dba');
  while (said.length < 2) await new Promise((resolve) => setImmediate(resolve));
  plane.progress(hold.id, 'an approval by dba');
  plane.settle(hold.id, { state: 'cured' }, false);
  await done;
  assert.equal(said.length, 2);
  assert.match(said[1] ?? '', /^sallyport: still waiting for an approval by dba \(\d:\d\d left\)$/);
});

test('Ctrl-C ends the hold with 57014, and the statement is never run', async () => {
  const client = await raw();
  const held = nextHold();
  client.send(encodeQuery(`update orders set note = 'cancelled' where id = 9`));
  const hold = await held;
  await client.until('N');
  assert.ok(client.key !== undefined);
  const { processId, secretKey } = client.key;
  const cancel = (key: Buffer) =>
    new Promise<void>((resolve) => {
      const socket = connect(g.gateway.port, '127.0.0.1', () => void socket.write(encodeCancelRequest(processId, key)));
      socket.on('close', () => resolve());
      socket.resume();
    });
  const wrong = Buffer.from(secretKey);
  wrong[0] = (wrong[0] ?? 0) ^ 1;
  await cancel(wrong);
  assert.equal(hold.state, 'waiting');
  await cancel(secretKey);
  const frames = await client.until('Z');
  assert.equal(fieldsOf(frames.find(({ type }) => type === 'E')).get('C'), '57014');
  assert.deepEqual([hold.state, hold.because], ['withdrawn', 'client_cancelled']);
  assert.notEqual(await noteOf(9), 'cancelled');
  client.send(encodeQuery('select 1'));
  assert.equal(types(await client.until('Z')), 'TDCZ');
  client.socket.destroy();
});

test('a client that goes away while it waits withdraws the hold at once', async () => {
  for (const leave of ['destroy', 'end'] as const) {
    const client = await raw();
    const held = nextHold();
    client.send(encodeQuery(`update orders set note = 'gone' where id = 10`));
    const hold = await held;
    await client.until('N');
    client.socket[leave]();
    client.socket.destroy();
    await g.event('session.ended', (e) => e.on.session === hold.ask.session);
    while (hold.state === 'waiting') await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([hold.state, hold.because], ['withdrawn', 'session_ended']);
  }
  assert.notEqual(await noteOf(10), 'gone');
});

test('INVARIANT 4: a session that is cut while it waits runs nothing, and its hold is withdrawn', async () => {
  const own = g.give(fixOrders);
  const client = await g.connect(own);
  const held = nextHold();
  const done = client.query(`update orders set note = 'cut' where id = 11`).catch((error: unknown) => error);
  const hold = await held;
  plane.endGrant(own.grant, 'revoked', 'by bob');
  assert.match(String(await done), /has ended: it was revoked by bob|terminated/i);
  while (hold.state === 'waiting') await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([hold.state, hold.because], ['withdrawn', 'session_ended']);
  assert.notEqual(await noteOf(11), 'cut');
});

test('INVARIANT 4: a policy that changes while it waits is what it is judged by', async () => {
  const client = await g.connect(login);
  for (const [id, change, expected] of [
    [12, { denyAll: true }, '42501'],
    [13, { cures: () => [] }, 'allowed'],
  ] as const) {
    const before = { denyAll: plane.denyAll, cures: plane.cures };
    const held = nextHold();
    const done = client.query(`update orders set note = 'changed' where id = ${id}`);
    const hold = await held;
    Object.assign(plane, change);
    newVersion();
    const outcome = await done.then(
      () => 'allowed',
      (error: { readonly code?: string }) => error.code,
    );
    assert.equal(outcome, expected);
    Object.assign(plane, before);
    newVersion();
    assert.equal((await noteOf(id)) === 'changed', expected === 'allowed');
    assert.equal(hold.state, 'withdrawn');
  }
});

test('INVARIANT 7: when what it needs is no longer what was shown, it is not run', async () => {
  const client = await g.connect(login);
  const held = nextHold();
  const done = client.query(`update orders set note = 'moved' where id = 14`);
  const hold = await held;
  // The same text touches something else now.
  await target.query(`alter table orders rename to orders_before`);
  await target.query(`create view orders as select * from orders_before`);
  try {
    plane.settle(hold.id, { state: 'cured' });
    const outcome = await done.then(
      () => 'ran',
      (error: { code?: string }) => error.code,
    );
    // Seen by the gateway, or by the database, whose role has no right to it: never run.
    assert.equal(outcome, '42501');
  } finally {
    await target.query(`drop view orders`);
    await target.query(`alter table orders_before rename to orders`);
  }
  assert.notEqual(await noteOf(14), 'moved');
});

test('several statements in a string wait as one, and run as one', async () => {
  const client = await g.connect(login);
  const before = plane.holds.length;
  const held = nextHold();
  const done = client.query(
    `select 1; update orders set note = 'a' where id = 15; update orders set note = 'b' where id = 16`,
  );
  const hold = await held;
  assert.equal(hold.ask.context.statementCount, 3);
  assert.equal(hold.ask.needs.filter(({ action }) => action === 'update').length, 2);
  plane.settle(hold.id, { state: 'cured' });
  await done;
  assert.deepEqual([await noteOf(15), await noteOf(16)], ['a', 'b']);
  assert.equal(plane.holds.length, before + 1);
});

test('a statement beside one that nothing would give is not held but refused', async () => {
  const client = await g.connect(login);
  const before = plane.holds.length;
  await assert.rejects(
    client.query(`update orders set note = 'c' where id = 15; select email from customers; drop table orders`),
    {
      code: '42501',
    },
  );
  assert.equal(plane.holds.length, before);
});

test('a pipeline: what came before is answered first, each execution waits for itself', async () => {
  const client = await raw();
  const update = `update orders set note = $1 where id = 17`;
  const bind = (value: string) => [
    encodeBind({ portal: '', statement: 'u', values: [value] }),
    encodeExecute({ portal: '', maxRows: 0 }),
  ];
  const first = nextHold();
  client.send(
    encodeParse({ statement: '', text: 'select 17', parameterTypes: [] }),
    encodeBind({ portal: '', statement: '', values: [] }),
    encodeExecute({ portal: '', maxRows: 0 }),
    encodeParse({ statement: 'u', text: update, parameterTypes: [25] }),
    ...bind('one'),
    ...bind('two'),
    encodeSync(),
  );
  const one = await first;
  // Parsed, bound, rows of the select, and the two that were prepared behind it: all here before anybody has signed.
  assert.equal(types(await client.until('N')), '12DC12N');
  assert.deepEqual(one.ask.parameters, [{ text: 'one' }]);
  assert.equal(one.ask.digest, digestOf(update, ['one'], [25]));
  assert.equal(one.ask.inTransaction, true, 'the pipeline has a transaction open');
  const second = nextHold();
  plane.settle(one.id, { state: 'cured' });
  const two = await second;
  assert.equal(two.ask.digest, digestOf(update, ['two'], [25]));
  assert.notEqual(await noteOf(17), 'one', 'not committed before its Sync');
  plane.settle(two.id, { state: 'cured' });
  assert.equal(types(await client.until('Z')), 'C2NCZ');
  assert.equal(await noteOf(17), 'two');
  client.socket.destroy();
});

test('a pipeline whose second execution is denied comes to nothing as a whole', async () => {
  const client = await raw();
  const update = `update orders set note = $1 where id = 18`;
  const bind = (value: string) => [
    encodeBind({ portal: '', statement: 'u', values: [value] }),
    encodeExecute({ portal: '', maxRows: 0 }),
  ];
  const first = nextHold();
  client.send(
    encodeParse({ statement: 'u', text: update, parameterTypes: [25] }),
    ...bind('one'),
    ...bind('two'),
    encodeSync(),
  );
  const one = await first;
  const second = nextHold();
  plane.settle(one.id, { state: 'cured' });
  plane.settle((await second).id, { state: 'denied' });
  const frames = await client.until('Z');
  assert.equal(fieldsOf(frames.find(({ type }) => type === 'E')).get('C'), '42501');
  assert.notEqual(await noteOf(18), 'one');
  client.socket.destroy();
});

test('what an earlier proof covers goes through at once, each run is asked for, and its record names the cover', async () => {
  const client = await g.connect(login);
  const cover = newId('cover', { now: clock.now(), random: (n) => new Uint8Array(n).fill(7) });
  const asked: (string | undefined)[] = [];
  plane.cover = (ask) => {
    asked.push(ask.digest);
    return cover;
  };
  const before = plane.holds.length;
  const text = `update orders set note = 'covered' where id = 19`;
  for (let i = 0; i < 3; i += 1) await client.query(text);
  plane.cover = () => undefined;
  assert.equal(plane.holds.length, before);
  assert.deepEqual(
    asked,
    Array.from({ length: 3 }, () => digestOf(text)),
  );
  assert.equal((await g.event('statement.begun', (e) => e.cover === cover)).digest, digestOf(text));
});

test('COPY waits before its data, both ways', async () => {
  const copies = (ask: DecideAsk) => ask.context.tag === 'COPY';
  const before = plane.cures;
  plane.cures = (ask) => (copies(ask) ? [{ kind: 'proof' }] : []);
  newVersion();
  try {
    const client = await raw();
    const out = nextHold();
    client.send(encodeQuery('copy (select id from orders where id = 1) to stdout'));
    plane.settle((await out).id, { state: 'cured' });
    assert.equal(types(await client.until('Z')), 'NHdcCZ');
    client.socket.destroy();
  } finally {
    plane.cures = before;
    newVersion();
  }
});

test('what is too long to be read by whoever signs is refused, with a hint', async () => {
  const client = await g.connect(login);
  const before = plane.holds.length;
  await assert.rejects(client.query(`update orders set note = $1 where id = 20`, ['x'.repeat(70_000)]), {
    code: '42501',
    hint: /64 KiB/,
  });
  assert.equal(plane.holds.length, before);
});

test('INVARIANT 1: when the control plane can not be asked, what is curable is refused', async () => {
  const client = await g.connect(login);
  await client.query('select 1');
  const held = nextHold();
  const waiting = client.query(`update orders set note = 'away' where id = 20`);
  const hold = await held;
  plane.settle(hold.id, { state: 'cured' }, false);
  plane.isAway = true;
  plane.change({ kind: 'heartbeat', at: clock.now() });
  plane.isAway = false;
  await waiting;
  plane.isAway = true;
  await assert.rejects(client.query(`update orders set note = 'away' where id = 21`), { code: '42501' });
  plane.isAway = false;
  assert.notEqual(await noteOf(21), 'away');
});

test('in psql: the notice with the address comes while it waits', async () => {
  const held = nextHold();
  const child = spawn('psql', ['-X', '-c', `update orders set note = 'psql' where id = 22`], {
    env: { ...process.env, ...g.env(login) },
  });
  let err = '';
  const told = Promise.withResolvers<void>();
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
    if (err.includes('left)')) told.resolve();
  });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const hold = await held;
  await told.promise;
  assert.match(err, /^NOTICE: {2}sallyport: waiting for your passkey: https:/);
  plane.settle(hold.id, { state: 'cured' });
  await new Promise((resolve) => child.on('close', resolve));
  assert.equal(out.trim(), 'UPDATE 1');
});

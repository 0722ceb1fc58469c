/** The protocol's own call of a function (the fast path), by hand and by libpq's large objects. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import type { RoleName } from '#core/ids.ts';
import { testTarget } from '#test/support/postgres.ts';
import { MessageWriter } from '#wire/postgres/bytes.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';

const run = promisify(execFile);
const target = await testTarget({ after }, { major: 18 });
await target.query(`create function greet(name text, times int) returns text language sql
  as $$ select repeat('hello ' || name || ' ', times) $$`);
await target.query('create function secret() returns text language sql as $$ select $s$42$s$ $$');
const largeObjects = ['lo_creat', 'lo_create', 'lo_open', 'lo_close', 'loread', 'lowrite', 'lo_lseek64', 'lo_unlink'];
const role = {
  ...fixOrders,
  name: 'orders/functions' as RoleName,
  permissions: {
    tables: [],
    functions: [{ schema: 'public', name: 'greet' }, ...largeObjects.map((name) => ({ schema: 'pg_catalog', name }))],
  },
} as unknown as typeof fixOrders;
const t = await startTestingGateway(target, tmpdir(), { roles: [role] });
after(() => t.stop());
const oidOf = async (name: string): Promise<number> => {
  const [row] = (await target.query('select oid::int8::int4 as oid from pg_proc where proname = $1', [name])) as {
    oid: number;
  }[];
  return row?.oid ?? 0;
};

type Connection = NodeJS.EventEmitter & { stream: { write: (bytes: Buffer) => void } };

/** Sends a function call as it is, and answers the bytes of the result, or the error. */
async function call(
  client: pg.Client,
  oid: number,
  values: readonly (Buffer | null)[],
  formats = [1],
): Promise<string> {
  const { connection } = client as unknown as { connection: Connection };
  const writer = new MessageWriter()
    .begin('F')
    .int32(oid | 0)
    .uint16(formats.length);
  for (const format of formats) writer.uint16(format);
  writer.uint16(values.length);
  for (const value of values) {
    writer.int32(value?.length ?? -1);
    if (value !== null) writer.bytes(value);
  }
  const bytes = writer.uint16(0).finish().toBuffer();
  return await new Promise((resolve) => {
    let answer = '';
    const stream = connection.stream as unknown as NodeJS.EventEmitter;
    // The driver doesn't know the message: its own listener is away while this one waits.
    const others = stream.listeners('data') as ((chunk: Buffer) => void)[];
    stream.removeAllListeners('data');
    let all = Buffer.alloc(0);
    stream.on('data', function listen(chunk: Buffer) {
      all = Buffer.concat([all, chunk]);
      for (;;) {
        if (all.length < 5 || all.length < 1 + all.readUInt32BE(1)) return;
        const length = 1 + all.readUInt32BE(1);
        const [type, body] = [String.fromCharCode(all[0] ?? 0), all.subarray(5, length)];
        all = all.subarray(length);
        if (type === 'V') answer = body.readInt32BE(0) === -1 ? 'null' : body.subarray(4).toString();
        if (type === 'E') answer = /\0C(\w{5})\0/.exec(body.toString())?.[1] ?? '?';
        if (type !== 'Z') continue;
        stream.removeListener('data', listen);
        for (const other of others) stream.on('data', other);
        resolve(answer);
        return;
      }
    });
    connection.stream.write(bytes);
  });
}

test('INVARIANT 6: a function call is judged as a call of that function, and recorded with its arguments', async () => {
  const login = t.give(role);
  const client = await t.connect(login);
  const two = Buffer.from([0, 0, 0, 2]);
  assert.equal(await call(client, await oidOf('greet'), [Buffer.from('ada'), two]), 'hello ada hello ada ');
  assert.equal(await call(client, await oidOf('greet'), [Buffer.from('x'), Buffer.from('1')], [0]), 'hello x ');
  assert.equal(await call(client, await oidOf('greet'), [null, two]), 'null');
  assert.equal(await call(client, await oidOf('secret'), []), '42501');
  assert.equal(await call(client, await oidOf('pg_read_file'), [Buffer.from('/etc/passwd')]), '42501');
  assert.equal(await call(client, 3_999_999_999, []), '42883');
  assert.equal(await call(client, await oidOf('greet'), []), '42883');
  await client.query('begin');
  assert.equal(await call(client, await oidOf('greet'), [Buffer.from('x'), Buffer.from('one')], [0]), '22P02');
  assert.equal(await call(client, await oidOf('greet'), [Buffer.from('x'), two]), '25P02');
  await client.query('rollback');
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
  await client.end();
  await t.event('session.ended', (e) => e.on.grant === login.grant);
  const events = t.controlPlane.events().filter((e) => 'on' in e && e.on.grant === login.grant);
  const text = 'select "public"."greet"($1, $2)';
  const said = events.flatMap((e) => (e.kind === 'statement.begun' ? [[e.protocol, e.text.text, e.parameters]] : []));
  assert.deepEqual(said.slice(0, 3), [
    ['function', text, [{ text: 'ada' }, { text: '2' }]],
    ['function', text, [{ text: 'x' }, { text: '1' }]],
    ['function', text, [null, { text: '2' }]],
  ]);
  const ended = events.flatMap((e) =>
    e.kind === 'statement.ended' ? [[e.statement, e.outcome.kind, e.bytesOut, e.transaction?.number]] : [],
  );
  assert.deepEqual(ended.slice(0, 3), [
    [1, 'completed', 4 + 20, 1],
    [2, 'completed', 4 + 8, 2],
    [3, 'completed', 4, 3],
  ]);
  const denied = events.flatMap((e) => (e.kind === 'statement.denied' ? [e.text.text] : []));
  assert.deepEqual(denied.slice(0, 3), [
    'select "public"."secret"()',
    'select "pg_catalog"."pg_read_file"($1)',
    'fast-path call of function 3999999999',
  ]);
});

test('large objects, as psql and libpq use them, follow from a role that names their functions', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-lo-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'in');
  writeFileSync(file, 'large '.repeat(20_000));
  const psql = (of: typeof role, ...args: string[]) =>
    run('psql', ['-X', ...args], { env: { ...process.env, ...t.env(t.give(of)) } }).catch(
      (error: Error & { stdout: string; stderr: string }) => error,
    );
  const made = await psql(role, '-c', `\\lo_import ${file}`);
  const oid = /lo_import (\d+)/.exec(made.stdout)?.[1];
  assert.ok(oid !== undefined, made.stderr);
  await target.query(`grant select, update on large object ${oid} to public`);
  await psql(role, '-c', `\\lo_export ${oid} ${join(folder, 'out')}`);
  assert.equal(readFileSync(join(folder, 'out'), 'utf8'), readFileSync(file, 'utf8'));
  assert.match((await psql(fixOrders, '-c', `\\lo_import ${file}`)).stderr, /call on pg_catalog\.lo_creat/);
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import pg from 'pg';
import { testTarget } from '#test/support/postgres.ts';
import { fixOrders, startTestingGateway, supportRead } from './_testing-gateway.ts';
import type { GatewayEvent } from './records.ts';

const run = promisify(execFile);

for (const major of [15, 18] as const) {
  describe(`PostgreSQL ${major}`, async () => {
    // The target goes last: the gateway would complain that it has gone.
    const releases: (() => void | Promise<void>)[] = [];
    const target = await testTarget({ after: (release) => void releases.push(release) }, { major });
    await target.query('create schema other; create table other.orders (secret text)');
    await target.query('grant usage on schema other to public');
    const faults: unknown[] = [];
    const t = await startTestingGateway(target, tmpdir(), {
      catalogueEveryMs: 100,
      events: { fault: (what, error) => faults.push(what, error) },
    });
    after(async () => {
      await t.stop();
      for (const release of releases) await release();
      assert.deepEqual(faults, []);
    });

    const psql = (login: { user: string; password: string }, ...args: string[]) => {
      const running = run('psql', ['-X', ...args], { env: { ...process.env, ...t.env(login) } });
      // A refused `copy … from stdin` makes psql read what would have been its data: there is none.
      running.child.stdin?.end();
      // psql's exit code is that of its last command.
      return running.catch((error: Error & { stdout: string; stderr: string }) => error);
    };
    const statementsOf = async (grant: string, count: number) => {
      await t.event('session.ended', (e) => e.on.grant === grant);
      const events = t.controlPlane.events().filter((e) => 'on' in e && e.on.grant === grant);
      const of = <K extends GatewayEvent['kind']>(kind: K) =>
        events.filter((e): e is GatewayEvent & { kind: K } => e.kind === kind);
      assert.equal(of('statement.begun').length, count);
      return {
        begun: of('statement.begun'),
        ended: of('statement.ended'),
        denied: of('statement.denied'),
        all: events,
      };
    };
    const texts = (events: readonly { readonly text: { readonly text: string } }[]) => events.map((e) => e.text.text);

    test('psql: several commands, each with its rows and outcome in the record', async () => {
      const login = t.give(supportRead);
      const { stdout } = await psql(login, '-Atc', 'select 1; select count(*) from orders', '-c', 'select 1/0');
      assert.equal(stdout, '1\n180\n');
      const { begun, ended } = await statementsOf(login.grant, 2);
      assert.deepEqual(texts(begun), ['select 1; select count(*) from orders', 'select 1/0']);
      assert.deepEqual(
        ended.map((e) => [e.statement, e.command, e.outcome.kind]),
        [
          [1, 0, 'completed'],
          [1, 1, 'completed'],
          [2, 0, 'failed'],
        ],
      );
      const last = ended.at(-1)?.outcome;
      assert.equal(last?.kind === 'failed' ? last.sqlState : '', '22012');
    });

    test('psql: \\d and friends work', async () => {
      const login = t.give(supportRead);
      const { stdout, stderr } = await psql(login, '-c', '\\d orders', '-c', '\\dt', '-c', '\\df', '-c', '\\du');
      assert.match(stdout, /total_cents/);
      assert.equal(stderr, '');
    });

    test('INVARIANT 1: what the role does not give is refused with 42501, what was missing, and what would give it', async () => {
      const login = t.give(supportRead);
      const { stderr } = await psql(login, '-c', 'select email from customers', '-c', 'update orders set note = null');
      assert.match(stderr, /select on public\.customers \(email\) is not in orders\/support-read/);
      assert.match(stderr, /HINT: {2}orders\/fix-orders would give it: sally request --from-denial den_\w{26}/);
      assert.match(stderr, /update on public\.orders \(note\) is not in orders\/support-read/);
      const { denied } = await statementsOf(login.grant, 0);
      assert.deepEqual(
        denied.map((e) => [e.text.text, e.sqlState]),
        [
          ['select email from customers', '42501'],
          ['update orders set note = null', '42501'],
        ],
      );
    });

    test('a text that does not parse is answered as PostgreSQL would, with the position', async () => {
      const client = await t.connect(t.give(supportRead));
      await assert.rejects(client.query('selec 1'), {
        code: '42601',
        position: '1',
        message: /syntax error at or near "selec"/,
      });
      await assert.rejects(client.query('select * from nowhere'), {
        code: '42P01',
        message: /nowhere.* does not exist/,
      });
      await client.end();
    });

    test('a refused statement fails the transaction, on the server as well', async () => {
      const client = await t.connect(t.give(fixOrders));
      await client.query('begin');
      await client.query(`update orders set note = 'x' where id = 1`);
      await assert.rejects(client.query('select * from products'), { code: '42501' });
      await assert.rejects(client.query('select 1'), { code: '25P02' });
      await assert.rejects(client.query('select count(*) from orders'), { code: '25P02' });
      await client.query('rollback');
      assert.deepEqual((await client.query('select note from orders where id = 1')).rows, [{ note: null }]);
      await client.end();
    });

    test('a refused statement in a string of several: none of them runs', async () => {
      const client = await t.connect(t.give(fixOrders));
      await assert.rejects(client.query(`update orders set note = 'y' where id = 2; select * from products`), {
        code: '42501',
      });
      assert.deepEqual((await client.query('select note from orders where id = 2')).rows, [{ note: null }]);
      await client.end();
    });

    test('prepared statements: parameters in text and binary are in the record', async () => {
      const login = t.give(supportRead);
      const client = await t.connect(login);
      const named = { name: 'by id', text: 'select id from orders where id = $1 and placed_at < $2' };
      for (const id of [1, 2, 3]) {
        const { rows } = await client.query({ ...named, values: [id, new Date('2200-01-01T00:00:00Z')] });
        assert.deepEqual(rows, [{ id }]);
      }
      await client.query({ text: 'select $1::bytea, $2::int[]', values: [Buffer.from([0, 1, 255]), [1, 2]] });
      await client.query('select $1::text is null', [null]);
      await client.end();
      const { begun, ended } = await statementsOf(login.grant, 5);
      assert.deepEqual(
        begun.slice(0, 3).map((e) => e.parameters?.[0]),
        [{ text: '1' }, { text: '2' }, { text: '3' }],
      );
      assert.deepEqual(begun[3]?.parameters, [{ hex: '0001ff', type: 0 }, { text: '{"1","2"}' }]);
      assert.deepEqual(begun[4]?.parameters, [null]);
      assert.ok(ended.every((e) => e.outcome.kind === 'completed' && e.outcome.rows === 1));
    });

    test('a refused Parse: the pipeline is skipped up to the Sync, and the connection goes on', async () => {
      const client = await t.connect(t.give(supportRead));
      await assert.rejects(client.query('select email from customers where id = $1', [1]), { code: '42501' });
      assert.equal((await client.query('select $1::int as one', [1])).rows[0].one, 1);
      await client.query('begin');
      await assert.rejects(client.query('select email from customers where id = $1', [1]), { code: '42501' });
      await assert.rejects(client.query('select $1::int as one', [1]), { code: '25P02' });
      await client.query('rollback');
      await client.end();
    });

    test('SQL prepare and execute are judged by what they stand for', async () => {
      const client = await t.connect(t.give(supportRead));
      await client.query('prepare one as select count(*)::int as n from orders');
      assert.equal((await client.query('execute one')).rows[0].n, 180);
      await assert.rejects(client.query('prepare two as select email from customers'), { code: '42501' });
      await assert.rejects(client.query('execute two'), { code: '26000' });
      await client.query('deallocate one');
      await assert.rejects(client.query('execute one'), { code: '26000' });
      await client.end();
    });

    test('COPY out: rows, bytes and content', async () => {
      const login = t.give(supportRead);
      const { stdout } = await psql(login, '-c', '\\copy (select id, total_cents from orders order by id) to stdout');
      assert.equal(stdout.split('\n').length, 181);
      const { ended } = await statementsOf(login.grant, 1);
      const outcome = ended[0]?.outcome;
      assert.equal(outcome?.kind === 'completed' ? outcome.tag : '', 'COPY 180');
      assert.equal(ended[0]?.bytesOut, Buffer.byteLength(stdout));
    });

    test('INVARIANT 6: COPY in: the content is in the record, in full or by its hash', async () => {
      const login = t.give(fixOrders);
      const rows = Array.from({ length: 5000 }, (_, i) => `${100_000 + i},1,placed,${i}`).join('\n');
      const child = run(
        'psql',
        ['-X', '-c', 'copy orders (id, customer_id, status, total_cents) from stdin with csv'],
        {
          env: { ...process.env, ...t.env(login) },
        },
      );
      child.child.stdin?.end(`${rows}\n`);
      assert.match((await child).stdout, /COPY 5000/);
      const { ended, all } = await statementsOf(login.grant, 1);
      assert.equal(ended[0]?.copyInSha256, createHash('sha256').update(`${rows}\n`).digest('hex'));
      assert.equal(ended[0]?.bytesIn, rows.length + 1);
      const recorded = Buffer.concat(
        all.flatMap((e) => (e.kind === 'statement.copy_in' ? [Buffer.from(e.data, 'base64')] : [])),
      );
      assert.equal(recorded.toString(), `${rows}\n`.slice(0, 65_536));
      await target.query('delete from orders where id >= 100000');
    });

    test('COPY in that fails: the error arrives, and the connection goes on', async () => {
      const login = t.give(fixOrders);
      const child = run('psql', ['-X', '-f', '-'], { env: { ...process.env, ...t.env(login) } });
      child.child.stdin?.end('copy orders (id) from stdin;\nnot a number\n\\.\nselect 42 as after;\n');
      const { stdout, stderr } = await child;
      assert.match(stderr, /invalid input syntax for type integer/);
      assert.match(stdout, /42/);
    });

    test('COPY is refused where the table is', async () => {
      const { stderr } = await psql(
        t.give(supportRead),
        '-c',
        '\\copy customers to stdout',
        '-c',
        'copy orders from stdin',
      );
      assert.match(stderr, /customers \([^)]*email/);
      assert.match(stderr, /public\.orders/);
    });

    test('Ctrl-C: the client cancels with its own key, and the record says so', async () => {
      const login = t.give(supportRead);
      const child = run('psql', ['-X', '-c', 'select pg_sleep(60)'], { env: { ...process.env, ...t.env(login) } });
      // Recorded is not yet begun: a cancel that overtakes its statement on the way to the server cancels nothing.
      for (let isRunning = false; !isRunning;) {
        const rows = await target.query(
          `select from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'`,
        );
        isRunning = rows.length > 0;
      }
      // psql puts its handler in place before it sends the query.
      child.child.kill('SIGINT');
      await assert.rejects(child, /canceling statement due to user request/);
      const { all } = await statementsOf(login.grant, 1);
      assert.ok(all.some((e) => e.kind === 'statement.cancelled' && e.by === 'client'));
    });

    test('notices and notifications pass', async () => {
      const client = await t.connect(t.give(supportRead));
      const notices: string[] = [];
      client.on('notice', (n) => notices.push(n.message ?? ''));
      await client.query('rollback');
      assert.deepEqual(notices, ['there is no transaction in progress']);
      await client.end();
    });

    test('rows larger than any buffer pass unchanged', async () => {
      const client = await t.connect(t.give(supportRead));
      const { rows } = await client.query(
        `select repeat('ü', 3000000) as big, 'end' as after from generate_series(1, 3)`,
      );
      assert.equal(rows.length, 3);
      assert.ok(rows.every((r) => r.big === 'ü'.repeat(3_000_000) && r.after === 'end'));
      const text = 'x'.repeat(900_000);
      assert.equal((await client.query(`select length('${text}') as n`)).rows[0].n, 900_000);
      await client.end();
    });

    test('a large bound parameter passes in pieces, and is bound to the record by its hash', async () => {
      const login = t.give(supportRead);
      const client = await t.connect(login);
      const value = 'v'.repeat(3_000_000);
      assert.equal((await client.query('select length($1::text) as n', [value])).rows[0].n, 3_000_000);
      await client.end();
      const { begun } = await statementsOf(login.grant, 1);
      const [shown, rest] = begun[0]?.parameters ?? [];
      assert.ok(shown !== null && shown !== undefined && 'text' in shown && shown.text.startsWith('vvv'));
      assert.ok(rest !== null && rest !== undefined && 'sha256' in rest && /^[0-9a-f]{64}$/.test(rest.sha256 ?? ''));
    });

    test('a statement longer than may be held is refused, and the connection goes on', async () => {
      const client = await t.connect(t.give(supportRead));
      await assert.rejects(client.query(`select '${'x'.repeat(17 << 20)}'`), { code: '54000' });
      assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
      await client.end();
    });

    test('INVARIANT 7: names are resolved as the server does, after set search_path and its rollback too', async () => {
      const client = await t.connect(t.give(supportRead));
      const readable = () => client.query('select * from orders limit 1');
      await readable();
      await client.query('set search_path to other, public');
      await assert.rejects(readable(), { code: '42501', message: /other\.orders/ });
      await client.query('reset search_path');
      await readable();
      await client.query('begin');
      await client.query('set local search_path to other');
      await assert.rejects(readable(), { code: '42501' });
      await client.query('rollback');
      await readable();
      await assert.rejects(client.query('set search_path to other; select * from orders'), { code: '42501' });
      await readable();
      // A statement that was prepared before means another table now.
      await client.query({ name: 's', text: 'select * from orders limit 1', values: [] });
      await client.query('set search_path to other, public');
      await assert.rejects(client.query({ name: 's', text: 'select * from orders limit 1', values: [] }), {
        code: '42501',
      });
      await client.end();
    });

    test('INVARIANT 9: a role that only reads has no way out of read-only', async () => {
      const client = await t.connect(t.give(supportRead));
      for (const text of [
        'set transaction_read_only = off',
        'begin read write',
        'set session characteristics as transaction read write',
        `select set_config('default_transaction_read_only', 'off', false)`,
        'select 1; set transaction read write',
      ])
        await assert.rejects(client.query(text), { code: '42501', message: /read-only/ }, text);
      await assert.rejects(client.query('create temp table t ()'), { code: '42501' });
      await client.query('begin read only; set local work_mem to 1024; commit');
      assert.equal((await client.query('show transaction_read_only')).rows[0].transaction_read_only, 'on');
      await client.end();
      const fixer = await t.connect(t.give(fixOrders));
      await fixer.query('begin read write; set transaction_read_only = off; commit');
      await fixer.end();
    });

    test('a table that was made a moment ago is known', async () => {
      const client = await t.connect(t.give(supportRead));
      await assert.rejects(client.query('select * from fresh'), { code: '42P01' });
      await target.query('create table fresh ()');
      await assert.rejects(
        async () => {
          for (;;)
            await client
              .query('select * from fresh')
              .catch((e: pg.DatabaseError) => (e.code === '42P01' ? undefined : Promise.reject(e)));
        },
        { code: '42501' },
      );
      await client.end();
    });

    test('INVARIANT 7: a table that somebody puts before another on the path is seen soon, whatever was judged before', async () => {
      const client = await t.connect(t.give(supportRead));
      await client.query('set search_path to other, public');
      const read = () => client.query('select count(*) from products');
      await read();
      await target.query('create table other.products ()');
      for (let isSeen = false; !isSeen;) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        // Until then the database refuses by itself.
        await read().catch((error: Error) => (isSeen = error.message.includes('other.products')));
      }
      await target.query('drop table other.products');
      await client.end();
    });

    test('an error in a pipeline: the rest is skipped and recorded as such', async () => {
      const login = t.give(supportRead);
      const client = await t.connect(login);
      const { connection } = client as unknown as { connection: Record<string, (...args: unknown[]) => void> };
      const done = new Promise((resolve) =>
        (client as unknown as { connection: NodeJS.EventEmitter }).connection.once('readyForQuery', resolve),
      );
      (client as unknown as { connection: NodeJS.EventEmitter }).connection.on('errorMessage', () => {});
      const send = (text: string) => {
        connection['parse']?.({ name: '', text, types: [] });
        connection['bind']?.({ portal: '', statement: '', values: [] });
        connection['execute']?.({ portal: '', rows: 0 });
      };
      send('select 1');
      send('select 1/0');
      send('select 2');
      connection['sync']?.();
      await done;
      await client.end();
      await t.event('session.ended', (e) => e.on.grant === login.grant);
      const ended = t.controlPlane.events().filter((e) => e.kind === 'statement.ended' && e.on.grant === login.grant);
      const outcomes = ended.map((e) => (e.kind === 'statement.ended' ? e.outcome.kind : ''));
      // The third may have come after the error: then it was dropped at the door, as the server would have.
      assert.deepEqual(outcomes.slice(0, 2), ['completed', 'failed']);
      assert.ok(outcomes.length === 2 || outcomes[2] === 'skipped');
    });

    test('two sessions of two grants at once, each judged by its own role', async () => {
      const [reader, fixer] = await Promise.all([t.connect(t.give(supportRead)), t.connect(t.give(fixOrders))]);
      await assert.rejects(reader.query('select email from customers limit 1'), { code: '42501' });
      assert.equal((await fixer.query('select email from customers limit 1')).rowCount, 1);
      await assert.rejects(fixer.query('select * from products'), { code: '42501' });
      assert.equal((await reader.query('select * from products limit 1')).rowCount, 1);
      await Promise.all([reader.end(), fixer.end()]);
    });
  });
}

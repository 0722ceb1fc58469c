import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { testCertificates, testTarget } from '#test/support/postgres.ts';
import { sqlState } from '../database.ts';
import { startSampleTarget } from './sample-target.ts';

async function connect(config: pg.ClientConfig): Promise<AsyncDisposable & { readonly client: pg.Client }> {
  const client = new pg.Client(config);
  client.on('error', () => undefined);
  await client.connect();
  return { client, [Symbol.asyncDispose]: () => client.end().catch(() => undefined) };
}

test('sample: is filled at the first start, and a second start keeps data and password', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sally-sample-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const { certFile, keyFile, ca, caFile } = await testCertificates(t);
  const told: string[] = [];
  const start = () =>
    startSampleTarget({
      dataDir,
      port: 0,
      random: randomBytes,
      tls: { certFile, keyFile },
      caFile,
      onProgress: (what) => told.push(what),
    });
  const started = performance.now();
  const first = await start();
  t.diagnostic(`first start: ${Math.round(performance.now() - started)} ms`);
  assert.deepEqual(told, ['initialising the sample target', 'filling the sample database']);
  assert.equal(statSync(first.adminPasswordFile).mode & 0o777, 0o600);
  const password = readFileSync(first.adminPasswordFile, 'utf8').trim();
  assert.ok(password.length >= 24);
  const login = { host: first.host, user: first.adminUser, password, database: first.database };
  {
    await using admin = await connect({ ...login, port: first.port, ssl: { ca } });
    const { rows } = await admin.client.query(`
      select (select count(*) from customers) + (select count(*) from products) + (select count(*) from orders)
           + (select count(*) from order_items) + (select count(*) from payments) as rows,
        (select count(*) from orders where total_cents <> order_total(id)) as wrong_totals`);
    assert.ok(Number(rows[0].rows) > 95_000, `${rows[0].rows} rows`);
    assert.equal(rows[0].wrong_totals, '0');
    await admin.client.query("update customers set name = 'Changed' where id = 1");
  }
  await first.stop();
  const second = await start();
  t.after(() => second.stop());
  await using admin = await connect({ ...login, port: second.port, ssl: { ca } });
  assert.equal((await admin.client.query('select name from customers where id = 1')).rows[0].name, 'Changed');
  assert.equal(readFileSync(second.adminPasswordFile, 'utf8').trim(), password);
  assert.equal(told.length, 2);
});

for (const major of [15, 18] as const) {
  test(`target ${major}: the admin login can make a role and a login with column privileges, cut its session and drop both`, async (t) => {
    const target = await testTarget(t, { major });
    await using admin = await connect(target.login(target.adminUser, target.adminPassword));
    const run = (text: string) => admin.client.query(text);
    const { rows } = await run(
      'select rolsuper, rolcreatedb, rolbypassrls, rolreplication from pg_roles where rolname = current_user',
    );
    assert.deepEqual(rows[0], { rolsuper: false, rolcreatedb: false, rolbypassrls: false, rolreplication: false });
    assert.match(target.server.major.toString(), new RegExp(`^${major}$`));

    await run('create role sally_r_test nologin');
    await run('grant usage on schema public to sally_r_test');
    await run('grant select (id, name, city) on customers to sally_r_test');
    await run('grant select, update (status, note) on orders to sally_r_test');
    await run('grant select on order_summary to sally_r_test');
    await run('grant usage on sequence ticket_number to sally_r_test');
    await run('grant execute on function refund(integer) to sally_r_test');
    await run(
      `create role sally_l_test login password 'temporary' connection limit 2 valid until '2999-01-01' in role sally_r_test`,
    );
    await run('alter role sally_l_test set default_transaction_read_only = on');
    await run('alter role sally_l_test reset default_transaction_read_only');

    const login = await connect(target.login('sally_l_test', 'temporary'));
    const use = (text: string) => login.client.query(text);
    await use('set role sally_r_test');
    assert.equal((await use('select id, name from customers limit 3')).rowCount, 3);
    assert.equal((await use("update orders set note = 'seen' where id = 1")).rowCount, 1);
    assert.equal((await use('select customer from order_summary where id = 42')).rowCount, 1);
    const denied = (error: unknown) => sqlState(error) === '42501';
    await assert.rejects(use('select email from customers'), denied);
    await assert.rejects(use('select * from payments'), denied);
    await assert.rejects(use('update orders set total_cents = 0'), denied);
    await assert.rejects(use('create table mine (n int)'), denied);
    await assert.rejects(use('set role sallyport_admin'), denied);

    const cut = assert.rejects(use('select pg_sleep(60)'), (error) => sqlState(error) === '57P01');
    const { rows: backends } = await run(
      `select pg_terminate_backend(pid, 5000) as gone from pg_stat_activity where usename = 'sally_l_test'`,
    );
    assert.deepEqual(backends, [{ gone: true }]);
    await cut;

    await run('drop role sally_l_test');
    for (const on of [
      'schema public',
      'all tables in schema public',
      'all sequences in schema public',
      'all functions in schema public',
    ])
      await run(`revoke all on ${on} from sally_r_test`);
    await run('drop role sally_r_test');
    assert.deepEqual(await target.query(`select rolname from pg_roles where rolname like 'sally\\_%'`), []);
  });
}

test('target: TCP asks for TLS and the password, and the certificate is for this host', async (t) => {
  const target = await testTarget(t);
  const login = target.login(target.adminUser, target.adminPassword);
  await assert.rejects(connect({ ...login, ssl: false }), (error) => sqlState(error) === '28000');
  await assert.rejects(connect({ ...login, password: 'wrong' }), (error) => sqlState(error) === '28P01');
  await assert.rejects(connect({ ...login, user: target.server.superuser }), (error) => sqlState(error) === '28P01');
  await assert.rejects(connect({ ...login, ssl: {} }), /self-signed|unable to|verify/);
  await using admin = await connect({ ...login, host: 'localhost' });
  const { rows } = await admin.client.query('select ssl, version from pg_stat_ssl where pid = pg_backend_pid()');
  assert.deepEqual(rows, [{ ssl: true, version: 'TLSv1.3' }]);
  const { rows: secrets } = await admin.client.query(`select current_setting('password_encryption') as kind`);
  assert.deepEqual(secrets, [{ kind: 'scram-sha-256' }]);
});

test('target: statements are logged when asked for', async (t) => {
  const target = await testTarget(t);
  await target.logStatements();
  await target.query(`select 'seen in the log' as it`);
  assert.match(target.log(), /statement: select 'seen in the log' as it/);
});

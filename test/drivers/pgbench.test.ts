import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { House } from '#test/support/driver-house.ts';
import { type Outcome, runProgram, testDriver, withoutCommonChecks } from './_matrix.ts';

await testDriver({
  name: 'pgbench',
  run: runPgbench,
  schema: `
    set role orders_owner;
    create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
    create table pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
    create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
    create table pgbench_branches (bid int primary key, bbalance int, filler char(88));
    insert into pgbench_branches values (1, 0);
    insert into pgbench_tellers select n, 1, 0 from generate_series(1, 10) n;
    insert into pgbench_accounts select n, 1, 0 from generate_series(1, 100000) n;
    reset role`,
  tables: ['pgbench_history', 'pgbench_tellers', 'pgbench_accounts', 'pgbench_branches'],
  without: withoutCommonChecks('it has a load of its own'),
  also: {
    'select-only, simple': '800/800',
    'select-only, extended': '800/800',
    'select-only, prepared': '800/800',
    'TPC-B, prepared': '400/400',
    'TPC-B, a connection for each': '40/40',
    'pipeline of libpq': '100/100',
    'every transaction is there once': [true, 440],
    refused: '42501',
  },
});

async function runPgbench(house: House): Promise<Outcome> {
  const outcome: Record<string, unknown> = {};
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-pgbench-'));
  const bench = async (...args: readonly string[]) => {
    const { status, stdout, stderr } = await runProgram(house, ['pgbench', '-n', ...args]);
    const done = /number of transactions actually processed: (\S+)/.exec(stdout)?.[1];
    const isClean = status === 0 && /number of failed transactions: 0 /.test(stdout);
    return isClean && done !== undefined ? done : `${String(status)}: ${stdout}${stderr}`;
  };
  for (const protocol of ['simple', 'extended', 'prepared'])
    outcome[`select-only, ${protocol}`] = await bench('-S', '-M', protocol, '-c4', '-j2', '-t200');
  outcome['TPC-B, prepared'] = await bench('-M', 'prepared', '-c8', '-j2', '-t50');
  outcome['TPC-B, a connection for each'] = await bench('-C', '-c2', '-t20');

  const script = join(folder, 'pipeline.sql');
  writeFileSync(
    script,
    String.raw`\set aid random(1, 100000)
\startpipeline
begin;
select abalance from pgbench_accounts where aid = :aid;
update pgbench_accounts set abalance = abalance where aid = :aid;
end;
\endpipeline
`,
  );
  outcome['pipeline of libpq'] = await bench('-M', 'prepared', '-f', script, '-c2', '-t50');
  const [sums] = (await house.target.query(`
    select sum(delta) = (select sum(abalance) from pgbench_accounts) and sum(delta) = (select sum(tbalance) from pgbench_tellers)
      and sum(delta) = (select bbalance from pgbench_branches) as same, count(*)::int as n from pgbench_history`)) as {
    same: boolean;
    n: number;
  }[];
  outcome['every transaction is there once'] = [sums?.same, sums?.n];
  const secrets = join(folder, 'secrets.sql');
  writeFileSync(secrets, 'select * from driver_secrets;\n');
  const refused = await bench('-f', secrets, '-t1');
  outcome['refused'] = refused.includes('select on public.driver_secrets (id, word) is not in orders/driver')
    ? '42501'
    : refused;
  rmSync(folder, { recursive: true });
  return outcome;
}

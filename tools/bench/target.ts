/**
 * The database that everything is measured against: a PostgreSQL of our own with pgbench's tables, reached with TLS or
 * without. It doesn't wait for its disk: what stands in front of it then weighs more, and the disk's moods less.
 */
import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { startCopy, testCertificates, query } from '#test/support/postgres.ts';
import type { Address } from './client.ts';
import { benchTables, scale } from './workloads.ts';

export type BenchTarget = AsyncDisposable & {
  readonly port: number;
  readonly database: string;
  readonly version: string;
  readonly admin: { readonly user: string; readonly password: string };
  readonly caFile: string;
  readonly ca: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** As somebody who owns the tables. */
  readonly login: (tls: boolean) => Address;
  /** As the superuser. */
  readonly query: (text: string, values?: unknown[]) => Promise<unknown[]>;
  readonly superuser: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
  };
};

const database = 'bench';

/** Accounts take part in every figure; the others are there for COPY from the client and for writes. */
const tables = `
  create table pgbench_branches (bid int not null primary key, bbalance int, filler char(88)) with (fillfactor = 100);
  create table pgbench_tellers (tid int not null primary key, bid int, tbalance int, filler char(84)) with (fillfactor = 100);
  create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84)) with (fillfactor = 100);
  create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
  create unlogged table bench_copied (aid int, bid int, abalance int, filler char(84));
  insert into pgbench_branches select b, 0, '' from generate_series(1, ${scale}) b;
  insert into pgbench_tellers select t, (t - 1) / 10 + 1, 0, '' from generate_series(1, ${scale * 10}) t;
  insert into pgbench_accounts select a, (a - 1) / 100000 + 1, 0, '' from generate_series(1, ${scale * 100_000}) a;
  alter table pgbench_accounts add primary key (aid);
`;

export async function startTarget(): Promise<BenchTarget> {
  const releases: (() => void | Promise<void>)[] = [];
  const release = async () => {
    for (const one of releases.toReversed()) await one();
  };
  try {
    const certificates = await testCertificates({ after: (one) => releases.push(one) });
    const {
      server,
      dataDir,
      release: stop,
    } = await startCopy('sample', {
      name: 'target of the measurements',
      tcp: { port: 0, tls: { certFile: certificates.certFile, keyFile: certificates.keyFile } },
      settings: { max_connections: '600', shared_buffers: '512MB', max_wal_size: '2GB', checkpoint_timeout: '1h' },
    });
    releases.push(stop);
    // The supervisor asks everybody for TLS.
    appendFileSync(join(dataDir, 'cluster', 'pg_hba.conf'), 'host all all 127.0.0.1/32 scram-sha-256\n');
    const password = randomBytes(18).toString('hex');
    await query(server.connection(), 'select pg_reload_conf()');
    await query(server.connection(), `create database ${database}`);
    const run = (text: string, values?: unknown[]) => query(server.connection(database), text, values);
    await run(tables);
    await run('vacuum analyze');
    await run(
      `create role bench login password '${password}'; create role sallyport_admin login createrole password '${password}'`,
    );
    await run(
      `grant pg_signal_backend to sallyport_admin; grant connect, temporary on database ${database} to sallyport_admin with grant option; grant all on schema public to sallyport_admin with grant option`,
    );
    for (const [table, may] of Object.entries(benchTables))
      await run(
        `grant ${may.join(', ')} on ${table} to bench; grant all on ${table} to sallyport_admin with grant option`,
      );
    const [version] = (await run('show server_version')) as { server_version: string }[];
    return {
      port: server.port,
      database,
      version: version?.server_version ?? '',
      admin: { user: 'sallyport_admin', password },
      ...certificates,
      login: (tls) => ({ host: '127.0.0.1', port: server.port, database, user: 'bench', password, tls }),
      query: run,
      superuser: server.connection(database),
      [Symbol.asyncDispose]: release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/**
 * The sample target: a PostgreSQL server with a plausible database `orders`, so that the main job works at once after a
 * clone. It is a target like any other: reached over TCP with SCRAM-SHA-256, TLS when certificates are given, by an
 * administrative login that is no superuser and owns nothing. It is an older PostgreSQL than the store's on
 * purpose: every client and every pg_dump in use works with it.
 */
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { Random } from '#core/ids.ts';
import {
  type BinarySet,
  type EmbeddedPostgres,
  type ServerEvent,
  startEmbeddedPostgres,
} from '../embedded/embedded-postgres.ts';

export type SampleTargetOptions = {
  readonly dataDir: string;
  /** On 127.0.0.1; 0 takes any free one. */
  readonly port: number;
  /** For the administrative login's password, made at the first start. */
  readonly random: Random;
  /** PEM files for `localhost` and 127.0.0.1; with them TLS is demanded. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** Passed through in the answer, for those who verify the certificate. */
  readonly caFile?: string;
  readonly onProgress?: (what: string) => void;
  readonly onEvent?: (event: ServerEvent) => void;
};

export type SampleTarget = AsyncDisposable & {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly adminUser: string;
  /** A file of mode 0600 that holds the password and nothing else. */
  readonly adminPasswordFile: string;
  readonly caFile: string | undefined;
  /** Of its Unix socket, for the superuser. */
  readonly socketFolder: string;
  readonly server: EmbeddedPostgres;
  readonly stop: () => Promise<void>;
};

export const sampleDatabase = 'orders';
export const sampleAdmin = 'sallyport_admin';
/** With three orders each, their items and payments: some 100,000 rows in all. */
const sampleCustomers = 8_000;

/** Starts the sample target; at the first start on a data directory it makes the database (some seconds). */
export async function startSampleTarget(options: SampleTargetOptions): Promise<SampleTarget> {
  const { dataDir, tls, onProgress, onEvent } = options;
  const server = await startEmbeddedPostgres({
    dataDir,
    binaries: 'sample' satisfies BinarySet,
    name: 'sample target',
    tcp: { port: options.port, tls },
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  try {
    await seedSample(server, { customers: sampleCustomers, onProgress });
    const adminPasswordFile = join(dataDir, 'admin-password');
    await setAdminPassword(server, keepPassword(adminPasswordFile, options.random));
    return {
      host: '127.0.0.1',
      port: server.port,
      database: sampleDatabase,
      adminUser: sampleAdmin,
      adminPasswordFile,
      caFile: options.caFile,
      socketFolder: server.socketFolder,
      server,
      stop: () => server.stop(),
      [Symbol.asyncDispose]: () => server.stop(),
    };
  } catch (cause) {
    await server.stop();
    throw cause;
  }
}

/**
 * Makes the database when it is not there. It gets its name when it is complete, so a start that was cut short begins
 * again.
 */
export async function seedSample(
  server: EmbeddedPostgres,
  options: { readonly customers: number; readonly onProgress?: ((what: string) => void) | undefined },
): Promise<void> {
  await withClient(server, 'postgres', async (client) => {
    await client.query(`
      do $$ begin
        if not exists (select from pg_roles where rolname = '${sampleAdmin}') then
          create role ${sampleAdmin} login createrole;
        end if;
      end $$;
      -- To cut the sessions of the logins it made.
      grant pg_signal_backend to ${sampleAdmin};
    `);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [sampleDatabase]);
    if (rowCount === 1) return void (await client.query(mayGiveOwner));
    options.onProgress?.('filling the sample database');
    const unfinished = `${sampleDatabase}_unfinished`;
    await client.query(`drop database if exists ${unfinished} with (force)`);
    await client.query('drop role if exists orders_owner');
    await client.query(`create database ${unfinished} template template0 encoding 'UTF8'`);
    await withClient(server, unfinished, async (seeding) => {
      await seeding.query('begin');
      await seeding.query(`select set_config('sample.customers', $1, true)`, [String(options.customers)]);
      await seeding.query(readFileSync(join(import.meta.dirname, 'seed.sql'), 'utf8'));
      await seeding.query('commit');
      await seeding.query('vacuum analyze');
    });
    await client.query(`alter database ${unfinished} rename to ${sampleDatabase}`);
    await client.query(`grant connect, temporary on database ${sampleDatabase} to ${sampleAdmin} with grant option`);
    await client.query(mayGiveOwner);
  });
}

/** For roles with `set-role: orders_owner`. Before PostgreSQL 16 `createrole` is enough to make somebody a member of it. */
const mayGiveOwner = `
  do $$ begin
    if current_setting('server_version_num')::int >= 160000 then
      execute 'grant orders_owner to ${sampleAdmin} with admin true, inherit false, set false';
    end if;
  end $$`;

/** Gives the administrative login this password. */
export function setAdminPassword(server: EmbeddedPostgres, password: string): Promise<void> {
  return withClient(server, 'postgres', async (client) => {
    await client.query(`alter role ${sampleAdmin} password ${pg.escapeLiteral(password)}`);
  });
}

/** The password in the file, which is made at first. */
function keepPassword(file: string, random: Random): string {
  if (existsSync(file)) {
    const kept = readFileSync(file, 'utf8').trim();
    if (kept !== '') return kept;
  }
  const password = Buffer.from(random(24)).toString('base64url');
  writeFileSync(`${file}.new`, `${password}\n`, { mode: 0o600 });
  chmodSync(`${file}.new`, 0o600);
  renameSync(`${file}.new`, file);
  return password;
}

async function withClient<T>(
  server: EmbeddedPostgres,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client(server.connection(database));
  // The failure that matters is that of the query.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

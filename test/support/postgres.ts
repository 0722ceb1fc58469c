/**
 * Real PostgreSQL for tests.
 *
 * `testDatabase(t)` gives each test a migrated database of its own, `emptyDatabase(t)` one with nothing in it. They are
 * on one server per test process, started when first asked for; or, when `SALLY_DATABASE_URL` is set, on that server, so that
 * the same suite runs against any PostgreSQL (the role needs `createdb`).
 * `testTarget(t, …)` gives a server of its own with the sample data in small, to be a target of the gateway.
 *
 * Initialising a cluster takes most of a second, so it is done once per machine and kept in the temporary folder, under
 * a name that changes with everything that went into it; servers run on copies. The copies are
 * removed at the end of the process; those of a process that was killed, by the next one that comes along. The server itself
 * dies with its process (Linux), or is stopped when its folder is taken over.
 */
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { after } from 'node:test';
import pg from 'pg';
import type { Instant } from '#core/instant.ts';
import { createAuthority, issueServerCertificate } from '#identity/certificate-authority.ts';
import { type BinarySet, type EmbeddedPostgres, startEmbeddedPostgres } from '#store/embedded/embedded-postgres.ts';
import { type DatabaseAddress, type Db, openDatabase } from '#store/database.ts';
import { sampleAdmin, sampleDatabase, seedSample, setAdminPassword } from '#store/sample/sample-target.ts';
import { migrate, readMigrations } from '#store/migrate.ts';

/** What is needed of a test's context; `{ after }` of `node:test` does for a whole file. */
export type Cleanup = { readonly after: (release: () => void | Promise<void>) => void };

const root = resolve(import.meta.dirname, '../..');
const home = join(tmpdir(), `sallyport-test-${userInfo().uid}`);

/** A database with the shipped migrations applied, an open pool on it, and its address. */
export async function testDatabase(t: Cleanup): Promise<{ readonly db: Db; readonly address: DatabaseAddress }> {
  const server = await sharedServer();
  const template = await server.template();
  // Hooks run in the order they were added: the pool goes before its database does.
  let db: Db | undefined;
  t.after(() => db?.destroy());
  const address = await server.create(t, template);
  db = openDatabase(address, { connections: 5 });
  return { db, address };
}

/** A database with nothing in it. */
export async function emptyDatabase(t: Cleanup): Promise<{ readonly address: DatabaseAddress }> {
  return { address: await (await sharedServer()).create(t, 'template0') };
}

type SharedServer = {
  /** Makes the migrated template when it is not there, and says its name. */
  readonly template: () => Promise<string>;
  readonly create: (t: Cleanup, template: string) => Promise<DatabaseAddress>;
};

let shared: Promise<SharedServer> | undefined;
let stopShared: (() => Promise<void>) | undefined;
after(() => stopShared?.());

function sharedServer(): Promise<SharedServer> {
  shared ??= startShared();
  return shared;
}

async function startShared(): Promise<SharedServer> {
  const url = process.env['SALLY_DATABASE_URL'];
  let addressOf: (database: string) => DatabaseAddress;
  if (url === undefined || url === '') {
    const { server, release } = await startCopy('store', {});
    stopShared = release;
    addressOf = (database) => server.connection(database);
  } else {
    addressOf = (database) => {
      const changed = new URL(url);
      changed.pathname = `/${database}`;
      return changed.href;
    };
  }
  const maintenance = addressOf(url === undefined || url === '' ? 'postgres' : new URL(url).pathname.slice(1));
  const files = readMigrations(join(root, 'src/store/migrations'));
  const template = `sally_template_${hash(files.map(({ sha256 }) => sha256)).slice(0, 12)}`;
  let made: Promise<string> | undefined;
  return {
    template: () => (made ??= makeTemplate(maintenance, addressOf(template), template)),
    create: async (t, from) => {
      const name = `sally_test_${randomBytes(8).toString('hex')}`;
      // Copying files is quicker than writing the copy to the log for a template this small.
      await query(maintenance, `create database ${name} template ${from} strategy file_copy`);
      t.after(async () => void (await query(maintenance, `drop database if exists ${name} with (force)`)));
      return addressOf(name);
    },
  };
}

async function makeTemplate(maintenance: DatabaseAddress, address: DatabaseAddress, name: string): Promise<string> {
  const client = clientOf(maintenance);
  await client.connect();
  try {
    // Other test processes may be at it, on an external server. The name is given last, when the template is complete.
    await client.query(`select pg_advisory_lock(hashtext('${name}'))`);
    const { rowCount } = await client.query('select from pg_database where datname = $1 and datistemplate', [name]);
    if (rowCount === 0) {
      await client.query(`drop database if exists ${name} with (force)`);
      await client.query(`create database ${name} template template0 encoding 'UTF8'`);
      await migrate(address);
      await client.query(`alter database ${name} is_template true`);
    }
    return name;
  } finally {
    await client.end();
  }
}

/** Runs one statement on a connection of its own. */
export async function query(address: DatabaseAddress, text: string, values: unknown[] = []): Promise<unknown[]> {
  const client = clientOf(address);
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

function clientOf(address: DatabaseAddress): pg.Client {
  const client = new pg.Client(typeof address === 'string' ? { connectionString: address } : { ...address });
  client.on('error', () => undefined);
  return client;
}

/** A target server of a test's own. */
export type TestTarget = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly adminUser: string;
  readonly adminPassword: string;
  /** PEM of the authority that signed its certificate (for `localhost` and 127.0.0.1), as file and as text. */
  readonly caFile: string;
  readonly ca: string;
  readonly certificates: TestCertificates;
  readonly server: EmbeddedPostgres;
  /** Configuration for `pg` as this login over TCP and TLS, the certificate verified. */
  readonly login: (user: string, password: string) => pg.ClientConfig;
  /** As the superuser, over the socket, in the target's database; one statement, or several without values. */
  readonly query: (text: string, values?: unknown[]) => Promise<unknown[]>;
  /** From now on the server logs each statement it gets; see `log`. */
  readonly logStatements: () => Promise<void>;
  /** All that the server has logged. */
  readonly log: () => string;
};

/**
 * A server of the test's own: the sample's database with 60 customers, over TCP on 127.0.0.1 with SCRAM and TLS. 15 is the
 * version of the sample target, 18 that of the store.
 */
export async function testTarget(
  t: Cleanup,
  options: { readonly major?: 15 | 18; readonly settings?: Readonly<Record<string, string>> } = {},
): Promise<TestTarget> {
  const customers = 60;
  const sample = join(root, 'src/store/sample');
  const certificates = await testCertificates(t);
  const { server, release } = await startCopy(
    options.major === 18 ? 'store' : 'sample',
    {
      name: 'test target',
      ...(options.settings === undefined ? {} : { settings: options.settings }),
      tcp: { port: 0, tls: { certFile: certificates.certFile, keyFile: certificates.keyFile } },
    },
    {
      key: [
        customers,
        ...readdirSync(sample)
          .filter((name) => !name.endsWith('.test.ts'))
          .map((name) => readFileSync(join(sample, name), 'utf8')),
      ].join('\n'),
      apply: (seeding) => seedSample(seeding, { customers }),
    },
  );
  t.after(release);
  const adminPassword = randomBytes(18).toString('base64url');
  await setAdminPassword(server, adminPassword);
  return {
    host: '127.0.0.1',
    port: server.port,
    database: sampleDatabase,
    adminUser: sampleAdmin,
    adminPassword,
    caFile: certificates.caFile,
    ca: certificates.ca,
    certificates,
    server,
    login: (user, password) => ({
      host: '127.0.0.1',
      port: server.port,
      database: sampleDatabase,
      user,
      password,
      ssl: { ca: certificates.ca },
    }),
    query: (text, values) => query(server.connection(sampleDatabase), text, values),
    logStatements: async () => {
      await query(server.connection(), `alter system set log_statement = 'all'`);
      await query(server.connection(), 'select pg_reload_conf()');
    },
    log: () => readFileSync(server.logFile, 'utf8'),
  };
}

export type TestCertificates = {
  readonly ca: string;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
};

/** An authority of the test's own and a certificate from it for `localhost` and 127.0.0.1, as PEM files. */
export async function testCertificates(t: Cleanup): Promise<TestCertificates> {
  const from = { clock: { now: () => Date.now() as Instant }, random: randomBytes };
  const authority = await createAuthority(from);
  const names = { dns: ['localhost'], ips: ['127.0.0.1'] };
  const server = await issueServerCertificate(authority, { ...from, names });
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-tls-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const write = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  return {
    ca: authority.certificatePem,
    caFile: write('ca.pem', authority.certificatePem),
    certFile: write('server.crt', server.certificatePem),
    keyFile: write('server.key', server.privateKeyPem.reveal()),
  };
}

type ServerOptions = Omit<Parameters<typeof startEmbeddedPostgres>[0], 'dataDir' | 'binaries' | 'durable'>;
export type Seed = {
  /** Everything the outcome depends on. */
  readonly key: string;
  readonly apply: (server: EmbeddedPostgres) => Promise<void>;
};

/** A server on a copy of a cluster that was initialised, and seeded, once. */
export async function startCopy(
  binaries: BinarySet,
  options: ServerOptions,
  seed?: Seed,
): Promise<{ readonly server: EmbeddedPostgres; readonly dataDir: string; readonly release: () => Promise<void> }> {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  sweep();
  const template = await clusterTemplate(binaries, seed);
  const dataDir = join(home, `run-${process.pid}-${randomBytes(4).toString('hex')}`);
  mkdirSync(dataDir, { mode: 0o700 });
  execFileSync('cp', ['-R', '-p', join(template, 'cluster'), join(dataDir, 'cluster')]);
  const server = await startEmbeddedPostgres({ ...options, dataDir, binaries, durable: false });
  return {
    server,
    dataDir,
    release: async () => {
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

async function clusterTemplate(binaries: BinarySet, seed: Seed | undefined): Promise<string> {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const supervisor = readFileSync(join(root, 'src/store/embedded/embedded-postgres.ts'), 'utf8');
  const name = `template-${binaries}-${hash([lock, supervisor, seed?.key ?? '']).slice(0, 16)}`;
  const template = join(home, name);
  if (existsSync(template)) {
    const now = new Date();
    utimesSync(template, now, now);
    return template;
  }
  const fresh = join(home, `run-${process.pid}-${randomBytes(4).toString('hex')}`);
  const server = await startEmbeddedPostgres({ dataDir: fresh, binaries, durable: false });
  await seed?.apply(server);
  await server.stop();
  try {
    renameSync(fresh, template);
  } catch {
    // Another process was first.
    rmSync(fresh, { recursive: true, force: true });
  }
  return template;
}

/** Removes what killed processes left: run folders whose process is gone. */
function sweep(): void {
  for (const name of readdirSync(home)) {
    const pid = Number(/^run-(\d+)-/.exec(name)?.[1]);
    const folder = join(home, name);
    if (Number.isInteger(pid) ? isAlive(pid) : !isOldTemplate(folder)) continue;
    rmSync(folder, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A template that nobody has copied for a week. */
function isOldTemplate(folder: string): boolean {
  return Date.now() - statSync(folder).mtimeMs > 7 * 86_400_000;
}

function hash(parts: readonly string[]): string {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(`${part.length}:${part}`);
  return sum.digest('hex');
}

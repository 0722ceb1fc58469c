import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { type DatabaseAddress, clientConfig } from './database.ts';

/**
 * Migrations are plain SQL files, `NNNN-name.sql`, numbered from 0001 without gaps. Each is applied once, in order, in a
 * transaction of its own, and remembered with the SHA-256 of its text. An applied file is never edited: a change
 * is a new file. There is no way back; a backup is.
 */
export type MigrationFile = {
  readonly number: number;
  readonly name: string;
  readonly sha256: string;
  readonly text: string;
};

export type MigrationFault =
  /** The files themselves: a name not understood, a gap, a number used twice, a `commit` inside. */
  | 'bad_migration_files'
  /** An applied migration's file has changed. */
  | 'migration_edited'
  /** The database has migrations that this release doesn't know. */
  | 'database_newer'
  /** The server is older than PostgreSQL 15, or the database is not UTF-8. */
  | 'server_unsuitable'
  /** The SQL failed; nothing of that file was applied. */
  | 'migration_failed';

export class MigrationError extends Error {
  override readonly name = 'MigrationError';
  readonly code: MigrationFault;
  readonly hint: string | undefined;

  constructor(code: MigrationFault, message: string, more: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, more.cause === undefined ? {} : { cause: more.cause });
    this.code = code;
    this.hint = more.hint;
  }
}

/** Any number, as long as nothing else in the database uses it: `sally` in ASCII. */
const advisoryLock = '495521393785';
const shippedMigrations = join(import.meta.dirname, 'migrations');

/**
 * Brings the database up to this release. Several processes may call it at once: one works, the others wait and find
 * it done. Answers with the names of the files applied by this call. Throws `MigrationError`.
 */
export async function migrate(
  address: DatabaseAddress,
  options: { readonly folder?: string; readonly onProgress?: (what: string) => void } = {},
): Promise<{ readonly applied: readonly string[]; readonly version: number }> {
  const files = readMigrations(options.folder ?? shippedMigrations);
  const client = new pg.Client(clientConfig(address, 'sallyport migrate'));
  client.on('error', () => undefined);
  await client.connect();
  try {
    await checkServer(client);
    // Held by the session, over all transactions; freed with the connection, however that ends.
    await client.query(`select pg_advisory_lock(${advisoryLock})`);
    await client.query(`
      create table if not exists schema_migration (
        number integer primary key,
        name text not null,
        sha256 text not null constraint sha256_is_hex check (sha256 ~ '^[0-9a-f]{64}$'),
        applied_at timestamptz(3) not null default now()
      );
      comment on table schema_migration is 'the migrations that this database has had, by src/store/migrate.ts';
    `);
    const done = await client.query<{ number: number; name: string; sha256: string }>(
      'select number, name, sha256 from schema_migration order by number',
    );
    const applied: string[] = [];
    for (const file of missing(files, done.rows)) {
      options.onProgress?.(`migrating the store: ${file.name}`);
      await apply(client, file);
      applied.push(file.name);
    }
    return { applied, version: files.length };
  } finally {
    await client.end();
  }
}

/** The files of a folder, in order. Throws when they are not 0001, 0002, … */
export function readMigrations(folder: string): readonly MigrationFile[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name, index) => {
      const match = /^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.sql$/.exec(name);
      const number = Number(match?.[1]);
      if (match === null) throw new MigrationError('bad_migration_files', `\`${name}\` is not named NNNN-name.sql`);
      if (number !== index + 1)
        throw new MigrationError(
          'bad_migration_files',
          `\`${name}\` should have number ${String(index + 1).padStart(4, '0')}: numbers start at 0001, without gaps, each once`,
        );
      const text = readFileSync(join(folder, name), 'utf8');
      if (/^\s*(?:begin|start\s+transaction|commit|end|rollback|abort)\s*;/im.test(withoutBodies(text)))
        throw new MigrationError('bad_migration_files', `\`${name}\` begins or ends a transaction; it runs inside one`);
      return { number, name, sha256: createHash('sha256').update(text).digest('hex'), text };
    });
}

/** `end;` is at home in the body of a function. */
function withoutBodies(text: string): string {
  return text.replace(/\$(\w*)\$[\s\S]*?\$\1\$/g, '');
}

/** What is still to be applied, or the refusal. */
function missing(
  files: readonly MigrationFile[],
  done: readonly { readonly number: number; readonly name: string; readonly sha256: string }[],
): readonly MigrationFile[] {
  for (const [index, row] of done.entries()) {
    const file = files[index];
    if (file === undefined)
      throw new MigrationError(
        'database_newer',
        `the database is at migration ${done.at(-1)?.name}, and this release knows ${files.at(-1)?.name ?? 'none'} as the last`,
        { hint: 'it was used by a newer release: start that one, or restore a backup made before the upgrade' },
      );
    if (file.number !== row.number || file.sha256 !== row.sha256)
      throw new MigrationError(
        'migration_edited',
        `migration ${row.name} was applied to this database with another text than \`${file.name}\` has now`,
        { hint: 'an applied migration is never changed: put the file back and write a new one' },
      );
  }
  return files.slice(done.length);
}

async function apply(client: pg.Client, file: MigrationFile): Promise<void> {
  await client.query('begin');
  try {
    await client.query(file.text);
    await client.query('insert into schema_migration (number, name, sha256) values ($1, $2, $3)', [
      file.number,
      file.name,
      file.sha256,
    ]);
    await client.query('commit');
  } catch (cause) {
    await client.query('rollback').catch(() => undefined);
    const position = cause instanceof pg.DatabaseError ? Number(cause.position) : Number.NaN;
    const where = Number.isSafeInteger(position) ? `:${lineOf(file.text, position)}` : '';
    throw new MigrationError(
      'migration_failed',
      `migration ${file.name}${where} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** PostgreSQL counts characters from 1, not UTF-16 units. */
function lineOf(text: string, position: number): number {
  return (
    Array.from(text)
      .slice(0, position - 1)
      .filter((c) => c === '\n').length + 1
  );
}

async function checkServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: string; number: number; encoding: string }>(
    `select current_setting('server_version') as version,
            current_setting('server_version_num')::int as number,
            current_setting('server_encoding') as encoding`,
  );
  const [server] = rows;
  if (server === undefined || server.number < 150_000)
    throw new MigrationError('server_unsuitable', `the store's PostgreSQL is ${server?.version}, too old`, {
      hint: 'PostgreSQL 15 or newer is needed',
    });
  if (server.encoding !== 'UTF8')
    throw new MigrationError('server_unsuitable', `the store's database has encoding ${server.encoding}`, {
      hint: "make one with `create database … encoding 'UTF8' template template0`",
    });
}

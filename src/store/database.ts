/**
 * The way to the store: one pool of `pg` connections behind Kysely, with one fixed meaning for each PostgreSQL type, so
 * that the embedded server and any other PostgreSQL give back the same values. What is read:
 *
 * | PostgreSQL | TypeScript |
 * |---|---|
 * | `int8`, `count(*)` | `number`; a value that a number can't hold exactly is an error |
 * | `timestamptz` | `Instant` (milliseconds; what is below is cut off) |
 * | `date`, `timestamp`, `interval`, `numeric` | `string`, as PostgreSQL writes it |
 * | `json`, `jsonb` | the parsed value |
 * | `bytea` | `Uint8Array` |
 *
 * What is written goes by the column it is for (_column-codecs.ts): instants and JSON values are given as they are, to
 * `values`, `set` and `where`. In raw SQL no column is known: there it is `at(instant)` and `json(value)`; the server
 * refuses a bare instant. (In a `where`, an array is a list to Kysely, so a JSON array is wrapped there too.)
 */
import { type IsolationLevel, Kysely, PostgresDialect, type RawBuilder, sql } from 'kysely';
import pg from 'pg';
import { type Instant, formatInstant, parseInstant } from '#core/instant.ts';
import { columnCodecs } from './_column-codecs.ts';
import type { Database } from './schema.ts';

export type Db = Kysely<Database>;

/** A connection string, or the parts (a folder as `host` is that of a Unix socket). */
export type DatabaseAddress =
  | string
  | {
      readonly host: string;
      readonly port: number;
      readonly user: string;
      readonly database: string;
      readonly password?: string;
    };

export type DatabaseOptions = {
  /** Most connections at once. Default 10. */
  readonly connections?: number;
  /** A statement that runs longer is cancelled by the server. Default 30 s. */
  readonly statementTimeoutMs?: number;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName?: string;
  /** An idle connection broke. The pool replaces it; this is for the log. */
  readonly onError?: (error: Error) => void;
};

/** Opens a pool; it connects when first used. End it with `destroy()`. */
export function openDatabase(address: DatabaseAddress, options: DatabaseOptions = {}): Db {
  const statementTimeoutMs = options.statementTimeoutMs ?? 30_000;
  const pool = new pg.Pool({
    ...clientConfig(address, options.applicationName ?? 'sallyport'),
    max: options.connections ?? 10,
    statement_timeout: statementTimeoutMs,
    // The server's own limit comes first; this one is for a server, or a way to it, that has gone silent.
    query_timeout: statementTimeoutMs + 5_000,
    // A lock is waited for less long than a statement may run, so that the error says which of them it was.
    lock_timeout: Math.max(1, Math.floor(statementTimeoutMs / 2)),
    idle_in_transaction_session_timeout: 60_000,
    idleTimeoutMillis: 60_000,
  });
  // Without a listener the end of an idle connection ends the process.
  pool.on('error', (error) => options.onError?.(error));
  // The pool listens to idle connections only; one that breaks in use tells whoever uses it, and must not end us either.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }), plugins: [columnCodecs] });
}

/** An instant as a value or operand of type `timestamptz`. */
export function at(instant: Instant): RawBuilder<Instant> {
  return sql<Instant>`${formatInstant(instant)}::timestamptz`;
}

/** Any JSON value, arrays and strings included, as a value of type `jsonb`. */
export function json<T>(value: T): RawBuilder<T> {
  return sql<T>`${JSON.stringify(value)}::jsonb`;
}

export type TransactionOptions = {
  /** Default `read committed`: rows that decide something are locked with `for update`. */
  readonly isolation?: IsolationLevel;
  /** How often it is tried in all. Default 6. */
  readonly attempts?: number;
};

export type Transaction = Parameters<Parameters<ReturnType<Db['transaction']>['execute']>[0]>[0];

/**
 * Runs `work` in one transaction, and again from the start when the server gave it up for the sake of others
 * (serialization failure, deadlock). `work` must therefore do nothing outside the database that can't be done twice.
 * A connection lost in `commit` is not tried again: it may have happened.
 */
export async function transaction<T>(
  db: Db,
  work: (trx: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const attempts = options.attempts ?? 6;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await db
        .transaction()
        .setIsolationLevel(options.isolation ?? 'read committed')
        .execute(work);
    } catch (cause) {
      if (attempt >= attempts || !isRetryable(cause)) throw cause;
      await new Promise((done) => {
        setTimeout(done, 5 * 2 ** attempt);
      });
    }
  }
}

/** SQLSTATE of an error from the server; undefined for any other error. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

/** 40001 serialization_failure, 40P01 deadlock_detected (PostgreSQL, appendix A). */
function isRetryable(error: unknown): boolean {
  const state = sqlState(error);
  return state === '40001' || state === '40P01';
}

export type ListenHandlers = {
  readonly onNotification: (channel: string, payload: string) => void;
  /** Listening, for the first time or again. What was sent before is lost: read the state afresh. */
  readonly onConnected?: () => void;
  readonly onError?: (error: Error) => void;
};

/**
 * Listens on a connection of its own, which is made again, without end, when it breaks. Resolves when it listens
 * for the first time, or has failed to; it goes on trying either way.
 */
export async function listen(
  address: DatabaseAddress,
  channels: readonly string[],
  handlers: ListenHandlers,
): Promise<AsyncDisposable> {
  const listener = new Listener(address, channels, handlers);
  await listener.connect();
  return listener;
}

const listenDelaysMs = [100, 500, 1_000, 2_000, 5_000];
const pingEveryMs = 5_000;

class Listener implements AsyncDisposable {
  readonly #address: DatabaseAddress;
  readonly #channels: readonly string[];
  readonly #handlers: ListenHandlers;
  #client: pg.Client | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connecting: Promise<void> | undefined;
  #failures = 0;
  #closed = false;

  constructor(address: DatabaseAddress, channels: readonly string[], handlers: ListenHandlers) {
    this.#address = address;
    this.#channels = channels;
    this.#handlers = handlers;
  }

  connect(): Promise<void> {
    this.#connecting = this.#connect();
    return this.#connecting;
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({ ...clientConfig(this.#address, 'sallyport listener'), query_timeout: 10_000 });
    // Errors and the end can both be told, in either order; the first takes the client out.
    const broken = (error?: Error) => {
      if (this.#client !== client) return;
      this.#client = undefined;
      this.#again(error ?? new Error('the listening connection was closed'));
      void client.end().catch(() => undefined);
    };
    client.on('error', broken);
    client.on('end', () => broken());
    client.on('notification', ({ channel, payload }) => this.#handlers.onNotification(channel, payload ?? ''));
    try {
      await client.connect();
      for (const channel of this.#channels) await client.query(`listen ${pg.escapeIdentifier(channel)}`);
    } catch (cause) {
      void client.end().catch(() => undefined);
      this.#again(cause instanceof Error ? cause : new Error(String(cause)));
      return;
    }
    if (this.#closed) {
      await client.end();
      return;
    }
    this.#client = client;
    this.#failures = 0;
    this.#pingLater(client);
    this.#handlers.onConnected?.();
  }

  #again(error: Error): void {
    if (this.#closed) return;
    this.#handlers.onError?.(error);
    clearTimeout(this.#timer);
    const delay = listenDelaysMs[Math.min(this.#failures, listenDelaysMs.length - 1)] ?? 5_000;
    this.#failures += 1;
    this.#timer = setTimeout(() => void this.connect(), delay);
  }

  /** A connection that only receives would not notice that the other end is gone. */
  #pingLater(client: pg.Client): void {
    this.#timer = setTimeout(() => {
      client.query('select 1').then(
        () => {
          if (this.#client === client) this.#pingLater(client);
        },
        (error: Error) => client.emit('error', error),
      );
    }, pingEveryMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#connecting;
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
  }
}

/** What every connection to the store has in common. */
export function clientConfig(address: DatabaseAddress, applicationName: string): pg.ClientConfig {
  return {
    ...(typeof address === 'string' ? { connectionString: address } : address),
    application_name: applicationName,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    types: codecs,
    // The text forms that the codecs read.
    options: '-c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601 -c bytea_output=hex',
  };
}

/** The object identifiers of the types that are read in our way (PostgreSQL, `pg_type.dat`). */
const oid = {
  bytea: 17,
  int8: 20,
  json: 114,
  byteaArray: 1001,
  int8Array: 1016,
  date: 1082,
  timestamp: 1114,
  dateArray: 1182,
  timestampArray: 1115,
  timestamptz: 1184,
  timestamptzArray: 1185,
  interval: 1186,
  intervalArray: 1187,
  textArray: 1009,
  jsonb: 3802,
} as const;

const asText = (text: string): string => text;
// The declarations of `pg` leave array types out.
const parserOf = pg.types.getTypeParser as (type: number, format: 'text' | 'binary') => (text: string) => unknown;
const readTextArray = parserOf(oid.textArray, 'text') as (text: string) => (string | null)[];
const arrayOf =
  <T>(read: (text: string) => T) =>
  (text: string): (T | null)[] =>
    readTextArray(text).map((item) => (item === null ? null : read(item)));

const readers: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [oid.int8, readInt8],
  [oid.int8Array, arrayOf(readInt8)],
  [oid.timestamptz, readInstant],
  [oid.timestamptzArray, arrayOf(readInstant)],
  [oid.bytea, readBytes],
  [oid.byteaArray, arrayOf(readBytes)],
  [oid.json, JSON.parse],
  [oid.jsonb, JSON.parse],
  [oid.date, asText],
  [oid.dateArray, arrayOf(asText)],
  [oid.timestamp, asText],
  [oid.timestampArray, arrayOf(asText)],
  [oid.interval, asText],
  [oid.intervalArray, arrayOf(asText)],
]);

const codecs: pg.CustomTypesConfig = {
  getTypeParser: ((type: number, format?: 'text' | 'binary') =>
    readers.get(type) ?? parserOf(type, format ?? 'text')) as typeof pg.types.getTypeParser,
};

function readInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the int8 \`${text}\` doesn't fit a number exactly`);
  return value;
}

function readInstant(text: string): Instant {
  // ISO style in UTC: 2026-11-22 11:02:40.927+00
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/.exec(text);
  const instant =
    match === null
      ? undefined
      : parseInstant(`${match[1]}T${match[2]}.${(match[3] ?? '').padEnd(3, '0').slice(0, 3)}Z`);
  if (instant === undefined) throw new RangeError(`the timestamp \`${text}\` is no instant`);
  return instant;
}

function readBytes(text: string): Uint8Array {
  if (!text.startsWith('\\x')) throw new RangeError('bytes that are not in hex form');
  // In memory of its own: a slice of the pool would keep the pool.
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
}

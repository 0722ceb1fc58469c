/**
 * The gateway's administrative connection to a target: a few statements for roles, logins and the catalogue, through the
 * `pg` driver. The admin password is read from its `Secret` at each new connection and goes nowhere else.
 */
import type { Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import pg from 'pg';
import { leastIterations, mostIterations, scramSha256Plus } from '#wire/postgres/scram.ts';
import type { TargetAccess } from '../control-plane.ts';
import { dialOptions, TargetFault } from './target-address.ts';
import { isTaken, noBinding, refusal } from './target-authentication.ts';

export type Admin = AsyncDisposable & {
  readonly query: (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>;
  /** In one transaction on one connection; from its beginning again when another one was quicker, so `run` may be called anew. */
  readonly transaction: <T>(run: (query: Admin['query']) => Promise<T>) => Promise<T>;
};

type Sasl = { readonly mechanisms: readonly string[] };

/**
 * INVARIANT 10: the driver would send the password itself, or a hash that is as good, to any server that asks for it, and
 * would talk to one that asks for nothing. Here it follows the same rules as the logins do (target-authentication.ts).
 * These are the driver's own hooks (pg/lib/client.js).
 */
function clientFor(access: TargetAccess, hasCertificate: boolean): typeof pg.Client {
  const weakest = access.authentication ?? 'scram-sha-256';
  const channel = { isTls: access.tls.mode !== 'disable', hasCertificate };
  return class extends pg.Client {
    #isProven = false;

    constructor(config?: string | pg.ClientConfig) {
      super(config);
      this.#driver.connection.on('authenticationOk', () => this.#unless(this.#isProven, 'ok'));
    }

    get #driver() {
      type Hooks = Record<
        `_handleAuth${'CleartextPassword' | 'MD5Password' | 'SASL' | 'SASLContinue' | 'SASLFinal'}`,
        (m: unknown) => void
      >;
      return {
        connection: (
          this as unknown as { connection: { stream: Socket; on: (event: string, run: () => void) => void } }
        ).connection,
        // What this class overrides.
        super: pg.Client.prototype as unknown as Hooks,
      };
    }

    #unless(isFine: boolean, asked: Parameters<typeof isTaken>[1]): boolean {
      const isAnswered = isFine || isTaken(weakest, asked, channel);
      if (!isAnswered) this.#driver.connection.stream.destroy(refusal(asked));
      return isAnswered;
    }

    _handleAuthCleartextPassword(message: unknown): void {
      if (!this.#unless(false, 'cleartext')) return;
      this.#isProven = true;
      this.#driver.super._handleAuthCleartextPassword.call(this, message);
    }

    _handleAuthMD5Password(message: unknown): void {
      if (!this.#unless(false, 'md5')) return;
      this.#isProven = true;
      this.#driver.super._handleAuthMD5Password.call(this, message);
    }

    _handleAuthSASL(message: Sasl): void {
      if (weakest === 'scram-sha-256-plus' && !message.mechanisms.includes(scramSha256Plus))
        this.#driver.connection.stream.destroy(noBinding());
      else this.#driver.super._handleAuthSASL.call(this, message);
    }

    _handleAuthSASLContinue(message: { readonly data: string }): void {
      // The driver has an upper bound only.
      const iterations = Number(/,i=(\d+)$/.exec(message.data)?.[1]);
      if (iterations < leastIterations)
        this.#driver.connection.stream.destroy(new Error('server asks for too few iterations'));
      else this.#driver.super._handleAuthSASLContinue.call(this, message);
    }

    _handleAuthSASLFinal(message: unknown): void {
      // Throws into the connection when the server hasn't proven that it knows the password.
      const session = (this as unknown as { saslSession: unknown }).saslSession;
      this.#driver.super._handleAuthSASLFinal.call(this, message);
      this.#isProven = session !== null && (this as unknown as { saslSession: unknown }).saslSession === null;
    }
  };
}

/** To one target. Who waits for one waits as long as for a connection, and is told that the target does not answer. */
export const mostAdminConnections = 4;

/**
 * "tuple concurrently updated": somebody else has granted or revoked something on the same object meanwhile, which PostgreSQL
 * neither waits for nor has a code of its own for.
 */
const internalError = 'XX000';
const mostTries = 10;

export function openAdmin(access: TargetAccess): Admin {
  const { address, tls, isDirect } = dialOptions(access);
  const pool = new pg.Pool({
    Client: clientFor(access, tls?.context.cert !== undefined),
    // Bound to the server's certificate where it offers that.
    enableChannelBinding: tls !== undefined,
    // Missing in the declarations.
    ...({ scramMaxIterations: mostIterations } as pg.PoolConfig),
    ...('path' in address
      ? { host: dirname(address.path), port: Number(basename(address.path).split('.').at(-1)) }
      : address),
    database: access.database,
    user: access.admin.user,
    password: () => access.admin.password.reveal(),
    ssl: tls === undefined ? false : { ...tls.context, ...tls.connection },
    ...(isDirect ? { sslnegotiation: 'direct' as const } : {}),
    keepAlive: true,
    application_name: 'sallyport',
    max: mostAdminConnections,
    idleTimeoutMillis: 10_000,
    connectionTimeoutMillis: access.connectTimeout,
    // A server that has gone silent would hold a connection of the few for as long as TCP has patience. Longer than the
    // server's own limit below.
    query_timeout: 35_000,
    // A lock that somebody holds on a table must not keep us from dropping logins for ever.
    options: '-c lock_timeout=5s -c statement_timeout=30s -c search_path=pg_catalog -c client_min_messages=warning',
  });
  // A target that goes away while a connection is idle is no reason to die.
  pool.on('error', () => {});
  // Nor one that is in use: its query fails, and says so.
  pool.on('connect', (client) => client.on('error', () => {}));
  const clean = (error: unknown): unknown => {
    // Errors of the server keep their SQLSTATE; the driver's own are about the connection.
    if (error instanceof pg.DatabaseError) return error;
    return new TargetFault('target_unreachable', 'target could not be reached as its administrator', { cause: error });
  };
  const run =
    (on: pg.Pool | pg.PoolClient): Admin['query'] =>
    async (text, values = []) => {
      try {
        return (await on.query<Record<string, unknown>>(text, [...values])).rows;
      } catch (error) {
        throw clean(error);
      }
    };
  return {
    query: run(pool),
    async transaction(body) {
      for (let tries = 1; ; tries += 1)
        try {
          return await transact(body);
        } catch (error) {
          if (tries >= mostTries || sqlStateOf(error) !== internalError) throw error;
        }
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };

  async function transact<T>(body: (query: Admin['query']) => Promise<T>): Promise<T> {
    const client = await pool.connect().catch((error: unknown) => {
      throw clean(error);
    });
    let fault: Error | undefined;
    try {
      await client.query('begin');
      const result = await body(run(client));
      await client.query('commit');
      return result;
    } catch (error) {
      fault = error instanceof Error ? error : new Error('transaction failed', { cause: error });
      await client.query('rollback').catch(() => {});
      throw error;
    } finally {
      // A connection in an unknown state is not used again.
      client.release(fault instanceof TargetFault ? fault : undefined);
    }
  }
}

/** The SQLSTATE of an error that the server reported. */
export const sqlStateOf = (error: unknown): string | undefined =>
  error instanceof pg.DatabaseError ? error.code : undefined;

/** Always quoted, so that a name can't be anything but a name. */
export function quoteIdentifier(name: string): string {
  if (name === '' || name.includes('\0')) throw new RangeError('not an identifier');
  return `"${name.replaceAll('"', '""')}"`;
}

/** A standard-conforming literal; a backslash takes the `E''` form so that its meaning depends on no setting. */
export function quoteLiteral(text: string): string {
  if (text.includes('\0')) throw new RangeError('not a literal');
  const escaped = text.replaceAll("'", "''");
  return escaped.includes('\\') ? `E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`;
}

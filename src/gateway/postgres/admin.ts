/**
 * The gateway's administrative connection to a target: a few statements for roles, logins and the catalogue, through the
 * `pg` driver. The admin password is read from its `Secret` at each new connection and goes nowhere else.
 */
import type { Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import pg from 'pg';
import type { TargetAccess } from '../control-plane.ts';
import { dialOptions, TargetFault } from './target-address.ts';

export type Admin = AsyncDisposable & {
  readonly query: (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>;
  /** In one transaction on one connection. */
  readonly transaction: <T>(run: (query: Admin['query']) => Promise<T>) => Promise<T>;
};

/**
 * INVARIANT 10: the driver would send the password itself, or a hash that is as good, to any server that asks for it. It
 * goes nowhere but into SCRAM, as that of the logins does (upstream.ts). These are the driver's own hooks (pg/lib/client.js).
 */
class ScramOnlyClient extends pg.Client {
  _handleAuthCleartextPassword(): void {
    this.#refuse('a cleartext');
  }

  _handleAuthMD5Password(): void {
    this.#refuse('an MD5');
  }

  #refuse(kind: string): void {
    const { connection } = this as unknown as { readonly connection: { readonly stream: Socket } };
    connection.stream.destroy(new Error(`target asks its administrator for ${kind} password, not for scram-sha-256`));
  }
}

export function openAdmin(access: TargetAccess): Admin {
  const { address, tls } = dialOptions(access);
  const pool = new pg.Pool({
    Client: ScramOnlyClient,
    ...('path' in address
      ? { host: dirname(address.path), port: Number(basename(address.path).split('.').at(-1)) }
      : address),
    database: access.database,
    user: access.admin.user,
    password: () => access.admin.password.reveal(),
    ssl: tls ?? false,
    application_name: 'sallyport',
    max: 4,
    idleTimeoutMillis: 10_000,
    connectionTimeoutMillis: access.connectTimeout,
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
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
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

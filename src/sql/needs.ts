/**
 * What a PostgreSQL statement needs. This folder turns a text into statements and each statement into (action, object
 * with columns) pairs; the policy is asked about each pair and all of them must be allowed. Everything here is plain data
 * that survives a structured clone, because the analysis runs in a worker thread.
 *
 * Newcomers: start with `analyse.ts`. `catalogue.ts` is what the target told us about itself, `names.ts` finds a name the
 * way the server would, `_select.ts`, `_modify.ts` and `_utility.ts` walk the statements, `_functions.ts` and
 * `_settings.ts` say which built-in functions and settings are harmless. Whatever isn't known there needs `other`: closed
 * by default.
 */

import type { TypeShape } from './type-by-oid.ts';

export type PgAction =
  | 'select'
  | 'insert'
  | 'update'
  | 'delete'
  | 'truncate'
  | 'ddl'
  | 'copy'
  | 'call'
  | 'listen'
  | 'notify'
  | 'other';

export type PgObject =
  /** A table, partitioned or foreign table, view, materialized view or sequence. */
  | { readonly kind: 'table'; readonly schema: string; readonly name: string }
  /** A function, procedure, aggregate or window function; all its overloads at once. */
  | { readonly kind: 'function'; readonly schema: string; readonly name: string }
  /** What `listen` and `notify` name. It isn't in the catalogue: a channel exists because somebody uses it. */
  | { readonly kind: 'channel'; readonly name: string }
  /** `pg_notify($1, …)`: which channel it will be isn't known before it runs. */
  | { readonly kind: 'any channel' }
  /** What concerns no one table: ddl, `copy … program`, everything that is `other`. */
  | { readonly kind: 'database' };

export type Need = {
  readonly action: PgAction;
  readonly object: PgObject;
  /**
   * Sorted, without repeats. Empty means no particular column: `delete`, `truncate`, `count(*)`, `for update`. System
   * columns (`ctid`, `xmin`, …) are listed by their names; PostgreSQL allows those only with the right to the whole table.
   */
  readonly columns: readonly string[];
};

/**
 * `read` takes data out and changes nothing; `write` changes rows or runs somebody's function; `ddl` changes definitions;
 * `session` changes or shows settings (to `prepare` is of the class of what is prepared); `transaction` begins and ends; `dangerous` is everything
 * that needs `other`, reaches the server's files or programs, or can't be judged.
 */
export type StatementClass = 'read' | 'write' | 'ddl' | 'session' | 'transaction' | 'dangerous';

/** What a statement does to transactions, beyond what its tag says. */
export type TransactionControl =
  /** `commit` or `rollback` of all of it; with `chain` the next one is open at once. */
  | { readonly kind: 'ends'; readonly chain: boolean }
  | { readonly kind: 'savepoint' | 'release' | 'rollback_to'; readonly name: string }
  /** It may commit within: `call`, `do`, `vacuum`, `create index concurrently`, … When it fails, part of it may stay. */
  | { readonly kind: 'commits_within' };

/** A name that the catalogue does not have; the caller refreshes the catalogue once and asks again. */
export type Missing = {
  readonly kind: 'relation' | 'column' | 'function' | 'prepared statement' | 'constraint';
  /** As it was written, for instance `public.orders` or `o.total`. */
  readonly name: string;
};

export type StatementAnalysis = {
  /** This statement's own text, without the semicolons and the other statements around it. */
  readonly text: string;
  /** The command tag without counts: `SELECT`, `UPDATE`, `COPY`, `BEGIN`, `CREATE TABLE`. */
  readonly tag: string;
  readonly class: StatementClass;
  /** All must be allowed. Empty means that it needs nothing: `begin`, `show`, a harmless `set`. */
  readonly needs: readonly Need[];
  /** Has every `update` and `delete` in it a `where`, those in its `with` too? Undefined without any; `merge` has none. */
  readonly hasWhere: boolean | undefined;
  /** Qualified names of the functions it calls by name, sorted. Not those behind triggers, defaults, views and rules. */
  readonly functions: readonly string[];
  /** `copy … from stdin` and `copy … to stdout`: which way the data will flow after the statement. */
  readonly copy: 'in' | 'out' | undefined;
  /**
   * After it names may resolve differently (search_path, ddl, temporary tables): ask the server for the path
   * again before judging the next statement.
   */
  readonly mayChangeNames: boolean;
  /** It would let this transaction, or those to come, write: nothing for a session that is to change nothing. */
  readonly mayLeaveReadOnly: boolean;
  /**
   * It ends a transaction or goes back to a savepoint, which takes back what `set` and ddl did in it. When a statement of
   * that transaction had `mayChangeNames`, the path must be asked for again after this one.
   */
  readonly endsTransaction: boolean;
  readonly transaction?: TransactionControl;
  /** Of a call by oid: the function's types of arguments. */
  readonly argumentTypes?: readonly number[];
  /** `prepare`: under this name the session will know this text, which `Names.prepared` takes back later. */
  readonly prepares?: { readonly name: string; readonly text: string };
  /** `deallocate`, `discard all`: the prepared statement that is gone afterwards, or all of them. */
  readonly deallocates?: { readonly name: string } | 'all';
  /** `execute`: the text that it runs, as it was prepared, in SQL or by a message of the protocol. */
  readonly executes?: { readonly name: string; readonly text: string };
  /** `declare`: under this name the session will have a cursor over this text. */
  readonly declares?: { readonly name: string; readonly text: string };
  /** `fetch` and `move`: the cursor that they run. */
  readonly fetches?: string;
  /** For `other`: why it is undecidable or dangerous, in words that finish the sentence "… because ". */
  readonly because?: string;
  /** Set beside `because` when the reason is a name that doesn't exist in the catalogue. */
  readonly missing?: Missing;
};

export type Analysis =
  /** What was asked for was a type. */
  | { readonly kind: 'type'; readonly shape: TypeShape | undefined }
  | { readonly kind: 'statements'; readonly statements: readonly StatementAnalysis[] }
  | {
      readonly kind: 'unparsable';
      /** PostgreSQL's own message, for instance `syntax error at or near "selec"`. */
      readonly message: string;
      /** In code points, starting with 1, as PostgreSQL reports it. */
      readonly position?: number;
    };

/** The need that stands for everything undecidable. */
export const otherNeed: Need = { action: 'other', object: { kind: 'database' }, columns: [] };

const plainIdentifier = /^[a-z_][a-z0-9_$]*$/;

/** An identifier as it would be written in SQL, quoted unless it is plain (keywords are not looked at). */
export function quoteName(name: string): string {
  return plainIdentifier.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** In words for people, e.g. `update on public.orders (status)`, `call on public.refund()`, `ddl on the database`. */
export function describeNeed(need: Need): string {
  const { action, object, columns } = need;
  switch (object.kind) {
    case 'table': {
      const list = columns.length === 0 ? '' : ` (${columns.map(quoteName).join(', ')})`;
      return `${action} on ${quoteName(object.schema)}.${quoteName(object.name)}${list}`;
    }
    case 'function':
      return `${action} on ${quoteName(object.schema)}.${quoteName(object.name)}()`;
    case 'channel':
      return `${action} on channel ${quoteName(object.name)}`;
    case 'any channel':
      return `${action} on any channel`;
    case 'database':
      return `${action} on the database`;
    default:
      return object satisfies never;
  }
}

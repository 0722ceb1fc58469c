/**
 * A snapshot of what exists in a target database: the relations with their columns, the functions, and those operators and
 * casts that hide a function somebody wrote. One query loads it as one JSON text.
 */

export type RelationKind = 'table' | 'partitioned table' | 'view' | 'materialized view' | 'sequence' | 'foreign table';

export type Relation = {
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  /** In the order of the table, without dropped ones. */
  readonly columns: readonly string[];
  /** Those of the columns that are generated; `copy` leaves them out. */
  readonly generated: readonly string[];
  /** Primary key, unique and exclusion constraints with their columns, for `on conflict on constraint`. */
  readonly constraints: Readonly<Record<string, readonly string[]>>;
};

export type Routine = {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'function' | 'procedure' | 'aggregate' | 'window';
  readonly volatility: 'immutable' | 'stable' | 'volatile';
  readonly language: string;
  readonly securityDefiner: boolean;
  /** Came with the server (its oid is below 16384), not with an extension or a user. */
  readonly builtin: boolean;
  /** How many arguments a call may have; `most` is null for a variadic function. */
  readonly fewest: number;
  readonly most: number | null;
};

/** An operator or cast whose function is neither C nor internal, so anybody may have written it. */
export type UserOperator = { readonly schema: string; readonly name: string; readonly function: FunctionName };
export type UserCast = { readonly targetType: string; readonly function: FunctionName };
export type FunctionName = { readonly schema: string; readonly name: string };

export type Catalogue = {
  /** By `relationKey(schema, name)`. */
  readonly relations: ReadonlyMap<string, Relation>;
  /** By name, all schemas and overloads together. */
  readonly routines: ReadonlyMap<string, readonly Routine[]>;
  /** By name. */
  readonly operators: ReadonlyMap<string, readonly UserOperator[]>;
  /** By the name of the target type, without its schema. */
  readonly casts: ReadonlyMap<string, readonly UserCast[]>;
  readonly schemas: ReadonlySet<string>;
  /** The name of the database, which may be written before schema and table. */
  readonly database: string;
};

/** A name of PostgreSQL can't contain NUL, so the key is unambiguous. */
export function relationKey(schema: string, name: string): string {
  return `${schema}\u0000${name}`;
}

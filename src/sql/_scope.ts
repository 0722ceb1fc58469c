/**
 * Which columns a reference could mean. A scope is what one `from` clause offers, with the scopes around it as parents;
 * the rules are those of PostgreSQL's parse_relation.c: bare names see the columns of the nearest scope that has them,
 * qualified names the nearest item of that name.
 */
import type { Collector } from './_collector.ts';
import { Undecidable } from './_tree.ts';
import type { Relation } from './catalogue.ts';

/** Reading the outer thing means reading this column of that table. */
export type Read = { readonly relation: Relation; readonly column: string };
export type Column = { readonly name: string; readonly reads: readonly Read[] };

export type Item = {
  /** What a qualified reference calls it; undefined when it can't be called by a name (a join without an alias). */
  readonly name: string | undefined;
  /** The table itself, when it is one that has system columns. */
  readonly relation?: Relation | undefined;
  /** Set only for a table without an alias, which may also be called `schema.table`. */
  readonly schema?: string | undefined;
  readonly columns: readonly Column[];
  /** It may have columns that aren't known here: a function's result, a recursive query within itself. */
  readonly opaque: boolean;
  /** Do bare column names see it? Not when a join around it shows its columns, and not `old` and `excluded`-like items. */
  readonly bare: boolean;
  /** The tables that `for update` would lock through this item. */
  readonly locks: readonly Relation[];
};

export type Scope = { readonly items: readonly Item[]; readonly parent: Scope | undefined };

/** What a query gives to the query around it. */
export type Output = {
  readonly names: readonly string[];
  readonly opaque: boolean;
  readonly locks: readonly Relation[];
};

const systemColumns = new Set(['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid']);

export function record(collector: Collector, columns: readonly Column[]): void {
  for (const { reads } of columns) {
    for (const { relation, column } of reads) collector.onTable('select', relation, [column]);
  }
}

/** An item for a table under an alias, with the alias' own column names. */
export function tableItem(relation: Relation, alias: string | undefined, aliasColumns: readonly string[]): Item {
  return {
    name: alias ?? relation.name,
    relation: relation.kind === 'view' ? undefined : relation,
    schema: alias === undefined ? relation.schema : undefined,
    columns: relation.columns.map((column, index) => ({
      name: aliasColumns[index] ?? column,
      reads: [{ relation, column }],
    })),
    opaque: false,
    bare: true,
    locks: [relation],
  };
}

/** An item whose reads were recorded where it was made: a subquery, a function, a `with` query. */
export function derivedItem(
  name: string | undefined,
  output: { readonly names: readonly string[]; readonly opaque: boolean; readonly locks?: readonly Relation[] },
  aliasColumns: readonly string[],
): Item {
  const names = [...aliasColumns, ...output.names.slice(aliasColumns.length)];
  return {
    name,
    columns: names.map((column) => ({ name: column, reads: [] })),
    opaque: output.opaque,
    bare: true,
    locks: output.locks ?? [],
  };
}

function systemColumn(item: Item, name: string): Column | undefined {
  if (item.relation === undefined || !systemColumns.has(name)) return undefined;
  return { name, reads: [{ relation: item.relation, column: name }] };
}

function columnsCalled(item: Item, name: string): readonly Column[] {
  const found = item.columns.filter((column) => column.name === name);
  if (found.length > 0) return found;
  const system = systemColumn(item, name);
  return system === undefined ? [] : [system];
}

/** The nearest item by its name (and schema). Two of that name in one scope would be an error of PostgreSQL's. */
export function findItem(scope: Scope | undefined, name: string, schema?: string): Item | undefined {
  for (let at = scope; at !== undefined; at = at.parent) {
    const found = at.items.find((item) => item.name === name && (schema === undefined || item.schema === schema));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Is the bare name a column in this very scope? `group by` asks that before it looks at the names of the result. */
export function isColumnHere(scope: Scope, name: string): boolean {
  return scope.items.some((item) => item.bare && columnsCalled(item, name).length > 0);
}

/** How many items a reference may have to be looked for in. */
export function itemsOf(scope: Scope | undefined): number {
  let count = 0;
  for (let at = scope; at !== undefined; at = at.parent) count += at.items.length;
  return count;
}

function missingColumn(name: string): Undecidable {
  return new Undecidable(`column \`${name}\` does not exist`, { kind: 'column', name });
}

function bareReference(scope: Scope | undefined, name: string): readonly Column[] {
  let maybe = false;
  for (let at = scope; at !== undefined; at = at.parent) {
    const visible = at.items.filter((item) => item.bare);
    const found = visible.flatMap((item) => columnsCalled(item, name));
    if (found.length > 0) return found;
    // It may be the unknown item's column or one further out: what is found there is needed as well, to be sure.
    maybe ||= visible.some((item) => item.opaque);
  }
  const whole = findItem(scope, name);
  if (whole !== undefined) return whole.columns;
  if (maybe) return [];
  throw missingColumn(name);
}

/** What a column reference reads: `c`, `t.c`, `s.t.c`, or the whole row `t`. */
export function resolveColumn(scope: Scope | undefined, parts: readonly string[], database: string): readonly Column[] {
  const [column, table, schema, catalog, ...more] = parts.toReversed();
  if (column === undefined || more.length > 0 || (catalog !== undefined && catalog !== database)) {
    throw missingColumn(parts.join('.'));
  }
  if (table === undefined) return bareReference(scope, column);
  const item = findItem(scope, table, schema);
  if (item === undefined) throw missingColumn(parts.join('.'));
  const found = columnsCalled(item, column);
  // `row.name` with a name that isn't a column may call a function of that name; that is never guessed at.
  if (found.length === 0 && !item.opaque) throw missingColumn(parts.join('.'));
  return found;
}

export type Star = { readonly columns: readonly Column[]; readonly opaque: boolean };

/** What `*` or `t.*` expands to; a bare star sees only this very scope. */
export function resolveStar(scope: Scope | undefined, parts: readonly string[], database: string): Star {
  const [table, schema, catalog, ...more] = parts.toReversed();
  if (more.length > 0 || (catalog !== undefined && catalog !== database)) throw missingColumn(`${parts.join('.')}.*`);
  const items =
    table === undefined
      ? (scope?.items ?? []).filter((item) => item.bare)
      : [findItem(scope, table, schema)].filter((item) => item !== undefined);
  if (items.length === 0) throw missingColumn([...parts, '*'].join('.'));
  return { columns: items.flatMap((item) => item.columns), opaque: items.some((item) => item.opaque) };
}

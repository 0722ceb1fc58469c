import type { Node } from '@pgsql/types';
import type { Collector } from './_collector.ts';
import type { Output, Scope } from './_scope.ts';
import type { Names, UnknownNames } from './names.ts';

/** A `with` query that may be named like a table from here on. */
export type Cte = { readonly names: readonly string[]; readonly opaque: boolean };
export type Ctes = { readonly found: ReadonlyMap<string, Cte>; readonly parent: Ctes | undefined };

/** What every walker of one statement shares. */
export type Walk = {
  readonly names: Names | UnknownNames;
  readonly collector: Collector;
  /** Walks any query (select, insert, update, delete, merge); a field, so that expressions needn't import the walkers. */
  readonly query: (node: Node, place: Place) => Output;
};

/** Where in the statement a piece stands: what its names can mean. */
export type Place = {
  readonly walk: Walk;
  readonly scope: Scope | undefined;
  readonly ctes: Ctes | undefined;
  /** In `… from pg_settings where name = 'x'` the column `name` is known to be `x`; pg_dump sets a setting that way. */
  readonly settingName?: string | undefined;
};

export function findCte(ctes: Ctes | undefined, name: string): Cte | undefined {
  for (let at = ctes; at !== undefined; at = at.parent) {
    const found = at.found.get(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

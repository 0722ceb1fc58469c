import { Undecidable } from './_tree.ts';
import type { FunctionName, Relation } from './catalogue.ts';
import type { Need, PgAction, PgObject } from './needs.ts';

/** Gathers what one statement needs while it is walked. */
export type Collector = {
  readonly onTable: (action: PgAction, relation: Relation, columns: readonly string[]) => void;
  readonly onDatabase: (action: PgAction) => void;
  /** Undefined: which one it is isn't known. */
  readonly onChannel: (action: 'listen' | 'notify', name: string | undefined) => void;
  /** The function is called by name; `needsCall` unless it is harmless. */
  readonly calls: (called: FunctionName, needsCall: boolean) => void;
  /** What is done is dangerous in itself, whoever may do it. */
  readonly danger: () => void;
  readonly changesNames: () => void;
  /** It would let the transaction, or those to come, write. */
  readonly leavesReadOnly: () => void;
  /** An `update`, `delete` or `merge` anywhere in the statement, and whether it says which rows. */
  readonly changesRows: (hasWhere: boolean) => void;
  /** So many things were looked through for a name. Throws `Undecidable` when that has become too much work for one text. */
  readonly looksThrough: (count: number) => void;
  readonly needs: () => Need[];
  readonly functions: () => string[];
  readonly isDangerous: () => boolean;
  readonly mayChangeNames: () => boolean;
  readonly mayLeaveReadOnly: () => boolean;
  /** Undefined: it has no `update`, `delete` or `merge`. */
  readonly hasWhere: () => boolean | undefined;
};

/** About a tenth of a second: one thread parses for everybody, and a megabyte can name as much as would take it minutes. */
const mostLookedThrough = 1_000_000;

export function createCollector(): Collector {
  const found = new Map<string, { action: PgAction; object: PgObject; columns: Set<string> }>();
  const functions = new Set<string>();
  let dangerous = false;
  let names = false;
  let writes = false;
  let lookedThrough = 0;
  let hasWhere: boolean | undefined;

  function add(action: PgAction, object: PgObject, columns: readonly string[]): void {
    // NUL can't be part of a name, so the key is unambiguous.
    const key = [action, ...Object.values(object)].join('\0');
    let entry = found.get(key);
    if (entry === undefined) {
      entry = { action, object, columns: new Set() };
      found.set(key, entry);
    }
    for (const column of columns) entry.columns.add(column);
  }

  return {
    onTable(action, { schema, name, runs }, columns) {
      // Like a function that is called, it may set the search path.
      if (runs === 'always' || (runs === 'when changed' && action !== 'select')) names = true;
      add(action, { kind: 'table', schema, name }, columns);
    },
    onDatabase: (action) => add(action, { kind: 'database' }, []),
    onChannel: (action, name) =>
      add(action, name === undefined ? { kind: 'any channel' } : { kind: 'channel', name }, []),
    calls({ schema, name }, needsCall) {
      functions.add(`${schema}.${name}`);
      if (needsCall) add('call', { kind: 'function', schema, name }, []);
    },
    danger() {
      dangerous = true;
    },
    changesNames() {
      names = true;
    },
    leavesReadOnly() {
      writes = true;
    },
    changesRows(where) {
      hasWhere = (hasWhere ?? true) && where;
    },
    looksThrough(count) {
      lookedThrough += count;
      if (lookedThrough > mostLookedThrough) throw new Undecidable('it names too many columns of too many tables');
    },
    needs: () =>
      [...found.values()].map(({ action, object, columns }) => ({ action, object, columns: [...columns].toSorted() })),
    functions: () => [...functions].toSorted(),
    isDangerous: () => dangerous,
    mayChangeNames: () => names,
    mayLeaveReadOnly: () => writes,
    hasWhere: () => hasWhere,
  };
}

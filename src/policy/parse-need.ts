/** One need out of the words that people and other systems use for it: `table`, `public.orders`, `select`. */
import type { Need, PgAction, PgObject } from '#sql/needs.ts';
import { parseChannel, parseObjectName } from './_names.ts';

/** What can be asked of each kind of object, as the schema has it (`schema.ts`). */
export const objectActions = {
  table: ['select', 'insert', 'update', 'delete', 'truncate', 'copy', 'ddl', 'other'],
  function: ['call', 'ddl', 'other'],
  channel: ['listen', 'notify'],
  database: ['ddl', 'copy', 'call', 'other'],
} as const satisfies Readonly<Record<string, readonly PgAction[]>>;

export type ObjectKind = keyof typeof objectActions;

/** @param name as in configurations: `public.orders`, `order_events`, `*` for any channel; of a database nothing */
export function parseNeed(
  kind: ObjectKind,
  name: string,
  action: string,
  columns: readonly string[] = [],
): Need | undefined {
  const known = (objectActions[kind] as readonly PgAction[]).find((one) => one === action);
  const object = parseObject(kind, name);
  if (known === undefined || object === undefined) return undefined;
  return { action: known, object, columns: [...new Set(columns)].toSorted() };
}

function parseObject(kind: ObjectKind, name: string): PgObject | undefined {
  if (kind === 'database') return name === '' ? { kind } : undefined;
  if (kind === 'channel') {
    const channel = parseChannel(name);
    if (channel === 'any') return { kind: 'any channel' };
    return channel && { kind, name: channel.name };
  }
  const parsed = parseObjectName(name);
  return parsed && { kind, ...parsed };
}

/** A role's permissions in words, one line an object: `public.customers: select (id, name)`. */
import type { Columns, PostgresPermissions } from '#core/role.ts';

export type ShownPermission = {
  readonly object: string;
  readonly actions: readonly { readonly action: string; readonly columns: readonly string[] | null }[];
};

export function shownPermissions(permissions: PostgresPermissions): readonly ShownPermission[] {
  const columns = (given: Columns): readonly string[] | null => (given === 'all' ? null : given);
  const { setRole } = permissions;
  return [
    // First, since it is more than all that follows.
    ...(setRole === undefined
      ? []
      : [{ object: `acts as ${setRole}`, actions: [{ action: 'may change and drop its tables', columns: null }] }]),
    ...permissions.tables.map((table) => ({
      object: `${table.schema}.${table.name}`,
      actions: [
        ...(['select', 'insert', 'update'] as const).flatMap((action) => {
          const given = table[action];
          return given === undefined ? [] : [{ action, columns: columns(given) }];
        }),
        ...(['delete', 'truncate'] as const).flatMap((action) =>
          table[action] === true ? [{ action, columns: null }] : [],
        ),
      ],
    })),
    ...permissions.functions.map((fn) => ({
      object: `${fn.schema}.${fn.name}()`,
      actions: [{ action: 'call', columns: null }],
    })),
    ...(permissions.channels ?? []).map(({ channel, ...permission }) => ({
      object: channel === 'any' ? 'any channel' : `channel ${channel.name}`,
      actions: (['listen', 'notify'] as const).flatMap((action) =>
        permission[action] === true ? [{ action, columns: null }] : [],
      ),
    })),
  ];
}

export function permissionsInWords(permissions: PostgresPermissions): readonly string[] {
  return shownPermissions(permissions).map(
    ({ object, actions }) =>
      `${object}: ${actions.map(({ action, columns }) => (columns === null ? action : `${action} (${columns.join(', ')})`)).join(', ')}`,
  );
}

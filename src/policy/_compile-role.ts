/** A role of the configuration as Cedar policies: one permit for each action on each object, and nothing else. */
import type { ChannelPermission, Columns, Role, TablePermission } from '#core/role.ts';
import type { PgAction } from '#sql/needs.ts';
import { cedarString, formatChannel, formatObjectName } from './_names.ts';
import { objectKey } from './_slice.ts';

export type GeneratedPolicy = {
  readonly id: string;
  readonly action: PgAction;
  /** As in `Scope`. */
  readonly object: string | undefined;
  readonly text: string;
};

const withColumns = ['select', 'insert', 'update'] as const;
const withoutColumns = ['delete', 'truncate'] as const;

/** Ids read `role:orders/support-read:select:public.customers`. */
export function compileRole(role: Role): readonly GeneratedPolicy[] {
  const policies: GeneratedPolicy[] = [];
  for (const table of role.permissions.tables) {
    for (const action of withColumns) {
      const columns = table[action];
      if (columns !== undefined) policies.push(permit(role, action, 'PG::Table', table, columns));
    }
    for (const action of withoutColumns)
      if (table[action] === true) policies.push(permit(role, action, 'PG::Table', table, 'all'));
  }
  for (const name of role.permissions.functions) policies.push(permit(role, 'call', 'PG::Function', name, 'all'));
  for (const permission of role.permissions.channels ?? [])
    for (const action of ['listen', 'notify'] as const)
      if (permission[action] === true) policies.push(permitChannel(role, action, permission.channel));
  return policies;
}

function permit(
  role: Role,
  action: PgAction,
  type: 'PG::Table' | 'PG::Function',
  object: Pick<TablePermission, 'schema' | 'name'>,
  columns: Columns,
): GeneratedPolicy {
  const name = formatObjectName(object);
  const id = `role:${role.name}:${action}:${name}`;
  const uid = `${type}::${cedarString(`${role.resource}/${name}`)}`;
  // System columns are only given with the whole table, as PostgreSQL does it: a list names no system column.
  const when =
    columns === 'all' ? '' : ` when { [${columns.map(cedarString).join(', ')}].containsAll(context.columns) }`;
  const text = `permit (principal in Role::${cedarString(role.name)}, action == PG::Action::"${action}", resource == ${uid})${when};`;
  return { id, action, object: objectKey({ type, id: `${role.resource}/${name}` }), text };
}

function permitChannel(
  role: Role,
  action: 'listen' | 'notify',
  channel: ChannelPermission['channel'],
): GeneratedPolicy {
  const name = formatChannel(channel);
  const resource =
    channel === 'any'
      ? `resource is PG::Channel in Resource::${cedarString(role.resource)}`
      : `resource == PG::Channel::${cedarString(`${role.resource}/${name}`)}`;
  return {
    id: `role:${role.name}:${action}:${name}`,
    action,
    object: channel === 'any' ? undefined : objectKey({ type: 'PG::Channel', id: `${role.resource}/${name}` }),
    text: `permit (principal in Role::${cedarString(role.name)}, action == PG::Action::"${action}", ${resource});`,
  };
}

/** A configuration as one text, so that equal configurations have equal hashes whatever order their files were written in. */
import type { Columns, Configuration, Resource, Role, TablePermission } from '#core/role.ts';

/** JSON with sorted keys and sorted lists; everything that has a meaning and nothing else. */
export function canonicalConfiguration(configuration: Configuration): string {
  return stable({
    version: 1,
    resources: byName(configuration.resources, (resource) => resource.name).map(canonicalResource),
    policies: configuration.policies,
    networks:
      configuration.networks &&
      Object.fromEntries(Object.entries(configuration.networks).map(([name, blocks]) => [name, blocks.toSorted()])),
    workingHours: configuration.workingHours,
    holds: configuration.holds,
  });
}

function canonicalResource(resource: Resource) {
  return { ...resource, roles: byName(resource.roles, (role) => role.name).map(canonicalRole) };
}

function canonicalRole(role: Role) {
  return {
    ...role,
    requesters: { groups: role.requesters.groups.toSorted() },
    approvers: { groups: role.approvers.groups.toSorted(), count: role.approvers.count },
    permissions: {
      tables: byName(role.permissions.tables, (table) => JSON.stringify([table.schema, table.name])).map(
        canonicalTable,
      ),
      functions: byName(role.permissions.functions, (name) => JSON.stringify([name.schema, name.name])),
      channels:
        role.permissions.channels && byName(role.permissions.channels, ({ channel }) => JSON.stringify(channel)),
      setRole: role.permissions.setRole,
    },
  };
}

function canonicalTable(table: TablePermission) {
  const columns = (value: Columns | undefined) => (value === undefined || value === 'all' ? value : value.toSorted());
  return {
    ...table,
    select: columns(table.select),
    insert: columns(table.insert),
    update: columns(table.update),
  };
}

function byName<T>(items: readonly T[], name: (item: T) => string): T[] {
  return items.toSorted((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
}

function stable(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stable).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${stable(item)}`).join(',')}}`;
}

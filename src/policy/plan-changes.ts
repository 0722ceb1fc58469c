/** What applying a configuration would change, in words for people who have to say yes to it. */
import { formatDuration } from '#core/instant.ts';
import type { Columns, Configuration, Resource, Role, SecretReference, WorkingHours } from '#core/role.ts';
import { weekdays } from './_working-hours.ts';
import { formatChannel, formatObjectName } from './_names.ts';

export type PlannedChange = {
  readonly what: 'resource' | 'role' | 'network' | 'setting' | 'policy';
  readonly name: string;
  /** One statement a line. A line of a change begins with `+` (more than before), `-` (less) or `~` (other). */
  readonly details: readonly string[];
};

export type PlannedChanges = {
  readonly added: readonly PlannedChange[];
  readonly changed: readonly PlannedChange[];
  readonly removed: readonly PlannedChange[];
};

/** Everything is an addition when there is no configuration yet. Order of lists and files makes no difference. */
export function planChanges(old: Configuration | undefined, next: Configuration): PlannedChanges {
  const before = describe(old);
  const after = describe(next);
  const added: PlannedChange[] = [];
  const changed: PlannedChange[] = [];
  const removed: PlannedChange[] = [];
  for (const [key, { what, name, lines }] of after) {
    const former = before.get(key);
    if (former === undefined) added.push({ what, name, details: lines });
    else {
      const details = difference(former.lines, lines);
      if (details.length > 0) changed.push({ what, name, details });
    }
  }
  for (const [key, { what, name, lines }] of before) if (!after.has(key)) removed.push({ what, name, details: lines });
  return { added, changed, removed };
}

type Described = { readonly what: PlannedChange['what']; readonly name: string; readonly lines: readonly string[] };

function describe(configuration: Configuration | undefined): Map<string, Described> {
  const found = new Map<string, Described>();
  const put = (what: PlannedChange['what'], name: string, lines: readonly string[]) =>
    found.set(`${what} ${name}`, { what, name, lines });
  for (const resource of configuration?.resources ?? []) {
    put('resource', resource.name, resourceLines(resource));
    for (const role of resource.roles) put('role', role.name, roleLines(role));
  }
  for (const [name, blocks] of Object.entries(configuration?.networks ?? {})) put('network', name, blocks.toSorted());
  const { workingHours, holds } = configuration ?? {};
  if (workingHours !== undefined) put('setting', 'working-hours', workingHoursLines(workingHours));
  if (holds !== undefined)
    put('setting', 'holds', [
      `longest: ${formatDuration(holds.longest)}`,
      `in a transaction: ${formatDuration(holds.inTransaction)}`,
    ]);
  for (const [name, text] of Object.entries(configuration?.policies ?? {})) put('policy', name, policyLines(text));
  return found;
}

function difference(before: readonly string[], after: readonly string[]): readonly string[] {
  const gone = before.filter((line) => !after.includes(line));
  const come = after.filter((line) => !before.includes(line));
  const subject = (line: string) => line.slice(0, Math.max(0, line.indexOf(': ')));
  const details: string[] = [];
  for (const line of come) {
    // `max: 4h` in place of `max: 2h` is one change and not two.
    const former = subject(line) === '' ? -1 : gone.findIndex((other) => subject(other) === subject(line));
    if (former === -1) details.push(`+ ${line}`);
    else details.push(`~ ${subject(line)}: ${valueOf(gone.splice(former, 1)[0] ?? '')} → ${valueOf(line)}`);
  }
  return [...details, ...gone.map((line) => `- ${line}`)];
}

function valueOf(line: string): string {
  return line.slice(line.indexOf(': ') + 2);
}

function workingHoursLines({ zone, days, from, to }: WorkingHours): readonly string[] {
  const time = (minute: number) =>
    `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
  return [
    `days: ${days.map((day) => weekdays[day]).join(', ')}`,
    `hours: ${time(from)} to ${time(to)}`,
    `zone: ${zone}`,
  ];
}

function resourceLines(resource: Resource): readonly string[] {
  const { tls, admin } = resource;
  const host = resource.host.includes(':') ? `[${resource.host}]` : resource.host;
  const lines = [
    `kind: ${resource.kind}`,
    `address: ${host}:${resource.port}`,
    `database: ${resource.database}`,
    `tls: ${tlsWords(tls)}`,
    ...(resource.authentication === undefined ? [] : [`authentication: at least ${resource.authentication}`]),
    `administrator: ${admin.user}${admin.password === undefined ? '' : `, password from ${secretWords(admin.password)}`}`,
  ];
  if (resource.description !== '') lines.push(`description: ${resource.description}`);
  for (const key of Object.keys(resource.labels).toSorted()) lines.push(`label ${key}: ${resource.labels[key]}`);
  return lines;
}

function tlsWords(tls: Resource['tls']): string {
  if (tls.mode === 'disable') return tls.mode;
  const { serverName, ca, direct, certificate } = tls;
  return [
    tls.mode,
    ...(serverName === undefined ? [] : [`server name ${serverName}`]),
    ...(ca === undefined ? [] : [`roots in ${ca}`]),
    ...(direct === undefined ? [] : ['from the first byte']),
    ...(certificate === undefined
      ? []
      : [`certificate in ${certificate.file} with the key from ${secretWords(certificate.key)}`]),
  ].join(', ');
}

const secretWords = (from: SecretReference): string => ('file' in from ? `file ${from.file}` : `variable ${from.env}`);

function roleLines(role: Role): readonly string[] {
  const lines = [
    `max: ${formatDuration(role.maxDuration)}`,
    `statement timeout: ${formatDuration(role.statementTimeout)}`,
    `connections: ${role.maxConnections}`,
    `requested by: ${role.requesters.groups.toSorted().join(', ')}`,
    `approved by: ${role.approvers.count} of ${role.approvers.groups.toSorted().join(', ')}`,
  ];
  if (role.description !== '') lines.push(`description: ${role.description}`);
  const { setRole } = role.permissions;
  if (setRole !== undefined) lines.push(`acts as ${setRole}: may change and drop its tables`);
  for (const table of role.permissions.tables) {
    const name = formatObjectName(table);
    for (const action of ['select', 'insert', 'update'] as const) {
      const columns = table[action];
      if (columns !== undefined) lines.push(`${action} on ${name}: ${columnList(columns)}`);
    }
    for (const action of ['delete', 'truncate'] as const)
      if (table[action] === true) lines.push(`${action} on ${name}`);
  }
  for (const name of role.permissions.functions) lines.push(`call of ${formatObjectName(name)}`);
  for (const { channel, ...permission } of role.permissions.channels ?? [])
    for (const action of ['listen', 'notify'] as const)
      if (permission[action] === true)
        lines.push(`${action} on ${channel === 'any' ? 'any channel' : `channel ${formatChannel(channel)}`}`);
  return lines;
}

function columnList(columns: Columns): string {
  return columns === 'all' ? 'all columns' : columns.toSorted().join(', ');
}

function policyLines(text: string): readonly string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
}

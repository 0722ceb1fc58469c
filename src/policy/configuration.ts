/**
 * `sallyport.yaml`: what Sallyport stands in front of, which roles there are, and who asks and approves. The reader reports
 * every fault it finds at once, each with line and column, and refuses what it doesn't know: a key that is misspelt must
 * not become a default. The policies beside it are checked in the same go. `docs/configuration.md` is its reference.
 */
import type { Node } from 'yaml';
import { parseResourceName, type ResourceName, type RoleName } from '#core/ids.ts';
import { formatDuration, hours, minutes, parseDuration, seconds, type Duration } from '#core/instant.ts';
import { parseGroup } from '#core/principal.ts';
import {
  authentications,
  type Authentication,
  type ChannelPermission,
  type Columns,
  type Configuration,
  type FunctionPermission,
  type Resource,
  type Role,
  type SecretReference,
  type TablePermission,
} from '#core/role.ts';
import { isHost, isLoopback, isNetwork, parseAddress, type Address } from './address.ts';
import type { PolicyEngine, PolicyFault, PolicyFile } from './engine.ts';
import { parseChannel, parseObjectName, type ObjectName } from './_names.ts';
import { readHolds, readNetworks, readWorkingHours } from './_settings.ts';
import { readPublicUrl } from './public-url.ts';
import { present, readYaml, type YamlReader } from './_yaml-reader.ts';

/** No role lasts longer than this: access that is needed every day for weeks is standing access. */
export const longestRole: Duration = hours(24);
export const defaultStatementTimeout: Duration = minutes(5);
export const defaultConnections = 5;
/** More approvers than this are a meeting. */
export const mostApprovers = 5;
export const defaultPolicies: readonly string[] = ['policies/*.cedar'];
const maxConfigurationLength = 1_000_000;

export type TlsFiles = { readonly cert: string; readonly key: string };

/** Of the gateway: a cancel key has four bits to say which. */
export const mostThreads = 15;

/** The `server` section as it is written; `src/config.ts` puts it together with the environment and the command line. */
export type ServerSettings = {
  readonly publicUrl?: string;
  readonly console?: { readonly listen?: Address; readonly tls?: TlsFiles };
  readonly postgres?: {
    readonly listen?: Address;
    readonly publicHost?: string;
    readonly tls?: TlsFiles;
    readonly threads?: number;
  };
  readonly data?: string;
  readonly databaseUrl?: SecretReference;
  readonly trustedProxies?: readonly string[];
  readonly logLevel?: LogLevel;
  readonly strictJournal?: boolean;
  readonly accessRequests?: AccessRequests;
};

/** Versions of AuthZEN's Access Request and Approval Profile, and `off`. */
export const accessRequestVersions = ['off', 'draft-1'] as const;
export type AccessRequests = (typeof accessRequestVersions)[number];

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

export type ParseConfigurationOutcome =
  | {
      readonly kind: 'ok';
      readonly configuration: Configuration;
      readonly server: ServerSettings;
      readonly warnings: readonly PolicyFault[];
    }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export type ParseConfigurationInput = {
  /** What faults call the file. */
  readonly file: string;
  readonly text: string;
  /** The files that `policyPatternsOf` asked for, named relative to the configuration file. */
  readonly policies: readonly PolicyFile[];
  readonly shipped: readonly PolicyFile[];
  /** Checks the policies against the schema and the roles. */
  readonly engine: Pick<PolicyEngine, 'check'>;
};

export function parseConfiguration(input: ParseConfigurationInput): ParseConfigurationOutcome {
  const yaml = readYaml(input.file, input.text, maxConfigurationLength);
  const read = yaml.root === undefined ? undefined : readConfiguration(yaml, yaml.root);
  const policies: Record<string, string> = {};
  for (const { name, text } of input.policies) {
    if (name in policies)
      yaml.faults.push({ file: name, line: 1, column: 1, message: 'the policy file was given twice' });
    policies[name] = text;
  }
  if (read === undefined || yaml.faults.length > 0) return { kind: 'faults', faults: inOrder(yaml.faults) };
  const { server, ...rest } = read;
  const configuration: Configuration = { ...rest, policies };
  const checked = input.engine.check({ shipped: input.shipped, configuration });
  if (checked.kind === 'faults') return { kind: 'faults', faults: checked.faults };
  return { kind: 'ok', configuration, server, warnings: checked.warnings };
}

/** The `server` section alone, for starting up before there is a policy engine. Faults elsewhere are not looked for. */
export function parseServerSettings(input: {
  readonly file: string;
  readonly text: string;
}):
  | { readonly kind: 'ok'; readonly server: ServerSettings }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] } {
  const yaml = readYaml(input.file, input.text, maxConfigurationLength);
  const node = yaml.entries(yaml.root, 'the configuration')?.find(({ key }) => key === 'server')?.value;
  const server = node === undefined ? {} : readServer(yaml, node);
  return yaml.faults.length > 0 ? { kind: 'faults', faults: inOrder(yaml.faults) } : { kind: 'ok', server };
}

/**
 * Which files to read and hand to `parseConfiguration`: paths relative to the configuration file, `*` in the last part
 * only. A text that doesn't parse gives the default; the faults come from `parseConfiguration`.
 */
export function policyPatternsOf(text: string): readonly string[] {
  const yaml = readYaml('', text, maxConfigurationLength);
  const node = yaml.entries(yaml.root, 'the configuration')?.find(({ key }) => key === 'policies')?.value;
  return (node === undefined ? undefined : readPatterns(yaml, node)) ?? defaultPolicies;
}

function inOrder(faults: readonly PolicyFault[]): readonly PolicyFault[] {
  return faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

type Read = Omit<Configuration, 'policies'> & { readonly server: ServerSettings };

function readConfiguration(yaml: YamlReader, root: Node): Read | undefined {
  const top = yaml.record(
    root,
    'the configuration',
    ['version', 'server', 'policies', 'networks', 'working-hours', 'holds', 'resources'],
    ['version', 'resources'],
  );
  if (top === undefined) return undefined;
  yaml.wholeNumber(top.version, '`version`', 1, 1);
  if (top.policies !== undefined) readPatterns(yaml, top.policies);
  const server = top.server === undefined ? {} : readServer(yaml, top.server);
  const networks = top.networks && readNetworks(yaml, top.networks);
  const workingHours = top['working-hours'] && readWorkingHours(yaml, top['working-hours']);
  const holds =
    top.holds && readHolds(yaml, top.holds, (node, what, longest) => readDuration(yaml, node, what, longest));
  const resources: Resource[] = [];
  for (const { key, keyNode, value } of yaml.entries(top.resources, '`resources`') ?? []) {
    const name = parseResourceName(key);
    if (name === undefined) yaml.fault(keyNode, `\`${key}\` is not a name for a resource`, nameHelp);
    // An ill-named one is read all the same, for its other faults.
    const resource = readResource(yaml, name ?? (key as ResourceName), value ?? keyNode);
    if (name !== undefined && resource !== undefined) resources.push(resource);
  }
  return { resources, server, ...present({ networks, workingHours, holds }) };
}

const nameHelp = 'lower-case letters and digits, with single hyphens between words, at most 63 characters';

function readPatterns(yaml: YamlReader, node: Node): readonly string[] | undefined {
  const nodes = 'items' in node ? yaml.list(node, '`policies`') : [node];
  const patterns: string[] = [];
  for (const item of nodes ?? []) {
    const pattern = yaml.text(item, 'a policy file');
    if (pattern === undefined) continue;
    const folders = pattern.split('/').slice(0, -1);
    if (
      pattern.startsWith('/') ||
      pattern.includes('\\') ||
      folders.some((part) => part === '..' || /[*?[{]/.test(part))
    )
      yaml.fault(
        item,
        `\`${pattern}\` is not a place for policies`,
        'a path below this file, with `*` in its last part only',
      );
    else if (!pattern.endsWith('.cedar')) yaml.fault(item, `\`${pattern}\` does not end in \`.cedar\``);
    else patterns.push(pattern);
  }
  return nodes === undefined ? undefined : patterns;
}

// ── server ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function readServer(yaml: YamlReader, node: Node): ServerSettings {
  const server = yaml.record(node, '`server`', [
    'public-url',
    'console',
    'postgres',
    'data',
    'database-url',
    'trusted-proxies',
    'log-level',
    'journal',
    'authzen',
  ]);
  if (server === undefined) return {};
  const console = yaml.record(server.console, '`console`', ['listen', 'tls']);
  const postgres = yaml.record(server.postgres, '`postgres`', ['listen', 'public-host', 'threads', 'tls']);
  const journal = yaml.record(server.journal, '`journal`', ['strict']);
  const authzen = yaml.record(server.authzen, '`authzen`', ['access-requests']);
  const version = yaml.text(authzen?.['access-requests'], '`access-requests`');
  const accessRequests = accessRequestVersions.find((known) => known === version);
  if (version !== undefined && accessRequests === undefined)
    yaml.fault(
      authzen?.['access-requests'],
      `\`${version}\` is not a version of the profile`,
      `write one of ${accessRequestVersions.join(', ')}`,
    );
  const level = yaml.text(server['log-level'], '`log-level`');
  const logLevel = logLevels.find((known) => known === level);
  if (level !== undefined && logLevel === undefined)
    yaml.fault(server['log-level'], `\`${level}\` is not a level`, `the levels are ${logLevels.join(', ')}`);
  const proxies = yaml.list(server['trusted-proxies'], '`trusted-proxies`');
  const trustedProxies: string[] = [];
  for (const item of proxies ?? []) {
    const network = yaml.text(item, 'a trusted proxy');
    if (network === undefined) continue;
    if (isNetwork(network)) trustedProxies.push(network);
    else yaml.fault(item, `\`${network}\` is neither an address nor a network`, 'for example `10.0.0.0/8` or `::1`');
  }
  const url = yaml.text(server['public-url'], '`public-url`');
  const readUrl = url === undefined ? undefined : readPublicUrl(url);
  if (readUrl !== undefined && 'refused' in readUrl) yaml.fault(server['public-url'], readUrl.refused, readUrl.help);
  const data = yaml.text(server.data, '`data`');
  const threads = postgres?.threads && yaml.wholeNumber(postgres.threads, '`threads`', 0, mostThreads);
  const host = yaml.text(postgres?.['public-host'], '`public-host`');
  if (host !== undefined && !isHost(host)) yaml.fault(postgres?.['public-host'], `\`${host}\` is not a host name`);
  return present({
    publicUrl: url,
    console: console && present({ listen: readListen(yaml, console.listen), tls: readTlsFiles(yaml, console.tls) }),
    postgres:
      postgres &&
      present({
        listen: readListen(yaml, postgres.listen),
        publicHost: host,
        threads,
        tls: readTlsFiles(yaml, postgres.tls),
      }),
    data,
    databaseUrl: readSecret(yaml, server['database-url'], '`database-url`'),
    trustedProxies: proxies === undefined ? undefined : trustedProxies,
    logLevel,
    strictJournal: yaml.truth(journal?.strict, '`strict`'),
    accessRequests,
  });
}

function readListen(yaml: YamlReader, node: Node | undefined): Address | undefined {
  return readAddress(yaml, node, '`listen`', 0);
}

function readTlsFiles(yaml: YamlReader, node: Node | undefined): TlsFiles | undefined {
  const files = yaml.record(node, '`tls`', ['cert', 'key'], ['cert', 'key']);
  const cert = yaml.text(files?.cert, '`cert`');
  const key = yaml.text(files?.key, '`key`');
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

function readSecret(yaml: YamlReader, node: Node | undefined, what: string): SecretReference | undefined {
  if (node === undefined) return undefined;
  if (!('items' in node))
    return yaml.fault(node, `${what} is not written here`, 'say where it is: `{ file: path }` or `{ env: NAME }`');
  const where = yaml.record(node, what, ['file', 'env']);
  if (where === undefined) return undefined;
  const file = yaml.text(where.file, '`file`');
  const env = yaml.text(where.env, '`env`');
  if ((where.file === undefined) === (where.env === undefined))
    return yaml.fault(node, `${what} needs one of \`file\` and \`env\``);
  if (file !== undefined) return { file };
  if (env === undefined) return undefined;
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(env))
    return yaml.fault(where.env, `\`${env}\` is not the name of an environment variable`);
  return { env };
}

function readAddress(yaml: YamlReader, node: Node | undefined, what: string, lowestPort: 0 | 1) {
  const text = yaml.text(node, what);
  if (text === undefined) return undefined;
  return (
    parseAddress(text, lowestPort) ??
    yaml.fault(node, `\`${text}\` is not an address`, 'write `host:port`, or `[::1]:port` for IPv6')
  );
}

// ── resources ───────────────────────────────────────────────────────────────────────────────────────────────────────

function readResource(yaml: YamlReader, name: ResourceName, node: Node): Resource | undefined {
  const fields = yaml.record(
    node,
    `resource \`${name}\``,
    ['kind', 'description', 'labels', 'address', 'database', 'tls', 'authentication', 'admin', 'roles'],
    ['kind', 'address', 'database', 'admin', 'roles'],
  );
  if (fields === undefined) return undefined;
  const kind = yaml.text(fields.kind, '`kind`');
  if (kind !== undefined && kind !== 'postgres')
    yaml.fault(fields.kind, `\`${kind}\` is not a kind of resource`, 'the one kind so far is `postgres`');
  const address = readAddress(yaml, fields.address, '`address`', 1);
  const database = yaml.text(fields.database, '`database`', 63);
  const admin = yaml.record(fields.admin, '`admin`', ['user', 'password'], ['user']);
  const user = yaml.text(admin?.user, '`user`', 63);
  const password = readSecret(yaml, admin?.password, '`password`');
  const tls = readTls(yaml, fields.tls, address?.host);
  const authentication = readAuthentication(yaml, fields.authentication, tls);
  const needsPassword = authentication !== 'cert' && authentication !== 'trust';
  if (admin !== undefined && admin.password === undefined && needsPassword)
    yaml.fault(fields.admin, '`admin` has no `password`', 'only with `authentication` `cert` or `trust` it needs none');
  const labels = readLabels(yaml, fields.labels);
  const roles: Role[] = [];
  for (const { key, keyNode, value } of yaml.entries(fields.roles, '`roles`') ?? []) {
    const role = readRole(yaml, name, key, keyNode, value ?? keyNode);
    if (role !== undefined) roles.push(role);
  }
  const description = fields.description === undefined ? '' : yaml.text(fields.description, '`description`');
  if (address === undefined || database === undefined || user === undefined) return undefined;
  if (admin?.password !== undefined && password === undefined) return undefined;
  if (tls === undefined || labels === undefined || description === undefined) return undefined;
  const { host, port } = address;
  return {
    name,
    kind: 'postgres',
    description,
    labels,
    host,
    port,
    database,
    tls,
    ...present({ authentication }),
    admin: { user, ...present({ password }) },
    roles,
  };
}

/** INVARIANT 10: what is weaker than SCRAM has to be named, and never puts a password on a cleartext socket. */
function readAuthentication(
  yaml: YamlReader,
  node: Node | undefined,
  tls: Resource['tls'] | undefined,
): Authentication | undefined {
  const text = yaml.text(node, '`authentication`');
  if (text === undefined) return undefined;
  const named = authentications.find((known) => known === text);
  if (named === undefined)
    return yaml.fault(
      node,
      `\`${text}\` is not a way to authenticate`,
      `the ways are ${authentications.map((known) => `\`${known}\``).join(', ')}`,
    );
  if ((named === 'password' || named === 'scram-sha-256-plus') && tls?.mode === 'disable')
    yaml.fault(node, `\`${named}\` needs tls`);
  if (named === 'cert' && tls?.mode === 'verify-full' && tls.certificate === undefined)
    yaml.fault(node, '`cert` needs a certificate of ours', 'give `cert` and `key` in `tls`');
  if (named === 'cert' && tls?.mode === 'disable') yaml.fault(node, '`cert` needs tls');
  return named;
}

function readTls(yaml: YamlReader, node: Node | undefined, host: string | undefined): Resource['tls'] | undefined {
  if (node === undefined) return { mode: 'verify-full' };
  const keys = ['ca', 'server-name', 'direct', 'cert', 'key'] as const;
  const tls = yaml.record(node, '`tls`', ['mode', ...keys], ['mode']);
  const mode = yaml.text(tls?.mode, '`mode`');
  const ca = yaml.text(tls?.ca, '`ca`');
  const serverName = yaml.text(tls?.['server-name'], '`server-name`');
  if (serverName !== undefined && !isHost(serverName))
    yaml.fault(tls?.['server-name'], `\`${serverName}\` is not a host name`);
  const direct = yaml.truth(tls?.direct, '`direct`') === true ? true : undefined;
  const file = yaml.text(tls?.cert, '`cert`');
  const key = readSecret(yaml, tls?.key, '`key`');
  if (tls === undefined || mode === undefined) return undefined;
  if ((tls.cert === undefined) !== (tls.key === undefined))
    yaml.fault(tls.cert ?? tls.key, 'a certificate needs both `cert` and `key`');
  const certificate = file === undefined || key === undefined ? undefined : { file, key };
  if (mode === 'verify-full') return { mode, ...present({ ca, serverName, direct, certificate }) };
  if (mode !== 'disable')
    return yaml.fault(tls.mode, `\`${mode}\` is not a mode of tls`, 'the modes are `verify-full` and `disable`');
  for (const name of keys) if (tls[name] !== undefined) yaml.fault(tls[name], `\`disable\` takes no \`${name}\``);
  // INVARIANT 10: the administrator's password and the data would cross the network in clear text.
  if (host !== undefined && !isLoopback(host))
    return yaml.fault(
      tls.mode,
      `tls can't be disabled for \`${host}\``,
      'only for a loopback address; use `verify-full`',
    );
  return { mode };
}

function readLabels(yaml: YamlReader, node: Node | undefined): Readonly<Record<string, string>> | undefined {
  if (node === undefined) return {};
  const entries = yaml.entries(node, '`labels`');
  if (entries === undefined) return undefined;
  const labels: [string, string][] = [];
  for (const { key, keyNode, value } of entries) {
    if (parseGroup(key) === undefined) yaml.fault(keyNode, `\`${key}\` is not a name for a label`);
    const text =
      value === undefined ? yaml.fault(keyNode, `label \`${key}\` has no value`) : yaml.text(value, 'a label', 200);
    if (text !== undefined) labels.push([key, text]);
  }
  // Made from entries, so that a label named like a property of every object is a label and nothing more.
  return Object.fromEntries(labels);
}

// ── roles ───────────────────────────────────────────────────────────────────────────────────────────────────────────

function readRole(yaml: YamlReader, resource: ResourceName, key: string, keyNode: Node, node: Node): Role | undefined {
  const name = parseResourceName(key) === undefined ? undefined : (`${resource}/${key}` as RoleName);
  if (name === undefined) yaml.fault(keyNode, `\`${key}\` is not a name for a role`, nameHelp);
  const fields = yaml.record(
    node,
    `role \`${key}\``,
    [
      'description',
      'max',
      'request',
      'approve',
      'statement-timeout',
      'connections',
      'tables',
      'functions',
      'channels',
      'set-role',
    ],
    ['max', 'request', 'approve'],
  );
  if (fields === undefined) return undefined;
  const maxDuration = readDuration(yaml, fields.max, '`max`', longestRole);
  const statementTimeout =
    fields['statement-timeout'] === undefined
      ? defaultStatementTimeout
      : readDuration(yaml, fields['statement-timeout'], '`statement-timeout`', longestRole);
  const maxConnections =
    fields.connections === undefined
      ? defaultConnections
      : yaml.wholeNumber(fields.connections, '`connections`', 1, 100);
  const requesters = readGroups(yaml, fields.request, '`request`', 'nobody could ask for the role');
  const approve = yaml.record(fields.approve, '`approve`', ['groups', 'count'], ['groups']);
  const approvers = readGroups(yaml, approve?.groups, '`groups`', 'nobody could approve it');
  const count = approve?.count === undefined ? 1 : yaml.wholeNumber(approve.count, '`count`', 1, mostApprovers);
  const tables = readTables(yaml, fields.tables);
  const functions = readFunctions(yaml, fields.functions);
  const channels = fields.channels === undefined ? undefined : readChannels(yaml, fields.channels);
  const setRole = readSetRole(yaml, fields['set-role']);
  if ([fields.tables, fields.functions, fields.channels, fields['set-role']].every((given) => given === undefined))
    yaml.fault(keyNode, `role \`${key}\` gives nothing`, 'name `tables`, `functions`, `channels` or `set-role`');
  const description = fields.description === undefined ? '' : yaml.text(fields.description, '`description`');
  if (name === undefined || maxDuration === undefined || statementTimeout === undefined) return undefined;
  if (maxConnections === undefined || requesters === undefined || approvers === undefined) return undefined;
  if (count === undefined || tables === undefined || functions === undefined || description === undefined)
    return undefined;
  return {
    name,
    resource,
    description,
    maxDuration,
    permissions: { tables, functions, ...present({ channels, setRole }) },
    statementTimeout,
    maxConnections,
    requesters: { groups: requesters },
    approvers: { groups: approvers, count },
  };
}

/** What the role is allowed to be on the target is looked at there, since it can change there. */
function readSetRole(yaml: YamlReader, node: Node | undefined): string | undefined {
  const name = yaml.text(node, '`set-role`');
  if (name === undefined) return undefined;
  if (new TextEncoder().encode(name).length > 63) return yaml.fault(node, `\`${name}\` is too long for PostgreSQL`);
  if (/[\p{Cc}\p{Cf}]/u.test(name)) return yaml.fault(node, '`set-role` has characters that can not be seen');
  if (['none', 'public'].includes(name))
    return yaml.fault(node, `\`${name}\` is not the name of a database role`, 'PostgreSQL means something else by it');
  if (name.startsWith('pg_'))
    return yaml.fault(
      node,
      `\`${name}\` is a predefined role`,
      'name a role of your own that owns what is to be changed',
    );
  if (name.startsWith('sally_'))
    return yaml.fault(node, `\`${name}\` is a name that Sallyport makes`, 'name the role that owns the tables');
  return name;
}

function readDuration(yaml: YamlReader, node: Node | undefined, what: string, longest: Duration): Duration | undefined {
  const text = yaml.text(node, what);
  if (text === undefined) return undefined;
  const duration = parseDuration(text);
  if (duration === undefined)
    return yaml.fault(node, `\`${text}\` is not a duration`, 'for example `90s`, `30m`, `4h`, `1h30m`');
  // INVARIANT 9: nothing is unlimited.
  if (duration > longest) return yaml.fault(node, `${what} is at most ${formatDuration(longest)}`);
  if (duration < seconds(1)) return yaml.fault(node, `${what} is at least one second`);
  return duration;
}

/** INVARIANT 1: an empty list means nobody, and a role that nobody could get is a mistake and not a way to say so. */
function readGroups(
  yaml: YamlReader,
  node: Node | undefined,
  what: string,
  empty: string,
): readonly string[] | undefined {
  const items = yaml.list(node, what);
  if (items === undefined) return undefined;
  if (items.length === 0) return yaml.fault(node, `${what} is empty: ${empty}`);
  const groups: string[] = [];
  let sound = true;
  for (const item of items) {
    const text = yaml.text(item, 'a group');
    const group = parseGroup(text);
    if (text !== undefined && group === undefined)
      yaml.fault(
        item,
        `\`${text}\` is not a name for a group`,
        'lower-case letters and digits, with single `.`, `_`, `:`, `-` between',
      );
    else if (group !== undefined && groups.includes(group)) yaml.fault(item, `\`${group}\` is there twice`);
    if (group === undefined) sound = false;
    else groups.push(group);
  }
  return sound ? groups : undefined;
}

const tableKeys = ['select', 'insert', 'update', 'delete', 'truncate'] as const;

function readTables(yaml: YamlReader, node: Node | undefined): readonly TablePermission[] | undefined {
  if (node === undefined) return [];
  const entries = yaml.entries(node, '`tables`');
  if (entries === undefined) return undefined;
  const tables: TablePermission[] = [];
  let sound = true;
  for (const { key, keyNode, value } of entries) {
    const name = readObjectName(yaml, key, keyNode);
    const what = `table \`${key}\``;
    const fields = yaml.record(value ?? keyNode, what, tableKeys);
    if (fields !== undefined && yaml.entries(value, what)?.length === 0)
      yaml.fault(keyNode, `${what} has no permission`, `name one of ${tableKeys.map((k) => `\`${k}\``).join(', ')}`);
    const columns = {
      select: readColumns(yaml, fields?.select, '`select`'),
      insert: readColumns(yaml, fields?.insert, '`insert`'),
      update: readColumns(yaml, fields?.update, '`update`'),
    };
    const rest = {
      delete: readTrue(yaml, fields?.delete, 'delete'),
      truncate: readTrue(yaml, fields?.truncate, 'truncate'),
    };
    if (name === undefined || fields === undefined) sound = false;
    else tables.push({ ...name, ...present({ ...columns, ...rest }) });
  }
  return sound ? tables : undefined;
}

/** PostgreSQL gives these only together with the whole table. */
const systemColumns = ['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'];

function readColumns(yaml: YamlReader, node: Node | undefined, what: string): Columns | undefined {
  if (node === undefined) return undefined;
  if (!('items' in node)) {
    const word = yaml.text(node, what);
    if (word === undefined || word === 'all') return word;
    return yaml.fault(
      node,
      `${what} is \`all\` or a list of columns`,
      `write \`[${word}]\` for the one column \`${word}\``,
    );
  }
  const items = yaml.list(node, what);
  if (items === undefined) return undefined;
  if (items.length === 0) return yaml.fault(node, `${what} names no column`, 'leave it out, or write `all`');
  const columns: string[] = [];
  for (const item of items) {
    const column = yaml.text(item, 'a column', 63);
    if (column === undefined) continue;
    if (columns.includes(column)) yaml.fault(item, `column \`${column}\` is there twice`);
    else if (systemColumns.includes(column))
      yaml.fault(item, `\`${column}\` is a system column`, 'PostgreSQL gives those with `all` only');
    else columns.push(column);
  }
  return columns;
}

function readFunctions(yaml: YamlReader, node: Node | undefined): readonly FunctionPermission[] | undefined {
  if (node === undefined) return [];
  const items = yaml.list(node, '`functions`');
  if (items === undefined) return undefined;
  const functions: FunctionPermission[] = [];
  for (const item of items) {
    const text = yaml.text(item, 'a function', 200);
    const name = text === undefined ? undefined : readObjectName(yaml, text, item);
    if (name === undefined) continue;
    if (functions.some((other) => other.schema === name.schema && other.name === name.name))
      yaml.fault(item, `function \`${text}\` is there twice`);
    else functions.push(name);
  }
  return functions;
}

const channelKeys = ['listen', 'notify'] as const;

function readChannels(yaml: YamlReader, node: Node): readonly ChannelPermission[] | undefined {
  const entries = yaml.entries(node, '`channels`');
  if (entries === undefined) return undefined;
  const channels: ChannelPermission[] = [];
  for (const { key, keyNode, value } of entries) {
    const what = `channel \`${key}\``;
    const channel = parseChannel(key);
    if (channel === undefined)
      yaml.fault(
        keyNode,
        `\`${key}\` is not a channel`,
        'a plain lower-case name, any other in double quotes as in SQL, or `*` for every channel',
      );
    else if (channel !== 'any' && new TextEncoder().encode(channel.name).length > 63)
      yaml.fault(keyNode, `\`${key}\` is too long for PostgreSQL`);
    const fields = yaml.record(value ?? keyNode, what, channelKeys);
    if (fields !== undefined && yaml.entries(value, what)?.length === 0)
      yaml.fault(keyNode, `${what} has no permission`, 'name one of `listen`, `notify`');
    const permission = {
      listen: readTrue(yaml, fields?.listen, 'listen'),
      notify: readTrue(yaml, fields?.notify, 'notify'),
    };
    if (channel !== undefined && fields !== undefined) channels.push({ channel, ...present(permission) });
  }
  return channels;
}

/** A permission that is there or isn't. */
function readTrue(yaml: YamlReader, node: Node | undefined, key: string): true | undefined {
  const said = yaml.truth(node, `\`${key}\``);
  if (said === false) yaml.fault(node, `\`${key}: false\` says nothing`, 'leave it out');
  return said === true ? said : undefined;
}

function readObjectName(yaml: YamlReader, text: string, node: Node): ObjectName | undefined {
  const name = parseObjectName(text);
  if (name === undefined) {
    const help = text.includes('*')
      ? 'a role is an exact set: name each table'
      : text.includes('.')
        ? 'a part that is not a plain lower-case name is in double quotes, as in SQL: `public."Orders"`'
        : `name its schema too: \`public.${text}\``;
    return yaml.fault(node, `\`${text}\` is not \`schema.name\``, help);
  }
  if (name.schema.length > 63 || name.name.length > 63)
    return yaml.fault(node, `\`${text}\` is too long for PostgreSQL`);
  return name;
}

/** What a case asks, in the short form of the cases file. */
import type { Node } from 'yaml';
import { parseRoleName, type GrantId, type RequestId, type RoleName, type SessionId } from '#core/ids.ts';
import { minutes, parseDuration, parseInstant, type Duration, type Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Need } from '#sql/needs.ts';
import { cureKinds } from './cures.ts';
import { parseChannel, parseObjectName } from './_names.ts';
import { pgActions } from './_slice.ts';
import type { Administered, Circumstances, Cured, GrantRef, Question, StatementQuestion } from './question.ts';
import { present, type YamlReader } from './_yaml-reader.ts';

/** When a case says nothing else: a Wednesday in working hours. */
const noon = 1_767_787_200_000 as Instant;

export const actions = [
  'request',
  'approve',
  'activate',
  'connect',
  'administer',
  'manage-authenticators',
  'revoke',
  'read-log',
  'read-session',
  'statement',
] as const;
export type CaseAction = (typeof actions)[number];

export const caseKeys = [
  'name',
  'who',
  ...actions,
  'for',
  'starts',
  'acts-for',
  'owner',
  // the circumstances
  'at',
  'from',
  'tls',
  'device',
  'signed-in',
  'signed-in-by',
  'cured',
  'approved-by',
  'proof-age',
  'key-age',
  'oldest-key',
  // the grant
  'reason',
  'ticket',
  'approvals',
  'activated',
  'ends',
  // the statement
  'in',
  'where',
  'class',
  'statements',
  'rows',
  'functions',
  // administration
  'administrators',
  'keys',
  'expect',
  'cures',
  'by',
] as const;

export function oneOf<T extends string>(
  yaml: YamlReader,
  node: Node | undefined,
  what: string,
  known: readonly T[],
): T | undefined {
  const text = yaml.text(node, what);
  if (text === undefined) return undefined;
  return (
    known.find((word) => word === text) ??
    yaml.fault(
      node,
      `\`${text}\` is not a ${what.replaceAll('`', '')}`,
      `one of ${known.map((k) => `\`${k}\``).join(', ')}`,
    )
  );
}

export type Fields = Partial<Record<(typeof caseKeys)[number], Node>>;

export function readQuestion(
  yaml: YamlReader,
  from: {
    readonly action: CaseAction;
    readonly fields: Fields;
    readonly people: ReadonlyMap<string, Principal>;
    readonly node: Node;
  },
): Question | undefined {
  const { action, fields, people, node } = from;
  const somebody = (at: Node | undefined, what: string): Principal | undefined => {
    const handle = yaml.text(at, what);
    if (handle === undefined) return undefined;
    return people.get(handle) ?? yaml.fault(at, `there is no principal \`${handle}\` in the file`);
  };
  const role = (at: Node | undefined, what: string): RoleName | undefined => {
    const text = yaml.text(at, what);
    return text === undefined
      ? undefined
      : (parseRoleName(text) ?? yaml.fault(at, `\`${text}\` is not \`resource/role\``));
  };
  /** A field that the question can't do without. */
  const needed = (key: keyof Fields): Node | undefined =>
    fields[key] ?? yaml.fault(node, `a case that asks \`${action}\` needs \`${key}\``);

  const who = somebody(fields.who, '`who`');
  const actsFor =
    fields['acts-for'] === undefined
      ? undefined
      : (yaml.list(fields['acts-for'], '`acts-for`') ?? []).flatMap((at) => {
          const found = somebody(at, 'a principal');
          return found === undefined ? [] : [found.id];
        });
  const circumstances = readCircumstances(yaml, fields);
  // To approve is asked about a request, and that is who acts for somebody there.
  const chain = actsFor === undefined || action === 'approve' ? {} : { actsFor };
  const shared = (of: Principal) => ({ ...circumstances, ...chain, principal: of });
  const length = () => (fields.for === undefined ? minutes(30) : readDuration(yaml, fields.for, '`for`'));
  const number = (key: 'administrators' | 'keys', otherwise: number) =>
    fields[key] === undefined ? otherwise : yaml.wholeNumber(fields[key], `\`${key}\``, 0, 1000);
  const grantFor = (name: RoleName, owner: Principal): GrantRef => ({
    id: 'grt_00000000000000000000000000' as GrantId,
    principal: owner.id,
    role: name,
    ...readGrant(yaml, fields),
  });
  const grant = () => {
    const name = role(fields[action], `\`${action}\``);
    const owner = somebody(needed('owner'), '`owner`');
    return name === undefined || owner === undefined ? undefined : grantFor(name, owner);
  };
  if (who === undefined) return undefined;

  switch (action) {
    case 'request': {
      const name = role(fields.request, '`request`');
      const duration = length();
      const more = present({
        startsAt: readInstant(yaml, fields.starts, '`starts`'),
        ticket: yaml.text(fields.ticket, '`ticket`'),
      });
      if (name === undefined || duration === undefined) return undefined;
      return { ...shared(who), action: 'request_role', role: name, duration, ...more };
    }
    case 'approve': {
      const name = role(fields.approve, '`approve`');
      const requester = somebody(needed('owner'), '`owner`');
      const duration = length();
      if (name === undefined || requester === undefined || duration === undefined) return undefined;
      const id = 'req_00000000000000000000000000' as RequestId;
      const request = { id, requester: requester.id, actsFor: actsFor ?? [], role: name, duration };
      return { ...shared(who), action: 'approve_request', request };
    }
    case 'activate': {
      const found = grant();
      return found === undefined ? undefined : { ...shared(who), action: 'activate_grant', grant: found };
    }
    case 'revoke': {
      const found = grant();
      return found === undefined ? undefined : { ...shared(who), action: 'revoke_grant', grant: found };
    }
    case 'connect': {
      const found = grant();
      return found === undefined ? undefined : { ...shared(who), action: 'connect', grant: found };
    }
    case 'administer': {
      const known: readonly Administered[] = ['principals', 'configuration', 'grants', 'sessions', 'authenticators'];
      const what = oneOf(yaml, fields.administer, '`administer`', known);
      const administrators = number('administrators', 1);
      if (what === undefined || administrators === undefined) return undefined;
      return { ...shared(who), action: 'administer', what, administrators };
    }
    case 'manage-authenticators': {
      const change = oneOf(yaml, fields['manage-authenticators'], '`manage-authenticators`', [
        'add',
        'remove',
        'reset',
      ] as const);
      const of = somebody(needed('owner'), '`owner`');
      const administrators = number('administrators', 1);
      const authenticators = number('keys', 1);
      if (change === undefined || of === undefined || administrators === undefined || authenticators === undefined)
        return undefined;
      return { ...shared(who), action: 'manage_authenticators', of, change, authenticators, administrators };
    }
    case 'read-log': {
      const scope = oneOf(yaml, fields['read-log'], '`read-log`', ['own', 'all'] as const);
      return scope === undefined ? undefined : { ...shared(who), action: 'read_log', scope };
    }
    case 'read-session': {
      const name = role(fields['read-session'], '`read-session`');
      const owner = somebody(needed('owner'), '`owner`');
      if (name === undefined || owner === undefined) return undefined;
      const id = 'ses_00000000000000000000000000' as SessionId;
      return { ...shared(who), action: 'read_session', session: { id, principal: owner.id, role: name } };
    }
    case 'statement': {
      const name = role(needed('in'), '`in`');
      const context = readStatementContext(yaml, fields);
      const items =
        'items' in (fields.statement ?? {}) ? yaml.list(fields.statement, '`statement`') : [fields.statement];
      const needs = (items ?? []).flatMap((item) => {
        const need = item === undefined ? undefined : readNeed(yaml, item);
        return need === undefined ? [] : [need];
      });
      if (name === undefined || context === undefined) return undefined;
      return { ...shared(who), action: 'statement', role: name, grant: grantFor(name, who), needs, context };
    }
    default:
      return action satisfies never;
  }
}

function readStatementContext(yaml: YamlReader, fields: Fields): StatementQuestion['context'] | undefined {
  const hasWhere = fields.where === undefined ? false : yaml.truth(fields.where, '`where`');
  const statementClass = fields.class === undefined ? 'read' : yaml.text(fields.class, '`class`');
  const statementCount =
    fields.statements === undefined ? 1 : yaml.wholeNumber(fields.statements, '`statements`', 1, 1000);
  const functions = (yaml.list(fields.functions, '`functions`') ?? []).flatMap((at) => {
    const text = yaml.text(at, 'a function');
    if (text !== undefined && parseObjectName(text) === undefined) yaml.fault(at, `\`${text}\` is not \`schema.name\``);
    return text === undefined ? [] : [text];
  });
  const estimatedRows =
    fields.rows === undefined ? undefined : yaml.wholeNumber(fields.rows, '`rows`', 0, Number.MAX_SAFE_INTEGER);
  if (hasWhere === undefined || statementClass === undefined || statementCount === undefined) return undefined;
  return { hasWhere, statementClass, statementCount, functions, ...present({ estimatedRows }) };
}

/** `select on public.orders (id, status)`, `call on public.refund()`, `listen on channel jobs`, `ddl on the database`: as `describeNeed` writes them. */
function readNeed(yaml: YamlReader, node: Node): Need | undefined {
  const text = yaml.text(node, '`statement`', 5000);
  if (text === undefined) return undefined;
  const bad = () =>
    yaml.fault(
      node,
      `\`${text}\` is not a need`,
      'for example `select on public.orders (id, status)`, `call on public.refund()`, `other on the database`',
    );
  const match = /^(\w+) on (.+)$/.exec(text);
  const action = pgActions.find((known) => known === match?.[1]);
  const rest = match?.[2] ?? '';
  if (action === undefined) return bad();
  if (rest === 'the database') return { action, object: { kind: 'database' }, columns: [] };
  if (rest === 'any channel') return { action, object: { kind: 'any channel' }, columns: [] };
  if (rest.startsWith('channel ')) {
    const channel = parseChannel(rest.slice('channel '.length));
    if (channel === undefined || channel === 'any') return bad();
    return { action, object: { kind: 'channel', ...channel }, columns: [] };
  }
  if (rest.endsWith('()')) {
    const name = parseObjectName(rest.slice(0, -2));
    return name === undefined ? bad() : { action, object: { kind: 'function', ...name }, columns: [] };
  }
  const list = /^(.*?) \(([^()]+)\)$/.exec(rest);
  const name = parseObjectName(list?.[1] ?? rest);
  if (name === undefined) return bad();
  const columns = (list?.[2] ?? '')
    .split(',')
    .map((column) => column.trim().replace(/^"(.*)"$/, '$1'))
    .filter((column) => column !== '');
  return { action, object: { kind: 'table', ...name }, columns: columns.toSorted() };
}

/** The time, where from, by what device and sign-in, and what has been obtained. Unsaid: at noon, from this machine. */
function readCircumstances(
  yaml: YamlReader,
  fields: Fields,
): Circumstances & { client: { address: string; tls: boolean } } {
  const age = readDuration(yaml, fields['signed-in'], '`signed-in`');
  const method = fields['signed-in-by'] === undefined ? 'passkey' : yaml.text(fields['signed-in-by'], '`signed-in-by`');
  const signIn =
    fields['signed-in'] === undefined && fields['signed-in-by'] === undefined
      ? undefined
      : { method: method ?? '', ...present({ age }) };
  return {
    now: fields.at === undefined ? noon : (readInstant(yaml, fields.at, '`at`') ?? noon),
    client: {
      address: (fields.from === undefined ? undefined : yaml.text(fields.from, '`from`')) ?? '127.0.0.1',
      tls: fields.tls === undefined ? true : yaml.truth(fields.tls, '`tls`') === true,
    },
    ...present({
      device: readDevice(yaml, fields.device),
      signIn,
      cured: readCured(yaml, fields),
      oldestAuthenticator: readDuration(yaml, fields['oldest-key'], '`oldest-key`'),
    }),
  };
}

/** `known`, `unknown`, or for how long it has been known: `30d`. */
function readDevice(yaml: YamlReader, node: Node | undefined): Circumstances['device'] {
  const text = yaml.text(node, '`device`');
  if (text === undefined) return undefined;
  if (text === 'known' || text === 'unknown') return { known: text === 'known' };
  const age = parseDuration(text);
  if (age === undefined)
    return yaml.fault(
      node,
      `\`${text}\` is not a device`,
      '`known`, `unknown`, or for how long it has been known: `30d`',
    );
  return { known: true, age };
}

function readGrant(yaml: YamlReader, fields: Fields): Partial<GrantRef> {
  return present({
    reason: yaml.text(fields.reason, '`reason`'),
    ticket: yaml.text(fields.ticket, '`ticket`'),
    approvals: fields.approvals === undefined ? undefined : yaml.wholeNumber(fields.approvals, '`approvals`', 0, 1000),
    activatedAt: readInstant(yaml, fields.activated, '`activated`'),
    endsAt: readInstant(yaml, fields.ends, '`ends`'),
  });
}

function readInstant(yaml: YamlReader, node: Node | undefined, what: string): Instant | undefined {
  const text = yaml.text(node, what);
  if (text === undefined) return undefined;
  return (
    parseInstant(text) ?? yaml.fault(node, `\`${text}\` is not a time in UTC`, 'for example `2026-01-07T12:00:00Z`')
  );
}

function readDuration(yaml: YamlReader, node: Node | undefined, what: string): Duration | undefined {
  const text = yaml.text(node, what);
  return text === undefined
    ? undefined
    : (parseDuration(text) ?? yaml.fault(node, `\`${text}\` is not a duration`, 'for example `90s`, `30m`, `4h`'));
}

function readCured(yaml: YamlReader, fields: Fields): Cured | undefined {
  const cured: { -readonly [K in keyof Cured]: Cured[K] } = present({
    approvals:
      fields['approved-by'] === undefined
        ? undefined
        : yaml.wholeNumber(fields['approved-by'], '`approved-by`', 0, 100),
    proofAge: readDuration(yaml, fields['proof-age'], '`proof-age`'),
    authenticatorAge: readDuration(yaml, fields['key-age'], '`key-age`'),
  });
  for (const item of yaml.list(fields.cured, '`cured`') ?? []) {
    const kind = oneOf(yaml, item, 'cure', cureKinds);
    if (kind !== undefined) cured[kind === 'fresh_sign_in' ? 'freshSignIn' : kind] = true;
  }
  return Object.keys(cured).length === 0 ? undefined : cured;
}

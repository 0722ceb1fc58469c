/**
 * Cases: what policies are expected to answer, written beside them in `*.cases.yaml` and run by `sally policy test`.
 *
 * A file has `principals` (handle → groups, kind) and `cases`. A case has a `name`, one question in short form, and what is
 * expected: `allow`, `deny`, or `curable` with its cures, and with `by` the ids of the policies that must be among those
 * that determined the answer. `docs/policies.md` shows every form.
 */
import type { Node } from 'yaml';
import type { Cure, Decision } from '#core/decision.ts';
import {
  parseRoleName,
  type GrantId,
  type PrincipalId,
  type RequestId,
  type RoleName,
  type SessionId,
} from '#core/ids.ts';
import { minutes, parseDuration, parseInstant, type Instant } from '#core/instant.ts';
import { parseGroup, parseHandle, type Principal, type PrincipalKind } from '#core/principal.ts';
import type { Need } from '#sql/needs.ts';
import type { PolicyEngine, PolicyFault } from './engine.ts';
import { parseCure } from './cures.ts';
import { parseChannel, parseObjectName } from './_names.ts';
import { pgActions } from './_slice.ts';
import type { Administered, Cured, Question, StatementQuestion } from './question.ts';
import { readYaml, type YamlReader } from './_yaml-reader.ts';

export type CaseResult = {
  readonly file: string;
  readonly line: number;
  readonly name: string;
} & (
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly expected: string; readonly got: string; readonly policies: readonly string[] }
);

export type CasesOutcome =
  | { readonly kind: 'ran'; readonly results: readonly CaseResult[] }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

/** Runs one file against what the engine has loaded. A file with faults or without cases is not run at all. */
export function runCases(
  engine: Pick<PolicyEngine, 'decide'>,
  input: { readonly file: string; readonly text: string },
): CasesOutcome {
  const yaml = readYaml(input.file, input.text, 1_000_000);
  const cases = yaml.root === undefined ? [] : readCases(yaml, yaml.root);
  if (yaml.faults.length === 0 && cases.length === 0) yaml.fault(yaml.root, 'there are no cases in the file');
  if (yaml.faults.length > 0)
    return { kind: 'faults', faults: yaml.faults.toSorted((a, b) => a.line - b.line || a.column - b.column) };
  const results = cases.map(({ name, line, question, expected }): CaseResult => {
    const answer = engine.decide(question);
    const where = { file: input.file, line, name };
    if (holds(expected, answer)) return { ...where, kind: 'passed' };
    return {
      ...where,
      kind: 'failed',
      expected: expectation(expected),
      got: describe(answer),
      policies: answer.policies,
    };
  });
  return { kind: 'ran', results };
}

type Expected = {
  readonly kind: Decision['kind'];
  readonly cures: readonly Cure[];
  readonly by: readonly string[];
};

type Case = { readonly name: string; readonly line: number; readonly question: Question; readonly expected: Expected };

function holds(expected: Expected, answer: Decision): boolean {
  if (expected.kind !== answer.kind) return false;
  if (!expected.by.every((id) => answer.policies.includes(id))) return false;
  if (answer.kind !== 'curable') return true;
  const spelled = (cures: readonly Cure[]) =>
    cures
      .map((cure) => JSON.stringify(cure))
      .toSorted()
      .join();
  return expected.cures.length === 0 || spelled(expected.cures) === spelled(answer.cures);
}

function expectation({ kind, cures, by }: Expected): string {
  const how = cures.length === 0 ? '' : ` (${cures.map((cure) => cure.kind).join(', ')})`;
  return `${kind}${how}${by.length === 0 ? '' : ` by ${by.join(', ')}`}`;
}

function describe(answer: Decision): string {
  const why = answer.kind === 'allow' ? '' : `: ${answer.because}`;
  const how = answer.kind === 'curable' ? ` (${answer.cures.map((cure) => cure.kind).join(', ')})` : '';
  return `${answer.kind}${how}${answer.policies.length === 0 ? '' : ` by ${answer.policies.join(', ')}`}${why}`;
}

/** When a case says nothing else: a Wednesday in working hours. */
const noon = 1_767_787_200_000 as Instant;

const actions = [
  'request',
  'approve',
  'activate',
  'connect',
  'administer',
  'revoke',
  'read-log',
  'read-session',
  'statement',
] as const;
type CaseAction = (typeof actions)[number];

const caseKeys = [
  'name',
  'who',
  ...actions,
  'for',
  'starts',
  'acts-for',
  'owner',
  'from',
  'tls',
  'in',
  'where',
  'class',
  'statements',
  'cured',
  'expect',
  'cures',
  'by',
] as const;

function readCases(yaml: YamlReader, root: Node): readonly Case[] {
  const top = yaml.record(root, 'the file', ['principals', 'cases'], ['principals', 'cases']);
  const people = readPrincipals(yaml, top?.principals);
  const cases: Case[] = [];
  const names = new Set<string>();
  for (const node of yaml.list(top?.cases, '`cases`') ?? []) {
    const fields = yaml.record(node, 'a case', caseKeys, ['name', 'who', 'expect']);
    if (fields === undefined) continue;
    const name = yaml.text(fields.name, '`name`');
    if (name !== undefined && names.has(name)) yaml.fault(fields.name, `a second case is named \`${name}\``);
    names.add(name ?? '');
    const asked = actions.filter((action) => fields[action] !== undefined);
    const [action, second] = asked;
    if (action === undefined || second !== undefined) {
      yaml.fault(
        node,
        `a case asks one question, this one ${asked.length}`,
        `one of ${actions.map((a) => `\`${a}\``).join(', ')}`,
      );
      continue;
    }
    const question = readQuestion(yaml, { action, fields, people, node });
    const expected = readExpected(yaml, fields);
    if (name === undefined || question === undefined || expected === undefined) continue;
    cases.push({ name, line: yaml.lineOf(node), question, expected });
  }
  return cases;
}

function readPrincipals(yaml: YamlReader, node: Node | undefined): ReadonlyMap<string, Principal> {
  const people = new Map<string, Principal>();
  for (const { key, keyNode, value } of yaml.entries(node, '`principals`') ?? []) {
    const handle = parseHandle(key);
    if (handle === undefined) {
      yaml.fault(keyNode, `\`${key}\` is not a handle`);
      continue;
    }
    const fields = yaml.record(value, `principal \`${key}\``, ['groups', 'kind', 'state']);
    const groups = (yaml.list(fields?.groups, '`groups`') ?? []).map(
      (item) => parseGroup(yaml.text(item, 'a group')) ?? yaml.fault(item, 'this is not a name for a group'),
    );
    const kind = oneOf(yaml, fields?.kind, '`kind`', ['user', 'service', 'agent'] as const) ?? 'user';
    const state = oneOf(yaml, fields?.state, '`state`', ['active', 'suspended', 'invited'] as const) ?? 'active';
    people.set(
      handle,
      principal(
        people.size,
        handle,
        kind,
        state,
        groups.filter((group) => group !== undefined),
      ),
    );
  }
  return people;
}

function principal(
  index: number,
  handle: string,
  kind: PrincipalKind,
  state: Principal['state'],
  groups: readonly string[],
): Principal {
  const id = `usr_${String(index).padStart(26, '0')}` as PrincipalId;
  return { id, handle, name: handle, kind, state, groups };
}

function oneOf<T extends string>(
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

type Fields = Partial<Record<(typeof caseKeys)[number], Node>>;

function readQuestion(
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
  const cured = readCured(yaml, fields.cured);
  const shared = (of: Principal) => ({ principal: of, now: noon, ...(cured === undefined ? {} : { cured }) });
  const actsFor = () =>
    (yaml.list(fields['acts-for'], '`acts-for`') ?? []).flatMap((at) => {
      const found = somebody(at, 'a principal');
      return found === undefined ? [] : [found.id];
    });
  const length = () => {
    if (fields.for === undefined) return minutes(30);
    const text = yaml.text(fields.for, '`for`');
    return parseDuration(text) ?? yaml.fault(fields.for, `\`${text}\` is not a duration`);
  };
  const grant = () => {
    const name = role(fields[action], `\`${action}\``);
    const owner = somebody(needed('owner'), '`owner`');
    if (name === undefined || owner === undefined) return undefined;
    return { id: 'grt_00000000000000000000000000' as GrantId, principal: owner.id, role: name };
  };
  if (who === undefined) return undefined;

  switch (action) {
    case 'request': {
      const name = role(fields.request, '`request`');
      const duration = length();
      const startText = yaml.text(fields.starts, '`starts`');
      const startsAt =
        startText === undefined
          ? undefined
          : (parseInstant(startText) ?? yaml.fault(fields.starts, `\`${startText}\` is not a time in UTC`));
      if (name === undefined || duration === undefined) return undefined;
      const later = startsAt === undefined ? {} : { startsAt };
      return { ...shared(who), action: 'request_role', role: name, duration, actsFor: actsFor(), ...later };
    }
    case 'approve': {
      const name = role(fields.approve, '`approve`');
      const requester = somebody(needed('owner'), '`owner`');
      const duration = length();
      if (name === undefined || requester === undefined || duration === undefined) return undefined;
      const id = 'req_00000000000000000000000000' as RequestId;
      const request = { id, requester: requester.id, actsFor: actsFor(), role: name, duration };
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
      const address = fields.from === undefined ? '127.0.0.1' : yaml.text(fields.from, '`from`');
      const tls = fields.tls === undefined ? true : yaml.truth(fields.tls, '`tls`');
      if (found === undefined || address === undefined || tls === undefined) return undefined;
      return { ...shared(who), action: 'connect', grant: found, client: { address, tls } };
    }
    case 'administer': {
      const known: readonly Administered[] = ['principals', 'configuration', 'grants', 'sessions', 'authenticators'];
      const what = oneOf(yaml, fields.administer, '`administer`', known);
      return what === undefined ? undefined : { ...shared(who), action: 'administer', what };
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
      return { ...shared(who), action: 'statement', role: name, needs, context };
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
  if (hasWhere === undefined || statementClass === undefined || statementCount === undefined) return undefined;
  return { hasWhere, statementClass, statementCount, functions: [] };
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

function readCured(yaml: YamlReader, node: Node | undefined): Cured | undefined {
  const words = {
    proof: 'proof',
    approval: 'approval',
    reason: 'reason',
    activation: 'activation',
    fresh_sign_in: 'freshSignIn',
  } as const;
  if (node === undefined) return undefined;
  const cured: { -readonly [K in keyof Cured]: Cured[K] } = {};
  for (const item of yaml.list(node, '`cured`') ?? []) {
    const word = oneOf(yaml, item, 'cure', Object.keys(words) as readonly (keyof typeof words)[]);
    if (word !== undefined) cured[words[word]] = true;
  }
  return cured;
}

function readExpected(yaml: YamlReader, fields: Fields): Expected | undefined {
  const kind = oneOf(yaml, fields.expect, '`expect`', ['allow', 'deny', 'curable'] as const);
  const cures = (yaml.list(fields.cures, '`cures`') ?? []).map((item) => {
    const text = yaml.text(item, 'a cure');
    if (text === undefined) return undefined;
    const parsed = parseCure(text);
    return parsed.kind === 'cure' ? parsed.cure : yaml.fault(item, parsed.message, parsed.help);
  });
  const by = (yaml.list(fields.by, '`by`') ?? []).map((item) => yaml.text(item, 'an id'));
  if (cures.length > 0 && kind !== undefined && kind !== 'curable')
    yaml.fault(fields.cures, '`cures` goes with `expect: curable`');
  if (kind === undefined) return undefined;
  return { kind, cures: cures.filter((cure) => cure !== undefined), by: by.filter((id) => id !== undefined) };
}

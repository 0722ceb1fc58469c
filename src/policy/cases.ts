/**
 * Cases: what policies are expected to answer, written beside them in `*.cases.yaml` and run by `sally policy test`.
 *
 * A file has `principals` (handle → groups, kind) and `cases`. A case has a `name`, one question in short form, and what is
 * expected: `allow`, `deny`, or `curable` with its cures, and with `by` the ids of the policies that must be among those
 * that determined the answer. `docs/policies.md` shows every form.
 */
import type { Node } from 'yaml';
import type { Cure, Decision } from '#core/decision.ts';
import type { PrincipalId } from '#core/ids.ts';
import { parseGroup, parseHandle, type Principal, type PrincipalKind } from '#core/principal.ts';
import { actions, caseKeys, oneOf, readQuestion, type Fields } from './_case-questions.ts';
import { describeCures, parseCure } from './cures.ts';
import type { PolicyEngine, PolicyFault } from './engine.ts';
import type { Question } from './question.ts';
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
  const how = cures.length === 0 ? '' : ` (${describeCures(cures)})`;
  return `${kind}${how}${by.length === 0 ? '' : ` by ${by.join(', ')}`}`;
}

function describe(answer: Decision): string {
  const why = answer.kind === 'allow' ? '' : `: ${answer.because}`;
  const how = answer.kind === 'curable' ? ` (${describeCures(answer.cures)})` : '';
  return `${answer.kind}${how}${answer.policies.length === 0 ? '' : ` by ${answer.policies.join(', ')}`}${why}`;
}

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

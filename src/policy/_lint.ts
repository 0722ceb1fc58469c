/**
 * What is sound and yet hardly meant: policies that can never matter, cures that can't help, roles that nobody could ask for,
 * approve or use. Nothing here is known of the people there are; `_lockouts.ts` asks about those. Said is only what is
 * certain from scopes and from asking: a finding is worth reading, and silence proves nothing.
 */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/web';
import type { Approver, Decision } from '#core/decision.ts';
import type { GrantId, PrincipalId, RequestId } from '#core/ids.ts';
import { administrators, type Principal } from '#core/principal.ts';
import type { Role } from '#core/role.ts';
import type { Compiled, CompiledRole, WrittenPolicy } from './_compile.ts';
import { cureSets } from './cures.ts';
import type { PolicyFault } from './engine.ts';
import { favourable, isObtainable } from './_people.ts';
import type { Question } from './question.ts';
import { actionGroups, couldMatchStatement, pgActions } from './_slice.ts';

export function lint(compiled: Compiled, decide: (question: Question) => Decision): readonly PolicyFault[] {
  const own = compiled.written.filter(({ id }) => !id.startsWith('default:'));
  return [
    ...own.flatMap((policy) => [...ofCure(policy, compiled), ...shadowed(policy, compiled), ...idle(policy, compiled)]),
    ...ofRoles(compiled, decide),
  ];
}

const finding = (policy: WrittenPolicy, message: string, help: string): PolicyFault => ({
  ...policy.place,
  message: `\`${policy.id}\` ${message}`,
  help,
});

// ── cures ───────────────────────────────────────────────────────────────────────────────────────────────────────────

function ofCure(policy: WrittenPolicy, { cures }: Compiled): readonly PolicyFault[] {
  const cure = cures.get(policy.id);
  if (cure === undefined) return [];
  const sets = cureSets(cure.kind);
  const looks = [...policy.mentions].some((path) => path === '*' || sets.includes(path.split('.')[0] ?? ''));
  return looks
    ? []
    : [
        finding(
          policy,
          `is never lifted: it doesn't look at what its cure \`${cure.kind}\` changes`,
          `look at ${sets.map((name) => `\`context.${name}\``).join(', ')} in its conditions, or take the cure away`,
        ),
      ];
}

// ── what others leave nothing of ────────────────────────────────────────────────────────────────────────────────────

function shadowed(policy: WrittenPolicy, { written, cures }: Compiled): readonly PolicyFault[] {
  const { effect } = policy.json;
  const others = written.filter(({ id }) => id !== policy.id);
  const always = others.filter((other) => isUnconditional(other) && covers(other.json, policy.json));
  const forbidding = always.find((other) => other.json.effect === 'forbid' && !cures.has(other.id));
  if (forbidding !== undefined)
    return [
      finding(
        policy,
        effect === 'permit'
          ? `permits nothing: \`${forbidding.id}\` forbids all of it`
          : `takes nothing away: \`${forbidding.id}\` forbids all of it, and more`,
        'take one of the two away, or give the other a condition',
      ),
    ];
  if (effect === 'permit') {
    const permitting = always.find((other) => other.json.effect === 'permit');
    if (
      permitting !== undefined &&
      !(isUnconditional(policy) && covers(policy.json, permitting.json) && permitting.id > policy.id)
    )
      return [finding(policy, `adds nothing: \`${permitting.id}\` permits all of it already`, 'take it away')];
  }
  const twin = others.find(
    (other) =>
      other.id < policy.id &&
      other.json.effect === effect &&
      covers(other.json, policy.json) &&
      covers(policy.json, other.json) &&
      JSON.stringify(other.json.conditions) === JSON.stringify(policy.json.conditions) &&
      JSON.stringify(cures.get(other.id)) === JSON.stringify(cures.get(policy.id)),
  );
  return twin === undefined ? [] : [finding(policy, `says the same as \`${twin.id}\``, 'take one of the two away')];
}

const isUnconditional = ({ json }: WrittenPolicy): boolean => json.conditions.length === 0;

/** Does the scope of the first match whatever the second's does? False where it can't be told. */
function covers(wide: PolicyJson, narrow: PolicyJson): boolean {
  return (
    coversEntity(wide.principal, narrow.principal) &&
    coversAction(wide.action, narrow.action) &&
    coversEntity(wide.resource, narrow.resource)
  );
}

type EntityScope = PolicyJson['principal'] | PolicyJson['resource'];

function coversEntity(wide: EntityScope, narrow: EntityScope): boolean {
  if (wide.op === 'All' || JSON.stringify(wide) === JSON.stringify(narrow)) return true;
  const type = typeOf(narrow);
  if (wide.op === 'is') {
    if (type !== wide.entity_type) return false;
    return wide.in === undefined || (narrow.op === 'is' && JSON.stringify(wide.in) === JSON.stringify(narrow.in));
  }
  // In a resource, or in a role: what is itself said to be in it.
  if (wide.op === 'in' && narrow.op === 'is')
    return JSON.stringify(entityOf(wide)) === JSON.stringify(entityOf(narrow.in ?? {}));
  if (wide.op !== 'in' || narrow.op !== '==') return false;
  const group = entityOf(wide);
  const one = entityOf(narrow);
  if (group === undefined || one === undefined) return false;
  if (group.type === one.type && group.id === one.id) return true;
  return (
    group.type === 'Resource' &&
    (one.id === group.id || one.id.startsWith(`${group.id}/`)) &&
    one.type.startsWith('PG::')
  );
}

function typeOf(scope: EntityScope): string | undefined {
  return scope.op === 'is' ? scope.entity_type : scope.op === '==' ? entityOf(scope)?.type : undefined;
}

type Uid = { readonly type: string; readonly id: string };

function entityOf(scope: object): Uid | undefined {
  const entity = (scope as { readonly entity?: Uid | { readonly __entity: Uid } }).entity;
  return entity === undefined ? undefined : '__entity' in entity ? entity.__entity : entity;
}

function coversAction(wide: PolicyJson['action'], narrow: PolicyJson['action']): boolean {
  if (wide.op === 'All') return true;
  const outer = actionsOf(wide);
  const inner = actionsOf(narrow);
  return outer !== undefined && inner !== undefined && [...inner].every((name) => outer.has(name));
}

/** Undefined: any, or more than is known here. */
function actionsOf(scope: PolicyJson['action']): ReadonlySet<string> | undefined {
  if (scope.op === 'All') return undefined;
  const { entities, entity } = scope as { readonly entities?: readonly unknown[]; readonly entity?: unknown };
  const names = new Set<string>();
  for (const item of (entities ?? [entity]) as readonly (Uid | { readonly __entity: Uid })[]) {
    const { type, id } = '__entity' in item ? item.__entity : item;
    for (const name of (type === 'PG::Action' ? actionGroups[id] : undefined) ?? [id]) names.add(`${type} ${name}`);
  }
  return names;
}

// ── forbids of what nothing permits ─────────────────────────────────────────────────────────────────────────────────

/** A forbid about statements that no role and no policy permits: it may have been meant for something else. */
function idle(policy: WrittenPolicy, { written, roles }: Compiled): readonly PolicyFault[] {
  const { scope, json } = policy;
  if (json.effect !== 'forbid' || scope.plain) return [];
  const resource = entityOf(json.resource);
  const named = json.resource.op === '==' && resource?.type !== 'Resource' ? resource : undefined;
  const isPermitted = [...roles.values()].some((role) =>
    pgActions.some((action) => {
      if (!couldMatchStatement(scope, action, role.resource.name, role.role.name)) return false;
      const byRole = role.policies.some(
        (permit) =>
          permit.action === action && (named === undefined || permit.text.includes(`::${JSON.stringify(named.id)}`)),
      );
      return byRole || written.some((other) => couldPermit(other, action, role, named));
    }),
  );
  return isPermitted
    ? []
    : [
        finding(
          policy,
          'forbids what nothing permits',
          'no role and no policy gives any of it: is it about another action, table or role?',
        ),
      ];
}

function couldPermit(
  other: WrittenPolicy,
  action: (typeof pgActions)[number],
  role: CompiledRole,
  named: Uid | undefined,
) {
  if (other.json.effect !== 'permit' || !couldMatchStatement(other.scope, action, role.resource.name, role.role.name))
    return false;
  const entity = other.json.resource.op === '==' ? entityOf(other.json.resource) : undefined;
  return named === undefined || entity === undefined || entity.id === named.id;
}

// ── roles ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Asked with people as favourable as there could be: in the role's groups, from anywhere, at any time. */
function ofRoles(compiled: Compiled, decide: (question: Question) => Decision): readonly PolicyFault[] {
  const circumstances = favourable(compiled);
  const named = [...compiled.cures.values()].flatMap((cure) =>
    cure.kind === 'approval' ? cure.by : cure.kind === 'preview' ? (cure.approvers?.by ?? []) : [],
  );
  const findings: PolicyFault[] = [];
  for (const { role } of compiled.roles.values()) {
    const everybody = peopleFor(role, named);
    const can = (who: readonly Principal[], ask: (principal: Principal) => Question) =>
      who.filter((principal) =>
        circumstances.some((of) =>
          isObtainable(decide({ ...ask(principal), ...of } as Question), principal, everybody),
        ),
      ).length;
    const say = (message: string) =>
      findings.push({
        file: 'sallyport.yaml',
        line: 1,
        column: 1,
        message: `${message} \`${role.name}\``,
        help: 'a policy forbids it to everybody, whatever the time, the place and the device; `sally policy test` says which',
      });
    const now = circumstances[0]?.now;
    if (now === undefined) continue;
    const asking = everybody.filter(({ groups }) => groups.some((group) => role.requesters.groups.includes(group)));
    const grant = (of: Principal) => ({
      id: 'grt_00000000000000000000000000' as GrantId,
      principal: of.id,
      role: role.name,
    });
    const request = {
      id: 'req_00000000000000000000000000' as RequestId,
      requester: 'usr_00000000000000000000000000' as PrincipalId,
      actsFor: [],
      role: role.name,
      duration: role.maxDuration,
    };
    if (
      can(asking, (principal) => ({
        now,
        action: 'request_role',
        principal,
        role: role.name,
        duration: role.maxDuration,
      })) === 0
    )
      say('nobody could ask for');
    if (can(everybody, (principal) => ({ now, action: 'approve_request', principal, request })) < role.approvers.count)
      say('too few could approve a request for');
    if (can(asking, (principal) => ({ now, action: 'activate_grant', principal, grant: grant(principal) })) === 0)
      say('nobody could activate a grant of');
    const client = { address: '', tls: true };
    if (can(asking, (principal) => ({ now, action: 'connect', principal, grant: grant(principal), client })) === 0)
      say('nobody could connect under');
  }
  return findings;
}

/** Enough people for every group and handle that the role or a cure names. */
function peopleFor(role: Role, named: readonly Approver[]): readonly Principal[] {
  const groups = new Set([...role.requesters.groups, ...role.approvers.groups, administrators]);
  const handles = new Set<string>();
  for (const of of named)
    if ('group' in of) groups.add(of.group);
    else handles.add(of.handle);
  const people = [
    ...[...groups].flatMap((group) =>
      Array.from({ length: 6 }, (_, i) => ({ handle: `${group}-${i}`, groups: [group] })),
    ),
    ...[...handles].map((handle) => ({ handle, groups: [...role.approvers.groups] })),
  ];
  return people.map(({ handle, groups: of }, i) => ({
    id: `usr_${String(i + 1).padStart(26, '0')}` as PrincipalId,
    handle,
    name: handle,
    kind: 'user',
    state: 'active',
    groups: of,
  }));
}

/**
 * INVARIANT 13: who could no longer be reached under a policy set, given everybody there is. A thing is out of reach when
 * nobody could do it in the most favourable circumstances (`_people.ts`): what is only possible by day is not locked.
 */
import type { Cure, Decision } from '#core/decision.ts';
import type { GrantId, PrincipalId, RequestId } from '#core/ids.ts';
import { administrators, type Principal } from '#core/principal.ts';
import type { Role } from '#core/role.ts';
import type { Compiled } from './_compile.ts';
import type { Lockout } from './engine.ts';
import { favourable, isObtainable, isPerson, reachable } from './_people.ts';
import type { Circumstances, Question } from './question.ts';

/** People tried before a lock-out is called one. */
const maxPeople = 2000;

type Judge = { readonly compiled: Compiled; readonly decide: (question: Question) => Decision };

/** Without a judge, a set with faults in itself, nobody could do anything. */
export function lockouts(judge: Judge | undefined, everybody: readonly Principal[]): readonly Lockout[] {
  const people = everybody.filter(isPerson).slice(0, maxPeople);
  return [
    ...ofAdministration(judge, people),
    ...(judge === undefined
      ? []
      : [...ofRoles(judge, people), ...ofResources(judge, people), ...ofCures(judge, people)]),
  ];
}

function ofAdministration(judge: Judge | undefined, people: readonly Principal[]): readonly Lockout[] {
  const circumstances = judge === undefined ? [] : favourable(judge.compiled);
  const count = people.filter(({ groups }) => groups.includes(administrators)).length;
  return (['principals', 'configuration'] as const)
    .filter(
      (what) =>
        judge === undefined ||
        !membersFirst(people, [administrators]).some((principal) =>
          circumstances.some((of) =>
            isObtainable(
              judge.decide({ ...of, action: 'administer', principal, what, administrators: count }),
              principal,
              people,
            ),
          ),
        ),
    )
    .map((what) => ({
      what: 'administration',
      name: what,
      message: `nobody could administer ${what}`,
      help: `leave a policy that lets somebody do it; the shipped ones let members of \`${administrators}\``,
    }));
}

function ofRoles({ compiled, decide }: Judge, people: readonly Principal[]): readonly Lockout[] {
  const circumstances = favourable(compiled);
  const found: Lockout[] = [];
  for (const { role } of compiled.roles.values()) {
    const { groups, count } = role.approvers;
    let reached = 0;
    for (const principal of membersFirst(people, groups)) {
      if (circumstances.some((of) => isObtainable(decide(approve(role, principal, of)), principal, people)))
        reached += 1;
      if (reached >= count) break;
    }
    if (reached < count)
      found.push({
        what: 'role',
        name: role.name,
        message: `a request for \`${role.name}\` needs ${count} ${count === 1 ? 'approver' : 'approvers'}, and ${reached === 0 ? 'nobody' : `only ${reached}`} could be`,
        help: `its approvers are the members of ${groups.map((group) => `\`${group}\``).join(', ')}: add people to them, or name other groups`,
      });
  }
  return found;
}

function approve(role: Role, principal: Principal, circumstances: Circumstances): Question {
  const request = {
    id: 'req_00000000000000000000000000' as RequestId,
    // Somebody who is none of them: what matters is who could approve, not for whom.
    requester: 'usr_00000000000000000000000000' as PrincipalId,
    actsFor: [],
    role: role.name,
    duration: role.maxDuration,
  };
  return { ...circumstances, action: 'approve_request', principal, request };
}

/** A resource is locked when under none of its roles anybody could connect, and be it somebody who is yet to come. */
function ofResources({ compiled, decide }: Judge, people: readonly Principal[]): readonly Lockout[] {
  const circumstances = favourable(compiled);
  const named = new Set(compiled.written.flatMap(({ groups }) => groups));
  const canConnect = (role: Role, principal: Principal) => {
    const grant = { id: 'grt_00000000000000000000000000' as GrantId, principal: principal.id, role: role.name };
    const asks = (of: (typeof circumstances)[number]): readonly Question[] => [
      { ...of, action: 'activate_grant', principal, grant },
      { ...of, action: 'connect', principal, grant },
    ];
    return circumstances.some((of) => asks(of).every((ask) => isObtainable(decide(ask), principal, people)));
  };
  return compiled.configuration.resources
    .filter(
      ({ roles }) =>
        roles.length > 0 &&
        !roles.some((role) =>
          [
            someone(role.requesters.groups),
            ...[...named].map((group) => someone([...role.requesters.groups, group])),
            ...membersFirst(people, role.requesters.groups),
          ].some((principal) => canConnect(role, principal)),
        ),
    )
    .map(({ name }) => ({
      what: 'resource',
      name,
      message: `nobody could connect to \`${name}\``,
      help: 'leave a way in; to close a resource, take it out of the configuration',
    }));
}

/** A person in these groups whom nobody knows. */
function someone(groups: readonly string[]): Principal {
  const id = 'usr_0000000000000000000000000z' as PrincipalId;
  return { id, handle: 'someone', name: 'someone', kind: 'user', state: 'active', groups };
}

function ofCures({ compiled }: Judge, people: readonly Principal[]): readonly Lockout[] {
  const found: Lockout[] = [];
  for (const [policy, cure] of compiled.cures) {
    // The shipped ones ask for administrators only where there is a second one.
    const approvers = policy.startsWith('default:') ? undefined : approversOf(cure);
    if (approvers === undefined) continue;
    const reached = reachable(approvers, people);
    if (reached >= approvers.count) continue;
    const who = approvers.by.map((of) => ('group' in of ? `members of \`${of.group}\`` : `\`@${of.handle}\``));
    found.push({
      what: 'cure',
      name: policy,
      message: `\`${policy}\` asks ${approvers.count === 1 ? 'one person' : `${approvers.count} people`} to approve, and ${reached === 0 ? 'nobody' : `only ${reached}`} could`,
      help: `they are ${who.join(' and ')}: add people, or name others`,
    });
  }
  return found;
}

const approversOf = (cure: Cure) =>
  cure.kind === 'approval' ? cure : cure.kind === 'preview' ? cure.approvers : undefined;

function membersFirst(people: readonly Principal[], groups: readonly string[]): readonly Principal[] {
  const member = (principal: Principal) => principal.groups.some((group) => groups.includes(group));
  return [...people.filter(member), ...people.filter((principal) => !member(principal))];
}

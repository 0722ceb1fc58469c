/** Judges one statement of a session: each thing it needs, under the session's own role and no other grant. */
import type { Cure, Demand, VariesWith } from '#core/decision.ts';
import type { RoleName, SessionId } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import { isLive } from '#core/grant.ts';
import type { Role } from '#core/role.ts';
import type { Circumstances, GrantRef, StatementQuestion } from '#policy/question.ts';
import type { Need } from '#sql/needs.ts';
import { grantOf, principalOf } from './_rows.ts';
import type { AppContext } from './context.ts';

export type StatementAsk = {
  readonly session: SessionId;
  readonly needs: readonly Need[];
  readonly context: StatementQuestion['context'];
};

type Explained = {
  readonly policyVersion: string;
  readonly policies: readonly string[];
  /** How far the gateway may use the answer again. */
  readonly variesWith: VariesWith;
  /** Ask again with the rows that the target's planner expects. */
  readonly wantsEstimate?: true;
};
export type StatementDecision =
  | (Explained & { readonly kind: 'allow' })
  | (Explained & {
      readonly kind: 'deny';
      readonly missing: readonly Need[];
      readonly roles: readonly RoleName[];
      /** Which policy forbids it, where it isn't simply that none permits it. */
      readonly because?: string;
      readonly message?: string;
    })
  | (Explained & {
      readonly kind: 'curable';
      readonly missing: readonly Need[];
      readonly cures: readonly Cure[];
      readonly demands: readonly Demand[];
    });

export async function decideStatement(
  ctx: Pick<AppContext, 'db' | 'clock' | 'policy'>,
  ask: StatementAsk,
): Promise<StatementDecision> {
  const now = ctx.clock.now();
  const row = await ctx.db
    .selectFrom('session')
    .innerJoin('access_grant', 'access_grant.id', 'session.access_grant')
    .selectAll('access_grant')
    .select('session.ended_at as session_ended_at')
    .where('session.id', '=', ask.session)
    .executeTakeFirst();
  const person =
    row === undefined
      ? undefined
      : await ctx.db.selectFrom('principal').selectAll().where('id', '=', row.principal).executeTakeFirst();
  const nothing = {
    policyVersion: ctx.policy.version,
    policies: [],
    missing: ask.needs,
    roles: [],
    variesWith: 'moment',
  } as const;
  if (row === undefined || person === undefined || row.session_ended_at !== null || !isLive(grantOf(row), now))
    return { kind: 'deny', ...nothing, message: 'your access has ended' };
  const principal = principalOf(person);
  if (principal.state !== 'active') return { kind: 'deny', ...nothing, message: 'your account is suspended' };
  const { needs, context } = ask;
  const circumstances: Circumstances = { now };
  const { activated_at: activatedAt, ends_at: endsAt } = row;
  const grant: GrantRef = {
    id: row.id,
    principal: row.principal,
    role: row.role,
    ...(activatedAt === null ? {} : { activatedAt }),
    ...(endsAt === null ? {} : { endsAt }),
  };
  const answer = ctx.policy.decide({
    ...circumstances,
    action: 'statement',
    principal,
    role: row.role,
    grant,
    needs,
    context,
  });
  const role = ctx.policy.configuration?.resources
    .flatMap((resource) => resource.roles)
    .find((candidate) => candidate.name === row.role);
  const { version: policyVersion, policies, variesWith, wantsEstimate } = answer;
  const explained = { policyVersion, policies, variesWith, ...(wantsEstimate ? { wantsEstimate: true as const } : {}) };
  switch (answer.kind) {
    case 'allow':
      return { kind: 'allow', ...explained };
    case 'curable':
      return { kind: 'curable', ...explained, missing: answer.missing, cures: answer.cures, demands: answer.demands };
    case 'deny':
      return {
        kind: 'deny',
        ...explained,
        ...(answer.policies.length === 0
          ? { missing: answer.missing.map((need) => beyond(role, need)) }
          : { missing: answer.missing, because: answer.because }),
        roles: ctx.policy.rolesThatGive({
          ...circumstances,
          principal,
          resource: resourceOf(row.role),
          needs,
          context,
        }),
      };
    default:
      return answer satisfies never;
  }
}

/** Of the columns that a need names, those that the role doesn't give: whoever reads the refusal looks for these. */
function beyond(role: Role | undefined, need: Need): Need {
  const { action, object, columns } = need;
  if (object.kind !== 'table' || (action !== 'select' && action !== 'insert' && action !== 'update')) return need;
  const given = role?.permissions.tables.find(
    (table) => table.schema === object.schema && table.name === object.name,
  )?.[action];
  if (given === undefined || given === 'all') return need;
  const left = columns.filter((column) => !given.includes(column));
  return left.length === 0 ? need : { ...need, columns: left };
}

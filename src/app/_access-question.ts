/**
 * What another system asks about access, in AuthZEN's words (subject, action, resource), as questions to our policy. The
 * types of resources below and their actions are all there are; docs/authzen.md is their reference. What a question
 * brings along about its subject is never believed: people, groups, grants and the time are those of the store and of
 * this server.
 */
import { sql } from 'kysely';
import type { Cure, Decision } from '#core/decision.ts';
import { isLive, limitOf, type Grant } from '#core/grant.ts';
import {
  parseId,
  parseResourceName,
  parseRoleName,
  resourceOf,
  type PrincipalId,
  type ResourceName,
  type RoleName,
} from '#core/ids.ts';
import { seconds, type Instant } from '#core/instant.ts';
import { parseHandle, type Principal } from '#core/principal.ts';
import { expire } from '#core/request.ts';
import { objectActions, parseNeed, type ObjectKind } from '#policy/parse-need.ts';
import type { Administered, StatementQuestion } from '#policy/question.ts';
import { quoteName, type Need, type StatementClass } from '#sql/needs.ts';
import { readGrantRef } from './_circumstances.ts';
import { mayDecide } from './_decide-request.ts';
import { grantOf, principalOf, readRequest } from './_rows.ts';
import type { AppContext } from './context.ts';

export type Properties = Readonly<Record<string, unknown>>;
export type AskedEntity = { readonly type: string; readonly id: string; readonly properties?: Properties | undefined };
export type AskedAction = { readonly name: string; readonly properties?: Properties | undefined };

/** Who is asked about, what they would do, and where they would do it from. */
export type Asked = {
  readonly subject: Principal;
  readonly action: AskedAction;
  readonly resource: AskedEntity;
  /** Of a connection: where it would come from. */
  readonly address: string;
};

export type Judged = {
  readonly kind: 'allow' | 'deny' | 'curable';
  readonly policies: readonly string[];
  readonly because?: string;
  readonly cures?: readonly Cure[];
  /** The grant that it is allowed by, or would be if it were activated. */
  readonly grant?: Grant;
  /** The role that the subject may ask for, and that would allow it. */
  readonly role?: RoleName;
};

type Kind = {
  readonly actions: readonly string[];
  readonly judge: (ctx: AppContext, asked: Asked) => Judged | Promise<Judged>;
  /** Ids that could be allowed, in ascending order, from behind `after` on. */
  readonly list: (ctx: AppContext, after: string, count: number) => Promise<readonly string[]> | readonly string[];
};

/** Nothing permits it, or there is no such thing: the same answer (INVARIANT 14). */
const denied: Judged = { kind: 'deny', policies: [], because: 'no policy permits it' };

export async function judgeAccess(ctx: AppContext, asked: Asked): Promise<Judged> {
  const kind = kindOf(asked.resource.type);
  if (kind?.actions.includes(asked.action.name) !== true) return denied;
  return await kind.judge(ctx, asked);
}

export function actionsOn(type: string): readonly string[] {
  return kindOf(type)?.actions ?? [];
}

export async function listResources(
  ctx: AppContext,
  type: string,
  after: string,
  count: number,
): Promise<readonly string[]> {
  return (await kindOf(type)?.list(ctx, after, count)) ?? [];
}

export const subjectTypes = ['user', 'service', 'agent'] as const;

/** By handle or by id, and of that kind. */
export async function findSubject(
  ctx: Pick<AppContext, 'db'>,
  subject: Pick<AskedEntity, 'type' | 'id'>,
): Promise<Principal | undefined> {
  const id = parseId('principal', subject.id);
  const handle = parseHandle(subject.id);
  if (id === undefined && handle === undefined) return undefined;
  let query = ctx.db.selectFrom('principal').selectAll();
  query = id === undefined ? query.where('handle', '=', handle ?? '') : query.where('id', '=', id);
  const row = await query.executeTakeFirst();
  return row === undefined || row.kind !== subject.type ? undefined : principalOf(row);
}

function kindOf(type: string): Kind | undefined {
  return Object.hasOwn(kinds, type) ? kinds[type as keyof typeof kinds] : undefined;
}

const kinds = {
  role: {
    actions: ['request_role', 'connect'],
    judge: async (ctx, { subject, action, resource, address }) => {
      const role = parseRoleName(resource.id);
      if (role === undefined) return denied;
      if (action.name === 'request_role') return requestRole(ctx, subject, role, action.properties);
      return await connect(ctx, subject, address, (grant) => grant.role === role, [role]);
    },
    list: (ctx, after, count) => following(rolesOf(ctx), after, count),
  },
  resource: {
    actions: ['connect'],
    judge: async (ctx, { subject, resource, address }) => {
      const name = parseResourceName(resource.id);
      if (name === undefined) return denied;
      const roles = rolesOf(ctx).filter((role) => resourceOf(role) === name);
      return await connect(ctx, subject, address, (grant) => resourceOf(grant.role) === name, roles);
    },
    list: (ctx, after, count) => following(resourcesOf(ctx), after, count),
  },
  table: objects('table'),
  function: objects('function'),
  channel: objects('channel'),
  database: objects('database'),
  request: {
    actions: ['approve_request'],
    judge: async (ctx, { subject, resource }) => {
      const id = parseId('request', resource.id);
      const found = id === undefined ? undefined : await readRequest(ctx.db, id);
      if (id === undefined || found === undefined) return denied;
      const request = expire(found, ctx.clock.now());
      const outcome = mayDecide(ctx, subject, request, id);
      if (outcome.kind === 'refused' || request.state !== 'pending' || request.approvedBy.includes(subject.id))
        return denied;
      return { kind: 'allow', policies: outcome.value.decision.policies };
    },
    list: async (ctx, after, count) => {
      const rows = await ctx.db
        .selectFrom('access_request')
        .select('id')
        .where('state', '=', 'pending')
        .where(sql<boolean>`id > ${after}`)
        .orderBy('id')
        .limit(count)
        .execute();
      return rows.map(({ id }) => id);
    },
  },
  grant: {
    actions: ['activate_grant', 'connect', 'revoke_grant'],
    judge: async (ctx, { subject, action, resource, address }) => {
      const id = parseId('grant', resource.id);
      const row =
        id === undefined
          ? undefined
          : await ctx.db.selectFrom('access_grant').selectAll().where('id', '=', id).executeTakeFirst();
      const grant = row && grantOf(row);
      const now = ctx.clock.now();
      if (grant === undefined || grant.state === 'ended' || now >= limitOf(grant)) return denied;
      if (action.name === 'connect') return await connect(ctx, subject, address, (one) => one.id === grant.id, []);
      const decision = ctx.policy.decide({
        action: action.name === 'revoke_grant' ? 'revoke_grant' : 'activate_grant',
        principal: subject,
        now,
        grant: await readGrantRef(ctx.db, grant),
      });
      if (action.name === 'activate_grant' && (grant.state !== 'approved' || now < grant.notBefore)) return denied;
      return judgedOf(decision);
    },
    list: async (ctx, after, count) => {
      const rows = await ctx.db
        .selectFrom('access_grant')
        .select('id')
        .where('state', '<>', 'ended')
        .where(sql<boolean>`id > ${after}`)
        .orderBy('id')
        .limit(count)
        .execute();
      return rows.map(({ id }) => id);
    },
  },
  session: {
    actions: ['read_session'],
    judge: async (ctx, { subject, resource }) => {
      const id = parseId('session', resource.id);
      const row =
        id === undefined
          ? undefined
          : await ctx.db
              .selectFrom('session')
              .select(['id', 'principal', 'role'])
              .where('id', '=', id)
              .executeTakeFirst();
      if (row === undefined) return denied;
      const now = ctx.clock.now();
      return judgedOf(ctx.policy.decide({ action: 'read_session', principal: subject, now, session: row }));
    },
    list: async (ctx, after, count) => {
      const rows = await ctx.db
        .selectFrom('session')
        .select('id')
        .where(sql<boolean>`id > ${after}`)
        .orderBy('id')
        .limit(count)
        .execute();
      return rows.map(({ id }) => id);
    },
  },
  administration: {
    actions: ['administer'],
    judge: (ctx, { subject, resource }) => {
      const what = administered.find((one) => one === resource.id);
      if (what === undefined) return denied;
      return judgedOf(ctx.policy.decide({ action: 'administer', principal: subject, what, now: ctx.clock.now() }));
    },
    list: (_, after, count) => following(administered, after, count),
  },
  log: {
    actions: ['read_log'],
    judge: (ctx, { subject, resource: { id } }) => {
      if (id !== 'own' && id !== 'all') return denied;
      return judgedOf(ctx.policy.decide({ action: 'read_log', principal: subject, scope: id, now: ctx.clock.now() }));
    },
    list: (_, after, count) => following(['all', 'own'], after, count),
  },
} as const satisfies Readonly<Record<string, Kind>>;

const administered: readonly Administered[] = ['authenticators', 'configuration', 'grants', 'principals', 'sessions'];

/** The shortest that can be asked for: whether somebody may have the role at all. */
const shortest = seconds(60);

function requestRole(ctx: AppContext, subject: Principal, role: RoleName, given: Properties | undefined): Judged {
  const asked = given?.['seconds'];
  const duration = typeof asked === 'number' && Number.isSafeInteger(asked) && asked > 0 ? seconds(asked) : shortest;
  return judgedOf(
    ctx.policy.decide({ action: 'request_role', principal: subject, role, duration, now: ctx.clock.now() }),
  );
}

/** Under one of the subject's own live grants; overlapping ones don't add up. */
async function connect(
  ctx: AppContext,
  subject: Principal,
  address: string,
  concerns: (grant: Grant) => boolean,
  roles: readonly RoleName[],
): Promise<Judged> {
  return await underGrants(ctx, subject, concerns, {
    judge: async (grant) =>
      ctx.policy.decide({
        action: 'connect',
        principal: subject,
        now: ctx.clock.now(),
        grant: await readGrantRef(ctx.db, grant),
        client: { address, tls: true },
      }),
    // Which of several is for the person to say.
    roleToAskFor: () => {
      const open = roles.filter((role) => requestRole(ctx, subject, role, undefined).kind !== 'deny');
      return open.length === 1 ? open[0] : undefined;
    },
  });
}

/** Of tables, functions, channels and databases: `orders/public.orders`, and of a database `orders`. */
function objects(kind: ObjectKind): Kind {
  return {
    actions: objectActions[kind],
    judge: async (ctx, { subject, action, resource: { id, properties }, address }) => {
      const slash = id.indexOf('/');
      const [on, name] = slash === -1 ? [id, ''] : [id.slice(0, slash), id.slice(slash + 1)];
      const resource = parseResourceName(on);
      const need = parseNeed(kind, name, action.name, columnsOf(properties));
      if (resource === undefined || need === undefined) return denied;
      return await statement(ctx, subject, resource, need, action.properties, address);
    },
    list: (ctx, after, count) => following(objectsOf(ctx, kind), after, count),
  };
}

async function statement(
  ctx: AppContext,
  subject: Principal,
  resource: ResourceName,
  need: Need,
  given: Properties | undefined,
  address: string,
): Promise<Judged> {
  const needs = [need];
  const context: StatementQuestion['context'] = {
    statementClass: classOf(need),
    // Closed by default: who doesn't say that there is a `where` asks about all rows.
    hasWhere: given?.['has_where'] === true,
    statementCount: 1,
    functions:
      need.object.kind === 'function' ? [`${quoteName(need.object.schema)}.${quoteName(need.object.name)}`] : [],
  };
  // Which device it would be done on, and how long after a sign-in, nobody knows: the less trusted.
  const circumstances = { now: ctx.clock.now(), ...(address === '' ? {} : { client: { address, tls: true } }) };
  // A grant for one statement alone isn't known by what that needs: whether it is the statement, only its run can tell.
  return await underGrants(ctx, subject, (grant, isForOne) => resourceOf(grant.role) === resource && !isForOne, {
    judge: async (grant) =>
      ctx.policy.decide({
        ...circumstances,
        action: 'statement',
        principal: subject,
        role: grant.role,
        grant: await readGrantRef(ctx.db, grant),
        needs,
        context,
      }),
    roleToAskFor: () =>
      ctx.policy.rolesThatGive({ ...circumstances, principal: subject, resource, needs, context, limit: 1 })[0],
  });
}

async function underGrants(
  ctx: AppContext,
  subject: Principal,
  concerns: (grant: Grant, isForOne: boolean) => boolean,
  ask: { readonly judge: (grant: Grant) => Promise<Decision>; readonly roleToAskFor: () => RoleName | undefined },
): Promise<Judged> {
  if (subject.state !== 'active') return denied;
  const now = ctx.clock.now();
  const grants = (await grantsOf(ctx, subject.id, now)).flatMap(({ grant, isForOne }) =>
    concerns(grant, isForOne) ? [grant] : [],
  );
  let answer: Judged = denied;
  for (const grant of grants.filter((one) => isLive(one, now))) {
    const judged: Judged = { ...judgedOf(await ask.judge(grant)), grant };
    if (judged.kind === 'allow') return judged;
    if (answer.kind === 'deny') answer = judged;
  }
  if (answer.kind === 'curable') return answer;
  const { grant: _, ...rest } = answer;
  for (const waiting of grants.filter((one) => one.state === 'approved'))
    if ((await ask.judge(waiting)).kind !== 'deny') return { ...rest, grant: waiting };
  const role = ask.roleToAskFor();
  return role === undefined ? rest : { ...rest, role };
}

async function grantsOf(ctx: AppContext, principal: PrincipalId, now: Instant) {
  const rows = await ctx.db
    .selectFrom('access_grant')
    .selectAll()
    .where('principal', '=', principal)
    .where('state', '<>', 'ended')
    .orderBy('id')
    .execute();
  return rows.flatMap((row) => {
    const grant = grantOf(row);
    return grant.state !== 'ended' && now < limitOf(grant) ? [{ grant, isForOne: row.only_digest !== null }] : [];
  });
}

function judgedOf(decision: Decision): Judged {
  const { kind, policies } = decision;
  switch (decision.kind) {
    case 'allow':
      return { kind, policies };
    case 'curable':
      return { kind, policies, because: decision.because, cures: decision.cures };
    case 'deny':
      return { kind, policies, because: decision.because };
    default:
      return decision satisfies never;
  }
}

function classOf({ action }: Need): StatementClass {
  if (action === 'select' || action === 'listen') return 'read';
  if (action === 'ddl') return 'ddl';
  return action === 'other' || action === 'copy' ? 'dangerous' : 'write';
}

function columnsOf(properties: Properties | undefined): readonly string[] {
  const given = properties?.['columns'];
  return Array.isArray(given) ? given.filter((name) => typeof name === 'string') : [];
}

// --- What there is, by the configuration ---------------------------------------------------------------------------

function rolesOf(ctx: AppContext): readonly RoleName[] {
  return (ctx.policy.configuration?.resources ?? []).flatMap(({ roles }) => roles.map(({ name }) => name));
}

function resourcesOf(ctx: AppContext): readonly ResourceName[] {
  return (ctx.policy.configuration?.resources ?? []).map(({ name }) => name);
}

/** What some role names. What a written policy permits besides has no list. */
function objectsOf(ctx: AppContext, kind: ObjectKind): readonly string[] {
  if (kind === 'database') return resourcesOf(ctx);
  return (ctx.policy.configuration?.resources ?? []).flatMap(({ name: resource, roles }) =>
    roles.flatMap(({ permissions }) => {
      if (kind === 'channel')
        return (permissions.channels ?? []).map(
          ({ channel }) => `${resource}/${channel === 'any' ? '*' : quoteName(channel.name)}`,
        );
      return permissions[kind === 'table' ? 'tables' : 'functions'].map(
        ({ schema, name }) => `${resource}/${quoteName(schema)}.${quoteName(name)}`,
      );
    }),
  );
}

function following(ids: readonly string[], after: string, count: number): readonly string[] {
  return [...new Set(ids)]
    .toSorted()
    .filter((id) => id > after)
    .slice(0, count);
}

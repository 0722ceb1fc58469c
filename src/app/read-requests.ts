/** Requests as somebody may see them: their own, and those they may decide on. Administrators see all, as all is logged. */
import type { DenialId, GrantId, PrincipalId, ProofId, RequestId, RoleName } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import type { Principal, PrincipalRef } from '#core/principal.ts';
import { expire, type AccessRequest } from '#core/request.ts';
import type { Selectable } from 'kysely';
import type { Database } from '#store/schema.ts';
import { mayDecide } from './_decide-request.ts';
import { mayReadAll, readHandles, type Page, type PageAsk } from './_reading.ts';
import { requestOf } from './_rows.ts';
import { done, notFound, type AppContext, type Caller, type Outcome } from './context.ts';
import { shownPermissions, type ShownPermission } from './permissions.ts';

export type ShownRequest = {
  readonly id: RequestId;
  readonly state: AccessRequest['state'];
  readonly requester: PrincipalRef;
  readonly role: RoleName;
  readonly resource: string;
  readonly duration: Duration;
  readonly reason: string;
  readonly ticket: string | undefined;
  readonly startsAt: Instant | undefined;
  readonly filedAt: Instant;
  readonly expiresAt: Instant;
  readonly decidedAt: Instant | undefined;
  readonly statement:
    | {
        readonly denial: DenialId;
        readonly text: string;
        readonly parameters: readonly string[];
        readonly once: boolean;
      }
    | undefined;
  readonly approvals: readonly { readonly by: PrincipalRef; readonly at: Instant; readonly proof: ProofId }[];
  readonly approvalsNeeded: number;
  readonly approverGroups: readonly string[];
  readonly denial: { readonly by: PrincipalRef; readonly word: string } | undefined;
  readonly grant: GrantId | undefined;
  readonly permissions: readonly ShownPermission[];
  readonly you: {
    readonly isRequester: boolean;
    readonly mayDecide: boolean;
    /** Why not. */
    readonly because: string | undefined;
  };
};

type Row = Selectable<Database['access_request']>;

export async function readRequest(ctx: AppContext, caller: Caller, id: RequestId): Promise<Outcome<ShownRequest>> {
  const row = await ctx.db.selectFrom('access_request').selectAll().where('id', '=', id).executeTakeFirst();
  const [shown] = row === undefined ? [] : await show(ctx, caller.principal, [row]);
  if (shown === undefined || !maySee(ctx, caller.principal, shown)) return notFound('request', id);
  return done(shown);
}

export type RequestsAsk = PageAsk & {
  readonly box: 'inbox' | 'mine' | 'all';
  readonly state?: AccessRequest['state'];
};

export async function readRequests(ctx: AppContext, caller: Caller, ask: RequestsAsk): Promise<Page<ShownRequest>> {
  const now = ctx.clock.now();
  const items: ShownRequest[] = [];
  let cursor = ask.cursor;
  // Who may decide is policy's to say and not SQL's, so pages are filled by reading on until there is enough to show.
  for (;;) {
    let query = ctx.db
      .selectFrom('access_request')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(ask.limit + 1);
    if (cursor !== undefined) query = query.where('id', '<', cursor as RequestId);
    if (ask.box === 'mine') query = query.where('requester', '=', caller.principal.id);
    if (ask.box === 'inbox')
      query = query
        .where('state', '=', 'pending')
        .where('expires_at', '>', now)
        .where('requester', '<>', caller.principal.id);
    if (ask.state !== undefined)
      query =
        ask.state === 'pending'
          ? query.where('state', '=', 'pending').where('expires_at', '>', now)
          : ask.state === 'expired'
            ? query.where((where) =>
                where.or([
                  where('state', '=', 'expired'),
                  where.and([where('state', '=', 'pending'), where('expires_at', '<=', now)]),
                ]),
              )
            : query.where('state', '=', ask.state);
    const rows = await query.execute();
    for (const shown of await show(ctx, caller.principal, rows.slice(0, ask.limit))) {
      cursor = shown.id;
      const wanted = ask.box === 'inbox' ? shown.you.mayDecide : maySee(ctx, caller.principal, shown);
      if (wanted) items.push(shown);
      if (items.length === ask.limit) return { items, next: cursor };
    }
    if (rows.length <= ask.limit) return { items, next: undefined };
  }
}

function maySee(ctx: AppContext, principal: Principal, request: ShownRequest): boolean {
  if (request.you.isRequester || request.you.mayDecide) return true;
  if (request.approvals.some((approval) => approval.by.id === principal.id)) return true;
  if (request.denial?.by.id === principal.id) return true;
  return mayReadAll(ctx, principal) || isApproverOf(ctx, principal, request);
}

/** Approvers go on seeing what was decided, also by others. */
function isApproverOf(ctx: AppContext, principal: Principal, request: ShownRequest): boolean {
  return mayDecide(ctx, principal, askedOf(request), request.id).kind === 'done';
}

function askedOf(request: ShownRequest): AccessRequest {
  const { id, role, duration, reason, ticket, startsAt, filedAt, expiresAt, approvalsNeeded } = request;
  return {
    state: 'pending',
    id,
    requester: request.requester.id,
    actsFor: [],
    role,
    duration,
    reason,
    ticket,
    startsAt,
    filedAt,
    expiresAt,
    approvalsNeeded,
    approvedBy: [],
  };
}

async function show(ctx: AppContext, viewer: Principal, rows: readonly Row[]): Promise<readonly ShownRequest[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const approvals = await ctx.db.selectFrom('approval').selectAll().where('request', 'in', ids).orderBy('at').execute();
  const grants = await ctx.db
    .selectFrom('access_grant')
    .select(['id', 'request'])
    .where('request', 'in', ids)
    .execute();
  const denialIds = rows.flatMap((row) => (row.denial === null ? [] : [row.denial]));
  const denials =
    denialIds.length === 0
      ? []
      : await ctx.db.selectFrom('denial').select(['id', 'held']).where('id', 'in', denialIds).execute();
  const people = new Set<PrincipalId>();
  for (const row of rows) {
    people.add(row.requester);
    if (row.denied_by !== null) people.add(row.denied_by);
  }
  for (const approval of approvals) people.add(approval.approver);
  const handles = await readHandles(ctx.db, [...people]);
  const roles = new Map(
    ctx.policy.configuration?.resources.flatMap((resource) => resource.roles.map((role) => [role.name, role] as const)),
  );
  const now = ctx.clock.now();
  return rows.map((row) => {
    const own = approvals.filter((approval) => approval.request === row.id);
    const grant = grants.find((candidate) => candidate.request === row.id)?.id;
    const request = expire(
      requestOf(
        row,
        own.map((approval) => approval.approver),
        grant,
      ),
      now,
    );
    const role = roles.get(row.role);
    const denial = denials.find(({ id }) => id === row.denial);
    const judged = mayDecide(ctx, viewer, request, row.id);
    const because =
      judged.kind === 'refused'
        ? judged.because === 'own_request'
          ? 'it is your own request'
          : 'you are not one of its approvers'
        : request.state !== 'pending'
          ? `it is ${request.state}`
          : request.approvedBy.includes(viewer.id)
            ? 'you have approved it; somebody else has to as well'
            : role === undefined
              ? 'its role is no longer in the configuration'
              : undefined;
    return {
      id: row.id,
      state: request.state,
      requester: handles(row.requester),
      role: row.role,
      resource: resourceOf(row.role),
      duration: request.duration,
      reason: row.reason,
      ticket: row.ticket ?? undefined,
      startsAt: row.starts_at ?? undefined,
      filedAt: row.filed_at,
      expiresAt: row.expires_at,
      decidedAt: request.state === 'pending' ? undefined : request.decidedAt,
      statement:
        denial === undefined
          ? undefined
          : { denial: denial.id, text: denial.held.text, parameters: denial.held.parameters, once: row.once },
      approvals: own.map((approval) => ({ by: handles(approval.approver), at: approval.at, proof: approval.proof })),
      approvalsNeeded: row.approvals_needed,
      approverGroups: role?.approvers.groups ?? [],
      denial: row.denied_by === null ? undefined : { by: handles(row.denied_by), word: row.word ?? '' },
      grant,
      permissions: role === undefined ? [] : shownPermissions(role.permissions),
      you: { isRequester: row.requester === viewer.id, mayDecide: because === undefined, because },
    };
  });
}

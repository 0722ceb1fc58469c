/** Grants as somebody may see them: their own, those of roles they approve, or all. */
import { isLive, limitOf, type Grant, type GrantEnd } from '#core/grant.ts';
import type { GrantId, PrincipalId, RequestId, RoleName } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import type { Principal, PrincipalRef } from '#core/principal.ts';
import type { Selectable } from 'kysely';
import type { Database } from '#store/schema.ts';
import { mayReadAll, readHandles, type Page, type PageAsk } from './_reading.ts';
import { grantOf } from './_rows.ts';
import { done, notFound, type AppContext, type Caller, type Outcome } from './context.ts';

export type ShownGrant = {
  readonly id: GrantId;
  readonly state: Grant['state'];
  readonly request: RequestId;
  readonly principal: PrincipalRef;
  readonly role: RoleName;
  readonly resource: string;
  readonly duration: Duration;
  readonly reason: string;
  readonly notBefore: Instant;
  readonly activateBy: Instant;
  readonly activatedAt: Instant | undefined;
  readonly endsAt: Instant | undefined;
  readonly endedAt: Instant | undefined;
  readonly how: GrantEnd | undefined;
  readonly endedBy: PrincipalRef | undefined;
  readonly openSessions: number;
  readonly once: boolean;
  readonly you: { readonly mayActivate: boolean; readonly mayConnect: boolean; readonly mayEnd: boolean };
};

type Row = Selectable<Database['access_grant']>;

export async function readGrant(ctx: AppContext, caller: Caller, id: GrantId): Promise<Outcome<ShownGrant>> {
  const row = await ctx.db.selectFrom('access_grant').selectAll().where('id', '=', id).executeTakeFirst();
  const [shown] = row === undefined ? [] : await show(ctx, caller.principal, [row]);
  if (shown === undefined || !maySee(ctx, caller.principal, shown)) return notFound('grant', id);
  return done(shown);
}

export type GrantsAsk = PageAsk & {
  readonly scope: 'mine' | 'all';
  /** `live`: active or waiting to be activated. */
  readonly state?: Grant['state'] | 'live';
};

export async function readGrants(ctx: AppContext, caller: Caller, ask: GrantsAsk): Promise<Page<ShownGrant>> {
  const items: ShownGrant[] = [];
  let cursor = ask.cursor;
  for (;;) {
    let query = ctx.db
      .selectFrom('access_grant')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(ask.limit + 1);
    if (cursor !== undefined) query = query.where('id', '<', cursor as GrantId);
    if (ask.scope === 'mine') query = query.where('principal', '=', caller.principal.id);
    // What the clock has ended is ended, written down or not: the last filter is on what is shown.
    if (ask.state === 'approved' || ask.state === 'active') query = query.where('state', '=', ask.state);
    if (ask.state === 'live') query = query.where('state', 'in', ['approved', 'active']);
    const rows = await query.execute();
    for (const shown of await show(ctx, caller.principal, rows.slice(0, ask.limit))) {
      cursor = shown.id;
      const inState =
        ask.state === undefined || (ask.state === 'live' ? shown.state !== 'ended' : shown.state === ask.state);
      if (inState && maySee(ctx, caller.principal, shown)) items.push(shown);
      if (items.length === ask.limit) return { items, next: cursor };
    }
    if (rows.length <= ask.limit) return { items, next: undefined };
  }
}

function maySee(ctx: AppContext, viewer: Principal, grant: ShownGrant): boolean {
  return (
    grant.principal.id === viewer.id ||
    mayReadAll(ctx, viewer) ||
    mayEnd(ctx, viewer, { id: grant.id, principal: grant.principal.id, role: grant.role })
  );
}

function mayEnd(
  ctx: AppContext,
  viewer: Principal,
  grant: { readonly id: GrantId; readonly principal: PrincipalId; readonly role: RoleName },
): boolean {
  return ctx.policy.decide({ action: 'revoke_grant', principal: viewer, now: ctx.clock.now(), grant }).kind === 'allow';
}

async function show(ctx: AppContext, viewer: Principal, rows: readonly Row[]): Promise<readonly ShownGrant[]> {
  if (rows.length === 0) return [];
  const now = ctx.clock.now();
  const ids = rows.map((row) => row.id);
  const requests = await ctx.db
    .selectFrom('access_request')
    .select(['id', 'reason'])
    .where(
      'id',
      'in',
      rows.map((row) => row.request),
    )
    .execute();
  const reasons = new Map(requests.map((row) => [row.id, row.reason]));
  const sessions = await ctx.db
    .selectFrom('session')
    .select(['access_grant', (select) => select.fn.countAll<number>().as('count')])
    .where('access_grant', 'in', ids)
    .where('ended_at', 'is', null)
    .groupBy('access_grant')
    .execute();
  const open = new Map(sessions.map((row) => [row.access_grant, row.count]));
  const handles = await readHandles(ctx.db, [
    ...new Set(rows.flatMap((row) => (row.ended_by === null ? [row.principal] : [row.principal, row.ended_by]))),
  ]);
  return rows.map((row) => {
    const grant = grantOf(row);
    const overAt = grant.state !== 'ended' && now >= limitOf(grant) ? limitOf(grant) : undefined;
    const isOwner = row.principal === viewer.id;
    const live = isLive(grant, now);
    const waiting = grant.state === 'approved' && overAt === undefined;
    return {
      id: row.id,
      state: overAt === undefined ? grant.state : 'ended',
      request: row.request,
      principal: handles(row.principal),
      role: row.role,
      resource: resourceOf(row.role),
      duration: grant.duration,
      reason: reasons.get(row.request) ?? '',
      notBefore: grant.notBefore,
      activateBy: grant.activateBy,
      activatedAt: row.activated_at ?? undefined,
      endsAt: row.ends_at ?? undefined,
      endedAt: overAt ?? row.ended_at ?? undefined,
      how: overAt === undefined ? (row.how ?? undefined) : 'expired',
      endedBy: row.ended_by === null ? undefined : handles(row.ended_by),
      openSessions: open.get(row.id) ?? 0,
      once: row.only_digest !== null,
      you: {
        mayActivate: isOwner && waiting && now >= grant.notBefore,
        mayConnect: isOwner && live,
        mayEnd: (live || waiting) && mayEnd(ctx, viewer, { id: row.id, principal: row.principal, role: row.role }),
      },
    };
  });
}

/** Sessions as somebody may see them: their own, or others' where policy lets them read those. */
import type { GrantId, RoleName, SessionId } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Principal, PrincipalRef } from '#core/principal.ts';
import { sql, type Selectable } from 'kysely';
import type { Database } from '#store/schema.ts';
import { readHandles, type Page, type PageAsk } from './_reading.ts';
import { done, notFound, type AppContext, type Caller, type Outcome } from './context.ts';

export type ShownSession = {
  readonly id: SessionId;
  readonly state: 'open' | 'ended';
  readonly grant: GrantId;
  readonly principal: PrincipalRef;
  readonly role: RoleName;
  readonly resource: string;
  readonly openedAt: Instant;
  readonly endedAt: Instant | undefined;
  readonly how: string | undefined;
  readonly word: string | undefined;
  readonly client: { readonly address: string; readonly application: string | undefined };
  readonly statements: number;
};

type Row = Selectable<Database['session']>;

export async function readSession(ctx: AppContext, caller: Caller, id: SessionId): Promise<Outcome<ShownSession>> {
  const row = await ctx.db.selectFrom('session').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined || !maySee(ctx, caller.principal, row)) return notFound('session', id);
  const [shown] = await show(ctx, [row]);
  return shown === undefined ? notFound('session', id) : done(shown);
}

export type SessionsAsk = PageAsk & {
  readonly scope: 'mine' | 'all';
  readonly state?: 'open' | 'ended';
  readonly grant?: GrantId;
};

export async function readSessions(ctx: AppContext, caller: Caller, ask: SessionsAsk): Promise<Page<ShownSession>> {
  const items: Row[] = [];
  let cursor = ask.cursor;
  for (;;) {
    let query = ctx.db
      .selectFrom('session')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(ask.limit + 1);
    if (cursor !== undefined) query = query.where('id', '<', cursor as SessionId);
    if (ask.scope === 'mine') query = query.where('principal', '=', caller.principal.id);
    if (ask.grant !== undefined) query = query.where('access_grant', '=', ask.grant);
    if (ask.state !== undefined) query = query.where('ended_at', ask.state === 'open' ? 'is' : 'is not', null);
    const rows = await query.execute();
    for (const row of rows.slice(0, ask.limit)) {
      cursor = row.id;
      if (maySee(ctx, caller.principal, row)) items.push(row);
      if (items.length === ask.limit) return { items: await show(ctx, items), next: cursor };
    }
    if (rows.length <= ask.limit) return { items: await show(ctx, items), next: undefined };
  }
}

function maySee(ctx: AppContext, viewer: Principal, row: Row): boolean {
  if (row.principal === viewer.id) return true;
  const session = { id: row.id, principal: row.principal, role: row.role };
  return (
    ctx.policy.decide({ action: 'read_session', principal: viewer, now: ctx.clock.now(), session }).kind === 'allow'
  );
}

async function show(ctx: AppContext, rows: readonly Row[]): Promise<readonly ShownSession[]> {
  if (rows.length === 0) return [];
  const handles = await readHandles(ctx.db, [...new Set(rows.map((row) => row.principal))]);
  // An open session's statements are counted where they are written down; an ended one's count came with its end.
  const open = rows.filter((row) => row.ended_at === null).map((row) => row.id);
  const counts = new Map<string, number>();
  if (open.length > 0) {
    const counted = await ctx.db
      .selectFrom('log_entry')
      .select([sql<string>`subjects ->> 'session'`.as('session'), (select) => select.fn.countAll<number>().as('count')])
      .where('kind', 'in', ['statement.begun', 'statement.denied'])
      .where(sql<boolean>`subjects ->> 'session' = any (${open}::text[])`)
      .groupBy(sql`1`)
      .execute();
    for (const row of counted) counts.set(row.session, row.count);
  }
  return rows.map((row) => ({
    id: row.id,
    state: row.ended_at === null ? 'open' : 'ended',
    grant: row.access_grant,
    principal: handles(row.principal),
    role: row.role,
    resource: resourceOf(row.role),
    openedAt: row.opened_at,
    endedAt: row.ended_at ?? undefined,
    how: row.how ?? undefined,
    word: row.word ?? undefined,
    client: { address: row.client_address, application: row.application ?? undefined },
    statements: row.ended_at === null ? (counts.get(row.id) ?? 0) : row.statements,
  }));
}

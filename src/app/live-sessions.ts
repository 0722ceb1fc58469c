/** Which of a gateway's sessions may go on, and until when: the poll behind the push. */
import { sql } from 'kysely';
import { isLive } from '#core/grant.ts';
import type { GrantId, ResourceName, SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { grantOf } from './_rows.ts';
import type { AppContext } from './context.ts';

export async function liveSessions(
  ctx: Pick<AppContext, 'db' | 'clock'>,
  ids: readonly SessionId[],
): Promise<readonly { readonly session: SessionId; readonly deadline: Instant }[]> {
  if (ids.length === 0) return [];
  const now = ctx.clock.now();
  const rows = await ctx.db
    .selectFrom('session')
    .innerJoin('access_grant', 'access_grant.id', 'session.access_grant')
    .innerJoin('principal', 'principal.id', 'session.principal')
    .selectAll('access_grant')
    .select('session.id as session')
    .where('session.id', 'in', ids)
    .where('session.ended_at', 'is', null)
    .where('principal.state', '=', 'active')
    .execute();
  return rows.flatMap((row) => {
    const grant = grantOf(row);
    return isLive(grant, now) ? [{ session: row.session, deadline: grant.endsAt }] : [];
  });
}

/** The grants that may have a login on a resource now. Reconciliation drops every other. */
export async function activeGrants(
  ctx: Pick<AppContext, 'db' | 'clock'>,
  resource: ResourceName,
): Promise<readonly GrantId[]> {
  const rows = await ctx.db
    .selectFrom('access_grant')
    .select('id')
    .where('state', '=', 'active')
    .where('ends_at', '>', ctx.clock.now())
    .where(sql<boolean>`starts_with(role, ${`${resource}/`})`)
    .execute();
  return rows.map((row) => row.id);
}

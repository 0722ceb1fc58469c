/**
 * Which of a gateway's sessions may go on, until when and with which permissions: the poll behind the push. A session is
 * judged again as if it were opened now, so a group, a policy or a role that has changed counts for those inside as well.
 */
import { isLive } from '#core/grant.ts';
import type { GrantId, SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Role } from '#core/role.ts';
import { credentialCircumstances, readGrantRef } from './_circumstances.ts';
import { grantOf, principalOf } from './_rows.ts';
import type { AppContext } from './context.ts';

export async function liveSessions(
  ctx: Pick<AppContext, 'db' | 'clock' | 'policy'>,
  ids: readonly SessionId[],
): Promise<readonly { readonly session: SessionId; readonly deadline: Instant; readonly role: Role }[]> {
  if (ids.length === 0) return [];
  const now = ctx.clock.now();
  const rows = await ctx.db
    .selectFrom('session')
    .innerJoin('access_grant', 'access_grant.id', 'session.access_grant')
    .selectAll('access_grant')
    .select(['session.id as session', 'session.client_address', 'session.tls', 'session.credential'])
    .where('session.id', 'in', ids)
    .where('session.ended_at', 'is', null)
    .execute();
  if (rows.length === 0) return [];
  const people = await ctx.db
    .selectFrom('principal')
    .selectAll()
    .where('id', 'in', [...new Set(rows.map((row) => row.principal))])
    .where('state', '=', 'active')
    .execute();
  const roles = new Map(
    (ctx.policy.configuration?.resources ?? []).flatMap((resource) => resource.roles.map((role) => [role.name, role])),
  );
  const principals = new Map(people.map((one) => [one.id, one]));
  // Thousands of sessions come from few grants and addresses: each of these is judged once.
  const judged = new Map<string, boolean>();
  const live: { readonly session: SessionId; readonly deadline: Instant; readonly role: Role }[] = [];
  for (const row of rows) {
    const grant = grantOf(row);
    const person = principals.get(row.principal);
    const role = roles.get(row.role);
    if (person === undefined || role === undefined || !isLive(grant, now)) continue;
    const key = `${grant.id} ${row.client_address} ${row.credential}`;
    const mayGoOn =
      judged.get(key) ??
      ctx.policy.decide({
        ...(await credentialCircumstances(ctx.db, row.credential, row.principal, now)),
        action: 'connect',
        principal: principalOf(person),
        grant: await readGrantRef(ctx.db, grant),
        client: { address: row.client_address, tls: row.tls },
        // The sign-in was as fresh as it had to be when the session was opened.
        cured: { activation: true, freshSignIn: true },
      }).kind === 'allow';
    judged.set(key, mayGoOn);
    if (mayGoOn) live.push({ session: row.session, deadline: grant.endsAt, role });
  }
  return live;
}

/** Of the given grants those that we know, and whether they are over, by record or by time. */
export async function knownGrants(
  ctx: Pick<AppContext, 'db' | 'clock'>,
  ids: readonly GrantId[],
): Promise<readonly { readonly grant: GrantId; readonly isOver: boolean }[]> {
  if (ids.length === 0) return [];
  const now = ctx.clock.now();
  const rows = await ctx.db.selectFrom('access_grant').selectAll().where('id', 'in', ids).execute();
  return rows.map((row) => ({ grant: row.id, isOver: !isLive(grantOf(row), now) }));
}

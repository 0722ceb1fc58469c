/** Refused statements that a request can refer to. They come with the journal; only who was refused sees them. */
import type { DenialId, GrantId, RoleName, SessionId } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { PrincipalRef } from '#core/principal.ts';
import { readHandles } from './_reading.ts';
import { done, notFound, type AppContext, type Caller, type Outcome } from './context.ts';

export type ShownDenial = {
  readonly id: DenialId;
  readonly at: Instant;
  readonly principal: PrincipalRef;
  readonly session: SessionId;
  readonly grant: GrantId;
  readonly role: RoleName;
  readonly resource: string;
  readonly text: string;
  readonly parameters: readonly string[];
  readonly digest: string | undefined;
  readonly roles: readonly RoleName[];
};

export async function readDenial(ctx: AppContext, caller: Caller, id: DenialId): Promise<Outcome<ShownDenial>> {
  const row = await ctx.db
    .selectFrom('denial')
    .selectAll()
    .where('id', '=', id)
    .where('principal', '=', caller.principal.id)
    .executeTakeFirst();
  if (row === undefined) return notFound('denial', id);
  const handles = await readHandles(ctx.db, [row.principal]);
  return done({
    id: row.id,
    at: row.at,
    principal: handles(row.principal),
    session: row.session,
    grant: row.access_grant,
    role: row.role,
    resource: resourceOf(row.role),
    text: row.held.text,
    parameters: row.held.parameters,
    digest: row.digest ?? undefined,
    roles: row.held.roles,
  });
}

/** Refused statements that a request can refer to. They come with the journal; only who was refused sees them. */
import type { Db, Transaction } from '#store/database.ts';
import type { DenialId, GrantId, RequestId, RoleName, SessionId } from '#core/ids.ts';
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

/** Of a request out of a denial: the statement that its approver is shown and signs for. */
export async function statementOf(
  db: Db | Transaction,
  request: RequestId,
): Promise<
  { readonly statement: { readonly text: string; readonly digest: string }; readonly once: boolean } | undefined
> {
  const row = await db
    .selectFrom('access_request')
    .innerJoin('denial', 'denial.id', 'access_request.denial')
    .select(['denial.held', 'denial.digest', 'access_request.once'])
    .where('access_request.id', '=', request)
    .executeTakeFirst();
  // One that isn't known whole is told by the page, and signed for by nobody.
  if (row === undefined || row.digest === null) return undefined;
  // Parameters are part of what the digest is over, so they are part of what is shown.
  const text = [row.held.text, ...row.held.parameters].join('\n');
  return { statement: { text, digest: row.digest }, once: row.once };
}

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

/** Who calls: from the console's cookie or from a DPoP-bound token of the command line tool. */
import type { Instant } from '#core/instant.ts';
import { verifyDpop } from '#identity/dpop.ts';
import { parseToken } from '#identity/tokens.ts';
import { shouldNoteSeen, webSessionState } from '#identity/web-session.ts';
import { findPrincipal } from './_rows.ts';
import type { AppContext, Caller } from './context.ts';

/** The caller behind a console cookie; undefined for any that isn't live. */
export async function authenticateWeb(
  ctx: AppContext,
  given: { readonly cookie: string; readonly address: string },
): Promise<Caller | undefined> {
  const hash = parseToken('web_session', given.cookie);
  if (hash === undefined) return undefined;
  const row = await ctx.db
    .selectFrom('web_session')
    .selectAll()
    .where('token_hash', '=', hash)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const now = ctx.clock.now();
  const session = { startedAt: row.created_at, lastSeenAt: row.last_seen_at, provenAt: row.proven_at };
  const state = webSessionState(session, now);
  if (state.kind === 'ended') return undefined;
  const principal = await findPrincipal(ctx.db, row.principal);
  if (principal?.state !== 'active') return undefined;
  if (shouldNoteSeen(session, now))
    await ctx.db.updateTable('web_session').set({ last_seen_at: now }).where('id', '=', row.id).execute();
  return {
    principal,
    session: { kind: 'web', id: row.id, expiresAt: state.expiresAt, provenAt: row.proven_at },
    address: given.address,
  };
}

/** The caller behind `Authorization: DPoP` and the proof that comes with it (RFC 9449 §7.1). */
export async function authenticateCli(
  ctx: AppContext,
  given: {
    readonly token: string;
    readonly proof: string | undefined;
    readonly method: string;
    readonly url: string;
    readonly address: string;
  },
): Promise<Caller | undefined> {
  const hash = parseToken('access', given.token);
  if (hash === undefined || given.proof === undefined) return undefined;
  const row = await ctx.db
    .selectFrom('machine_token')
    .selectAll()
    .where('access_hash', '=', hash)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  const now = ctx.clock.now();
  if (row === undefined || now >= row.access_expires_at || now >= row.ends_at) return undefined;
  const outcome = await verifyDpop({
    proof: given.proof,
    method: given.method,
    url: given.url,
    now,
    token: { text: given.token, jkt: row.dpop_jkt },
  });
  if (outcome.kind === 'refused') return undefined;
  if (!(await isFirstUse(ctx, outcome.replayKey, outcome.rememberUntil))) return undefined;
  const principal = await findPrincipal(ctx.db, row.principal);
  if (principal?.state !== 'active') return undefined;
  return {
    principal,
    session: { kind: 'cli', id: row.id, expiresAt: row.ends_at, provenAt: row.proven_at },
    address: given.address,
  };
}

/** Remembers something that may be used once; false when it was used before. */
export async function isFirstUse(ctx: Pick<AppContext, 'db'>, what: string, until: Instant): Promise<boolean> {
  const inserted = await ctx.db
    .insertInto('seen_once')
    .values({ what, expires_at: until })
    .onConflict((conflict) => conflict.doNothing())
    .returning('what')
    .executeTakeFirst();
  return inserted !== undefined;
}

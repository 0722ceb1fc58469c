/** Looks a caller up again, for what takes longer than a moment: their groups may have changed, their sign-in ended. */
import type { TokenId } from '#core/ids.ts';
import { findPrincipal } from './_rows.ts';
import type { AppContext, Caller } from './context.ts';

/** Undefined once the sign-in has ended or the person may not act any more. */
export async function refreshCaller(ctx: AppContext, caller: Caller): Promise<Caller | undefined> {
  const { session } = caller;
  const row = await ctx.db
    .selectFrom(session.kind === 'web' ? 'web_session' : 'machine_token')
    .select('id')
    .where('id', '=', session.id as TokenId)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  const principal = await findPrincipal(ctx.db, caller.principal.id);
  if (row === undefined || principal?.state !== 'active' || ctx.clock.now() >= session.expiresAt) return undefined;
  return { ...caller, principal };
}

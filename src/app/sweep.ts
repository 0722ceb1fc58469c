/** Forgets what has no more use: ceremonies, codes, offers and replay marks whose time is over. Nothing here is evidence. */
import { before, days, hours } from '#core/instant.ts';
import type { AppContext } from './context.ts';

export async function sweep(ctx: Pick<AppContext, 'db' | 'clock'>): Promise<void> {
  const now = ctx.clock.now();
  const dayAgo = before(now, days(1));
  await ctx.db.deleteFrom('seen_once').where('expires_at', '<', now).execute();
  await ctx.db
    .deleteFrom('ceremony')
    .where('expires_at', '<', before(now, hours(1)))
    .execute();
  await ctx.db.deleteFrom('authorization_code').where('expires_at', '<', dayAgo).execute();
  await ctx.db.deleteFrom('proof').where('state', '=', 'offered').where('expires_at', '<', dayAgo).execute();
  await ctx.db
    .deleteFrom('plan')
    .where('expires_at', '<', before(now, days(7)))
    .where('applied_at', 'is', null)
    .execute();
  await ctx.db
    .deleteFrom('web_session')
    .where('created_at', '<', before(now, days(30)))
    .execute();
  await ctx.db
    .deleteFrom('machine_token')
    .where('ends_at', '<', before(now, days(30)))
    .execute();
}

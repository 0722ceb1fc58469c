/** The way in for the very first person: a one-time link, made again at each start until somebody has used one. */
import { transaction } from '#store/database.ts';
import { sql } from 'kysely';
import type { AppContext } from './context.ts';
import { makeLink, type NewLink } from './make-link.ts';

/** Undefined once anybody has a passkey. */
export async function ensureBootstrap(ctx: AppContext): Promise<NewLink | undefined> {
  return await transaction(ctx.db, async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('sally bootstrap'))`.execute(trx);
    const somebody = await trx.selectFrom('authenticator').select('id').executeTakeFirst();
    if (somebody !== undefined) return undefined;
    return await makeLink(ctx, trx, { for: { purpose: 'bootstrap' }, actor: 'system' });
  });
}

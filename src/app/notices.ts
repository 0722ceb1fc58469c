/** What a person is told at their next sign-in: whatever became of their passkeys, by whoever it was. */
import type { PrincipalId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { sql } from 'kysely';
import type { AppContext } from './context.ts';
import { showEntries } from './read-log.ts';

const kinds = ['authenticator.enrolled', 'authenticator.removed', 'authenticators.reset', 'link.issued'];

/** Since the sign-in before the present one, newest first; nothing at the first of all. */
export async function noticesFor(
  ctx: AppContext,
  id: PrincipalId,
): Promise<readonly { readonly at: Instant; readonly words: string }[]> {
  const last = await ctx.db
    .selectFrom('web_session')
    .select('created_at')
    .where('principal', '=', id)
    .orderBy('created_at', 'desc')
    .limit(2)
    .execute();
  const since = last[1]?.created_at;
  if (since === undefined) return [];
  const rows = await ctx.db
    .selectFrom('log_entry')
    .leftJoin('log_content', 'log_content.entry', 'log_entry.id')
    .leftJoin('log_place', 'log_place.seq', 'log_entry.seq')
    .select(['log_entry.seq', 'log_entry.id', 'log_entry.at', 'log_entry.leaf', 'log_place.leaf_index'])
    .select(['log_content.key', 'log_content.blob'])
    .where(sql<boolean>`log_entry.subjects ? 'principal' and log_entry.subjects ->> 'principal' = ${id}`)
    .where('log_entry.kind', 'in', kinds)
    .where('log_entry.at', '>', since)
    .orderBy('log_entry.seq', 'desc')
    .limit(20)
    .execute();
  return (await showEntries(ctx, rows)).map(({ at, summary }) => ({ at, words: summary }));
}

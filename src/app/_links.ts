/** One-time links as the store has them. */
import type { Selectable } from 'kysely';
import type { OneTimeLink } from '#identity/one-time-link.ts';
import type { TokenHash } from '#identity/tokens.ts';
import type { Db, Transaction } from '#store/database.ts';
import type { Database } from '#store/schema.ts';

export async function findLink(db: Db | Transaction, hash: TokenHash, lock: boolean): Promise<OneTimeLink | undefined> {
  let query = db.selectFrom('one_time_link').selectAll().where('token_hash', '=', hash);
  if (lock) query = query.forUpdate();
  const row = await query.executeTakeFirst();
  return row === undefined ? undefined : linkOf(row, hash);
}

function linkOf(row: Selectable<Database['one_time_link']>, tokenHash: TokenHash): OneTimeLink {
  const times = { id: row.id, tokenHash, createdAt: row.created_at, expiresAt: row.expires_at };
  const common =
    row.principal === null
      ? { ...times, purpose: 'bootstrap' as const, principal: null }
      : { ...times, purpose: 'enrolment' as const, principal: row.principal };
  if (row.used_at !== null) return { ...common, state: 'used', usedAt: row.used_at };
  if (row.revoked_at !== null) return { ...common, state: 'replaced', replacedAt: row.revoked_at };
  return { ...common, state: 'live' };
}

/**
 * The keys that seal the personal content of log entries: one per person, and one of the system's own. They lie in the
 * store wrapped under the master key; destroying a person's key erases their content from every copy of the log that
 * doesn't hold the key.
 */
import type { PrincipalId } from '#core/ids.ts';
import type { ContentKey } from '#log/content.ts';
import { at, type Db, type Transaction } from '#store/database.ts';
import type { Clock } from '#core/instant.ts';
import type { Random } from '#core/ids.ts';
import type { KeyRing } from '#identity/sealing.ts';

export type ContentKeys = {
  /** The live key of a person, or the system's; made at first use. */
  readonly keyOf: (trx: Transaction, principal: PrincipalId | undefined) => Promise<ContentKey>;
  /** A key by its id; undefined once destroyed. */
  readonly find: (id: string) => Promise<ContentKey | undefined>;
};

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

export function createContentKeys(from: {
  readonly db: Db;
  readonly keyRing: KeyRing;
  readonly clock: Clock;
  readonly random: Random;
}): ContentKeys {
  const { db, keyRing, clock, random } = from;
  const opened = new Map<string, ContentKey>();
  // A person's key may be destroyed by another process: what is remembered here is only what can't change, the bytes.
  const open = (id: string, wrapped: Uint8Array): ContentKey => {
    const known = opened.get(id);
    if (known !== undefined) return known;
    const key = { id, key: keyRing.open('content_key', wrapped, id).reveal() };
    if (opened.size >= 10_000) opened.clear();
    opened.set(id, key);
    return key;
  };
  const live = async (trx: Transaction | Db, principal: PrincipalId | undefined) =>
    await trx
      .selectFrom('content_key')
      .select('id')
      .select((select) => select.ref('wrapped').$notNull().as('wrapped'))
      .where('principal', principal === undefined ? 'is' : '=', principal ?? null)
      .where('wrapped', 'is not', null)
      .executeTakeFirst();
  return {
    keyOf: async (trx, principal) => {
      const found = await live(trx, principal);
      if (found !== undefined) return open(found.id, found.wrapped);
      let id = 'k_';
      for (const byte of random(16)) id += alphabet.charAt(byte & 31);
      await trx
        .insertInto('content_key')
        .values({
          id,
          principal: principal ?? null,
          wrapped: keyRing.seal('content_key', random(32), id),
          created_at: at(clock.now()),
          destroyed_at: null,
        })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const made = await live(trx, principal);
      if (made === undefined) throw new Error('make a content key: there is none after making it');
      return open(made.id, made.wrapped);
    },
    find: async (id) => {
      const row = await db.selectFrom('content_key').select('wrapped').where('id', '=', id).executeTakeFirst();
      return row === undefined || row.wrapped === null ? undefined : open(id, row.wrapped);
    },
  };
}

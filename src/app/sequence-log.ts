/**
 * Puts committed entries into the tree, as they are found committed, and signs the new checkpoint. One sequencer works at
 * a time, whichever process it is in; entries, tiles and checkpoint commit together.
 */
import { sql } from 'kysely';
import { openCheckpoint, signCheckpoint } from '#log/checkpoint.ts';
import { appendLeaves, type TileStore } from '#log/tiles.ts';
import { emptyRoot } from '#log/tree.ts';
import { transaction, type Db, type Transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';

const batch = 2000;

export function tileStore(db: Db | Transaction): TileStore {
  return {
    read: async (path) =>
      (await db.selectFrom('log_tile').select('bytes').where('path', '=', path).executeTakeFirst())?.bytes,
    write: async (path, bytes) => {
      await db
        .insertInto('log_tile')
        .values({ path, bytes })
        .onConflict((conflict) => conflict.column('path').doUpdateSet({ bytes }))
        .execute();
    },
  };
}

/** The latest signed checkpoint, opened. */
export async function latestCheckpoint(
  ctx: Pick<AppContext, 'logSigner'>,
  db: Db | Transaction,
): Promise<{ readonly note: string; readonly size: number; readonly root: Uint8Array } | undefined> {
  const row = await db.selectFrom('log_checkpoint').select('note').orderBy('size', 'desc').executeTakeFirst();
  if (row === undefined) return undefined;
  const opened = openCheckpoint(row.note, ctx.logSigner);
  if (opened.kind === 'refused')
    throw new Error(
      `read the latest checkpoint: it is refused (${opened.because}); the log key and the store don’t belong together`,
    );
  return { note: row.note, size: opened.checkpoint.size, root: opened.checkpoint.root };
}

/** Answers how many entries it took in; 0 means that nothing was waiting, or that another process is at it. */
export async function sequenceLog(ctx: Pick<AppContext, 'db' | 'clock' | 'logSigner'>): Promise<number> {
  return await transaction(ctx.db, async (trx) => {
    const { rows } = await sql<{
      free: boolean;
    }>`select pg_try_advisory_xact_lock(hashtext('sally sequencer')) as free`.execute(trx);
    if (rows[0]?.free !== true) return 0;
    // Only what was committed before this snapshot is seen, so an index, once given, never needs to move.
    const waiting = await trx
      .selectFrom('log_waiting')
      .innerJoin('log_entry', 'log_entry.seq', 'log_waiting.seq')
      .select(['log_entry.seq', 'log_entry.leaf'])
      .orderBy('log_waiting.seq')
      .limit(batch)
      .execute();
    if (waiting.length === 0) return 0;
    const before = await latestCheckpoint(ctx, trx);
    const previous = { size: before?.size ?? 0, root: before?.root ?? emptyRoot };
    const grown = await appendLeaves(
      tileStore(trx),
      previous,
      waiting.map((row) => row.leaf),
    );
    const taken = sql.val(waiting.map((row) => row.seq));
    await sql`
      insert into log_place (leaf_index, seq)
      select ${previous.size}::bigint + place - 1, seq from unnest(${taken}::bigint[]) with ordinality as given (seq, place)`.execute(
      trx,
    );
    await sql`delete from log_waiting where seq = any (${taken}::bigint[])`.execute(trx);
    if (grown.stale.length > 0) await trx.deleteFrom('log_tile').where('path', 'in', grown.stale).execute();
    await trx
      .insertInto('log_checkpoint')
      .values({ size: grown.size, note: signCheckpoint(grown, ctx.logSigner), at: ctx.clock.now() })
      .execute();
    return waiting.length;
  });
}

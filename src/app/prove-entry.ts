/** A receipt for one entry: it stands alone and is checked with the log's public key. */
import type { EntryId } from '#core/ids.ts';
import { proveEntry as prove, type Receipt } from '#log/receipt.ts';
import { transaction } from '#store/database.ts';
import { readEntry } from './read-log.ts';
import { latestCheckpoint, tileStore } from './sequence-log.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';

export async function proveEntry(ctx: AppContext, caller: Caller, id: EntryId): Promise<Outcome<Receipt>> {
  const entry = await readEntry(ctx, caller, id);
  if (entry.kind === 'refused') return entry;
  const { leaf, index } = entry.value;
  if (index === undefined)
    return refused('too_early', `prove entry \`${id}\`: the tree takes it in within a second`, 'try again');
  // One snapshot of checkpoint and tiles: partial tiles are replaced as the tree grows.
  return await transaction(
    ctx.db,
    async (trx) => {
      const checkpoint = await latestCheckpoint(ctx, trx);
      if (checkpoint === undefined) throw new Error('prove an entry: the log has no checkpoint');
      return done(await prove(tileStore(trx), { index, leaf, checkpoint: checkpoint.note }, ctx.logSigner.vkey));
    },
    { isolation: 'repeatable read' },
  );
}

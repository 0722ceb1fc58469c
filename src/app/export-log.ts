/** A copy of the whole log that can be verified with nothing but its public key. That it was taken is logged first. */
import type { EntryId } from '#core/ids.ts';
import type { ContentKey } from '#log/content.ts';
import { writeCopy, type CopyEntry, type CopySink } from '#log/write-copy.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { sql } from 'kysely';
import { latestCheckpoint, sequenceLog } from './sequence-log.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { writeEntry } from './write-entry.ts';

/** Earlier checkpoints that go along: enough to show that the log only ever grew. */
const mostCheckpoints = 100;
const batch = 1000;

export type Exported = { readonly entries: number; readonly files: number };

/** Whether the caller may have a copy; `write` then makes it, in one snapshot of the store. */
export async function exportLog(
  ctx: AppContext,
  caller: Caller,
): Promise<Outcome<{ readonly write: (sink: CopySink) => Promise<Exported> }>> {
  const { principal } = caller;
  const decision = ctx.policy.decide({ action: 'read_log', principal, scope: 'all', now: ctx.clock.now() });
  if (decision.kind !== 'allow') return refused('forbidden', 'export the log: you may not');
  const entry = await transaction(ctx.db, async (trx) => {
    return await writeEntry(ctx, trx, {
      kind: 'log.exported',
      actor: principal.id,
      subjects: { principal: principal.id },
      public: { policies: [...decision.policies], policyVersion: decision.version },
      content: { handle: principal.handle, address: caller.address },
    });
  });
  await untilSequenced(ctx, entry);
  return done({
    write: async (sink) =>
      await transaction(
        ctx.db,
        async (trx) => {
          await sql`set local idle_in_transaction_session_timeout = '10min'`.execute(trx);
          const checkpoint = await latestCheckpoint(ctx, trx);
          if (checkpoint === undefined) throw new Error('export the log: it has no checkpoint');
          return await writeCopy(
            {
              signer: ctx.logSigner,
              checkpoint: checkpoint.note,
              earlierCheckpoints: await earlierCheckpoints(trx, checkpoint.size),
              entries: entriesOf(trx, checkpoint.size),
              contentKeys: await liveKeys(ctx, trx),
            },
            sink,
          );
        },
        { isolation: 'repeatable read', attempts: 1 },
      ),
  });
}

/** The export itself is in its own copy: another process may be sequencing, or much may be waiting before it. */
async function untilSequenced(ctx: AppContext, entry: EntryId): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const taken = await sequenceLog(ctx);
    const waiting = await ctx.db
      .selectFrom('log_entry')
      .innerJoin('log_waiting', 'log_waiting.seq', 'log_entry.seq')
      .select('id')
      .where('id', '=', entry)
      .executeTakeFirst();
    if (waiting === undefined) return;
    if (taken === 0) await ctx.timers.sleep(50);
  }
  throw new Error('export the log: the tree does not take entries in');
}

async function earlierCheckpoints(trx: Transaction, size: number): Promise<readonly string[]> {
  const rows = await trx
    .selectFrom('log_checkpoint')
    .select('note')
    .where('size', '<', size)
    .orderBy('size', 'desc')
    .limit(mostCheckpoints)
    .execute();
  return rows.map((row) => row.note);
}

async function* entriesOf(trx: Transaction, size: number): AsyncGenerator<CopyEntry> {
  for (let from = 0; from < size; from += batch) {
    const rows = await trx
      .selectFrom('log_place')
      .innerJoin('log_entry', 'log_entry.seq', 'log_place.seq')
      .leftJoin('log_content', 'log_content.entry', 'log_entry.id')
      .select(['log_entry.leaf', 'log_content.blob'])
      .where('log_place.leaf_index', '>=', from)
      .where('log_place.leaf_index', '<', Math.min(from + batch, size))
      .orderBy('log_place.leaf_index')
      .execute();
    for (const { leaf, blob } of rows) yield blob === null ? { leaf } : { leaf, content: blob };
  }
}

async function liveKeys(ctx: AppContext, trx: Transaction): Promise<readonly ContentKey[]> {
  const rows = await trx
    .selectFrom('content_key')
    .select('id')
    .where('wrapped', 'is not', null)
    .orderBy('id')
    .execute();
  const keys: ContentKey[] = [];
  for (const { id } of rows) {
    const key = await ctx.contentKeys.find(id);
    if (key !== undefined) keys.push(key);
  }
  return keys;
}

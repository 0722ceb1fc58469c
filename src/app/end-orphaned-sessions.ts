/**
 * Ends, in the record, the sessions of a gateway that died: it is starting again, so none of those from before can be alive;
 * or, while it runs, those that it names, since the part of it that held them is gone.
 */
import { resourceOf } from '#core/ids.ts';
import type { SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';
import { endSessions } from './_end-sessions.ts';
import { endHoldsOf } from './settle-hold.ts';
import { writeEntries, type EntryDraft } from './write-entry.ts';

/** Call it when the journal that the sessions wrote to has been taken in. Answers how many. */
export async function endOrphanedSessions(
  ctx: AppContext,
  gateway: string,
  which:
    | { readonly openedBefore: Instant; readonly except?: readonly SessionId[] }
    | { readonly sessions: readonly SessionId[] },
): Promise<number> {
  if ('sessions' in which && which.sessions.length === 0) return 0;
  return await transaction(ctx.db, async (trx) => {
    const theirs = trx
      .selectFrom('session')
      .selectAll()
      .where('gateway', '=', gateway)
      .where('ended_at', 'is', null)
      .forUpdate();
    const found = await (
      'sessions' in which
        ? theirs.where('id', 'in', which.sessions)
        : theirs.where('opened_at', '<', which.openedBefore)
    ).execute();
    const alive = new Set('sessions' in which ? [] : which.except);
    const rows = found.filter(({ id }) => !alive.has(id));
    const word = 'the gateway stopped without a word';
    const drafts = rows.map((row): EntryDraft => ({
      kind: 'session.ended',
      actor: 'system',
      of: row.principal,
      subjects: {
        session: row.id,
        grant: row.access_grant,
        principal: row.principal,
        role: row.role,
        resource: resourceOf(row.role),
      },
      public: { how: 'gateway_died', gateway },
      content: { word },
    }));
    const entries = await writeEntries(ctx, trx, drafts);
    const at = ctx.clock.now();
    await endSessions(
      trx,
      rows.map(({ id }, i) => {
        const entry = entries[i];
        if (entry === undefined) throw new Error('end orphaned sessions: an entry is missing');
        return { session: id, at, how: 'gateway_died', word, statements: undefined, entry };
      }),
    );
    const sessions = rows.map(({ id }) => id);
    await endHoldsOf(ctx, trx, { sessions }, 'its session has ended');
    return rows.length;
  });
}

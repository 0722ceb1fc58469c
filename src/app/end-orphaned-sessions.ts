/**
 * Ends, in the record, the sessions of a gateway that died: it is starting again, so none of those from before can be alive;
 * or, while it runs, those that it names, since the part of it that held them is gone.
 */
import { resourceOf } from '#core/ids.ts';
import type { SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { transaction } from '#store/database.ts';
import { notify } from './changes.ts';
import type { AppContext } from './context.ts';
import { writeEntry } from './write-entry.ts';

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
    for (const row of rows) {
      const entry = await writeEntry(ctx, trx, {
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
        content: { word: 'the gateway stopped without a word' },
      });
      await trx
        .updateTable('session')
        .set({ ended_at: ctx.clock.now(), how: 'gateway_died', word: 'the gateway stopped without a word', entry })
        .where('id', '=', row.id)
        .execute();
      await notify(trx, { kind: 'session_ended', session: row.id, word: 'the gateway stopped without a word' });
    }
    return rows.length;
  });
}

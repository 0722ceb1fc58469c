/** Ends, in the record, the sessions of a gateway that died: it is starting again, so none of them can be alive. */
import { resourceOf } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { transaction } from '#store/database.ts';
import { notify } from './changes.ts';
import type { AppContext } from './context.ts';
import { writeEntry } from './write-entry.ts';

/** Call it when the gateway's recovered journal has been taken in, for the sessions from before it started. Answers how many. */
export async function endOrphanedSessions(ctx: AppContext, gateway: string, before: Instant): Promise<number> {
  return await transaction(ctx.db, async (trx) => {
    const rows = await trx
      .selectFrom('session')
      .selectAll()
      .where('gateway', '=', gateway)
      .where('ended_at', 'is', null)
      .where('opened_at', '<', before)
      .forUpdate()
      .execute();
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

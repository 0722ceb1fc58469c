/**
 * Writes down what time has ended: requests nobody answered, grants that ran out or were never activated. Sessions don't
 * wait for this, they carry their own deadline; this is the record. Safe to run in any number of processes.
 */
import { expire } from '#core/request.ts';
import type { Instant } from '#core/instant.ts';
import { transaction } from '#store/database.ts';
import { lockRequest } from './_rows.ts';
import { notify } from './changes.ts';
import type { AppContext } from './context.ts';
import { endGrantIn } from './end-grant.ts';
import { expireHolds } from './settle-hold.ts';
import { writeEntry } from './write-entry.ts';

const batch = 100;

/** Ends all that is due; answers when the next thing will be, if anything is known to be. */
export async function endDue(ctx: AppContext): Promise<Instant | undefined> {
  const now = ctx.clock.now();
  for (;;) {
    const ended = await transaction(ctx.db, async (trx) => {
      const requests = await trx
        .selectFrom('access_request')
        .select('id')
        .where('state', '=', 'pending')
        .where('expires_at', '<=', now)
        .orderBy('expires_at')
        .limit(batch)
        .forUpdate()
        .skipLocked()
        .execute();
      for (const { id } of requests) {
        const request = await lockRequest(trx, id);
        if (request === undefined) continue;
        const expired = expire(request, now);
        if (expired.state !== 'expired') continue;
        const entry = await writeEntry(ctx, trx, {
          kind: 'request.expired',
          actor: 'system',
          about: [expired.requester],
          subjects: { request: id, principal: expired.requester, role: expired.role },
        });
        await trx
          .updateTable('access_request')
          .set({ state: 'expired', decided_at: expired.decidedAt, entry })
          .where('id', '=', id)
          .execute();
        await notify(trx, { kind: 'request', request: id });
      }
      const grants = await trx
        .selectFrom('access_grant')
        .select('id')
        .where((where) =>
          where.or([
            where.and([where('state', '=', 'active'), where('ends_at', '<=', now)]),
            where.and([where('state', '=', 'approved'), where('activate_by', '<=', now)]),
          ]),
        )
        .limit(batch)
        .forUpdate()
        .skipLocked()
        .execute();
      for (const { id } of grants) await endGrantIn(ctx, trx, { grant: id, how: 'expired', who: undefined });
      const holds = await expireHolds(ctx, trx, batch);
      return Math.max(requests.length, grants.length, holds);
    });
    if (ended < batch) break;
  }
  const held = await ctx.db
    .selectFrom('hold')
    .select('expires_at as due')
    .where('state', 'in', ['waiting', 'cured'])
    .orderBy('expires_at')
    .executeTakeFirst();
  const next = await Promise.all([
    ctx.db
      .selectFrom('access_request')
      .select('expires_at as due')
      .where('state', '=', 'pending')
      .orderBy('expires_at')
      .executeTakeFirst(),
    ctx.db
      .selectFrom('access_grant')
      .select('ends_at as due')
      .where('state', '=', 'active')
      .orderBy('ends_at')
      .executeTakeFirst(),
    ctx.db
      .selectFrom('access_grant')
      .select('activate_by as due')
      .where('state', '=', 'approved')
      .orderBy('activate_by')
      .executeTakeFirst(),
  ]);
  const dues = [...next, held].flatMap((row) => (row === undefined || row.due === null ? [] : [row.due]));
  return dues.length === 0 ? undefined : (Math.min(...dues) as Instant);
}

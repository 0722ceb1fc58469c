/** Takes back one's own pending request. */
import type { RequestId } from '#core/ids.ts';
import { expire, withdraw } from '#core/request.ts';
import { at, transaction } from '#store/database.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { lockRequest } from './_rows.ts';
import { writeEntry } from './write-entry.ts';

export async function withdrawRequest(ctx: AppContext, caller: Caller, id: RequestId): Promise<Outcome<RequestId>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const request = await lockRequest(trx, id);
    if (request === undefined || request.requester !== caller.principal.id) return notFound('request', id);
    const outcome = withdraw(expire(request, now), caller.principal.id, now);
    if (outcome.kind === 'refused')
      return refused('already_decided', `withdraw request \`${id}\`: it is ${expire(request, now).state} already`);
    const entry = await writeEntry(ctx, trx, {
      kind: 'request.withdrawn',
      actor: caller.principal.id,
      subjects: { request: id, principal: caller.principal.id, role: request.role },
    });
    await trx
      .updateTable('access_request')
      .set({ state: 'withdrawn', decided_at: at(now), entry })
      .where('id', '=', id)
      .execute();
    await notify(trx, { kind: 'request', request: id });
    return done(id);
  });
}

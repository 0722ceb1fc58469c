/** Denies a request, with a word why. It takes the same right as approving, and no passkey: saying no gives nothing. */
import type { RequestId } from '#core/ids.ts';
import { deny } from '#core/request.ts';
import { at, transaction } from '#store/database.ts';
import { notify } from './changes.ts';
import { done, type AppContext, type Caller, type Outcome } from './context.ts';
import { mayDecide, refusalOf } from './_decide-request.ts';
import { lockRequest } from './_rows.ts';
import { writeEntry } from './write-entry.ts';

export async function denyRequest(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly request: RequestId; readonly word: string },
): Promise<Outcome<RequestId>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const request = await lockRequest(trx, ask.request);
    const judged = mayDecide(ctx, caller.principal, request, ask.request);
    if (judged.kind === 'refused') return judged;
    const outcome = deny(judged.value.request, { approver: caller.principal.id, word: ask.word }, now);
    if (outcome.kind === 'refused') return refusalOf(outcome.because, ask.request);
    const entry = await writeEntry(ctx, trx, {
      kind: 'request.denied',
      actor: caller.principal.id,
      of: outcome.request.requester,
      subjects: { request: ask.request, principal: outcome.request.requester, role: outcome.request.role },
      public: { policies: [...judged.value.decision.policies], policyVersion: judged.value.decision.version },
      content: { approver: caller.principal.handle, word: ask.word },
    });
    await trx
      .updateTable('access_request')
      .set({ state: 'denied', decided_at: at(now), denied_by: caller.principal.id, word: ask.word, entry })
      .where('id', '=', ask.request)
      .execute();
    await notify(trx, { kind: 'request', request: ask.request });
    return done(ask.request);
  });
}

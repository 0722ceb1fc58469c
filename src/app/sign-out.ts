/** Ends the sign-in that asks for it. */
import type { TokenId } from '#core/ids.ts';
import { transaction } from '#store/database.ts';
import type { AppContext, Caller } from './context.ts';
import { writeEntry } from './write-entry.ts';

export async function signOut(ctx: AppContext, caller: Caller): Promise<void> {
  await transaction(ctx.db, async (trx) => {
    const table = caller.session.kind === 'web' ? 'web_session' : 'machine_token';
    await trx
      .updateTable(table)
      .set({ ended_at: ctx.clock.now() })
      .where('id', '=', caller.session.id as TokenId)
      .where('principal', '=', caller.principal.id)
      .execute();
    await writeEntry(ctx, trx, {
      kind: 'sign_out',
      actor: caller.principal.id,
      subjects: { principal: caller.principal.id, token: caller.session.id },
      public: { at: caller.session.kind },
    });
  });
}

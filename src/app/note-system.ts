/** Starts and stops, in the log: with where passkeys were accepted from, so that a changed address stays verifiable. */
import { transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';
import { writeEntry } from './write-entry.ts';

export async function noteStart(ctx: AppContext, version: string): Promise<void> {
  await transaction(ctx.db, async (trx) => {
    await writeEntry(ctx, trx, {
      kind: 'system.started',
      actor: 'system',
      public: { version, rpId: ctx.site.rpId, origins: [ctx.site.publicUrl], policyVersion: ctx.policy.version },
    });
  });
}

export async function noteStop(ctx: AppContext): Promise<void> {
  await transaction(ctx.db, async (trx) => {
    await writeEntry(ctx, trx, { kind: 'system.stopped', actor: 'system' });
  });
}

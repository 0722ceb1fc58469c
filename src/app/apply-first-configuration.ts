/** Puts a configuration in force when an installation starts for the first time, before anybody is there to sign. */
import { sql } from 'kysely';
import { transaction } from '#store/database.ts';
import type { PolicyFault } from '#policy/engine.ts';
import type { StoredFiles } from '#store/schema.ts';
import { checkConfiguration } from './_check-configuration.ts';
import { storeConfiguration } from './_store-configuration.ts';
import type { AppContext } from './context.ts';

export type FirstConfiguration =
  | { readonly kind: 'applied' | 'there_is_one' }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

/** Only ever the first: once people exist or a configuration is in force, changes take a passkey. */
export async function applyFirstConfiguration(ctx: AppContext, files: StoredFiles): Promise<FirstConfiguration> {
  return await transaction(ctx.db, async (trx) => {
    // Processes that start together on an empty store: one of them is first.
    await sql`lock table configuration in exclusive mode`.execute(trx);
    const existing = await trx.selectFrom('configuration').select('number').executeTakeFirst();
    const somebody = await trx.selectFrom('principal').select('id').executeTakeFirst();
    if (existing !== undefined || somebody !== undefined) return { kind: 'there_is_one' };
    const checked = await checkConfiguration(ctx, trx, files);
    if (checked.kind === 'faults') return checked;
    await storeConfiguration(ctx, trx, { files, checked, actor: 'system' });
    return { kind: 'applied' };
  });
}

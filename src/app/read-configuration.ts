/** The configuration in force, as it was applied, for those who administer it. */
import type { Instant } from '#core/instant.ts';
import type { StoredFiles } from '#store/schema.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';

export type ShownConfiguration = {
  readonly version: string;
  readonly hash: string;
  readonly appliedAt: Instant | undefined;
  readonly files: StoredFiles | undefined;
};

export async function readConfiguration(ctx: AppContext, caller: Caller): Promise<Outcome<ShownConfiguration>> {
  const { principal } = caller;
  const now = ctx.clock.now();
  if (ctx.policy.decide({ action: 'administer', principal, what: 'configuration', now }).kind !== 'allow')
    return refused('forbidden', 'see the configuration: you may not');
  const row = await ctx.db.selectFrom('configuration').selectAll().orderBy('number', 'desc').executeTakeFirst();
  return done({
    version: row?.version ?? ctx.policy.version,
    hash: row?.hash ?? '',
    appliedAt: row?.applied_at,
    files: row?.files,
  });
}

/** What applying some configuration files would change. A plan changes nothing; the proof over it does. */
import { newId, type PlanId } from '#core/ids.ts';
import { after, hours } from '#core/instant.ts';
import { planChanges } from '#policy/plan-changes.ts';
import type { PolicyFault } from '#policy/engine.ts';
import type { StoredFiles } from '#store/schema.ts';
import { mayAdminister } from './_administer.ts';
import { checkConfiguration } from './_check-configuration.ts';
import { done, type AppContext, type Caller, type Outcome } from './context.ts';

export type Planned =
  | { readonly kind: 'planned'; readonly plan: PlanId }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export const planLifetime = hours(1);

export async function makePlan(ctx: AppContext, caller: Caller, files: StoredFiles): Promise<Outcome<Planned>> {
  const judged = mayAdminister(ctx, caller, 'configuration');
  if (judged.kind === 'refused') return judged;
  const checked = await checkConfiguration(ctx, ctx.db, files);
  if (checked.kind === 'faults') return done(checked);
  const current = await ctx.db
    .selectFrom('configuration')
    .select(['version', 'hash'])
    .orderBy('number', 'desc')
    .executeTakeFirst();
  if (current?.hash === checked.hash) return done({ kind: 'unchanged' });
  const changes = planChanges(ctx.policy.configuration, checked.configuration);
  const now = ctx.clock.now();
  const id = newId('plan', { now, random: ctx.random });
  await ctx.db
    .insertInto('plan')
    .values({
      id,
      principal: caller.principal.id,
      files,
      hash: checked.hash,
      base_version: current?.version ?? null,
      changes,
      created_at: now,
      expires_at: after(now, planLifetime),
      applied_at: null,
    })
    .execute();
  return done({ kind: 'planned', plan: id });
}

/** A plan, for the administrator who made it and for any other who may apply it. */
import type { PlanId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { PrincipalRef } from '#core/principal.ts';
import type { PlannedChanges } from '#policy/plan-changes.ts';
import { mayAdminister } from './_administer.ts';
import { findPrincipal } from './_rows.ts';
import { done, notFound, type AppContext, type Caller, type Outcome } from './context.ts';

export type Plan = {
  readonly id: PlanId;
  readonly state: 'open' | 'applied' | 'expired';
  readonly by: PrincipalRef;
  readonly createdAt: Instant;
  readonly expiresAt: Instant;
  readonly hash: string;
  readonly changes: PlannedChanges;
};

export async function readPlan(ctx: AppContext, caller: Caller, id: PlanId): Promise<Outcome<Plan>> {
  const judged = mayAdminister(ctx, caller, 'configuration');
  if (judged.kind === 'refused') return judged;
  const row = await ctx.db.selectFrom('plan').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) return notFound('plan', id);
  const by = await findPrincipal(ctx.db, row.principal);
  if (by === undefined) throw new Error(`read plan \`${id}\`: nobody made it`);
  return done({
    id,
    state: row.applied_at !== null ? 'applied' : ctx.clock.now() >= row.expires_at ? 'expired' : 'open',
    by: { id: by.id, handle: by.handle },
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    hash: row.hash,
    // Written by make-plan.ts from a value of this very type.
    changes: row.changes as PlannedChanges,
  });
}

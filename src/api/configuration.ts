/** The configuration in force, and plans to change it. Applying a plan is a proof (proofs.ts). */
import { makePlan } from '#app/make-plan.ts';
import { readConfiguration } from '#app/read-configuration.ts';
import { readPlan } from '#app/read-plan.ts';
import type { PlanId } from '#core/ids.ts';
import { map, type Handlers } from './handler.ts';
import { presentConfiguration, presentPlan } from './present.ts';
import { readWhenChanged } from './waiters.ts';

export const configurationHandlers: Pick<Handlers, 'getConfiguration' | 'makePlan' | 'getPlan'> = {
  getConfiguration: async ({ app, caller }) => map(await readConfiguration(app, caller), presentConfiguration),

  makePlan: async ({ app, caller, body }) => {
    const outcome = await makePlan(app, caller, body);
    if (outcome.kind === 'refused') return outcome;
    const planned = outcome.value;
    switch (planned.kind) {
      case 'unchanged':
        return { kind: 'done', value: { unchanged: true } };
      case 'faults':
        return { kind: 'done', value: { faults: planned.faults } };
      case 'planned':
        return map(await readPlan(app, caller, planned.plan), (plan) => ({ plan: presentPlan(plan) }));
      default:
        return planned satisfies never;
    }
  },

  getPlan: async (call) => {
    // The contract's schema has checked the form of the id.
    const id = call.params.id as PlanId;
    const outcome = await readWhenChanged(call, {
      seconds: call.query.waitSeconds,
      read: async (caller) => await readPlan(call.app, caller, id),
      isOver: (plan) => plan.state !== 'open',
      concerns: (change) => (change.kind === 'plan' && change.plan === id) || change.kind === 'configuration',
    });
    return map(outcome, presentPlan);
  },
};

/** How long a decision takes: by the policy engine, and when the gateway has made it before. */
import { setImmediate as turn } from 'node:timers/promises';
import type { RoleName } from '#core/ids.ts';
import type { PgAction } from '#sql/needs.ts';
import { configuration, engineWith, now, person, role } from '#test/support/policy.ts';
import { serve } from './child.ts';

export type PoliciesCalls = {
  /**
   * Microseconds of each decision, with so many policies of the operator's own besides the shipped ones, asked about so many
   * tables in turn: of more than 256 each policy set is parsed anew.
   */
  readonly uncached: (ask: {
    readonly policies: number;
    readonly tables: number;
    readonly times: number;
  }) => Promise<readonly number[]>;
};

/** One policy per table of a large schema: what an operator writes who forbids a little everywhere. */
export function manyPolicies(count: number): string {
  return Array.from(
    { length: count },
    (_, i) =>
      `@id("many:${i}")\nforbid (principal, action == PG::Action::"update", resource == PG::Table::"bench/public.t${i}")\nunless { context.has_where };\n`,
  ).join('\n');
}

serve({
  uncached: async ({ policies, tables: count, times }) => {
    const tables = Array.from({ length: count }, (_, i) => ({
      schema: 'public',
      name: `t${i}`,
      select: 'all' as const,
      update: 'all' as const,
    }));
    const engine = await engineWith(
      configuration([role('bench/all', { permissions: { tables, functions: [] } })], {
        'policies/many.cedar': manyPolicies(policies),
      }),
    );
    const principal = person('ada', ['engineering']);
    const took: number[] = [];
    for (let i = 0; i < times + 50; i += 1) {
      const started = performance.now();
      const answer = engine.decide({
        action: 'statement',
        now,
        principal,
        role: 'bench/all' as RoleName,
        needs: [
          {
            action: (i % 2 === 0 ? 'select' : 'update') satisfies PgAction,
            object: { kind: 'table', schema: 'public', name: `t${i % count}` },
            columns: ['id'],
          },
        ],
        context: {
          statementClass: i % 2 === 0 ? 'select' : 'update',
          hasWhere: true,
          statementCount: 1,
          functions: [],
        },
      });
      const us = (performance.now() - started) * 1000;
      if (answer.kind !== 'allow') throw new Error(`not allowed: ${JSON.stringify(answer)}`);
      // The first ones load what is kept from then on.
      if (i >= 50) took.push(us);
      await turn();
    }
    return took;
  },
} satisfies PoliciesCalls);

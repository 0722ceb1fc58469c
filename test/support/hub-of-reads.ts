/** The part of a hub that a judge asks, for tests: it takes every text for a select, and decides as it is told. */
import type { StatementAnalysis } from '#sql/needs.ts';
import type { StatementDecision } from '#gateway/control-plane.ts';
import type { Hub } from '#gateway/engine.ts';

export const hubOfReads = (options: {
  readonly decide: () => StatementDecision;
  readonly more?: () => Partial<StatementAnalysis>;
}): Pick<Hub, 'analyse' | 'decide' | 'reloadCatalogue'> => ({
  analyse: ({ text }) =>
    Promise.resolve({
      kind: 'statements',
      statements: [
        {
          text,
          tag: 'SELECT',
          class: 'read',
          needs: [],
          hasWhere: undefined,
          functions: [],
          copy: undefined,
          mayChangeNames: false,
          endsTransaction: false,
          mayLeaveReadOnly: false,
          ...options.more?.(),
        },
      ],
    }),
  decide: () => Promise.resolve(options.decide()),
  reloadCatalogue: () => Promise.resolve(),
});

/** `reason`: the principal says why, for this one statement. docs/cures/reason.md. */
import type { KindOfCure } from './kind.ts';

export const reason: KindOfCure<'reason'> = {
  kind: 'reason',
  forms: ['reason'],
  sets: ['reason'],
  parse: () => ({ kind: 'reason' }),
  describe: () => 'a reason',
  assume: (_, { cured }) => ({ ...cured, reason: true }),
};

/** `preview`, `preview by dba`: it runs in a transaction, and somebody sees what it touched before it stays. docs/cures/preview.md. */
import type { KindOfCure } from './kind.ts';
import { approversInWords, readApprovers } from './words.ts';

export const preview: KindOfCure<'preview'> = {
  kind: 'preview',
  forms: ['preview', 'preview by dba', 'preview by @bob, dba count 2'],
  sets: ['preview'],
  parse: (words) => (words.takes('by') ? { kind: 'preview', approvers: readApprovers(words) } : { kind: 'preview' }),
  describe: ({ approvers }) =>
    approvers === undefined
      ? 'a look at what it changed'
      : `a look at what it changed by ${approversInWords(approvers)}`,
  assume: (_, { cured }) => ({ ...cured, preview: true }),
};

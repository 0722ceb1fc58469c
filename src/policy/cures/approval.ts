/** `approval by dba, @bob count 2`, and for how much more than this statement it is good. docs/cures/approval.md. */
import type { KindOfCure } from './kind.ts';
import { approversInWords, coverInWords, readApprovers, readCover } from './words.ts';

export const approval: KindOfCure<'approval'> = {
  kind: 'approval',
  forms: ['approval by dba', 'approval by @bob, dba count 2', 'approval by dba over tables for 10m'],
  sets: ['approval'],
  parse: (words) => {
    if (!words.takes('by')) words.fail('who approves is missing', 'for example `approval by dba`');
    const approvers = readApprovers(words);
    return { kind: 'approval', ...approvers, ...readCover(words) };
  },
  describe: ({ cover, ...approvers }) =>
    `${approvers.count === 1 ? 'an approval' : 'approvals'} by ${approversInWords(approvers)}${coverInWords(cover)}`,
  assume: ({ count }, { cured }) => ({
    ...cured,
    approval: true,
    approvals: Math.max(count, cured?.approvals ?? 0),
  }),
};

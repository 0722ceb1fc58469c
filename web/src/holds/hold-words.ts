import type { HoldView } from '#contract/views.ts';

export const isLive = ({ state }: Pick<HoldView, 'state'>): boolean => state === 'waiting' || state === 'cured';

/** What somebody is about to do, as a heading: `ada: a statement on orders`. */
export const holdTitle = (hold: HoldView): string =>
  hold.subject === 'statement'
    ? `${hold.requester.handle}: a statement on ${hold.resource ?? 'a resource'}`
    : `${hold.requester.handle}: ${hold.title}`;

/** What is still missing, in the server’s words. */
export const missing = ({ cures }: HoldView): readonly string[] =>
  cures.filter(({ done }) => !done).map(({ words }) => words);

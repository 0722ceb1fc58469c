/** Ends a grant and says so: what `done` and `revoke` share. */
import type { Client } from '#contract/client.ts';
import type { GrantView } from '#contract/views.ts';
import { attempt } from './exit.ts';

export function endGrant(client: Client, what: string, id: string, word: string | undefined): Promise<GrantView> {
  return attempt(what, () => client.endGrant({ params: { id }, body: word === undefined ? {} : { word } }));
}

/** `, 2 sessions cut`; nothing when none was open. */
export function cutWords(before: GrantView): string {
  if (before.openSessions === 0) return '';
  return `, ${before.openSessions === 1 ? 'one session' : `${before.openSessions} sessions`} cut`;
}

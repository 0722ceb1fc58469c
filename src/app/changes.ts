/**
 * What changed, told to whoever is interested: gateways that must cut, long polls that may answer. A change is sent with
 * `notify` inside the transaction that makes it, so it is heard after the commit, by every process, and never before.
 * It is a hint only: whoever hears one reads the state afresh, and reads it from time to time in any case.
 */
import type { GrantId, HoldId, PlanId, PrincipalId, RequestId, SessionId } from '#core/ids.ts';
import type { HoldState } from '#core/hold.ts';
import type { GrantEnd } from '#core/grant.ts';
import { sql } from 'kysely';
import type { Transaction } from '#store/database.ts';

export type Change =
  | { readonly kind: 'request'; readonly request: RequestId }
  | { readonly kind: 'grant'; readonly grant: GrantId }
  | { readonly kind: 'grant_ended'; readonly grant: GrantId; readonly how: GrantEnd; readonly word?: string }
  | { readonly kind: 'principal'; readonly principal: PrincipalId; readonly state: string }
  | { readonly kind: 'session_ended'; readonly session: SessionId; readonly word: string; readonly cuts?: true }
  /** Opened, signed, previewed or settled. */
  | {
      readonly kind: 'hold';
      readonly hold: HoldId;
      readonly state: HoldState;
      readonly session?: SessionId;
      readonly word?: string;
    }
  | { readonly kind: 'configuration'; readonly version: string }
  | { readonly kind: 'plan'; readonly plan: PlanId }
  /** Told within a process, once its policy engine answers by it. */
  | { readonly kind: 'configuration_loaded'; readonly version: string }
  /** What was sent meanwhile is lost: read everything afresh. */
  | { readonly kind: 'missed' };

export const changesChannel = 'sally_changes';

export type Changes = {
  readonly subscribe: (on: (change: Change) => void) => Disposable;
  /** Tells the subscribers in this process; main.ts feeds it from `listen`. */
  readonly tell: (change: Change) => void;
};

export function createChanges(): Changes {
  const subscribers = new Set<(change: Change) => void>();
  return {
    subscribe: (on) => {
      subscribers.add(on);
      return { [Symbol.dispose]: () => void subscribers.delete(on) };
    },
    tell: (change) => {
      for (const on of subscribers) on(change);
    },
  };
}

/**
 * Sends a change when the transaction commits. PostgreSQL refuses payloads from 8000 bytes on, and with them the whole
 * transaction: a word is cut so that even the longest can't stand in the way of what it is about.
 */
export const notify = (trx: Transaction, change: Change): Promise<void> => notifyAll(trx, [change]);

/** Several, in order. */
export async function notifyAll(trx: Transaction, changes: readonly Change[]): Promise<void> {
  const sent = changes.map((change) =>
    JSON.stringify('word' in change ? { ...change, word: clipped(change.word) } : change),
  );
  await sql`select pg_notify(${changesChannel}, payload) from unnest(${sent}::text[]) as payload`.execute(trx);
}

/** In UTF-8 and escaped as JSON, no character takes more than six bytes. */
const longestWord = 1000;
const clipped = (word: string | undefined): string | undefined =>
  word === undefined || word.length <= longestWord ? word : `${word.slice(0, longestWord - 1)}…`;

/** A change as it was sent, or undefined when somebody else writes to our channel. */
export function parseChange(payload: string): Change | undefined {
  try {
    const value: unknown = JSON.parse(payload);
    if (typeof value === 'object' && value !== null && 'kind' in value) return value as Change;
  } catch {
    // Not ours.
  }
  return undefined;
}

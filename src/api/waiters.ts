/** Long polling: answers when what was asked for has changed, or the time is over. */
import type { Change } from '#app/changes.ts';
import { refused, type AppContext, type Caller, type Outcome, type Refused } from '#app/context.ts';
import { refreshCaller } from '#app/refresh-caller.ts';

/** Changes are hints and can be missed: the state is read afresh this often in any case. */
const pollMs = 5000;

export type Waiters = {
  /** Takes a place among those who wait, or undefined when the principal has too many. */
  readonly enter: (principal: string) => Disposable | undefined;
};

export function createWaiters(limits: { readonly perPrincipal: number; readonly total: number }): Waiters {
  const waiting = new Map<string, number>();
  let total = 0;
  return {
    enter(principal) {
      const own = waiting.get(principal) ?? 0;
      if (own >= limits.perPrincipal || total >= limits.total) return undefined;
      waiting.set(principal, own + 1);
      total += 1;
      return {
        [Symbol.dispose]: () => {
          total -= 1;
          const left = (waiting.get(principal) ?? 1) - 1;
          if (left === 0) waiting.delete(principal);
          else waiting.set(principal, left);
        },
      };
    },
  };
}

/**
 * Reads until `isOver` says that there is nothing to wait for, the seconds are over, or the signal is aborted; then answers
 * what was read last. The caller is looked up again before each further reading: a sign-out or a suspension ends the wait.
 */
export async function readWhenChanged<T>(
  from: {
    readonly app: AppContext;
    readonly caller: Caller;
    readonly waiters: Waiters;
    readonly signal: AbortSignal;
  },
  ask: {
    readonly seconds: number;
    readonly read: (caller: Caller) => Promise<Outcome<T>>;
    readonly isOver: (value: T) => boolean;
    readonly concerns: (change: Change) => boolean;
  },
): Promise<Outcome<T> | (Refused & { readonly because: 'invalid_token' })> {
  const { app } = from;
  if (ask.seconds === 0) return await ask.read(from.caller);
  using place = from.waiters.enter(from.caller.principal.id);
  if (place === undefined)
    return refused('too_many_tries', 'wait for a change: you have too many of these open', 'close some');

  let wake: () => void = () => undefined;
  let isStale = false;
  // Before the first reading: a change between reading and listening would be slept through.
  using _subscription = app.changes.subscribe((change) => {
    const own = change.kind === 'principal' && change.principal === from.caller.principal.id;
    if (change.kind !== 'missed' && !own && !ask.concerns(change)) return;
    isStale = true;
    wake();
  });
  const ended = new AbortController();
  const over = AbortSignal.any([from.signal, ended.signal]);
  void app.timers.sleep(ask.seconds * 1000, over).then(() => ended.abort());
  try {
    let { caller } = from;
    for (;;) {
      isStale = false;
      const outcome = await ask.read(caller);
      if (outcome.kind === 'refused' || ask.isOver(outcome.value) || over.aborted) return outcome;
      if (!isStale) {
        const woken = new AbortController();
        wake = () => woken.abort();
        await app.timers.sleep(pollMs, AbortSignal.any([over, woken.signal]));
      }
      const again = await refreshCaller(app, caller);
      if (again === undefined) return refused('invalid_token', 'wait for a change: your sign-in has ended');
      caller = again;
    }
  } finally {
    ended.abort();
  }
}

/**
 * What is held in one engine: statements that wait for their cures. The control plane keeps the holds and says when one is
 * settled; here each is followed by its id, polled behind the push, and given up when its time is over. Whoever waits hears
 * of the end exactly once.
 */
import type { HoldId } from '#core/ids.ts';
import type { Clock, Instant } from '#core/instant.ts';
import type { GatewayChange, HoldAnswer, HoldAsk, HoldPreview, WithdrawnBecause } from './control-plane.ts';
import type { Hub } from './engine.ts';
import type { Timers } from './timers.ts';

export type Settled =
  | { readonly kind: 'cured' }
  | { readonly kind: 'denied' | 'ended'; readonly message: string | undefined }
  | { readonly kind: 'expired' };

export type Waits = {
  /** One of several cures has come: what is wanted still. Never twice the same in a row. */
  readonly progress: (message: string) => void;
  readonly settled: (how: Settled) => void;
  /** Policies, groups or definitions may be others now. */
  readonly changed: () => void;
};

export type OpenHold = {
  readonly kind: 'held';
  readonly hold: HoldId;
  readonly url: string;
  readonly words: string;
  readonly wantsPreview: boolean;
  readonly isCured?: boolean;
  readonly expiresAt: Instant;
  /** Nobody waits any more; nothing is told after this. `undefined`: it has been settled, or used. */
  readonly close: (because: WithdrawnBecause | undefined) => void;
};

type HoldChange = GatewayChange & { kind: 'hold_settled' | 'hold_progress' };

export type Holds = {
  /** Throws when the control plane can't be asked. */
  readonly open: (ask: HoldAsk, waits: Waits) => Promise<OpenHold | Extract<HoldAnswer, { kind: 'refused' }>>;
  /** What the statement has done, in its transaction that isn't over. Throws when nobody can be told. */
  readonly report: (hold: HoldId, preview: HoldPreview) => Promise<void>;
  readonly told: (change: HoldChange) => void;
  readonly changed: () => void;
};

/** The poll behind the push. */
const pollMs = 2000;

type Entry = Waits & { said: string | undefined; timer: Disposable };

export function createHolds(context: {
  readonly hub: Pick<Hub, 'hold' | 'withdrawHold' | 'holdStates' | 'reportPreview'>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly onFault: (what: string, error: unknown) => void;
}): Holds {
  const { hub, clock, timers } = context;
  const open = new Map<HoldId, Entry>();
  /** The answer that makes one known may be overtaken by what becomes of it. */
  let opening = 0;
  const early = new Map<HoldId, HoldChange>();
  let poll: Disposable | undefined;

  const forget = (hold: HoldId): Entry | undefined => {
    const entry = open.get(hold);
    entry?.timer[Symbol.dispose]();
    open.delete(hold);
    if (open.size > 0) return entry;
    poll?.[Symbol.dispose]();
    poll = undefined;
    return entry;
  };
  const settle = (hold: HoldId, how: Settled) => forget(hold)?.settled(how);
  const withdraw = (hold: HoldId, because: WithdrawnBecause) => {
    // When that fails it waits on for nobody until its time is over: only who asks with it could use it.
    hub.withdrawHold(hold, because).catch((error: unknown) => context.onFault('hold could not be withdrawn', error));
  };
  const progress = (hold: HoldId, message: string) => {
    const entry = open.get(hold);
    if (entry === undefined || entry.said === message) return;
    entry.said = message;
    entry.progress(message);
  };
  const expire = (hold: HoldId, at: Instant) => {
    const entry = open.get(hold);
    if (entry === undefined) return;
    const left = at - clock.now();
    if (left > 0) {
      entry.timer = timers.setTimer(left, () => expire(hold, at));
      return;
    }
    withdraw(hold, 'timed_out');
    settle(hold, { kind: 'expired' });
  };
  const look = async () => {
    for (const { hold, state, message } of await hub.holdStates([...open.keys()])) {
      if (state === 'waiting') {
        if (message !== undefined) progress(hold, message);
      } else if (state === 'cured') settle(hold, { kind: 'cured' });
      else if (state === 'expired') settle(hold, { kind: 'expired' });
      else settle(hold, { kind: state === 'denied' ? 'denied' : 'ended', message });
    }
  };
  const lookAgain = () => {
    poll = timers.setTimer(pollMs, () => {
      // Whoever can't be asked now is asked the next time; the session ends when it stays away.
      void look()
        .catch(() => {})
        .finally(() => {
          if (open.size > 0) lookAgain();
        });
    });
  };

  const told = (change: HoldChange) => {
    const { hold } = change;
    if (!open.has(hold)) {
      if (opening > 0) early.set(hold, change);
    } else if (change.kind === 'hold_progress') progress(hold, change.message);
    else if (change.outcome === 'cured') settle(hold, { kind: 'cured' });
    else settle(hold, { kind: change.outcome, message: change.message });
  };

  return {
    async open(ask, waits) {
      opening += 1;
      const answer = await hub.hold(ask).finally(() => (opening -= 1));
      if (answer.kind === 'refused') return answer;
      const { hold, expiresAt } = answer;
      const change = early.get(hold);
      if (opening === 0) early.clear();
      // When whoever asked knows what this is about.
      if (change !== undefined) setImmediate(() => told(change));
      open.set(hold, { ...waits, said: answer.words, timer: { [Symbol.dispose]() {} } });
      if (poll === undefined) lookAgain();
      // INVARIANT 9: no longer than was asked for, whatever the other side's clock says.
      const latest = (clock.now() + ask.maxSeconds * 1000) as Instant;
      const at = expiresAt < latest ? expiresAt : latest;
      expire(hold, at);
      return {
        ...answer,
        expiresAt: at,
        close(because) {
          if (forget(hold) !== undefined && because !== undefined) withdraw(hold, because);
        },
      };
    },
    report: (hold, preview) => hub.reportPreview(hold, preview),
    told,
    changed() {
      for (const { changed } of open.values()) changed();
    },
  };
}

/** The edges of the process: the real clock, the real randomness, real timers. Everything below takes them as arguments. */
import { randomBytes } from 'node:crypto';
import type { Random } from '#core/ids.ts';
import type { Clock, Instant } from '#core/instant.ts';

/** Timers as the parts take them. A test replaces them together with the clock. */
export type Timers = {
  readonly setTimer: (ms: number, run: () => void) => Disposable;
};

export type System = {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
};

/** The longest that `setTimeout` takes; anything above fires at once. */
const longest = 2 ** 31 - 1;

export const realSystem: System = {
  clock: { now: () => Date.now() as Instant },
  random: (length) => new Uint8Array(randomBytes(length)),
  timers: {
    setTimer: (ms, run) => {
      let timer: NodeJS.Timeout;
      const wait = (left: number): void => {
        timer = left > longest ? setTimeout(() => wait(left - longest), longest) : setTimeout(run, Math.max(0, left));
        timer.unref();
      };
      wait(ms);
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
  },
};

/** Resolves after `ms` or when aborted. Never rejects. */
export function sleep(timers: Timers, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const wake = () => {
      timer[Symbol.dispose]();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const timer = timers.setTimer(ms, wake);
    signal?.addEventListener('abort', wake, { once: true });
  });
}

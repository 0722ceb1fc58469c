/** Timers as an argument, so that tests move the time. `setTimer` takes any length, longer than 2^31 ms too. */
export type Timers = {
  readonly setTimer: (ms: number, run: () => void) => Disposable;
};

/** The longest that `setTimeout` takes; anything above fires at once. */
const longest = 2 ** 31 - 1;

export const realTimers: Timers = {
  setTimer(ms, run) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      timer = left > longest ? setTimeout(() => wait(left - longest), longest) : setTimeout(run, Math.max(0, left));
      timer.unref();
    };
    wait(ms);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};

/**
 * Does many small things one after the other without ever holding the event loop for long: for some milliseconds of each
 * turn, however many there are and whoever wants them done. Several batches take turns, so that a short one that comes
 * later isn't behind a long one.
 */
import { performance } from 'node:perf_hooks';

type Add = <T extends object | string | number>(
  items: readonly T[],
  each: (item: T) => void,
  whenDone?: () => void,
) => void;

export type Pacer = {
  /** Does what it can at once, in order. Calls back when all is done. */
  readonly add: Add;
  /** The same, while nothing that was given to `add` is left. */
  readonly addLater: Add;
};

/** @param sliceMs of each turn of the loop; what is closed makes as much work again in the same turn */
export function createPacer(sliceMs = 8): Pacer {
  type Batch = { readonly next: () => boolean; readonly whenDone: (() => void) | undefined };
  const urgent: Batch[] = [];
  const later: Batch[] = [];
  let turn = 0;
  /** Of this turn of the loop; undefined when nothing was done in it. */
  let sliceEndsAt: number | undefined;

  const run = () => {
    if (sliceEndsAt === undefined) {
      sliceEndsAt = performance.now() + sliceMs;
      setImmediate(() => {
        sliceEndsAt = undefined;
        if (urgent.length + later.length > 0) run();
      });
    }
    while (performance.now() < sliceEndsAt) {
      const batches = urgent.length > 0 ? urgent : later;
      if (batches.length === 0) return;
      turn = (turn + 1) % batches.length;
      const batch = batches[turn];
      if (batch?.next() === true) continue;
      batches.splice(turn, 1);
      batch?.whenDone?.();
    }
  };

  const addTo =
    (batches: Batch[]): Add =>
    (items, each, whenDone) => {
      let at = 0;
      const next = (): boolean => {
        const item = items[at];
        if (item === undefined) return false;
        at += 1;
        each(item);
        return true;
      };
      batches.push({ next, whenDone });
      run();
    };
  return { add: addTo(urgent), addLater: addTo(later) };
}

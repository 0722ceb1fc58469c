/** Carries the journal to the control plane, in order, for ever: an unreachable control plane is tried again and again. */
import type { ControlPlane } from './control-plane.ts';
import { recordsOf, type JournalLines } from './_segment.ts';
import type { Journal } from './journal.ts';

/** As `ControlPlane.ship`, of records as they stand in the file: so they go from a thread to the other as they are. */
export type Ship = (gatewayId: string, lines: JournalLines) => ReturnType<ControlPlane['ship']>;

export const shipTo =
  (controlPlane: Pick<ControlPlane, 'ship'>): Ship =>
  (gatewayId, lines) =>
    controlPlane.ship(gatewayId, recordsOf(lines));

export type Shipper = AsyncDisposable & {
  /** Resolves when everything durable at the time of the call has been stored, or `signal` aborts. */
  readonly drain: (signal: AbortSignal) => Promise<void>;
  /** Whether everything has been stored. */
  readonly isDrained: () => boolean;
};

export function startShipper(context: {
  readonly journal: Journal;
  readonly ship: Ship;
  readonly gatewayId: string;
  /** Pause after the first failure; doubles up to thirty times that. */
  readonly retryMs?: number;
  readonly onFailure?: (error: unknown) => void;
}): Shipper {
  const { journal, ship, gatewayId, retryMs = 1000 } = context;
  let isStopped = false;
  let storedUpTo = 0;
  let wake: () => void = () => {};
  let timer: NodeJS.Timeout | undefined;
  const drained: { readonly number: number; readonly resolve: () => void }[] = [];

  const pause = (ms?: number) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      if (ms !== undefined) timer = setTimeout(resolve, ms);
    });
  journal.onDurable(() => wake());

  const run = async () => {
    let failures = 0;
    while (!isStopped) {
      const lines = journal.unshippedLines();
      if (lines === undefined) {
        await pause();
        continue;
      }
      try {
        const answer = await ship(gatewayId, lines);
        if (answer.storedUpTo < lines.first) throw new Error('control plane stored nothing of the batch');
        // The numbers of an older journal, put back from a copy: what we write now would pass for what is there already.
        if (answer.storedUpTo > journal.lastNumber)
          throw new Error(
            `control plane has ${answer.storedUpTo} records of this journal, which ends at ${journal.lastNumber}: remove its folder to begin a new one`,
          );
        storedUpTo = answer.storedUpTo;
        journal.shipped(storedUpTo);
        failures = 0;
        for (const waiter of drained.splice(0)) {
          if (waiter.number <= storedUpTo) waiter.resolve();
          else drained.push(waiter);
        }
      } catch (error) {
        context.onFailure?.(error);
        failures = Math.min(failures + 1, 6);
        await pause(Math.min(retryMs * 2 ** (failures - 1), retryMs * 30));
        clearTimeout(timer);
      }
    }
  };
  const running = run();

  return {
    isDrained: () => storedUpTo >= journal.lastNumber,
    drain(signal) {
      const number = journal.durableNumber;
      if (number <= storedUpTo || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        drained.push({ number, resolve });
        signal.addEventListener('abort', () => resolve(), { once: true });
        wake();
      });
    },
    async [Symbol.asyncDispose]() {
      isStopped = true;
      clearTimeout(timer);
      wake();
      await running;
    },
  };
}

/**
 * What runs by itself: the sequencer of the log, the end of what is due, certificates that come of age, a configuration
 * that was not heard of, sweeping up.
 */
import type { AppContext } from '#app/context.ts';
import { endDue } from '#app/end-due.ts';
import { sequenceLog } from '#app/sequence-log.ts';
import { sweep } from '#app/sweep.ts';
import { sleep, type System } from './system.ts';

export type Background = { readonly stop: () => Promise<void> };

type Log = { readonly error: (details: object, message: string) => void };

/** Runs each task again and again; one that fails is told and tried again, and never stops the others. */
export function startBackground(from: {
  readonly app: AppContext;
  readonly system: System;
  readonly log: Log;
  readonly refreshCertificates: () => Promise<void>;
  /** Takes the newest configuration into use, if it isn't. */
  readonly followConfiguration: () => Promise<void>;
  /** Writes down what was asked of policy. */
  readonly writeJudged: () => Promise<number>;
}): Background {
  const { app, system, log, refreshCertificates, followConfiguration, writeJudged } = from;
  const ending = new AbortController();
  const every = async (name: string, task: () => Promise<number>): Promise<void> => {
    while (!ending.signal.aborted) {
      let pause = 1_000;
      try {
        pause = await task();
      } catch (error) {
        log.error({ err: error, task: name }, 'a background task failed and is tried again');
      }
      if (pause > 0) await sleep(system.timers, pause, ending.signal);
    }
  };
  const running = [
    // A full batch is followed by the next at once.
    every('sequence the log', async () => ((await sequenceLog(app)) > 0 ? 50 : 250)),
    every('end what is due', async () => {
      const next = await endDue(app);
      const now = app.clock.now();
      return next === undefined ? 1_000 : Math.max(10, Math.min(1_000, next - now));
    }),
    every('refresh certificates', async () => {
      await refreshCertificates();
      return 10_000;
    }),
    every('follow the configuration', async () => {
      await followConfiguration();
      return 5_000;
    }),
    every('write down what was asked of policy', async () => {
      await writeJudged();
      return 1_000;
    }),
    every('sweep', async () => {
      await sweep(app);
      return 600_000;
    }),
  ];
  return {
    stop: async () => {
      ending.abort();
      await Promise.all(running);
      await writeJudged();
      // What was written last is in the tree, too.
      while ((await sequenceLog(app)) > 0);
    },
  };
}

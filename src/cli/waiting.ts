/** Waiting for people: with a live line, until Ctrl-C or the end of one's patience, through short outages. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '#contract/client.ts';
import type { Cli } from './cli.ts';
import { CliError } from './exit.ts';
import { liveLine, type LiveLine } from './screen.ts';
import { span } from './times.ts';

export type Patience = {
  /** What is waited for: `wait for an approval`. */
  readonly what: string;
  readonly timeoutMs: number | undefined;
  /** What to do when it was for nothing. */
  readonly hint: string;
};

/** Runs something that Ctrl-C and the time-out end, with a live line on stderr. */
export async function waitFor<T>(
  cli: Cli,
  patience: Patience,
  run: (signal: AbortSignal, live: LiveLine) => Promise<T>,
): Promise<T> {
  const ended = new AbortController();
  const interrupt = () =>
    ended.abort(new CliError('interrupted', `${patience.what}: interrupted`, { hint: patience.hint }));
  const timer =
    patience.timeoutMs === undefined
      ? undefined
      : setTimeout(
          () =>
            ended.abort(
              new CliError('timed_out', `${patience.what}: nothing happened for ${span(patience.timeoutMs ?? 0)}`, {
                hint: patience.hint,
              }),
            ),
          patience.timeoutMs,
        );
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const live = liveLine(cli.screen.err, cli.now);
  try {
    return await run(ended.signal, live);
  } catch (error) {
    if (ended.signal.aborted) throw ended.signal.reason;
    throw error;
  } finally {
    live.end();
    clearTimeout(timer);
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** How long the server holds an answer back, in seconds. */
const longPollSeconds = 25;
/** An outage shorter than this doesn't end a wait. */
const outageMs = 120_000;

/**
 * Asks again and again until `isOver`. The server holds each answer back until something changes; short outages are
 * ridden out.
 */
export async function longPoll<T>(
  cli: Cli,
  live: LiveLine,
  signal: AbortSignal,
  steps: {
    readonly ask: (waitSeconds: number, signal: AbortSignal) => Promise<T>;
    readonly isOver: (answer: T) => boolean;
    readonly describe: (answer: T) => string;
  },
): Promise<T> {
  let waitSeconds = 0;
  let outageSince: number | undefined;
  for (;;) {
    const asked = cli.now();
    try {
      const answer = await steps.ask(waitSeconds, signal);
      outageSince = undefined;
      if (steps.isOver(answer)) return answer;
      live.say(steps.describe(answer));
      // A server that answers early without need must not be asked in a busy loop.
      if (waitSeconds > 0 && cli.now() - asked < 250) await sleep(500, undefined, { signal });
      waitSeconds = longPollSeconds;
    } catch (error) {
      const passing =
        (error instanceof CliError && error.exit === 'unreachable') ||
        (error instanceof ApiError && error.code === 'unavailable');
      if (signal.aborted || !passing) throw error;
      outageSince ??= cli.now();
      if (cli.now() - outageSince > outageMs) throw error;
      live.say('the server can’t be reached; trying again');
      await sleep(1000, undefined, { signal });
    }
  }
}

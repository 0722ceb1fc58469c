/**
 * A clock that tests move: the real one and as many milliseconds as a file says. Timers are set against it, so moving it
 * over a deadline makes what waits for the deadline happen. For tests on one machine; `up.ts` refuses it elsewhere.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Instant } from '#core/instant.ts';
import type { StartOptions } from '#src/main.ts';

type System = NonNullable<StartOptions['system']>;

/** How often the file is looked at while a timer waits. */
const lookEveryMs = 50;

/** The milliseconds in the file; 0 while there is none. Anything else in it is an error of the test. */
export function readOffset(file: string): number {
  let text;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch {
    return 0;
  }
  const offset = Number(text === '' ? '0' : text);
  if (!Number.isSafeInteger(offset))
    throw new Error(`the test clock \`${file}\` holds no whole number of milliseconds`);
  return offset;
}

export function openTestClock(file: string): System {
  const now = () => Date.now() + readOffset(file);
  return {
    clock: { now: () => now() as Instant },
    random: (length) => new Uint8Array(randomBytes(length)),
    timers: {
      setTimer: (ms, run) => {
        const due = now() + ms;
        let timer: NodeJS.Timeout;
        const wait = () => {
          timer = setTimeout(
            () => {
              if (now() >= due) run();
              else wait();
            },
            Math.min(lookEveryMs, Math.max(0, due - now())),
          );
          timer.unref();
        };
        wait();
        return { [Symbol.dispose]: () => clearTimeout(timer) };
      },
    },
  };
}

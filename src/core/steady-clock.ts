import type { Clock, Instant } from './instant.ts';

/**
 * INVARIANT 4: a clock that is set back must not give anybody more time. This one goes on from where it was, as fast as time
 * passes, until the other has caught up; one that is set forward it follows. What was measured so far is forgotten with the
 * process.
 *
 * @param elapsedMs time that has passed since some moment, as a monotonic clock counts it
 */
export function steadyClock(wall: Clock, elapsedMs: () => number): Clock {
  let latest: number = wall.now();
  let at = elapsedMs();
  return {
    now() {
      const elapsed = elapsedMs();
      const told = wall.now();
      const passed = latest + elapsed - at;
      if (told < Math.floor(passed)) return Math.floor(passed) as Instant;
      latest = told;
      at = elapsed;
      return told;
    },
  };
}

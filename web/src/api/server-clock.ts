/**
 * The server's time, for countdowns: a machine whose own clock is wrong would otherwise show offers that seem to have run
 * out, or grants that seem to last. The `Date` header says it to the second (RFC 9110 §6.6.1), so that a small difference
 * is left alone.
 */
export type ServerClock = {
  /** Takes note of an answer's `Date` header. */
  readonly hear: (date: string | null) => void;
  /** Milliseconds since the epoch, as the server counts them. */
  readonly now: () => number;
};

const toleratedMs = 5000;

export function createServerClock(localNow: () => number): ServerClock {
  let offset = 0;
  return {
    hear: (date) => {
      const said = date === null ? Number.NaN : Date.parse(date);
      if (Number.isNaN(said)) return;
      const difference = said - localNow();
      offset = Math.abs(difference) > toleratedMs ? difference : 0;
    },
    now: () => localNow() + offset,
  };
}

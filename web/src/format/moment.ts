/** Moments: relative on screen, exact on hover. */
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'long' });
const steps = [
  ['second', 60],
  ['minute', 60],
  ['hour', 24],
  ['day', 30],
  ['month', 12],
  ['year', Infinity],
] as const;

/** `3 minutes ago`, `in 2 hours`, `just now`. */
export function relativeText(iso: string, nowMs: number): string {
  let amount = (Date.parse(iso) - nowMs) / 1000;
  if (Math.abs(amount) < 10) return 'just now';
  for (const [unit, size] of steps) {
    if (Math.abs(Math.round(amount)) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
  return iso;
}

const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'long' });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const dayAndClock = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});

/** In the reader's own time zone, named, and in UTC as the log has it. */
export const exactText = (iso: string): string => `${exact.format(new Date(iso))} · ${iso}`;

/** `14:05` today, `Tue 3 Mar, 14:05` on any other day. */
export function clockText(iso: string, nowMs: number): string {
  const at = new Date(iso);
  return at.toDateString() === new Date(nowMs).toDateString() ? clock.format(at) : dayAndClock.format(at);
}

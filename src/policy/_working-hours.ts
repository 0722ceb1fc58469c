/** Whether somebody's clock is within the working hours. */
import type { Instant } from '#core/instant.ts';
import type { Weekday, WorkingHours } from '#core/role.ts';

export const defaultWorkingHours: WorkingHours = { zone: 'UTC', days: [0, 1, 2, 3, 4], from: 9 * 60, to: 17 * 60 };

export const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** Made once for a configuration: finding out about a zone costs more than asking it. */
export function workingHoursOf(hours: WorkingHours = defaultWorkingHours): (now: Instant) => boolean {
  const clock = formatterFor(hours.zone);
  const worksOn = (day: number) => hours.days.includes((day % 7) as Weekday);
  return (now) => {
    const { day, minute } = localTime(now, clock);
    if (hours.from < hours.to) return worksOn(day) && minute >= hours.from && minute < hours.to;
    // Over midnight: the evening of a working day, and the morning after one.
    return (worksOn(day) && minute >= hours.from) || (worksOn(day + 6) && minute < hours.to);
  };
}

export function isZone(name: string): boolean {
  try {
    formatterFor(name);
    return true;
  } catch {
    return false;
  }
}

const formatterFor = (zone: string) =>
  new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });

function localTime(now: Instant, clock: Intl.DateTimeFormat): { readonly day: number; readonly minute: number } {
  const parts = new Map(clock.formatToParts(now).map(({ type, value }) => [type, value]));
  const day = weekdays.findIndex((name) => name === parts.get('weekday')?.toLowerCase());
  return { day, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) };
}

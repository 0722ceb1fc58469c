/**
 * Time. An `Instant` is milliseconds since 1970-01-01T00:00:00Z, a `Duration` is milliseconds. Both are numbers with a
 * brand, so they can't be mixed up with each other or with seconds. `core` has no clock: a `Clock` arrives as an argument.
 */
declare const instantBrand: unique symbol;
declare const durationBrand: unique symbol;

export type Instant = number & { readonly [instantBrand]: true };
export type Duration = number & { readonly [durationBrand]: true };

/** Where the time comes from. Tests move it. */
export type Clock = { readonly now: () => Instant };

export const seconds = (n: number): Duration => (n * 1000) as Duration;
export const minutes = (n: number): Duration => (n * 60_000) as Duration;
export const hours = (n: number): Duration => (n * 3_600_000) as Duration;
export const days = (n: number): Duration => (n * 86_400_000) as Duration;

export const after = (at: Instant, duration: Duration): Instant => (at + duration) as Instant;
export const before = (at: Instant, duration: Duration): Instant => (at - duration) as Instant;
export const between = (from: Instant, to: Instant): Duration => (to - from) as Duration;
export const earliest = (...instants: readonly Instant[]): Instant => Math.min(...instants) as Instant;

/** Milliseconds since the epoch as an `Instant`, or undefined when it is not a whole number in range. */
export function parseInstant(value: unknown): Instant | undefined {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && value >= 0 && value < 253_402_300_800_000 ? (value as Instant) : undefined;
  if (typeof value !== 'string') return undefined;
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3}))?Z$/.exec(value);
  if (match === null) return undefined;
  const [, y, mo, d, h, mi, s, fraction = ''] = match;
  const month = Number(mo);
  const day = Number(d);
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(Number(y), month)) return undefined;
  if (Number(h) > 23 || Number(mi) > 59 || Number(s) > 59) return undefined;
  const whole = daysFromCivil(Number(y), month, day) * 86_400 + Number(h) * 3600 + Number(mi) * 60 + Number(s);
  return parseInstant(whole * 1000 + Number(fraction.padEnd(3, '0')));
}

/** RFC 3339 in UTC with milliseconds, the one spelling used in JSON and in proofs. */
export function formatInstant(instant: Instant): string {
  const ms = instant % 1000;
  const total = (instant - ms) / 1000;
  const secondOfDay = total % 86_400;
  const { y, m, d } = civilFromDays((total - secondOfDay) / 86_400);
  const pad = (n: number, width = 2) => String(n).padStart(width, '0');
  const h = Math.floor(secondOfDay / 3600);
  const mi = Math.floor((secondOfDay % 3600) / 60);
  return `${pad(y, 4)}-${pad(m)}-${pad(d)}T${pad(h)}:${pad(mi)}:${pad(secondOfDay % 60)}.${pad(ms, 3)}Z`;
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `2h`, `1h30m`, `1d`: whole numbers, largest unit first, each unit once. Undefined for anything else. */
export function parseDuration(text: unknown): Duration | undefined {
  if (typeof text !== 'string' || !/^(?:\d{1,6}d)?(?:\d{1,6}h)?(?:\d{1,6}m)?(?:\d{1,6}s)?$/.test(text) || text === '')
    return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([dhms])/g)) total += Number(count) * (units[unit ?? ''] ?? 0);
  return total > 0 ? (total as Duration) : undefined;
}

/** The shortest spelling that `parseDuration` reads back; parts below a second are dropped. */
export function formatDuration(duration: Duration): string {
  let rest = Math.floor(Math.max(0, duration) / 1000);
  let text = '';
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}

// Days since 1970-01-01 in the proleptic Gregorian calendar and back, by whole 400-year eras of 146,097 days.
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

function civilFromDays(daysSinceEpoch: number): { y: number; m: number; d: number } {
  const z = daysSinceEpoch + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const d = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const m = shifted < 10 ? shifted + 3 : shifted - 9;
  return { y: yearOfEra + era * 400 + (m <= 2 ? 1 : 0), m, d };
}

function daysInMonth(year: number, month: number): number {
  const lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return month === 2 && leap ? 29 : (lengths[month - 1] ?? 0);
}

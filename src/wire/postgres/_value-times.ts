/** Dates and times as PostgreSQL counts them (from 2000-01-01, in days and microseconds), as text in its ISO style, UTC. */

/** Days from 1970-01-01 to 2000-01-01. */
const epochDays = 10_957;
const microsPerDay = 86_400_000_000n;
const largestInt4 = 0x7fff_ffff;
const largestInt8 = 0x7fff_ffff_ffff_ffffn;

const two = (n: number): string => String(n).padStart(2, '0');

type Day = { readonly text: string; readonly era: '' | ' BC' };

/** Civil date from days (proleptic Gregorian). */
function dayOf(days: number): Day {
  const z = days + epochDays + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  // There is no year 0: 1 BC comes before 1.
  const shown = year < 1 ? 1 - year : year;
  return { text: `${String(shown).padStart(4, '0')}-${two(month)}-${two(day)}`, era: year < 1 ? ' BC' : '' };
}

export function dateText(days: number): string {
  if (days === largestInt4) return 'infinity';
  if (days === -largestInt4 - 1) return '-infinity';
  const { text, era } = dayOf(days);
  return text + era;
}

/** Hours may be more than a day's, in an interval. */
function clockText(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  const hours = seconds / 3600n;
  const whole = `${two(Number(hours))}:${two(Number((seconds / 60n) % 60n))}:${two(Number(seconds % 60n))}`;
  const fraction = String(micros % 1_000_000n)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return fraction === '' ? whole : `${whole}.${fraction}`;
}

export function timeText(micros: bigint): string | undefined {
  return micros < 0n || micros > microsPerDay ? undefined : clockText(micros);
}

/** `secondsWest` of UTC, as PostgreSQL keeps it. */
export function timeWithZoneText(micros: bigint, secondsWest: number): string | undefined {
  const time = timeText(micros);
  if (time === undefined) return undefined;
  const east = Math.abs(secondsWest);
  const parts = [Math.floor(east / 3600), Math.floor(east / 60) % 60, east % 60];
  while (parts.length > 1 && parts.at(-1) === 0) parts.pop();
  return `${time}${secondsWest <= 0 ? '+' : '-'}${parts.map(two).join(':')}`;
}

export function timestampText(micros: bigint, zone: '' | '+00'): string {
  if (micros === largestInt8) return 'infinity';
  if (micros === -largestInt8 - 1n) return '-infinity';
  const inDay = ((micros % microsPerDay) + microsPerDay) % microsPerDay;
  const { text, era } = dayOf(Number((micros - inDay) / microsPerDay));
  return `${text} ${clockText(inDay)}${zone}${era}`;
}

/** In the style `postgres`: `1 year 2 mons -3 days +04:05:06.7`. */
export function intervalText(micros: bigint, days: number, months: number): string {
  if (micros === largestInt8 && days === largestInt4 && months === largestInt4) return 'infinity';
  if (micros === -largestInt8 - 1n && days === -largestInt4 - 1 && months === -largestInt4 - 1) return '-infinity';
  const parts: string[] = [];
  let isBefore = false;
  const years = Math.trunc(months / 12);
  for (const [value, unit] of [
    [years, 'year'],
    [months - years * 12, 'mon'],
    [days, 'day'],
  ] as const) {
    if (value === 0) continue;
    parts.push(`${isBefore && value > 0 ? '+' : ''}${value} ${unit}${value === 1 ? '' : 's'}`);
    isBefore = value < 0;
  }
  if (parts.length === 0 || micros !== 0n) {
    const sign = micros < 0n ? '-' : isBefore ? '+' : '';
    parts.push(sign + clockText(micros < 0n ? -micros : micros));
  }
  return parts.join(' ');
}

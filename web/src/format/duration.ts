/** Durations as people say them. Seconds in, text out. */
const units = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
] as const;

/** The two largest parts: `2 h`, `1 h 30 min`, `45 s`. */
export function durationText(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? '0 s' : parts.join(' ');
}

/** Calm until it matters: minutes while there are many, seconds for the last five. */
export function timeLeftText(seconds: number): string {
  if (seconds <= 0) return '0 s';
  if (seconds >= 300) return durationText(Math.floor(seconds / 60) * 60);
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`;
}

/** `90m`, `2h`, `1h30m`, `1d`: seconds, or undefined for anything else. The CLI takes the same spelling. */
export function parseDurationText(text: string): number | undefined {
  const trimmed = text.trim().toLowerCase().replaceAll(/\s+/g, '');
  const match = /^(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m(?:in)?)?$/.exec(trimmed);
  if (match === null || trimmed === '') return undefined;
  const total = Number(match[1] ?? 0) * 86_400 + Number(match[2] ?? 0) * 3600 + Number(match[3] ?? 0) * 60;
  return total > 0 ? total : undefined;
}

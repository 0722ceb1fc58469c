/** Values of flags and arguments: parsed once, refused with what would be right. */
import { InvalidArgumentError, Option } from 'commander';
import { parseId, type IdKind } from '#core/ids.ts';
import { formatInstant, parseDuration, parseInstant, type Instant } from '#core/instant.ts';

/** Milliseconds. */
export function durationFlag(text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw new InvalidArgumentError('write a duration as in 90s, 30m, 2h, 1h30m or 1d.');
  return duration;
}

/** An id of that kind, in its one spelling. */
export function idArgument(kind: IdKind): (text: string) => string {
  return (text) => {
    if (parseId(kind, text) === undefined) throw new InvalidArgumentError(`that is no id of a ${kind}.`);
    return text;
  };
}

/** `--timeout`, with its default as it is typed. */
export function timeoutOption(what: string, otherwise?: string): Option {
  const option = new Option('--timeout <duration>', what).argParser(durationFlag);
  return otherwise === undefined ? option : option.default(durationFlag(otherwise), otherwise);
}

export function countFlag(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('write a whole number from 1 on.');
  return Number(text);
}

/**
 * A moment to come or past: RFC 3339 (`2026-11-23T09:00:00Z`, or with an offset), `14:30` in local time (`towards` says
 * whether the next or the last one), or a distance (`+30m`, `2h`). Answers RFC 3339 in UTC.
 */
export function parseMoment(text: string, now: number, towards: 'future' | 'past'): string {
  const distance = parseDuration(text.replace(/^\+/, ''));
  if (distance !== undefined) return rfc3339(towards === 'future' ? now + distance : now - distance);
  const clock = /^(\d\d?):(\d\d)$/.exec(text);
  if (clock !== null && Number(clock[1]) < 24 && Number(clock[2]) < 60) {
    const at = new Date(now);
    at.setHours(Number(clock[1]), Number(clock[2]), 0, 0);
    if (towards === 'future' && at.getTime() <= now) at.setDate(at.getDate() + 1);
    if (towards === 'past' && at.getTime() > now) at.setDate(at.getDate() - 1);
    return rfc3339(at.getTime());
  }
  const exact = parseInstant(text);
  if (exact !== undefined) return formatInstant(exact);
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/.test(text)) {
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return rfc3339(at);
  }
  throw new InvalidArgumentError('write a time as in 14:30, 30m or 2026-11-23T09:00:00Z.');
}

function rfc3339(milliseconds: number): string {
  return formatInstant(milliseconds as Instant);
}

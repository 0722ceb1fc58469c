/** Reads a cure's annotation word by word, and says where in it something is wrong. */
import { formatDuration, hours, parseDuration, type Duration } from '#core/instant.ts';
import type { Approver, Approvers, Cover } from '#core/decision.ts';
import { parseGroup, parseHandle } from '#core/principal.ts';

/** An expected outcome for `parseCure` alone, which turns it into a value; it is thrown so that the grammar reads as one. */
export class CureFault extends Error {
  override readonly name = 'CureFault';
  readonly code = 'cure_not_understood';
  /** Index into the annotation's text, in UTF-16 code units. */
  readonly at: number;
  readonly help: string | undefined;
  constructor(at: number, message: string, help?: string) {
    super(message);
    this.at = at;
    this.help = help;
  }
}

type Word = { readonly text: string; readonly at: number };

export type Words = {
  /** The next word, without taking it; undefined at the end. */
  readonly peek: () => string | undefined;
  readonly next: (what: string) => Word;
  /** Takes the next word when it is this one. */
  readonly takes: (text: string) => boolean;
  readonly fail: (message: string, help?: string) => never;
};

export function wordsOf(text: string): Words {
  const all: readonly Word[] = [...text.matchAll(/,|[^\s,]+/g)].map((match) => ({ text: match[0], at: match.index }));
  let index = 0;
  const at = () => all[index]?.at ?? text.trimEnd().length;
  return {
    peek: () => all[index]?.text,
    next: (what) => {
      const word = all[index];
      if (word === undefined) throw new CureFault(at(), `${what} is missing`);
      index += 1;
      return word;
    },
    takes: (wanted) => {
      if (all[index]?.text !== wanted) return false;
      index += 1;
      return true;
    },
    fail: (message, help) => {
      throw new CureFault(at(), message, help);
    },
  };
}

/** Access lasts a day at most; what covers a part of it needn't be longer. */
export const longestCover: Duration = hours(24);
/** More approvers than this are a meeting. */
const mostApprovers = 5;

/** `dba, @bob count 2` */
export function readApprovers(words: Words): Approvers {
  const by: Approver[] = [];
  do {
    const { text, at } = words.next('a group or `@handle`');
    const isHandle = text.startsWith('@');
    const parsed = isHandle ? parseHandle(text.slice(1)) : parseGroup(text);
    if (parsed === undefined)
      throw new CureFault(
        at,
        `\`${text}\` is neither a group nor \`@handle\``,
        'groups and handles are lower-case; several are joined by commas: `approval by dba, @bob`',
      );
    const approver = isHandle ? { handle: parsed } : { group: parsed };
    if (by.some((other) => JSON.stringify(other) === JSON.stringify(approver)))
      throw new CureFault(at, `\`${text}\` is there twice`);
    by.push(approver);
  } while (words.takes(','));
  if (!words.takes('count')) return { by, count: 1 };
  const { text, at } = words.next('how many');
  const count = /^[1-9]$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > mostApprovers)
    throw new CureFault(at, `\`${text}\` is not a number of people`, `from 1 to ${mostApprovers}`);
  const people = by.filter((approver) => 'handle' in approver).length;
  if (people === by.length && people < count)
    throw new CureFault(at, `${count} people are to approve, and ${people} could`, 'name a group, or more people');
  return { by, count };
}

/** `over tables for 10m`, where there is one. */
export function readCover(words: Words): { readonly cover?: Cover } {
  if (!words.takes('over')) return {};
  const { text, at } = words.next('what it covers');
  const over = (['statement', 'tables', 'grant'] as const).find((known) => known === text);
  if (over === undefined)
    throw new CureFault(at, `\`${text}\` is nothing to cover`, 'it is `statement`, `tables` or `grant`');
  if (!words.takes('for')) words.fail('for how long it covers is missing', `for example \`over ${over} for 10m\``);
  return { cover: { over, lasts: readDuration(words, longestCover) } };
}

export function readDuration(words: Words, longest: Duration): Duration {
  const { text, at } = words.next('a duration');
  const duration = parseDuration(text);
  if (duration === undefined)
    throw new CureFault(at, `\`${text}\` is not a duration`, 'for example `90s`, `10m`, `1h30m`');
  if (duration > longest) throw new CureFault(at, `\`${text}\` is longer than ${formatDuration(longest)}`);
  return duration;
}

/** `dba`, `dba or @bob`, `2 of dba or security` */
export function approversInWords({ by, count }: Approvers): string {
  const names = by.map((approver) => ('group' in approver ? approver.group : `@${approver.handle}`)).join(' or ');
  return count === 1 ? names : `${count} of ${names}`;
}

export function coverInWords(cover: Cover | undefined): string {
  if (cover === undefined) return '';
  const over = { statement: 'the same statement', tables: 'the same on the same tables', grant: 'this grant' };
  return `, good for ${over[cover.over]} for ${formatDuration(cover.lasts)}`;
}

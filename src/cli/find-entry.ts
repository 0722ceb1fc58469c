/** An entry of the log by its id or by its number. The API lists entries; this finds one with few pages. */
import type { Client } from '#contract/client.ts';
import type { LogEntryView } from '#contract/views.ts';
import { parseId } from '#core/ids.ts';
import { attempt, CliError } from './exit.ts';

/** Pages of 200 that are looked through at most. */
const mostPages = 100;

/** `text` is an id, `12` or `#12`; `verb` says what for. */
export async function findEntry(client: Client, verb: string, text: string): Promise<LogEntryView> {
  const what = `${verb} \`${text}\``;
  const number = /^#?(\d{1,15})$/.exec(text)?.[1];
  const index = number === undefined ? undefined : Number(number);
  if (index === undefined && parseId('entry', text) === undefined)
    throw new CliError('usage', `${what}: that is neither a number nor an id of an entry`, {
      hint: '`sally log` shows the numbers',
    });
  for (const scope of ['mine', 'all'] as const) {
    const entry = await find(client, what, scope, index ?? text).catch((error: unknown) => {
      // Who may not read everybody's entries has no such entry.
      if (scope === 'all' && error instanceof CliError && error.code === 'forbidden') return undefined;
      throw error;
    });
    if (entry !== undefined) return entry;
  }
  throw new CliError('not_found', `${what}: there is no such entry that you may read`, {
    hint: '`sally log --all` shows what you may read',
  });
}

async function find(
  client: Client,
  what: string,
  scope: 'mine' | 'all',
  wanted: string | number,
): Promise<LogEntryView | undefined> {
  // An id begins with its time, so the list need only begin a little before: a gateway's entry gets its id when it comes
  // in, which may be a while after it happened. By number it is looked for from the newest on.
  const range =
    typeof wanted === 'string'
      ? { since: new Date(Math.max(0, timeOfId(wanted) - 600_000)).toISOString(), order: 'oldest' as const }
      : { order: 'newest' as const };
  let cursor: string | undefined;
  for (let pages = 0; pages < mostPages; pages += 1) {
    const at = cursor;
    const page = await attempt(what, () => client.listLog({ query: { scope, ...range, cursor: at, limit: 200 } }));
    const found = page.items.find((entry) =>
      typeof wanted === 'string' ? entry.id === wanted : entry.index === wanted,
    );
    const last = page.items.at(-1)?.index;
    const passed = typeof wanted === 'number' && typeof last === 'number' && last < wanted;
    if (found !== undefined || passed || page.next === null) return found;
    cursor = page.next;
  }
  return undefined;
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** The milliseconds in the first ten characters of an id (core/ids.ts). */
function timeOfId(id: string): number {
  let time = 0;
  for (const char of id.slice(id.indexOf('_') + 1).slice(0, 10)) time = time * 32 + alphabet.indexOf(char);
  return time;
}

/** `sally log show`: one entry with all that it says. */
import type { Command } from 'commander';
import type { Client } from '#contract/client.ts';
import type { LogEntryView } from '#contract/views.ts';
import { parseId } from '#core/ids.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { actorOf } from './log-list.ts';
import { fields, json, line } from './screen.ts';
import { openServer } from './server.ts';
import { timeAndRelative } from './times.ts';

export function addLogShow(log: Command, cli: Cli): void {
  examples(
    log
      .command('show')
      .summary('one entry with all that it says')
      .description(
        'Shows one entry: its public part, which is in the tree, and its personal part where you may read it.',
      )
      .argument('<entry>', 'the id of the entry, as `sally log --json` shows it')
      .action((id: string) => show(cli, id)),
    ['one entry', 'sally log show ent_01jd0000000000000000000000'],
  );
}

async function show(cli: Cli, id: string): Promise<void> {
  if (parseId('entry', id) === undefined)
    throw new CliError('usage', `show \`${id}\`: that is no id of an entry`, {
      hint: 'as in ent_01jd0000000000000000000000',
    });
  const { client } = await openServer(cli, 'signed-in');
  const entry = (await find(client, id, 'mine')) ?? (await find(client, id, 'all'));
  if (entry === undefined) throw new CliError('not_found', `show \`${id}\`: there is no such entry that you may read`);
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, entry);
  line(out, { text: entry.kind, colour: 'bold' }, `  ${entry.summary}`);
  fields(out, [
    ['entry', entry.id],
    ['index', entry.index === null ? { text: 'not in the tree yet', colour: 'dim' } : String(entry.index)],
    ['at', `${entry.at} (${timeAndRelative(entry.at, cli.now())})`],
    ['by', actorOf(entry)],
    ...Object.entries(entry.subject).map(([name, value]) => [name, value] as const),
  ]);
  section(cli, 'Public', entry.facts);
  if (entry.content !== null) section(cli, 'Personal', entry.content);
}

function section(cli: Cli, title: string, values: Readonly<Record<string, unknown>>): void {
  const rows = Object.entries(values);
  if (rows.length === 0) return;
  line(cli.screen.out);
  line(cli.screen.out, { text: title, colour: 'bold' });
  fields(
    cli.screen.out,
    rows.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const),
  );
}

/** The API lists; an id begins with its time, so the list needs to begin only a little before. */
async function find(client: Client, id: string, scope: 'mine' | 'all'): Promise<LogEntryView | undefined> {
  // A gateway's entry gets its id when it comes in, which may be a while after it happened.
  const since = new Date(Math.max(0, timeOfId(id) - 600_000)).toISOString();
  let cursor: string | undefined;
  for (let pages = 0; pages < 50; pages += 1) {
    const at = cursor;
    const page = await attempt(`show \`${id}\``, () =>
      client.listLog({ query: { scope, since, order: 'oldest', cursor: at, limit: 200 } }),
    );
    const found = page.items.find((entry) => entry.id === id);
    if (found !== undefined || page.next === null) return found;
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

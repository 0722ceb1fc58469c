/** `sally log show`: one entry with all that it says. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { findEntry } from './find-entry.ts';
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
      .argument('<entry>', 'its number, as `sally log` shows it, or its id')
      .action((id: string) => show(cli, id)),
    ['number 12', 'sally log show 12'],
    ['by its id', 'sally log show ent_01jd0000000000000000000000'],
  );
}

async function show(cli: Cli, id: string): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const entry = await findEntry(client, 'show', id);
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

/** `sally log list`, or just `sally log`: entries as they happened, the newest at the bottom. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Option, type Command } from 'commander';
import type { Client } from '#contract/client.ts';
import type { LogEntryView } from '#contract/views.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { countFlag, durationFlag, idArgument, parseMoment } from './parse-values.ts';
import { json, jsonLine, line, paint, plain } from './screen.ts';
import { allPages, openServer } from './server.ts';
import { eventTime } from './times.ts';

type Flags = {
  readonly mine?: true;
  readonly all?: true;
  readonly kind?: string;
  readonly grant?: string;
  readonly session?: string;
  readonly request?: string;
  readonly person?: string;
  readonly since?: string;
  readonly limit: number;
  readonly cursor?: string;
  readonly follow?: true;
  readonly every: number;
};

export function addLogList(log: Command, cli: Cli): void {
  examples(
    log
      .command('list', { isDefault: true })
      .summary('entries of the log')
      .description('Lists entries of the log, the newest at the bottom. Reading what others did is itself logged.')
      .option('--mine', 'what you did and what was done to you (so it is without a flag)')
      .option('--all', 'everything that you may read')
      .option('--kind <kind>', 'only of that kind: statement, grant.ended …')
      .option('--request <id>', 'only about that request', idArgument('request'))
      .option('--grant <id>', 'only about that grant', idArgument('grant'))
      .option('--session <id>', 'only about that session', idArgument('session'))
      .option('--person <id>', 'only about that person', idArgument('principal'))
      .option('--since <time>', 'only from then on: 1h, 14:30, 2026-11-22T09:00:00Z', (text) =>
        parseMoment(text, cli.now(), 'past'),
      )
      .option('--limit <n>', 'how many at most', countFlag, 50)
      .option('--cursor <cursor>', 'go on where a page ended')
      .option('-f, --follow', 'go on with new entries as they come, until Ctrl-C')
      .addOption(
        new Option('--every <duration>', 'how often to look for them').argParser(durationFlag).default(2000, '2s'),
      )
      .action((flags: Flags) => list(cli, flags)),
    ['what was done in a session', 'sally log --session ses_01jd0000000000000000000000'],
    [
      'every statement of today, for another program',
      'sally log --all --kind statement --since 00:00 --limit 10000 --json',
    ],
    ['follow it', 'sally log --all --follow'],
  );
}

async function list(cli: Cli, flags: Flags): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const query = {
    scope: flags.all === true ? ('all' as const) : ('mine' as const),
    kind: flags.kind,
    request: flags.request,
    grant: flags.grant,
    session: flags.session,
    principal: flags.person,
    since: flags.since,
  };
  const found = await allPages('read the log', flags.limit, (cursor, limit) =>
    client.listLog({ query: { ...query, order: 'newest', cursor: cursor ?? flags.cursor, limit } }),
  );
  const { out } = cli.screen;
  const asJson = cli.shared().json;
  const entries = found.items.toReversed();
  if (asJson && flags.follow !== true) return json(out, found);
  if (asJson) for (const entry of entries) jsonLine(out, entry);
  else {
    if (entries.length === 0 && flags.follow !== true) line(out, 'There are no such entries.');
    if (found.next !== null)
      line(out, { text: `older ones: --cursor ${found.next}, or a larger --limit`, colour: 'dim' });
    for (const entry of entries) print(cli, entry);
  }
  if (flags.follow === true) await follow(cli, client, query, entries, flags.every);
}

type Query = Omit<Parameters<Client['listLog']>[0]['query'], 'order' | 'cursor' | 'limit'>;

/** Asks for what came since the last entry, again and again. The last instant is asked for twice, so none is missed. */
async function follow(
  cli: Cli,
  client: Client,
  query: Query,
  shown: readonly LogEntryView[],
  everyMs: number,
): Promise<never> {
  // An entry of a gateway comes in later than it happened: for a while entries may be older than the last one shown.
  const overlapMs = 60_000;
  const seen = new Map(shown.map((entry) => [entry.id, Date.parse(entry.at)]));
  let newest = Math.max(cli.now() - overlapMs, ...seen.values());
  for (;;) {
    await sleep(everyMs);
    const since = new Date(Math.max(newest - overlapMs, Date.parse(query.since ?? '') || 0)).toISOString();
    let cursor: string | undefined;
    do {
      const at = cursor;
      let page;
      try {
        page = await attempt('read the log', () =>
          client.listLog({ query: { ...query, since, order: 'oldest', cursor: at, limit: 200 } }),
        );
      } catch (error) {
        // A server that is started anew is not the end of it.
        if (error instanceof CliError && error.exit === 'unreachable') break;
        throw error;
      }
      for (const entry of page.items) {
        if (seen.has(entry.id)) continue;
        seen.set(entry.id, Date.parse(entry.at));
        newest = Math.max(newest, Date.parse(entry.at));
        if (cli.shared().json) jsonLine(cli.screen.out, entry);
        else print(cli, entry);
      }
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    for (const [id, at] of seen) if (at < newest - 2 * overlapMs) seen.delete(id);
  }
}

function print(cli: Cli, entry: LogEntryView): void {
  const { out } = cli.screen;
  const time = eventTime(entry.at, cli.now());
  const index = entry.index === null ? '' : `#${entry.index}`;
  const who = actorOf(entry);
  const head = `${time}  ${index.padEnd(6)}  ${who.padEnd(8)}  `;
  const summary = plain(entry.summary);
  const room = out.columns === undefined ? undefined : Math.max(20, out.columns - head.length);
  const shown = room !== undefined && summary.length > room ? `${summary.slice(0, room - 1)}…` : summary;
  out.write(
    `${paint(out, { text: `${time}  ${index.padEnd(6)}`, colour: 'dim' })}  ${plain(who).padEnd(8)}  ${paint(out, colourOf(entry.kind, shown))}\n`,
  );
}

export function actorOf({ actor }: LogEntryView): string {
  return typeof actor === 'string' ? actor : actor.handle;
}

function colourOf(kind: string, text: string) {
  if (/refused|denied|failed|revoked/.test(kind)) return { text, colour: 'red' } as const;
  if (/^(?:request\.approved|grant\.)/.test(kind)) return { text, colour: 'green' } as const;
  return text;
}

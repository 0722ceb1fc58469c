/** `sally sessions`: lists connections through the gateway. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { countFlag, idArgument } from './parse-values.ts';
import { json, line, table } from './screen.ts';
import { allPages, openServer } from './server.ts';
import { eventTime, relative, span } from './times.ts';

type Flags = {
  readonly mine?: true;
  readonly all?: true;
  readonly open?: true;
  readonly grant?: string;
  readonly limit: number;
};

export function addSessions(program: Command, cli: Cli): void {
  examples(
    program
      .command('sessions')
      .summary('list sessions: yours, or all that you may see')
      .description('Lists sessions, newest first: each is one connection to one resource under one grant.')
      .option('--mine', 'your own (so it is without a flag)')
      .option('--all', 'all that you may see')
      .option('--open', 'only those that are open now')
      .option('--grant <id>', 'only those under that grant', idArgument('grant'))
      .option('--limit <n>', 'how many at most', countFlag, 20)
      .action((flags: Flags) => sessions(cli, flags)),
    ['who is connected now', 'sally sessions --all --open'],
    ['what was done in one', 'sally log --session ses_01jd0000000000000000000000'],
  );
}

async function sessions(cli: Cli, flags: Flags): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const found = await allPages('list sessions', flags.limit, (cursor, limit) =>
    client.listSessions({
      query: {
        scope: flags.all === true ? 'all' : 'mine',
        state: flags.open === true ? 'open' : undefined,
        grant: flags.grant,
        cursor,
        limit,
      },
    }),
  );
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, found);
  if (found.items.length === 0) {
    line(out, flags.open === true ? 'No session is open now.' : 'There are no sessions.');
    return;
  }
  const now = cli.now();
  table(
    out,
    ['SESSION', 'WHO', 'ROLE', 'OPENED', 'STATE', 'STATEMENTS', 'CLIENT'],
    found.items.map((session) => [
      session.id,
      session.principal.handle,
      session.role,
      eventTime(session.openedAt, now),
      session.state === 'open'
        ? { text: `open for ${span(now - Date.parse(session.openedAt))}`, colour: 'green' }
        : {
            text: `${(session.how ?? 'ended').replaceAll('_', ' ')}${session.endedAt === null ? '' : ` ${relative(session.endedAt, now)}`}`,
            colour: 'dim',
          },
      String(session.statements),
      session.client.application === null
        ? session.client.address
        : `${session.client.application} (${session.client.address})`,
    ]),
  );
  if (found.next !== null) line(out, { text: `there are more: --limit ${flags.limit * 2}`, colour: 'dim' });
}

/** `sally grants`: lists grants. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { countFlag } from './parse-values.ts';
import { json, line, table } from './screen.ts';
import { allPages, openServer } from './server.ts';
import { grantStateCell, grantTimeCell } from './states.ts';

type Flags = { readonly mine?: true; readonly all?: true; readonly ended?: true; readonly limit: number };

export function addGrants(program: Command, cli: Cli): void {
  examples(
    program
      .command('grants')
      .summary('list grants: yours, or all that you may see')
      .description('Lists grants, live ones unless asked otherwise: your own, or all that you may see.')
      .option('--mine', 'your own (so it is without a flag)')
      .option('--all', 'all that you may see')
      .option('--ended', 'those that are over')
      .option('--limit <n>', 'how many at most', countFlag, 50)
      .action((flags: Flags) => grants(cli, flags)),
    ['who has access right now', 'sally grants --all'],
  );
}

async function grants(cli: Cli, flags: Flags): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const found = await allPages('list grants', flags.limit, (cursor, limit) =>
    client.listGrants({
      query: {
        scope: flags.all === true ? 'all' : 'mine',
        state: flags.ended === true ? 'ended' : 'live',
        cursor,
        limit,
      },
    }),
  );
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, found);
  if (found.items.length === 0) {
    line(
      out,
      flags.ended === true
        ? 'There are none that are over.'
        : flags.all === true
          ? 'Nobody has access now.'
          : 'You have no access now.',
    );
    return;
  }
  const now = cli.now();
  table(
    out,
    ['GRANT', 'WHO', 'ROLE', 'STATE', 'TIME', 'SESSIONS', 'REASON'],
    found.items.map((grant) => [
      grant.id,
      grant.principal.handle,
      grant.role,
      grantStateCell(grant),
      grantTimeCell(grant, now),
      grant.openSessions === 0 ? { text: '-', colour: 'dim' } : String(grant.openSessions),
      grant.reason,
    ]),
  );
  if (found.next !== null) line(out, { text: `there are more: --limit ${flags.limit * 2}`, colour: 'dim' });
}

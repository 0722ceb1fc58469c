/** `sally requests`: lists requests, or shows one. */
import type { Command } from 'commander';
import type { RequestView } from '#contract/views.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { countFlag } from './parse-values.ts';
import { addRequestsShow } from './requests-show.ts';
import { json, line, table } from './screen.ts';
import { allPages, openServer } from './server.ts';
import { requestStateCell } from './states.ts';
import { left, relative, span } from './times.ts';

type Flags = { readonly inbox?: true; readonly mine?: true; readonly all?: true; readonly limit: number };

export function addRequests(program: Command, cli: Cli): void {
  const requests = program
    .command('requests')
    .summary('list requests: yours, or those that wait for you')
    .description('Lists requests (`sally requests` is `sally requests list`), or shows one.');
  examples(
    requests
      .command('list', { isDefault: true })
      .summary('list requests')
      .description('Lists requests: your own, or those that wait for your decision.')
      .option('--inbox', 'those that wait for your decision')
      .option('--mine', 'your own (so it is without a flag)')
      .option('--all', 'all that you may see')
      .option('--limit <n>', 'how many at most', countFlag, 50)
      .action((flags: Flags) => list(cli, flags)),
    ['what waits for me', 'sally requests --inbox'],
    ['what I asked for', 'sally requests'],
  );
  addRequestsShow(requests, cli);
}

async function list(cli: Cli, flags: Flags): Promise<void> {
  const { client, page } = await openServer(cli, 'signed-in');
  const box = flags.inbox === true ? 'inbox' : flags.all === true ? 'all' : 'mine';
  const found = await allPages('list requests', flags.limit, (cursor, limit) =>
    client.listRequests({ query: { box, cursor, limit } }),
  );
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, found);
  if (found.items.length === 0) {
    line(
      out,
      box === 'inbox'
        ? 'Nothing waits for you.'
        : box === 'mine'
          ? 'You have asked for nothing yet.'
          : 'There are no requests.',
    );
    return;
  }
  const now = cli.now();
  table(
    out,
    ['REQUEST', 'WHO', 'ROLE', 'FOR', 'STATE', 'FILED', 'REASON'],
    found.items.map((request) => [
      request.id,
      request.requester.handle,
      request.role,
      span(request.seconds * 1000),
      request.state === 'pending'
        ? { text: `pending, ${left(request.expiresAt, now)} left`, colour: 'yellow' }
        : requestStateCell(request.state),
      relative(request.filedAt, now),
      reason(request),
    ]),
  );
  if (found.next !== null) line(out, { text: `there are more: --limit ${flags.limit * 2}`, colour: 'dim' });
  if (box === 'inbox') {
    line(out);
    line(out, 'Read and approve them at ', { text: page('/requests?box=inbox'), colour: 'cyan' });
  }
}

function reason(request: RequestView): string {
  return request.ticket === null ? request.reason : `${request.ticket} ${request.reason}`;
}

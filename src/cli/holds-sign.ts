/** `sally holds sign`: opens the page of something held, where a passkey signs it, and waits for what becomes of it. */
import type { Command } from 'commander';
import type { HoldView } from '#contract/views.ts';
import { openInBrowser } from './browser.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { idArgument, timeoutOption } from './parse-values.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';
import { holdStateCell, isLiveHold } from './states.ts';
import { longPoll, waitFor } from './waiting.ts';

type Flags = { readonly browser: boolean; readonly timeout: number };

export function addHoldsSign(holds: Command, cli: Cli): void {
  examples(
    holds
      .command('sign')
      .summary('sign what is held, with your passkey in the browser')
      .description(
        'Opens the page of what is held in your browser, where your passkey signs it: as your own, or as its approver. ' +
          'Waits until it is let through, or is not.',
      )
      .argument('<hold>', 'the id, as psql shows it', idArgument('hold'))
      .option('--no-browser', 'print the address of the page only')
      .addOption(timeoutOption('how long to wait', '5m'))
      .action((id: string, flags: Flags) => sign(cli, id, flags)),
    ['what psql waits for', 'sally holds sign hld_01jd0000000000000000000000'],
  );
}

async function sign(cli: Cli, id: string, flags: Flags): Promise<void> {
  const server = await openServer(cli, 'signed-in');
  const held = await attempt(`look up \`${id}\``, () => server.client.getHold({ params: { id }, query: {} }));
  if (!isLiveHold(held)) throw notLetThrough(held);
  await openInBrowser(cli, server.page(`/holds/${id}`), { open: flags.browser });
  const settled = await waitFor(
    cli,
    { what: `sign \`${id}\``, timeoutMs: flags.timeout, hint: `its page: ${server.page(`/holds/${id}`)}` },
    (signal, live) =>
      longPoll(cli, live, signal, {
        ask: (waitSeconds, stop) =>
          attempt('look at what is held', () =>
            server.client.getHold({ params: { id }, query: { waitSeconds, while: 'waiting' } }, stop),
          ),
        isOver: (hold) => hold.state !== 'waiting',
        describe: (hold) =>
          `waiting for ${hold.cures
            .filter(({ done }) => !done)
            .map(({ words }) => words)
            .join(' and ')}`,
      }),
  );
  if (settled.state !== 'cured' && settled.state !== 'released') throw notLetThrough(settled);
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, settled);
  line(out, 'Nothing more is asked of it: ', holdStateCell(settled, cli.now()));
}

function notLetThrough(hold: HoldView): CliError {
  const word = hold.settled?.word;
  return new CliError(
    'refused',
    `sign \`${hold.id}\`: it is ${hold.state === 'released' ? 'let through already' : hold.state}${word === undefined || word === null ? '' : `: ${word}`}`,
  );
}

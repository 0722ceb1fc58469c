/**
 * `sally activate`: starts the clock of an approved grant. The passkey is in the browser, so the ceremony happens there, and
 * the CLI waits for it.
 */
import type { Command } from 'commander';
import type { GrantView } from '#contract/views.ts';
import { openInBrowser } from './browser.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { timeoutOption } from './parse-values.ts';
import { findGrants, isOneOrMore, oneGrant, parseTarget, words } from './pick-grant.ts';
import { json, line } from './screen.ts';
import { openServer, type Server } from './server.ts';
import { wordOfEnd } from './states.ts';
import { clockTime, left, relative } from './times.ts';
import { longPoll, waitFor } from './waiting.ts';

type Flags = { readonly browser: boolean; readonly timeout: number };

export function addActivate(program: Command, cli: Cli): void {
  examples(
    program
      .command('activate')
      .summary('start the clock of an approved grant, with your passkey in the browser')
      .description(
        'Starts the clock of an approved grant: its page opens in your browser, you confirm there with your passkey, and ' +
          'from then on you can connect.',
      )
      .argument('[grant]', 'the grant, its role or its resource; not needed when only one waits')
      .option('--no-browser', 'print the address of the page only')
      .addOption(timeoutOption('how long to wait for the browser', '5m'))
      .action((target: string | undefined, flags: Flags) => activate(cli, target, flags)),
    ['the only one that waits', 'sally activate'],
    ['a certain one', 'sally activate orders/support-read'],
  );
}

async function activate(cli: Cli, text: string | undefined, flags: Flags): Promise<void> {
  const target = parseTarget(text);
  const server = await openServer(cli, 'signed-in');
  const found = await findGrants(server.client, target);
  const approved = found.filter((grant) => grant.state === 'approved');
  // One that starts later is in nobody's way.
  const startable = approved.filter((grant) => Date.parse(grant.notBefore) <= cli.now());
  const waiting = startable.length > 0 ? startable : approved;
  if (!isOneOrMore(waiting)) {
    const active = found.find((grant) => grant.state === 'active');
    if (active !== undefined)
      throw new CliError('refused', `${words('activate', target)}: ${active.role} is active already`, {
        hint: `connect with \`sally connect ${active.resource}\``,
      });
    const ended = found.find((grant) => grant.state === 'ended');
    if (ended !== undefined)
      throw new CliError('refused', `${words('activate', target)}: the grant is over (${wordOfEnd(ended.how)})`, {
        hint: `ask again with \`sally request ${ended.role}\``,
      });
    throw new CliError('not_found', `${words('activate', target)}: no approved grant of yours waits for it`, {
      hint: '`sally requests` shows whether your request was approved',
    });
  }
  const grant = await oneGrant(cli, 'activate a grant', waiting, `name one, as in \`sally activate ${waiting[0].id}\``);
  await activateGrant(cli, server, grant, { timeoutMs: flags.timeout, browser: flags.browser, show: true });
}

/** Opens the grant's page and waits until it is active. Answers the active grant. */
export async function activateGrant(
  cli: Cli,
  server: Server,
  grant: GrantView,
  options: { readonly timeoutMs: number | undefined; readonly browser: boolean; readonly show: boolean },
): Promise<GrantView> {
  if (Date.parse(grant.notBefore) > cli.now())
    throw new CliError('refused', `activate ${grant.role}: it starts ${relative(grant.notBefore, cli.now())}`, {
      hint: `try again at ${clockTime(grant.notBefore, cli.now())}`,
    });
  const opened = await openInBrowser(cli, server.page(`/grants/${grant.id}?activate`), { open: options.browser });
  const done = await waitFor(
    cli,
    {
      what: `activate ${grant.role}`,
      timeoutMs: options.timeoutMs,
      hint: `the grant waits for ${left(grant.activateBy, cli.now())}: \`sally activate ${grant.id}\``,
    },
    (signal, live) =>
      longPoll(cli, live, signal, {
        ask: (waitSeconds, stop) =>
          attempt('look at the grant', () =>
            server.client.getGrant({ params: { id: grant.id }, query: { waitSeconds, while: 'approved' } }, stop),
          ),
        isOver: (now) => now.state !== 'approved',
        describe: () => (opened ? 'waiting for your passkey in the browser' : 'waiting for your passkey at that page'),
      }),
  );
  if (done.state !== 'active')
    throw new CliError('refused', `activate ${grant.role}: the grant is over (${wordOfEnd(done.how)})`);
  if (options.show) showActive(cli, done);
  return done;
}

function showActive(cli: Cli, grant: GrantView): void {
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, grant);
  const until = grant.endsAt === null ? '' : ` until ${clockTime(grant.endsAt, cli.now())}`;
  line(out, { text: grant.role, colour: 'bold' }, ' is active', until);
  line(out, { text: 'Connect with ', colour: 'dim' }, `sally connect ${grant.resource}`);
}

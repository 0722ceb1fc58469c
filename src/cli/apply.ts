/** `sally apply`: shows what a configuration would change, has it signed in the browser, and says what came of it. */
import type { Command } from 'commander';
import type { PlanView } from '#contract/views.ts';
import { askYesNo } from './ask.ts';
import { openInBrowser } from './browser.ts';
import type { Cli } from './cli.ts';
import { countOf, defaultConfigurationFile, printFaults, readConfigurationFiles } from './configuration-files.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { timeoutOption } from './parse-values.ts';
import { json, line, type Colour, type Sink } from './screen.ts';
import { openServer, type Server } from './server.ts';
import { left } from './times.ts';
import { longPoll, waitFor } from './waiting.ts';

type Flags = {
  readonly file: string;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly browser: boolean;
  readonly timeout: number;
};

export function addApply(program: Command, cli: Cli): void {
  examples(
    program
      .command('apply')
      .summary('apply a configuration')
      .description(
        'Shows what a configuration and its policies would change, and applies it when you have signed the plan with your ' +
          'passkey in the browser. What would lock everybody out is refused.',
      )
      .option('-f, --file <file>', 'the configuration', defaultConfigurationFile)
      .option('--dry-run', 'show the plan and stop')
      .option('-y, --yes', 'open the page to sign it without asking first')
      .option('--no-browser', 'print the address of the page only')
      .addOption(timeoutOption('how long to wait for the browser', '10m'))
      .action((flags: Flags) => apply(cli, flags)),
    ['what would change', 'sally apply --dry-run'],
    ['apply it', 'sally apply -f deploy/sallyport.yaml'],
  );
}

async function apply(cli: Cli, flags: Flags): Promise<void> {
  const { out, err } = cli.screen;
  const asJson = cli.shared().json;
  const files = await readConfigurationFiles('apply', flags.file);
  const server = await openServer(cli, 'signed-in');
  const answer = await attempt(`apply \`${flags.file}\``, () =>
    server.client.makePlan({ body: { ...files, policies: [...files.policies] } }),
  );
  if ('faults' in answer) {
    if (asJson) json(out, answer);
    else printFaults(out, files, answer.faults);
    throw new CliError('verification_failed', `apply \`${flags.file}\`: ${countOf(answer.faults.length, 'fault')}`);
  }
  if ('unchanged' in answer) {
    if (asJson) return json(out, answer);
    line(out, 'Nothing would change: this configuration is in force.');
    return;
  }
  const { plan } = answer;
  if (!asJson) showPlan(flags.dryRun === true ? out : err, plan);
  if (flags.dryRun === true) {
    if (asJson) json(out, answer);
    return;
  }
  if (flags.yes !== true) {
    if (!cli.screen.canAsk || asJson)
      throw new CliError('usage', `apply \`${flags.file}\`: there is nobody here to ask whether to go on`, {
        hint: 'give --yes to open the page where the plan is signed, or --dry-run to stop after the plan',
      });
    if (!(await askYesNo('Sign this with your passkey in the browser?')))
      throw new CliError('refused', `apply \`${flags.file}\`: you said no; nothing has changed`);
  }
  const done = await waitUntilSigned(cli, server, plan, flags);
  if (asJson) json(out, done);
  if (done.state !== 'applied')
    throw new CliError('refused', `apply \`${flags.file}\`: the plan is ${done.state}; nothing has changed`, {
      hint: 'run `sally apply` again for a new one',
    });
  if (!asJson) line(out, { text: 'Applied.', colour: 'green' }, ' The new configuration is in force.');
}

async function waitUntilSigned(cli: Cli, server: Server, plan: PlanView, flags: Flags): Promise<PlanView> {
  const opened = await openInBrowser(cli, server.page(`/plans/${plan.id}`), { open: flags.browser });
  return waitFor(
    cli,
    {
      what: 'wait for the signature',
      timeoutMs: flags.timeout,
      hint: `nothing has changed; the plan waits for ${left(plan.expiresAt, cli.now())} at ${server.page(`/plans/${plan.id}`)}`,
    },
    (signal, live) =>
      longPoll(cli, live, signal, {
        ask: (waitSeconds, stop) =>
          attempt('look at the plan', () =>
            server.client.getPlan({ params: { id: plan.id }, query: { waitSeconds } }, stop),
          ),
        isOver: (now) => now.state !== 'open',
        describe: () => (opened ? 'waiting for your passkey in the browser' : 'waiting for your passkey at that page'),
      }),
  );
}

function showPlan(sink: Sink, plan: PlanView): void {
  const groups = [
    ['added', '+', 'green', plan.added],
    ['changed', '~', 'yellow', plan.changed],
    ['removed', '-', 'red', plan.removed],
  ] as const;
  for (const [, mark, colour, changes] of groups)
    for (const change of changes) {
      line(sink, { text: `${mark} ${change.what} ${change.name}`, colour });
      for (const detail of change.details) line(sink, '    ', { text: detail, colour: colourOf(detail) ?? 'dim' });
    }
  line(sink);
  line(sink, groups.map(([word, , , changes]) => `${changes.length} ${word}`).join(', '));
}

/** Details of a change begin with what they do. */
function colourOf(detail: string): Colour | undefined {
  if (detail.startsWith('+ ')) return 'green';
  if (detail.startsWith('- ')) return 'red';
  return detail.startsWith('~ ') ? 'yellow' : undefined;
}

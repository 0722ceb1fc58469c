/** `sally policy lint`: what is sound and yet hardly meant. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { countOf, defaultConfigurationFile, printFaults, readConfigurationFiles } from './configuration-files.ts';
import { examples } from './examples.ts';
import { CliError, QuietExit, exitCodes } from './exit.ts';
import { json, line } from './screen.ts';

export function addPolicyLint(policy: Command, cli: Cli): void {
  examples(
    policy
      .command('lint')
      .summary('find policies that are hardly meant')
      .description(
        'Finds policies that can never matter, cures that can’t help, and roles that nobody could ask for, approve or use. ' +
          'No server is asked, so it works in a pipeline.',
      )
      .option('-f, --file <file>', 'the configuration', defaultConfigurationFile)
      .action((flags: { readonly file: string }) => policyLint(cli, flags.file)),
    ['the policies in this folder', 'sally policy lint'],
  );
}

async function policyLint(cli: Cli, file: string): Promise<void> {
  const { parseConfiguration } = await import('#policy/configuration.ts');
  const { openPolicyEngine, shippedPolicies } = await import('#src/open-policy-engine.ts');
  const { out } = cli.screen;
  const files = await readConfigurationFiles('lint the policies of', file);
  const shipped = shippedPolicies();
  const engine = await openPolicyEngine();
  const parsed = parseConfiguration({ ...files, shipped, engine });
  const linted = parsed.kind === 'ok' ? engine.lint({ shipped, configuration: parsed.configuration }) : parsed;
  const found = linted.kind === 'faults' ? linted.faults : linted.findings;
  if (cli.shared().json) {
    json(out, linted.kind === 'faults' ? { faults: found, findings: [] } : { faults: [], findings: found });
    if (found.length > 0) throw new QuietExit(exitCodes.verification_failed);
    return;
  }
  printFaults(out, files, found, linted.kind === 'faults' ? 'fault' : 'warning');
  if (found.length > 0)
    throw new CliError(
      'verification_failed',
      `lint the policies of \`${file}\`: ${countOf(found.length, linted.kind === 'faults' ? 'fault' : 'finding')}`,
    );
  line(out, { text: file, colour: 'bold' }, ': nothing to complain about');
}

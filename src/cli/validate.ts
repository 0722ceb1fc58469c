/** `sally validate`: checks a configuration and its policies, without a server. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { countOf, defaultConfigurationFile, printFaults, readConfigurationFiles } from './configuration-files.ts';
import { examples } from './examples.ts';
import { CliError, QuietExit, exitCodes } from './exit.ts';
import { json, line } from './screen.ts';

export function addValidate(program: Command, cli: Cli): void {
  examples(
    program
      .command('validate')
      .summary('check a configuration without applying it')
      .description(
        'Checks a configuration and the policies that it names: every fault with its file, line and column. No server is ' +
          'asked, so it works in a pipeline.',
      )
      .option('-f, --file <file>', 'the configuration', defaultConfigurationFile)
      .action((flags: { readonly file: string }) => validate(cli, flags.file)),
    ['the one in this folder', 'sally validate'],
    ['in a pipeline', 'sally validate -f deploy/sallyport.yaml && sally policy test -f deploy/sallyport.yaml'],
  );
}

async function validate(cli: Cli, file: string): Promise<void> {
  const { parseConfiguration } = await import('#policy/configuration.ts');
  const { openPolicyEngine, shippedPolicies } = await import('#src/open-policy-engine.ts');
  const files = await readConfigurationFiles('validate', file);
  const engine = await openPolicyEngine();
  const outcome = parseConfiguration({ ...files, shipped: shippedPolicies(), engine });
  const { out } = cli.screen;
  if (cli.shared().json) {
    json(
      out,
      outcome.kind === 'ok' ? { faults: [], warnings: outcome.warnings } : { faults: outcome.faults, warnings: [] },
    );
    if (outcome.kind === 'faults') throw new QuietExit(exitCodes.verification_failed);
    return;
  }
  if (outcome.kind === 'faults') {
    printFaults(out, files, outcome.faults);
    throw new CliError('verification_failed', `validate \`${file}\`: ${countOf(outcome.faults.length, 'fault')}`);
  }
  printFaults(out, files, outcome.warnings, 'warning');
  const { resources } = outcome.configuration;
  const roles = resources.reduce((sum, resource) => sum + resource.roles.length, 0);
  line(
    out,
    { text: file, colour: 'bold' },
    ` is sound: ${countOf(resources.length, 'resource')}, ${countOf(roles, 'role')}, ${countOf(files.policies.length, 'policy file')}`,
  );
}

/** `sally policy test`: asks the policies the questions in the `*.cases.yaml` beside them. */
import type { Command } from 'commander';
import type { CaseResult } from '#policy/cases.ts';
import type { PolicyFault } from '#policy/engine.ts';
import type { Cli } from './cli.ts';
import {
  countOf,
  defaultConfigurationFile,
  printFaults,
  readCases,
  readConfigurationFiles,
} from './configuration-files.ts';
import { examples } from './examples.ts';
import { CliError, exitCodes, QuietExit } from './exit.ts';
import { fields, json, line } from './screen.ts';

type Flags = { readonly file: string; readonly shipped?: true };

export function addPolicyTest(policy: Command, cli: Cli): void {
  examples(
    policy
      .command('test')
      .summary('run the cases beside the policies')
      .description(
        'Asks the policies of a configuration the questions in the `*.cases.yaml` beside them, and compares the answers. ' +
          'No server is asked, so it works in a pipeline.',
      )
      .option('-f, --file <file>', 'the configuration', defaultConfigurationFile)
      .option('--shipped', 'the cases of the shipped policies as well')
      .action((flags: Flags) => policyTest(cli, flags)),
    ['the policies in this folder', 'sally policy test'],
  );
}

async function policyTest(cli: Cli, flags: Flags): Promise<void> {
  const { runCases } = await import('#policy/cases.ts');
  const { parseConfiguration } = await import('#policy/configuration.ts');
  const { openPolicyEngine, shippedCases, shippedPolicies } = await import('#src/open-policy-engine.ts');
  const { out } = cli.screen;
  const asJson = cli.shared().json;
  const files = await readConfigurationFiles('test the policies of', flags.file);
  const shipped = shippedPolicies();
  const engine = await openPolicyEngine();
  const parsed = parseConfiguration({ ...files, shipped, engine });
  const loaded = parsed.kind === 'ok' ? engine.load({ shipped, configuration: parsed.configuration }) : parsed;
  if (loaded.kind === 'faults') {
    if (asJson) {
      json(out, { results: [], faults: loaded.faults });
      throw new QuietExit(exitCodes.verification_failed);
    }
    printFaults(out, files, loaded.faults);
    throw new CliError(
      'verification_failed',
      `test the policies of \`${flags.file}\`: ${countOf(loaded.faults.length, 'fault')} in them`,
    );
  }

  const cases = [...(await readCases('test with', files)), ...(flags.shipped === true ? shippedCases() : [])];
  if (cases.length === 0)
    throw new CliError('not_found', `test the policies of \`${flags.file}\`: there are no cases`, {
      hint: 'write them beside the policies, in files that end in .cases.yaml',
    });
  const results: CaseResult[] = [];
  const faults: PolicyFault[] = [];
  for (const { name, text } of cases) {
    const outcome = runCases(engine, { file: name, text });
    if (outcome.kind === 'faults') faults.push(...outcome.faults);
    else results.push(...outcome.results);
    if (asJson) continue;
    if (outcome.kind === 'faults') {
      printFaults(out, { file: name, policies: [] }, outcome.faults);
      continue;
    }
    const failed = outcome.results.filter((result) => result.kind === 'failed');
    line(
      out,
      failed.length === 0 ? { text: 'ok    ', colour: 'green' } : { text: 'failed', colour: 'red' },
      `  ${name}  `,
      { text: `${outcome.results.length - failed.length} of ${outcome.results.length}`, colour: 'dim' },
    );
    for (const { file, line: at, name: title, expected, got } of failed) {
      line(out, { text: `${file}:${at}:`, colour: 'bold' }, ` ${title}`);
      fields(out, [
        ['expected', expected],
        ['got', { text: got, colour: 'red' }],
      ]);
    }
  }
  const failed = results.filter((result) => result.kind === 'failed').length;
  if (asJson) {
    json(out, { results, faults });
    if (failed + faults.length > 0) throw new QuietExit(exitCodes.verification_failed);
    return;
  }
  if (failed + faults.length > 0)
    throw new CliError(
      'verification_failed',
      `test the policies of \`${flags.file}\`: ${[
        ...(failed > 0 ? [`${failed} of ${results.length} cases failed`] : []),
        ...(faults.length > 0 ? [`${countOf(faults.length, 'fault')} in the cases`] : []),
      ].join(', ')}`,
    );
}

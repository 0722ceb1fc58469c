/** `sally policy`: what concerns policies alone. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { addPolicyExplain } from './policy-explain.ts';
import { addPolicyLint } from './policy-lint.ts';
import { addPolicyReplay } from './policy-replay.ts';
import { addPolicyTest } from './policy-test.ts';

export function addPolicy(program: Command, cli: Cli): void {
  const policy = program
    .command('policy')
    .summary('test and examine policies')
    .description('Works with the policies of a configuration; only `replay` and `explain` ask a server.');
  addPolicyTest(policy, cli);
  addPolicyLint(policy, cli);
  addPolicyReplay(policy, cli);
  addPolicyExplain(policy, cli);
}

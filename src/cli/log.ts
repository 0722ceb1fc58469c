/** `sally log`: reading the log, proving an entry of it, and verifying a copy offline. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { addLogCheckpoint } from './log-checkpoint.ts';
import { addLogExport } from './log-export.ts';
import { addLogList } from './log-list.ts';
import { addLogProve } from './log-prove.ts';
import { addLogShow } from './log-show.ts';
import { addLogVerify } from './log-verify.ts';

export function addLog(program: Command, cli: Cli): void {
  const log = examples(
    program
      .command('log')
      .summary('read, prove and verify the log')
      .description(
        'Reads the log, proves single entries, and verifies copies of it offline with nothing but its public key.',
      ),
    ['what happened in the last hour', 'sally log --since 1h'],
    ['follow everything as it happens', 'sally log --all --follow'],
    ['check all of it yourself', 'sally log export copy && sally log verify copy'],
  );
  addLogList(log, cli);
  addLogShow(log, cli);
  addLogProve(log, cli);
  addLogExport(log, cli);
  addLogVerify(log, cli);
  addLogCheckpoint(log, cli);
}

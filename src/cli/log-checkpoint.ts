/** `sally log checkpoint`: the latest signed checkpoint, checked against the key that this machine knows. */
import type { Command } from 'commander';
import { openCheckpoint } from '#log/checkpoint.ts';
import { parseVerifier } from '#log/note.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { trustedLogKey } from './log-key.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addLogCheckpoint(log: Command, cli: Cli): void {
  examples(
    log
      .command('checkpoint')
      .summary('the latest signed checkpoint')
      .description(
        'Prints the latest checkpoint of the log: its size and root, signed. Who keeps one can prove later that the log ' +
          'still begins with what it was then.',
      )
      .option('--key <vkey>', 'the public key of the log; else the one of your first sign-in')
      .action((flags: { readonly key?: string }) => checkpoint(cli, flags.key)),
    ['keep one', 'sally log checkpoint > checkpoint-$(date +%F)'],
  );
}

async function checkpoint(cli: Cli, key: string | undefined): Promise<void> {
  const trusted = await trustedLogKey(cli, key);
  const { client } = await openServer(cli, 'anybody');
  const note = await attempt('get the checkpoint', () => client.logCheckpoint());
  const verifier = trusted === undefined ? undefined : parseVerifier(trusted.vkey);
  if (trusted !== undefined) {
    const opened = verifier === undefined ? undefined : openCheckpoint(note, verifier);
    if (opened?.kind !== 'opened')
      throw new CliError('verification_failed', `check the checkpoint: it is not signed by ${trusted.words}`, {
        hint: 'the log has another key than before; if you do not know why, ask before you trust it',
      });
  }
  if (cli.shared().json) return json(cli.screen.out, note);
  cli.screen.out.write(note);
  line(cli.screen.err, {
    text: trusted === undefined ? 'not checked: this machine knows no key of this log' : `signed by ${trusted.words}`,
    colour: 'dim',
  });
}

/** `sally holds deny`: refuses what is held with a word why, or lets go of one's own. A no needs no passkey. */
import type { Command } from 'commander';
import { askText } from './ask.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { idArgument } from './parse-values.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

type Flags = { readonly word?: string; readonly endSession?: true };

export function addHoldsDeny(holds: Command, cli: Cli): void {
  examples(
    holds
      .command('deny')
      .summary('refuse what is held, with a word why')
      .description('Refuses what is held. Who typed it reads your word at once, where it was typed.')
      .argument('<hold>', 'the id of what is held', idArgument('hold'))
      .option('--word <text>', 'why')
      .option('--end-session', 'end the session that it was typed in as well')
      .action((id: string, flags: Flags) => deny(cli, id, flags)),
    ['and say what would help', 'sally holds deny hld_01jd0000000000000000000000 --word "name the orders"'],
  );
  examples(
    holds
      .command('withdraw')
      .summary('let go of your own')
      .description('Lets go of what is held of your own: it does not run. Ctrl-C where it was typed does the same.')
      .argument('<hold>', 'the id of what is held', idArgument('hold'))
      .action((id: string) => withdraw(cli, id)),
    ['not that one', 'sally holds withdraw hld_01jd0000000000000000000000'],
  );
}

async function deny(cli: Cli, id: string, flags: Flags): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  if (flags.word === undefined && (!cli.screen.canAsk || cli.shared().json))
    throw new CliError('usage', `deny \`${id}\`: --word is missing`, { hint: `sally holds deny ${id} --word "why"` });
  const word =
    flags.word ??
    (await askText('Why not? Who typed it reads this', {
      check: (text) => (text.trim() === '' ? 'A word at least' : undefined),
    }));
  const body = { word, ...(flags.endSession === true ? { endSession: true } : {}) };
  const denied = await attempt(`deny \`${id}\``, () => client.denyHold({ params: { id }, body }));
  if (cli.shared().json) return json(cli.screen.out, denied);
  line(cli.screen.out, `Denied: ${denied.requester.handle} reads your word now`);
}

async function withdraw(cli: Cli, id: string): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const gone = await attempt(`let go of \`${id}\``, () => client.withdrawHold({ params: { id } }));
  if (cli.shared().json) return json(cli.screen.out, gone);
  line(cli.screen.out, 'Let go: it does not run');
}

/** `sally deny`: denies a request with a word why. Approving needs a passkey; a no does not. */
import type { Command } from 'commander';
import { askText } from './ask.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { idArgument } from './parse-values.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addDeny(program: Command, cli: Cli): void {
  examples(
    program
      .command('deny')
      .summary('deny a request')
      .description('Denies a request that waits for your decision. Who asked reads your word.')
      .argument('<request>', 'the id of the request', idArgument('request'))
      .option('--word <text>', 'why')
      .action((id: string, flags: { readonly word?: string }) => deny(cli, id, flags.word)),
    ['say what would help', 'sally deny req_01jd0000000000000000000000 --word "support-read is enough for this"'],
  );
}

async function deny(cli: Cli, id: string, given: string | undefined): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  if (given === undefined && (!cli.screen.canAsk || cli.shared().json))
    throw new CliError('usage', 'deny a request: --word is missing', { hint: `sally deny ${id} --word "why"` });
  const word =
    given ??
    (await askText('Why not? Who asked reads this', {
      check: (text) => (text.trim() === '' ? 'A word at least' : undefined),
    }));
  const denied = await attempt(`deny \`${id}\``, () => client.denyRequest({ params: { id }, body: { word } }));
  if (cli.shared().json) return json(cli.screen.out, denied);
  line(cli.screen.out, 'Denied: ', denied.requester.handle, ' does not get ', { text: denied.role, colour: 'bold' });
}

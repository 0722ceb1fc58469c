/** `sally withdraw`: takes back one's own pending request. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt } from './exit.ts';
import { idArgument } from './parse-values.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addWithdraw(program: Command, cli: Cli): void {
  examples(
    program
      .command('withdraw')
      .summary('take back your request')
      .description('Takes back a request of yours that nobody has decided yet.')
      .argument('<request>', 'the id of the request', idArgument('request'))
      .action((id: string) => withdraw(cli, id)),
    ['not needed any more', 'sally withdraw req_01jd0000000000000000000000'],
  );
}

async function withdraw(cli: Cli, id: string): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const withdrawn = await attempt(`withdraw \`${id}\``, () => client.withdrawRequest({ params: { id } }));
  if (cli.shared().json) return json(cli.screen.out, withdrawn);
  line(cli.screen.out, 'Withdrawn: you no longer ask for ', { text: withdrawn.role, colour: 'bold' });
}

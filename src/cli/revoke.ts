/** `sally revoke`: ends somebody's grant now. */
import type { Command } from 'commander';
import { parseId } from '#core/ids.ts';
import type { Cli } from './cli.ts';
import { cutWords, endGrant } from './end-grant.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addRevoke(program: Command, cli: Cli): void {
  examples(
    program
      .command('revoke')
      .summary('end somebody’s grant now')
      .description(
        'Ends a grant now and cuts the sessions under it. Whose it was reads your word where the session was cut.',
      )
      .argument('<grant>', 'the id of the grant, as `sally grants --all` shows it')
      .option('--word <text>', 'why')
      .action((id: string, flags: { readonly word?: string }) => revoke(cli, id, flags.word)),
    ['stop it, and say why', 'sally revoke grt_01jd0000000000000000000000 --word "wrong database"'],
  );
}

async function revoke(cli: Cli, id: string, word: string | undefined): Promise<void> {
  if (parseId('grant', id) === undefined)
    throw new CliError('usage', `revoke \`${id}\`: that is no id of a grant`, {
      hint: '`sally grants --all` lists them',
    });
  const { client } = await openServer(cli, 'signed-in');
  const before = await attempt(`revoke \`${id}\``, () => client.getGrant({ params: { id }, query: {} }));
  const ended = await endGrant(client, `revoke \`${id}\``, id, word);
  if (cli.shared().json) return json(cli.screen.out, ended);
  line(
    cli.screen.out,
    'Revoked ',
    { text: ended.role, colour: 'bold' },
    ` of ${ended.principal.handle}`,
    cutWords(before),
  );
}

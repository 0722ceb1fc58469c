/** `sally done`: hands back access that isn't needed any more. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { cutWords, endGrant } from './end-grant.ts';
import { examples } from './examples.ts';
import { CliError } from './exit.ts';
import { findGrants, isOneOrMore, oneGrant, parseTarget, words } from './pick-grant.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addDone(program: Command, cli: Cli): void {
  examples(
    program
      .command('done')
      .summary('hand back access that you no longer need')
      .description('Ends your own grant now. Sessions under it are cut; those under another grant of yours go on.')
      .argument('[grant]', 'the grant, its role or its resource; not needed when you have only one')
      .option('--all', 'every grant of yours that the argument means')
      .action((target: string | undefined, flags: { readonly all?: true }) => done(cli, target, flags.all === true)),
    ['the work on orders is done', 'sally done orders'],
    ['go home', 'sally done --all'],
  );
}

async function done(cli: Cli, text: string | undefined, all: boolean): Promise<void> {
  const target = parseTarget(text);
  const { client } = await openServer(cli, 'signed-in');
  const found = (await findGrants(client, target)).filter((grant) => grant.state !== 'ended');
  if (!isOneOrMore(found))
    throw new CliError('not_found', `${words('hand back', target)}: you have no live grant there`, {
      hint: '`sally grants` lists yours',
    });
  const chosen = all
    ? found
    : [await oneGrant(cli, 'hand back a grant', found, 'name one: `sally done GRANT`, or --all')];
  const { out } = cli.screen;
  const ended = [];
  for (const grant of chosen) {
    ended.push(await endGrant(client, `hand back \`${grant.id}\``, grant.id, undefined));
    if (!cli.shared().json) line(out, 'Handed back ', { text: grant.role, colour: 'bold' }, cutWords(grant));
  }
  if (cli.shared().json) json(out, all ? { items: ended } : ended[0]);
}

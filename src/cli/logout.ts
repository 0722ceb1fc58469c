/** `sally logout`: ends the sign-in of this machine, at the server and here. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { withLock } from './config-folder.ts';
import { examples } from './examples.ts';
import { CliError } from './exit.ts';
import { json, line } from './screen.ts';
import { notSignedIn, revokeTokens, trustCa } from './server.ts';
import { chooseServer, readServer, serverFile, writeServer } from './servers.ts';

export function addLogout(program: Command, cli: Cli): void {
  examples(
    program
      .command('logout')
      .summary('end the sign-in of this machine')
      .description('Ends the sign-in of this machine: the server forgets the token, and so does this machine.')
      .action(() => logout(cli)),
    ['sign out', 'sally logout'],
  );
}

async function logout(cli: Cli): Promise<void> {
  const url = await chooseServer(cli.env, cli.shared().server);
  const known = await readServer(cli.env, url);
  if (known?.signIn === undefined) throw notSignedIn(url);
  const { refreshToken } = known.signIn;
  trustCa(cli, url, known.caFile);
  // Here first: whatever the server says, this machine has no token any more.
  await withLock(serverFile(cli.env, url), async () => {
    const { signIn: _ended, ...rest } = (await readServer(cli.env, url)) ?? known;
    await writeServer(cli.env, rest);
  });
  try {
    await revokeTokens(url, refreshToken);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError('unreachable', `signed out here, but not at the server: ${error.message}`, {
      hint: 'the sign-in ends there by itself, 12 hours after it began',
      cause: error,
    });
  }
  if (cli.shared().json) return json(cli.screen.out, {});
  line(cli.screen.out, 'Signed out at ', url);
}

/** Which public key a verification trusts: the one given, or the one that this machine learnt at its first sign-in. */
import type { Cli } from './cli.ts';
import { CliError } from './exit.ts';
import { chooseServer, readServer } from './servers.ts';
import { parseVerifier } from '#log/note.ts';

export type TrustedKey = {
  readonly vkey: string;
  /** `the key given with --key`. */
  readonly words: string;
};

export async function trustedLogKey(cli: Cli, given: string | undefined): Promise<TrustedKey | undefined> {
  if (given !== undefined) {
    if (parseVerifier(given) === undefined)
      throw new CliError('usage', `trust the key \`${given}\`: that is no public key of a log`, {
        hint: 'as in `name+1234abcd+AZ…`; the server shows its own at /api/v1/about',
      });
    return { vkey: given, words: 'the key given with --key' };
  }
  const url = await chooseServer(cli.env, cli.shared().server);
  const known = await readServer(cli.env, url);
  return known === undefined ? undefined : { vkey: known.logKey, words: `the key of your sign-in at ${url}` };
}

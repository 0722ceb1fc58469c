/** All commands in one tree. Nothing is done here: the entry point runs it, the reference and the completions read it. */
import { Command } from 'commander';
import { addActivate } from './activate.ts';
import type { Cli } from './cli.ts';
import { addConnect } from './connect.ts';
import { addDeny } from './deny.ts';
import { addDone } from './done.ts';
import { addGrants } from './grants.ts';
import { addLog } from './log.ts';
import { addLogin } from './login.ts';
import { addLogout } from './logout.ts';
import { addLs } from './ls.ts';
import { addRequest } from './request.ts';
import { addRequests } from './requests.ts';
import { addRevoke } from './revoke.ts';
import { addSessions } from './sessions.ts';
import { addVersion, ownVersion } from './version.ts';
import { addWhoami } from './whoami.ts';
import { addWithdraw } from './withdraw.ts';

export function buildProgram(makeCli: (shared: Cli['shared']) => Cli): Command {
  const program = new Command('sally');
  const cli = makeCli(() => {
    const flags = program.opts<{ server?: string; json?: true }>();
    return { server: flags.server, json: flags.json === true };
  });
  program
    .description(
      'Temporary, least-privilege access to production: asked for, approved and proven with a passkey, recorded, cut on time.',
    )
    .usage('<command> [options]')
    .version(ownVersion(), '-V, --version', 'the version of this program')
    .helpOption('-h, --help', 'help for a command')
    .option(
      '--server <url>',
      'the server to talk to (SALLY_SERVER; else that of the last sign-in, else http://localhost:7700)',
    )
    .option('--json', 'print the documents of the API')
    .configureHelp({ showGlobalOptions: true, styleTitle: (title) => title })
    .configureOutput({
      writeOut: (text) => cli.screen.out.write(text),
      writeErr: (text) => cli.screen.err.write(text),
      // The entry point says what was wrong, in the words that all errors have.
      outputError: () => {},
    })
    .exitOverride()
    .helpCommand('help [command]', 'help for a command');

  program.commandsGroup('Access:');
  addLs(program, cli);
  addRequest(program, cli);
  addRequests(program, cli);
  addWithdraw(program, cli);
  addActivate(program, cli);
  addConnect(program, cli);
  addDone(program, cli);

  program.commandsGroup('Watching over it:');
  addDeny(program, cli);
  addGrants(program, cli);
  addRevoke(program, cli);
  addSessions(program, cli);
  addLog(program, cli);

  program.commandsGroup('This machine:');
  addLogin(program, cli);
  addLogout(program, cli);
  addWhoami(program, cli);
  addVersion(program, cli);

  program.addHelpText(
    'after',
    '\nBegin with `sally login`, then `sally ls`. The reference is docs/cli.md; exit codes are there too.',
  );
  return program;
}

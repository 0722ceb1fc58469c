/** All commands in one tree. Nothing is done here: the entry point runs it, the reference and the completions read it. */
import { stripVTControlCharacters } from 'node:util';
import { Command, Help, type CommanderError } from 'commander';
import { addActivate } from './activate.ts';
import type { Cli } from './cli.ts';
import { addApply } from './apply.ts';
import { addCompletion } from './completion.ts';
import { addDoctor } from './doctor.ts';
import { addPolicy } from './policy.ts';
import { addUp } from './up.ts';
import { addValidate } from './validate.ts';
import { addConnect } from './connect.ts';
import { addDeny } from './deny.ts';
import { addDone } from './done.ts';
import { addGrants } from './grants.ts';
import { addHolds } from './holds.ts';
import { addLog } from './log.ts';
import { addLogin } from './login.ts';
import { addLogout } from './logout.ts';
import { addLs } from './ls.ts';
import { addRequest } from './request.ts';
import { addRequests } from './requests.ts';
import { paint } from './screen.ts';
import { defaultServer } from './servers.ts';
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
    .option('--server <url>', 'the server to talk to')
    .option('--json', 'print the documents of the API')
    .configureHelp({
      showGlobalOptions: true,
      helpWidth: Math.min(100, cli.screen.out.columns ?? 100),
      styleTitle: (title) => paint(cli.screen.out, { text: title, colour: 'bold' }),
      // What there is to do comes first; the flags that all commands share are looked up rarely.
      formatHelp: (command, helper) => {
        const text = Help.prototype.formatHelp.call(helper, command, helper);
        if (command.parent !== null) return text;
        const sections = text.trimEnd().split('\n\n');
        const isOptions = (section: string) => stripVTControlCharacters(section).startsWith('Options:');
        return `${[...sections.filter((s) => !isOptions(s)), ...sections.filter(isOptions)].join('\n\n')}\n`;
      },
      subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map(argumentTerm)].join(' '),
    })
    .configureOutput({
      writeOut: (text) => cli.screen.out.write(text),
      writeErr: (text) => cli.screen.err.write(text),
      getOutHasColors: () => cli.screen.out.colours,
      getErrHasColors: () => cli.screen.err.colours,
      // The entry point says what was wrong, in the words that all errors have.
      outputError: () => {},
    })
    .exitOverride()
    .addHelpCommand(
      new Command('help').argument('[command]').description('help for a command').helpGroup('This machine:'),
    );

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
  addHolds(program, cli);
  addGrants(program, cli);
  addRevoke(program, cli);
  addSessions(program, cli);
  addLog(program, cli);

  program.commandsGroup('Running it:');
  addUp(program, cli);
  addValidate(program, cli);
  addPolicy(program, cli);
  addApply(program, cli);

  program.commandsGroup('This machine:');
  addLogin(program, cli);
  addLogout(program, cli);
  addWhoami(program, cli);
  addDoctor(program, cli);
  addCompletion(program, cli);
  addVersion(program, cli);

  program.addHelpText(
    'after',
    `
Begin with \`sally login\`, then \`sally ls\`; \`sally COMMAND --help\` has examples.

The server is that of --server, SALLY_SERVER, your last sign-in, or ${defaultServer}.`,
  );
  rememberWhereItFails(program, 'sally');
  return program;
}

/** `[role]`, `<request>`, without the `...` that says how many. */
function argumentTerm(argument: { readonly required: boolean; name(): string }): string {
  return argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
}

const failures = new WeakMap<CommanderError, string>();

/** The command that was used wrongly: `sally log show`. */
export function failedIn(error: CommanderError): string | undefined {
  return failures.get(error);
}

function rememberWhereItFails(command: Command, path: string): void {
  command.exitOverride((error) => {
    failures.set(error, path);
    throw error;
  });
  for (const child of command.commands) rememberWhereItFails(child, `${path} ${child.name()}`);
}

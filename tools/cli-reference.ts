/**
 * Writes docs/cli.md from the commands themselves: `node tools/cli-reference.ts`. With `--check` it writes nothing and fails
 * when the file has drifted.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { exitCodes, exitMeanings, type Exit } from '../src/cli/exit.ts';
import { buildProgram } from '../src/cli/program.ts';
import type { Sink } from '../src/cli/screen.ts';

const file = resolve(import.meta.dirname, '../docs/cli.md');

/** The reference as Markdown. */
export function cliReference(): string {
  let written = '';
  const sink: Sink = { write: (text) => void (written += text), isTty: false, colours: false, columns: undefined };
  const program = buildProgram((shared) => ({
    env: {},
    screen: { out: sink, err: sink, canAsk: false },
    now: () => 0,
    shared,
  }));
  const helpOf = (command: Command): string => {
    written = '';
    command.outputHelp();
    const text = written.trimEnd();
    // What all commands share is said once, above.
    return command.parent === null ? text : text.replace(/\n\nGlobal Options:\n(?: .*\n?)+/, '\n').trimEnd();
  };
  const leaves = (command: Command): readonly Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
  const pathOf = (command: Command): string =>
    command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;

  return `<!-- written by tools/cli-reference.ts from the commands themselves -->
# The command line

\`sally\` is a client of the HTTP API: what may be done is decided by the server, and what needs a passkey is done in the
browser, which \`sally\` opens and waits for.

\`\`\`text
${helpOf(program)}
\`\`\`

## What all commands have in common

**Results go to standard output**, progress, remarks and errors to standard error. Colours appear on a terminal only, and not
with \`NO_COLOR\` set. At a terminal \`sally\` asks for what is missing; elsewhere it says which flag is.

**\`--json\`** prints the documents of the API as they are (\`/openapi.json\` has their schemas). A list is
\`{ "items": […], "next": … }\`; \`sally ls\` prints \`{ "roles": …, "grants": … }\`; \`sally connect\` adds \`caFile\` to the
credential; with \`--follow\` there is one document a line. An error is one line on standard error:
\`{"error":{"code":…,"message":…,"hint":…}}\`, its code that of the API, or the name of the exit code.

**Exit codes**

| code | meaning |
|---|---|
${(Object.keys(exitCodes) as Exit[]).map((exit) => `| ${exitCodes[exit]} | ${exitMeanings[exit]} |`).join('\n')}

\`sally connect … -- COMMAND\` ends with the exit code of the command (128 and the signal's number when a signal ended it).

**Environment**

| variable | meaning |
|---|---|
| \`SALLY_SERVER\` | the server, where \`--server\` isn't given |
| \`SALLY_BROWSER\` | the program that opens pages, and its arguments, separated by spaces; the address is added |
| \`SALLY_CA_FILE\` | PEM file with a root that the server's certificate chains to, besides the usual ones |
| \`SALLY_DEBUG=1\` | show where a fault happened |
| \`NO_COLOR\` | no colours |
| \`XDG_CONFIG_HOME\` | where the CLI's own folder \`sallyport\` is (else \`~/.config\`) |

The variables of the server are in the help of \`sally up\` and in the operator's guide.

**Files**, in \`$XDG_CONFIG_HOME/sallyport\`, readable by you alone:

| file | what it is |
|---|---|
| \`machine-key.json\` | the key of this machine; tokens are of no use without it |
| \`config.json\` | the server of the last sign-in |
| \`servers/….json\` | for each server: the key of its log as of your first sign-in, and the tokens of your sign-in |
| \`servers/….gateway.pem\` | the root certificate of its gateway, for libpq |

## Commands

${leaves(program)
  .map((command) => `### ${pathOf(command)}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`)
  .join('\n')}`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const text = cliReference();
  if (process.argv.includes('--check')) {
    if (readFileSync(file, 'utf8') !== text) {
      console.error('docs/cli.md has drifted: run `node tools/cli-reference.ts`');
      process.exit(1);
    }
  } else writeFileSync(file, text);
}

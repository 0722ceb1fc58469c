/**
 * Runs the command line. `sally` is a client of the HTTP API and holds no rules of its own: what may be done is decided by
 * the server, and what needs a passkey is done in the browser. Each command is a file here (`request.ts`, `connect.ts` …)
 * and `program.ts` puts them together; this file makes what they are given and turns what they throw into a sentence and
 * an exit code.
 */
import { CommanderError } from 'commander';
import { ApiError } from '#contract/client.ts';
import { CliError, exitCodes, fromApi, QuietExit } from './exit.ts';
import { buildProgram, failedIn } from './program.ts';
import { openTestClock } from './test-clock.ts';
import { jsonLine, line, type Screen, type Sink } from './screen.ts';

function sink(stream: NodeJS.WriteStream): Sink {
  const isTty = stream.isTTY === true;
  return {
    write: (text) => {
      stream.write(text);
    },
    isTty,
    // https://no-color.org: set and not empty.
    colours: isTty && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
    get columns() {
      return isTty ? stream.columns : undefined;
    },
  };
}

const screen: Screen = {
  out: sink(process.stdout),
  err: sink(process.stderr),
  canAsk: process.stdin.isTTY === true && process.stderr.isTTY === true,
};

// `sally log | head`: whoever read us has enough.
process.stdout.on('error', (error) => {
  if ('code' in error && error.code === 'EPIPE') process.exit(0);
  throw error;
});

// Tests of the whole thing move the clock of the server, and of its clients with it.
const testClock = process.env['SALLY_TEST_CLOCK'];
const now = testClock === undefined ? Date.now : openTestClock(testClock).clock.now;

let asJson = false;
const program = buildProgram((shared) => ({
  env: process.env,
  screen,
  now,
  shared: () => {
    const flags = shared();
    asJson = flags.json;
    return flags;
  },
}));

try {
  await program.parseAsync();
} catch (error) {
  asJson ||= process.argv
    .slice(2, process.argv.includes('--') ? process.argv.indexOf('--') : undefined)
    .includes('--json');
  process.exitCode = report(error);
}

function report(error: unknown): number {
  if (error instanceof QuietExit) return error.status;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    // `sally` or `sally log` alone: the help has been printed.
    if (error.code === 'commander.help') return exitCodes.usage;
    return say(usageError(error));
  }
  if (error instanceof CliError) return say(error);
  // An answer that no command has put into its own words.
  if (error instanceof ApiError) return say(fromApi('ask the server', error));
  say(
    new CliError('fault', error instanceof Error ? `${error.name}: ${error.message}` : String(error), {
      hint: 'this is a fault in sally; SALLY_DEBUG=1 shows where',
    }),
  );
  if (process.env['SALLY_DEBUG'] === '1') console.error(error);
  return exitCodes.fault;
}

function say(error: CliError): number {
  if (asJson) {
    const { code, exit, message, hint } = error;
    jsonLine(screen.err, { error: { code: code ?? exit, message, ...(hint === undefined ? {} : { hint }) } });
  } else {
    line(screen.err, { text: 'sally:', colour: 'red' }, ` ${error.message}`);
    if (error.hint !== undefined) line(screen.err, { text: 'hint:', colour: 'cyan' }, ` ${error.hint}`);
  }
  return exitCodes[error.exit];
}

/** What commander found wrong, in the words that all errors have. */
function usageError(error: CommanderError): CliError {
  const path = failedIn(error) ?? 'sally';
  const [first = '', ...rest] = error.message
    .replace(/^error: /, '')
    .replaceAll("'", '`')
    .split('\n');
  const suggestion = /\(Did you mean (?:one of )?(.*)\?\)/.exec(rest.join(' '))?.[1];
  const refuse = (message: string, hint: string) => new CliError('usage', message, { hint, cause: error });
  const helps = `\`${path} --help\` shows how`;

  const option = /^option `(?:-\w, )?(.*)` argument `(.*)` is invalid\. (.*)$/.exec(first);
  if (option !== null) return refuse(`\`${option[2]}\` is not right for ${option[1]}`, asHint(option[3] ?? ''));
  const argument = /value `(.*)` is invalid for argument `(.*)`\. (.*)$/.exec(first);
  if (argument !== null)
    return refuse(`${path.slice('sally '.length)} \`${argument[1]}\`: ${asHint(argument[3] ?? '')}`, helps);
  const excess = /^too many arguments for .*? but got \d+: (.*?)\.?$/.exec(first)?.[1];
  if (excess !== undefined && path.endsWith(' list'))
    return refuse(
      `unknown command \`${excess.split(', ')[0]}\``,
      `\`${path.slice(0, -' list'.length)} --help\` lists them`,
    );
  if (excess !== undefined)
    return refuse(`${path.slice('sally '.length)}: there are more arguments than it takes (${excess})`, helps);
  return refuse(first.replace(/\.$/, ''), suggestion === undefined ? helps : `did you mean ${suggestion}?`);
}

/** A sentence of commander's as one of ours. */
function asHint(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1).replace(/\.$/, '');
}

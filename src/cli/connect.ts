/**
 * `sally connect`: psql, or any other program, on a resource under one grant. The password belongs to that grant alone,
 * is asked for anew each time, and reaches the program through its environment: never through arguments, which every
 * user of the machine can read, and never through a file.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { Option, type Command } from 'commander';
import type { CredentialView, GrantView } from '#contract/views.ts';
import { activateGrant } from './activate.ts';
import { askYesNo } from './ask.ts';
import type { Cli } from './cli.ts';
import { codeOf, writeText } from './config-folder.ts';
import { connectionEnvironment, connectionString, type Format, formats } from './connection.ts';
import { examples } from './examples.ts';
import { attempt, CliError, QuietExit } from './exit.ts';
import { findGrants, isOneOrMore, oneGrant, parseTarget, words, type Target } from './pick-grant.ts';
import { json, line } from './screen.ts';
import { openServer, type Server } from './server.ts';
import { serverPath } from './servers.ts';
import { relative, timeAndRelative } from './times.ts';

type Flags = {
  readonly print?: true;
  readonly format?: Format;
  readonly grant?: string;
  readonly role?: string;
  readonly activate?: true;
  readonly browser: boolean;
};

export function addConnect(program: Command, cli: Cli): void {
  examples(
    program
      .command('connect')
      .summary('connect with psql, or with any other program')
      .description(
        'Connects to a resource under a grant of yours: with psql, or with the program after `--`, which finds the usual ' +
          'PG* variables in its environment. With --print it starts nothing and prints what to paste into another program.',
      )
      .argument('[target]', 'a resource, a role or a grant; not needed when you have only one')
      .argument('[command...]', 'after `--`: what to run in place of psql')
      .option('--role <role>', 'under which role')
      .option('--grant <id>', 'under which grant')
      .option('--activate', 'activate the grant first if it waits for that')
      .option('--print', 'print a connection string and start nothing')
      .addOption(new Option('--format <format>', 'with --print: of which kind').choices(formats))
      .option('--no-browser', 'print the address of the page only, where the grant has to be activated')
      .usage('[options] [target] [-- command...]')
      .action((target: string | undefined, command: string[], flags: Flags, self: Command) =>
        connect(cli, ...splitArguments(self, target, command), flags),
      ),
    ['psql on the resource', 'sally connect orders'],
    ['any other program', 'sally connect orders -- pg_dump --table=public.orders'],
    ['a string for a GUI', 'sally connect orders --print'],
    ['variables for this shell', 'eval "$(sally connect orders --print --format env)"'],
  );
}

/** What stands before and after `--`: `sally connect -- pg_dump` names no target. */
function splitArguments(
  self: Command,
  target: string | undefined,
  command: readonly string[],
): [target: string | undefined, command: readonly string[]] {
  const raw = process.argv;
  const dashes = raw.indexOf('--');
  if (dashes === -1) {
    if (command.length > 0)
      throw new CliError('usage', `connect: \`${command[0]}\` is one argument too many`, {
        hint: `a program to run stands after --: sally connect ${target ?? ''} -- ${command.join(' ')}`,
      });
    return [target, []];
  }
  const after = raw.length - dashes - 1;
  const all = self.args;
  if (after === 0)
    throw new CliError('usage', 'connect: nothing stands after `--`', { hint: 'name the program to run' });
  const before = all.slice(0, all.length - after);
  if (before.length > 1)
    throw new CliError('usage', `connect: \`${before[1]}\` is one argument too many`, {
      hint: 'one target before `--`, the program to run after it',
    });
  return [before[0], all.slice(all.length - after)];
}

async function connect(cli: Cli, text: string | undefined, command: readonly string[], flags: Flags): Promise<void> {
  const asJson = cli.shared().json;
  if (flags.format !== undefined && flags.print !== true)
    throw new CliError('usage', 'connect: --format goes with --print');
  if (command.length > 0 && (flags.print === true || asJson))
    throw new CliError('usage', 'connect: print, or run a program, not both');
  const target = narrow(parseTarget(text), flags);
  const server = await openServer(cli, 'signed-in');
  const grant = await readyGrant(cli, server, target, flags);
  const credential = await attempt(`get a password for ${grant.role}`, () =>
    server.client.issueCredential({ params: { id: grant.id } }),
  );
  const caFile = `${serverPath(cli.env, server.url)}.gateway.pem`;
  await writeText(caFile, credential.caCertificate);

  const { out, err } = cli.screen;
  if (asJson) return json(out, { ...credential, caFile });
  if (flags.print === true) {
    out.write(`${connectionString(flags.format ?? 'uri', credential, caFile)}\n`);
    line(err, {
      text: `for ${grant.role}, until ${timeAndRelative(credential.expiresAt, cli.now())}; it holds a password that is not shown again`,
      colour: 'dim',
    });
    return;
  }
  if (err.isTty)
    line(
      err,
      { text: grant.role, colour: 'bold' },
      ` ends ${relative(credential.expiresAt, cli.now())}; \`sally done ${grant.resource}\` ends it now`,
    );
  const [program, ...args] = command.length === 0 ? ['psql'] : command;
  throw new QuietExit(await run(cli, program ?? 'psql', args, credential, caFile));
}

/** --grant and --role say more exactly what the argument means; they may not say something else. */
function narrow(target: Target, flags: Flags): Target & { readonly within?: Target } {
  if (flags.grant !== undefined) {
    const named = parseTarget(flags.grant);
    if (named.kind !== 'grant') throw new CliError('usage', `connect: \`${flags.grant}\` is no id of a grant`);
    return { ...named, within: target };
  }
  if (flags.role !== undefined) {
    const named = parseTarget(flags.role);
    if (named.kind !== 'role')
      throw new CliError('usage', `connect: \`${flags.role}\` is no role`, { hint: 'as in orders/support-read' });
    return { ...named, within: target };
  }
  return target;
}

function isWithin(grant: GrantView, target: Target | undefined): boolean {
  switch (target?.kind) {
    case 'grant':
      return grant.id === target.id;
    case 'role':
      return grant.role === target.role;
    case 'resource':
      return grant.resource === target.resource;
    default:
      return true;
  }
}

/** An active grant that the target means: the only one, the chosen one, or one that is activated now. */
async function readyGrant(
  cli: Cli,
  server: Server,
  target: Target & { readonly within?: Target },
  flags: Flags,
): Promise<GrantView> {
  const found = (await findGrants(server.client, target)).filter((grant) => isWithin(grant, target.within));
  const active = found.filter((grant) => grant.state === 'active');
  if (isOneOrMore(active)) {
    // Of several under one role, which permit the same, the one that lasts longest.
    const longest = new Map<string, GrantView>();
    for (const grant of active) {
      const other = longest.get(grant.role);
      if (other === undefined || (grant.endsAt ?? '') > (other.endsAt ?? '')) longest.set(grant.role, grant);
    }
    const roles = [...longest.values()];
    return isOneOrMore(roles)
      ? oneGrant(cli, `${words('connect', target, 'to')}`, roles, 'say which with --role ROLE or --grant ID')
      : active[0];
  }
  const approved = found.filter((grant) => grant.state === 'approved' && Date.parse(grant.notBefore) <= cli.now());
  if (isOneOrMore(approved)) {
    const grant = await oneGrant(
      cli,
      `${words('connect', target, 'to')}`,
      approved,
      'say which with --role ROLE or --grant ID',
    );
    const goAhead =
      flags.activate === true ||
      (cli.screen.canAsk &&
        !cli.shared().json &&
        (await askYesNo(`${grant.role} is approved but not active. Activate it now?`)));
    if (!goAhead)
      throw new CliError('refused', `${words('connect', target, 'to')}: ${grant.role} is approved but not active`, {
        hint: `activate it with \`sally activate ${grant.id}\`, or connect with --activate`,
      });
    return activateGrant(cli, server, grant, { timeoutMs: 5 * 60_000, browser: flags.browser, show: false });
  }
  throw await nothingToConnectWith(cli, server, target, found);
}

async function nothingToConnectWith(
  cli: Cli,
  server: Server,
  target: Target,
  found: readonly GrantView[],
): Promise<CliError> {
  const later = found.find((grant) => grant.state === 'approved');
  if (later !== undefined)
    return new CliError(
      'refused',
      `${words('connect', target, 'to')}: ${later.role} starts ${relative(later.notBefore, cli.now())}`,
    );
  const { items } = await attempt('list the roles', () => server.client.listRoles());
  const roles = items.filter(
    (role) =>
      (target.kind === 'role' && role.role === target.role) ||
      (target.kind === 'resource' && role.resource === target.resource) ||
      target.kind === 'any',
  );
  const pending = roles.find((role) => role.pendingRequest !== null);
  const hint =
    pending?.pendingRequest !== undefined && pending.pendingRequest !== null
      ? `your request waits for an approval: \`sally requests show ${pending.pendingRequest} --wait\``
      : roles[0] !== undefined
        ? `ask for it: \`sally request ${roles.length === 1 ? roles[0].role : `ROLE\` (${roles.map((r) => r.role).join(', ')})`}${roles.length === 1 ? ' --for 1h --reason "why"`' : ''}`
        : '`sally ls` shows what you can ask for';
  return new CliError('not_found', `${words('connect', target, 'to')}: you have no live grant there`, { hint });
}

/** Runs the program on this terminal and answers its exit code, as a shell would. */
function run(
  cli: Cli,
  program: string,
  args: readonly string[],
  credential: CredentialView,
  caFile: string,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: 'inherit',
      env: connectionEnvironment(cli.env, credential, caFile),
    });
    // Ctrl-C at the terminal reaches the program as well as us, and is the program's to answer: psql cancels the statement.
    // What only we are sent is passed on.
    const ownedByTerminal = process.stdin.isTTY;
    const onInterrupt = (signal: NodeJS.Signals) => {
      if (!ownedByTerminal) child.kill(signal);
    };
    const onEnd = (signal: NodeJS.Signals) => {
      child.kill(signal);
    };
    const interrupts = ['SIGINT', 'SIGQUIT'] as const;
    const ends = ['SIGTERM', 'SIGHUP'] as const;
    for (const signal of interrupts) process.on(signal, onInterrupt);
    for (const signal of ends) process.on(signal, onEnd);
    const release = () => {
      for (const signal of interrupts) process.off(signal, onInterrupt);
      for (const signal of ends) process.off(signal, onEnd);
    };
    child.once('error', (cause) => {
      release();
      reject(cannotRun(program, cause));
    });
    child.once('exit', (status, signal) => {
      release();
      resolve(signal === null ? (status ?? 0) : 128 + constants.signals[signal]);
    });
  });
}

function cannotRun(program: string, cause: unknown): CliError {
  if (codeOf(cause) !== 'ENOENT')
    return new CliError('command_not_found', `run \`${program}\`: ${codeOf(cause) ?? 'it can’t be started'}`, {
      cause,
    });
  if (program !== 'psql')
    return new CliError('command_not_found', `run \`${program}\`: there is no such program`, {
      hint: 'the program stands after `--`; it is looked for on the PATH',
      cause,
    });
  return new CliError('command_not_found', 'run psql: it is not installed', { hint: howToInstallPsql(), cause });
}

export function howToInstallPsql(): string {
  return process.platform === 'darwin'
    ? '`brew install libpq`; or --print for another program'
    : '`apt install postgresql-client` on Debian and Ubuntu, `dnf install postgresql` on Fedora; or --print for another program';
}

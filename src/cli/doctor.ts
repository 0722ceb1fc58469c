/** `sally doctor`: looks at everything on this side that can be wrong, a line each. */
import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { configFolder, readText } from './config-folder.ts';
import { howToInstallPsql } from './connect.ts';
import { examples } from './examples.ts';
import { CliError, exitCodes, QuietExit } from './exit.ts';
import { machineKeyFile } from './machine-key.ts';
import { json, line, type Cell, type Sink } from './screen.ts';
import { createStrangerClient, openServer, trustCa } from './server.ts';
import { chooseServer, readServer, serverFile, serverPath } from './servers.ts';
import { clockTime, span } from './times.ts';

type Finding = {
  readonly what: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly text: string;
  readonly hint?: string;
};

export function addDoctor(program: Command, cli: Cli): void {
  examples(
    program
      .command('doctor')
      .summary('look for what is wrong on this machine')
      .description(
        'Looks at what Sallyport needs on this machine: Node, psql, the server and the way to it, the clock, your sign-in, ' +
          'and the files of the CLI.',
      )
      .action(() => doctor(cli)),
    ['why doesn’t it work', 'sally doctor'],
  );
}

async function doctor(cli: Cli): Promise<void> {
  const { out } = cli.screen;
  const asJson = cli.shared().json;
  const findings: Finding[] = [];
  const report = (finding: Finding) => {
    findings.push(finding);
    if (!asJson) print(out, finding);
  };
  report(node());
  report(await psql(cli));
  report(await folder(cli));
  for (const finding of await server(cli)) report(finding);
  if (asJson) json(out, { findings });
  if (findings.some((finding) => finding.state === 'fail')) throw new QuietExit(exitCodes.verification_failed);
}

function print(sink: Sink, { what, state, text, hint }: Finding): void {
  const colour = state === 'ok' ? 'green' : state === 'warn' ? 'yellow' : 'red';
  const mark: Cell = { text: state.padEnd(4), colour };
  line(sink, mark, `  ${what.padEnd(8)}  ${text}`);
  if (hint !== undefined) line(sink, '                ', { text: `hint: ${hint}`, colour: 'dim' });
}

function node(): Finding {
  const major = Number(process.versions.node.split('.')[0]);
  return major >= 24
    ? { what: 'node', state: 'ok', text: process.versions.node }
    : { what: 'node', state: 'fail', text: `${process.versions.node} is too old`, hint: 'version 24 or newer' };
}

async function psql(cli: Cli): Promise<Finding> {
  const version = await outputOf(cli, 'psql', ['--version']);
  if (version === undefined) return { what: 'psql', state: 'warn', text: 'not installed', hint: howToInstallPsql() };
  const major = Number(/\b(\d+)(?:\.\d+)?/.exec(version)?.[1]);
  const text = version.replace(/^psql \(PostgreSQL\) /, '');
  return major >= 12
    ? { what: 'psql', state: 'ok', text }
    : { what: 'psql', state: 'warn', text: `${text} is old`, hint: howToInstallPsql() };
}

function outputOf(cli: Cli, program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'], env: { ...cli.env }, timeout: 5000 });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    child.once('error', () => resolve(undefined));
    child.once('close', (status) => resolve(status === 0 ? text.trim() : undefined));
  });
}

/** Who else can read the key and the tokens of this machine? */
async function folder(cli: Cli): Promise<Finding> {
  const what = 'files';
  const path = configFolder(cli.env);
  const url = await chooseServer(cli.env, cli.shared().server).catch(() => undefined);
  const private_ = [
    path,
    join(path, 'servers'),
    machineKeyFile(cli.env),
    ...(url === undefined ? [] : [serverFile(cli.env, url)]),
  ];
  const open: string[] = [];
  let there = false;
  for (const file of private_) {
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) continue;
    there = true;
    if ((found.mode & 0o077) !== 0) open.push(file);
    if (process.getuid !== undefined && found.uid !== process.getuid())
      return { what, state: 'fail', text: `${file} belongs to somebody else`, hint: 'was `sally` run with sudo?' };
  }
  if (!there) return { what, state: 'ok', text: `${path} is not there yet` };
  return open.length === 0
    ? { what, state: 'ok', text: `${path} is private` }
    : {
        what,
        state: 'fail',
        text: `others can read ${open.join(', ')}`,
        hint: `somebody may have read the key of this machine: \`rm -r ${path}\`, then \`sally login\``,
      };
}

async function server(cli: Cli): Promise<readonly Finding[]> {
  let url;
  let known;
  try {
    url = await chooseServer(cli.env, cli.shared().server);
    known = await readServer(cli.env, url);
    trustCa(cli, url, known?.caFile);
  } catch (error) {
    return [failed('server', error)];
  }
  const findings: Finding[] = [];
  let about;
  try {
    about = await createStrangerClient(url).about();
  } catch (error) {
    return [failed('server', error)];
  }
  findings.push({ what: 'server', state: 'ok', text: `Sallyport ${about.version} at ${url}` });
  findings.push(await clock(cli, url));
  if (known !== undefined)
    findings.push(
      known.logKey === about.logKey
        ? { what: 'log key', state: 'ok', text: 'the one of your first sign-in' }
        : {
            what: 'log key',
            state: 'fail',
            text: 'another one than at your first sign-in',
            hint: 'if the server was not set up anew, somebody may have replaced it',
          },
    );
  findings.push(await signIn(cli, url));
  findings.push(await certificate(cli, url));
  return findings;
}

async function clock(cli: Cli, url: string): Promise<Finding> {
  const answer = await fetch(`${url}/api/v1/about`, { redirect: 'error' });
  await answer.body?.cancel();
  const date = Date.parse(answer.headers.get('date') ?? '');
  if (Number.isNaN(date)) return { what: 'clock', state: 'ok', text: 'the server does not say its own' };
  // The header has whole seconds, and was on its way for a while.
  const ahead = date - cli.now();
  if (Math.abs(ahead) < 5000) return { what: 'clock', state: 'ok', text: 'as the server’s' };
  const text = `${span(Math.abs(ahead))} ${ahead > 0 ? 'behind' : 'ahead of'} the server’s`;
  return { what: 'clock', state: Math.abs(ahead) < 60_000 ? 'warn' : 'fail', text, hint: 'set it, or let NTP do so' };
}

async function signIn(cli: Cli, url: string): Promise<Finding> {
  const what = 'sign-in';
  try {
    const { client } = await openServer({ ...cli, shared: () => ({ ...cli.shared(), server: url }) }, 'signed-in');
    const me = await client.me();
    return {
      what,
      state: 'ok',
      text: `${me.principal.handle}, until ${clockTime(me.session.expiresAt, cli.now())}`,
    };
  } catch (error) {
    if (error instanceof CliError && error.exit === 'not_signed_in')
      return { what, state: 'warn', text: error.message, hint: error.hint ?? 'sally login' };
    return failed(what, error);
  }
}

/** The root that the gateway's certificate chains to, as it came with the last credential. */
async function certificate(cli: Cli, url: string): Promise<Finding> {
  const what = 'gateway';
  const file = `${serverPath(cli.env, url)}.gateway.pem`;
  const text = await readText(file);
  if (text === undefined) return { what, state: 'ok', text: 'no connection was made yet' };
  try {
    const { validToDate } = new X509Certificate(text);
    if (validToDate.getTime() < cli.now())
      return {
        what,
        state: 'fail',
        text: `its root certificate ran out (${file})`,
        hint: 'connect again for the new one',
      };
    return { what, state: 'ok', text: `root certificate in ${file}` };
  } catch {
    return { what, state: 'fail', text: `${file} is no certificate`, hint: 'delete it and connect again' };
  }
}

function failed(what: string, error: unknown): Finding {
  const text = error instanceof Error ? error.message : String(error);
  const hint = error instanceof CliError && error.hint !== undefined ? error.hint : undefined;
  return { what, state: 'fail', text, ...(hint === undefined ? {} : { hint }) };
}

/** `sally up`: runs Sallyport on this machine: store, console, API and gateway in one process. */
import { existsSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { formatInstant } from '#core/instant.ts';
import type { ServerConfig, ServerOptions } from '#src/config.ts';
import type { RunningSally } from '#src/main.ts';
import type { Cli } from './cli.ts';
import { codeOf } from './config-folder.ts';
import { countOf, defaultConfigurationFile, printFaults } from './configuration-files.ts';
import { examples } from './examples.ts';
import { CliError, QuietExit } from './exit.ts';
import { fields, json, line, liveLine } from './screen.ts';
import { defaultServer } from './servers.ts';
import { openTestClock } from './test-clock.ts';
import { left } from './times.ts';

type Flags = {
  readonly config?: string;
  readonly data?: string;
  readonly console?: string;
  readonly postgres?: string;
  readonly postgresPublicHost?: string;
  readonly publicUrl?: string;
  readonly sample?: boolean;
  readonly readyFile?: string;
  readonly logLevel?: string;
  readonly testClock?: string;
  readonly testDieAt?: string;
};

export function addUp(program: Command, cli: Cli): void {
  examples(
    program
      .command('up')
      .summary('run Sallyport on this machine')
      .description(
        'Runs Sallyport: the web console and the API, the PostgreSQL gateway, and their store, in one process. Without a ' +
          'configuration file it brings a sample database to try everything on. The first start prints a one-time link for ' +
          'the first administrator. Ctrl-C stops it; the data stays.',
      )
      .option(
        '-c, --config <file>',
        `the configuration file; ${defaultConfigurationFile} of this folder when it is there`,
      )
      .option('--data <folder>', 'where everything is kept (SALLY_DATA_DIR; else .sally)')
      .option('--console <host:port>', 'where console and API listen (SALLY_CONSOLE_LISTEN; else 127.0.0.1:7700)')
      .option('--postgres <host:port>', 'where the gateway listens (SALLY_POSTGRES_LISTEN; else 127.0.0.1:7701)')
      .option('--postgres-public-host <name>', 'the name that clients use for the gateway')
      .option('--public-url <url>', 'the address that people open (SALLY_PUBLIC_URL)')
      .option('--sample', 'bring the sample database, also with a configuration file')
      .option('--no-sample', 'do without the sample database')
      .option('--ready-file <file>', 'write what runs where to this file, as JSON, once all is ready')
      .option('--log-level <level>', 'debug, info, warn or error')
      .addOption(
        new Option('--test-clock <file>', 'for tests: add the milliseconds in this file to the clock').hideHelp(),
      )
      .addOption(
        new Option('--test-die-at <file>', 'for tests: die at the fault point that this file names').hideHelp(),
      )
      .action((flags: Flags) => up(cli, flags)),
    ['try it', 'sally up'],
    ['for others to use', 'sally up -c sallyport.yaml --public-url https://sally.example.com --console 0.0.0.0:443'],
    ['in a script: any free ports', 'sally up --console 127.0.0.1:0 --postgres 127.0.0.1:0 --ready-file ready.json'],
  );
}

async function up(cli: Cli, flags: Flags): Promise<void> {
  const config = await readConfig(cli, flags);
  const testClock = flags.testClock ?? cli.env['SALLY_TEST_CLOCK'];
  const isForOthers = config.publicUrl.kind === 'given' && config.publicUrl.rpId !== 'localhost';
  for (const [option, value] of [
    ['--test-clock', testClock],
    ['--test-die-at', flags.testDieAt],
  ] as const)
    if (value !== undefined && isForOthers)
      throw new CliError('usage', `start Sallyport: ${option} is for tests on this machine, not for others to use`);
  const { out, err } = cli.screen;
  // Whatever an earlier run said is no longer so.
  if (config.readyFile !== undefined) await rm(config.readyFile, { force: true });

  const { startSally } = await import('#src/main.ts'); // all parts of the server: loaded only here
  const live = liveLine(err, cli.now);
  let sally;
  try {
    live.say('starting');
    sally = await startSally(config, {
      webRoot: fileURLToPath(new URL('../../web/dist', import.meta.url)),
      onProgress: (text) => live.say(text),
      logToFile: err.isTty,
      ...(testClock === undefined ? {} : { system: openTestClock(testClock) }),
      ...(flags.testDieAt === undefined ? {} : { dieAt: resolve(flags.testDieAt) }),
    });
  } catch (error) {
    throw cannotStart(error);
  } finally {
    live.end();
  }
  const stopped = stopOnSignal(cli, sally.stop);
  const ready = readyDocument(sally);
  if (config.readyFile !== undefined) await writeReadyFile(config.readyFile, ready);
  if (cli.shared().json) json(out, ready);
  else show(cli, sally, config);
  throw new QuietExit(await stopped);
}

/** Flags, environment and configuration file, put together or refused with everything that is wrong. */
async function readConfig(cli: Cli, flags: Flags): Promise<ServerConfig> {
  const { createConfig } = await import('#src/config.ts');
  const { parseServerSettings } = await import('#policy/configuration.ts');
  const path = flags.config ?? (existsSync(defaultConfigurationFile) ? defaultConfigurationFile : undefined);
  const { err } = cli.screen;
  let file;
  if (path !== undefined) {
    let text;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw new CliError(
        'not_found',
        codeOf(cause) === 'ENOENT'
          ? `start with \`${path}\`: there is no such file`
          : `start with \`${path}\`: it can’t be read (${codeOf(cause) ?? String(cause)})`,
        {
          cause,
        },
      );
    }
    const settings = parseServerSettings({ file: path, text });
    if (settings.kind === 'faults') {
      printFaults(err, { file: path, policies: [] }, settings.faults);
      throw new CliError('usage', `start with \`${path}\`: ${countOf(settings.faults.length, 'fault')} in it`, {
        hint: `\`sally validate -f ${path}\` checks all of it`,
      });
    }
    file = { path, server: settings.server };
  }
  const outcome = createConfig({ env: cli.env, options: optionsOf(flags), file, workingDirectory: process.cwd() });
  if (outcome.kind === 'ok') return outcome.config;
  const [only, ...others] = outcome.faults;
  if (only !== undefined && others.length === 0)
    throw new CliError('usage', `start Sallyport: ${only.variable}: ${only.message}`, { hint: only.help });
  for (const fault of outcome.faults) {
    line(err, { text: `${fault.variable}:`, colour: 'bold' }, ` ${fault.message}`);
    if (fault.help !== undefined) line(err, { text: '  help: ', colour: 'cyan' }, fault.help);
  }
  throw new CliError('usage', `start Sallyport: ${outcome.faults.length} settings are wrong`);
}

function optionsOf(flags: Flags): ServerOptions {
  return {
    ...(flags.data === undefined ? {} : { dataDirectory: flags.data }),
    ...(flags.publicUrl === undefined ? {} : { publicUrl: flags.publicUrl }),
    ...(flags.console === undefined ? {} : { consoleListen: flags.console }),
    ...(flags.postgres === undefined ? {} : { postgresListen: flags.postgres }),
    ...(flags.postgresPublicHost === undefined ? {} : { postgresPublicHost: flags.postgresPublicHost }),
    ...(flags.logLevel === undefined ? {} : { logLevel: flags.logLevel }),
    ...(flags.sample === undefined ? {} : { sample: flags.sample }),
    ...(flags.readyFile === undefined ? {} : { readyFile: flags.readyFile }),
  };
}

/** Why it can't start, in a sentence: what the parts throw for expected reasons has a code, and often a hint. */
function cannotStart(error: unknown): unknown {
  if (!(error instanceof Error) || codeOf(error) === undefined) return error;
  const hint = 'hint' in error && typeof error.hint === 'string' ? error.hint : undefined;
  if (codeOf(error) === 'EADDRINUSE') {
    const { address, port } = error as Error & { readonly address?: unknown; readonly port?: unknown };
    return new CliError('refused', `start Sallyport: another program listens on ${String(address)}:${String(port)}`, {
      hint: 'stop it, or choose another port with --console HOST:PORT or --postgres HOST:PORT; port 0 takes any free one',
      cause: error,
    });
  }
  return new CliError('refused', `start Sallyport: ${error.message}`, { hint, cause: error });
}

/** Resolves with the exit code when a signal has stopped everything. A second signal doesn't wait. */
function stopOnSignal(cli: Cli, stop: () => Promise<void>): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) {
      line(cli.screen.err, 'stopped at once');
      process.exit(signal === 'SIGINT' ? 130 : 143);
    }
    stopping = true;
    line(cli.screen.err, 'stopping: sessions are cut and what was recorded is kept (once more stops at once)');
    stop().then(() => resolve(0), reject);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return promise;
}

/** What runs where, for scripts and tests. */
function readyDocument(sally: RunningSally) {
  const { version, console: ui, postgres, dataDirectory, sample, enrolmentLink, logKey } = sally;
  return {
    pid: process.pid,
    version,
    console: { url: ui.url },
    api: { url: ui.url },
    postgres: { host: postgres.host, port: postgres.port, caFile: postgres.caFile ?? null },
    dataDir: dataDirectory,
    sample:
      sample === undefined
        ? null
        : {
            host: sample.host,
            port: sample.port,
            database: sample.database,
            adminUser: sample.adminUser,
            adminPasswordFile: sample.adminPasswordFile,
            socketDir: sample.socketFolder,
            caFile: sample.caFile ?? null,
          },
    enrolmentLink:
      enrolmentLink === undefined
        ? null
        : { url: enrolmentLink.url.reveal(), expiresAt: formatInstant(enrolmentLink.expiresAt) },
    metricsUrl: `${ui.url}/metrics`,
    logKey,
  };
}

/** In one step: who waits for the file never reads half of it. It holds the enrolment link, so it is private. */
async function writeReadyFile(file: string, document: unknown): Promise<void> {
  const draft = `${file}.${process.pid}.new`;
  try {
    await writeFile(draft, `${JSON.stringify(document, undefined, 2)}\n`, { mode: 0o600 });
    await rename(draft, file);
  } catch (cause) {
    throw new CliError('usage', `write the ready file \`${file}\`: ${codeOf(cause) ?? String(cause)}`, { cause });
  }
}

function show(cli: Cli, sally: RunningSally, config: ServerConfig): void {
  const { out } = cli.screen;
  const { sample, enrolmentLink } = sally;
  line(out);
  line(out, { text: `Sallyport ${sally.version} is ready`, colour: 'bold' });
  line(out);
  fields(out, [
    ['web console', { text: sally.console.url, colour: 'cyan' }],
    ['API', `${sally.console.url}/openapi.json`],
    ['PostgreSQL', `${sally.postgres.host}:${sally.postgres.port}`],
    ['sample', sample === undefined ? undefined : `database \`${sample.database}\` on ${sample.host}:${sample.port}`],
    ['data', sally.dataDirectory],
    ['log key', sally.logKey],
  ]);
  if (enrolmentLink !== undefined) {
    line(out);
    line(
      out,
      `You are the first administrator: make a passkey at this link (once, within ${left(formatInstant(enrolmentLink.expiresAt), cli.now())})`,
    );
    line(out);
    line(out, '  ', { text: enrolmentLink.url.reveal(), colour: 'cyan' });
  }
  line(out);
  if (config.configurationFile !== undefined && sample === undefined)
    line(
      out,
      { text: 'Then apply your configuration with ', colour: 'dim' },
      'sally apply -f ',
      config.configurationFile,
    );
  line(
    out,
    { text: 'Sign in on this machine with ', colour: 'dim' },
    sally.console.url === defaultServer ? 'sally login' : `sally login ${sally.console.url}`,
    {
      text: '; Ctrl-C stops it all.',
      colour: 'dim',
    },
  );
}

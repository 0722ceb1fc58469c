/**
 * How the server runs: the command line before the environment before the `server` section of `sallyport.yaml` before the
 * default. What comes out can't be wrong; what goes in wrong is refused with the name of the variable, the option or the
 * key it came from, everything at once. `process.env` is read here and nowhere else.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Secret } from '#core/secret.ts';
import { isHost, isLoopback, isNetwork, parseAddress, type Address } from '#policy/address.ts';
import { readPublicUrl } from '#policy/public-url.ts';
import {
  accessRequestVersions,
  logLevels,
  mostThreads,
  type AccessRequests,
  type LogLevel,
  type ServerSettings,
  type TlsFiles,
} from '#policy/configuration.ts';

export type ConsoleTls =
  | ({ readonly kind: 'files' } & TlsFiles)
  /** A certificate from the server's own CA. */
  | { readonly kind: 'own_ca' }
  /** Plain HTTP: loopback only, for a browser on this machine or a trusted proxy in front. */
  | { readonly kind: 'none' };

export type PublicUrl =
  | { readonly kind: 'given'; readonly origin: string; readonly rpId: string }
  /** `localhost` and whatever port the console gets. */
  | { readonly kind: 'from_listener'; readonly scheme: 'http' | 'https' };

export type ServerConfig = {
  /** Absolute. */
  readonly dataDirectory: string;
  readonly publicUrl: PublicUrl;
  readonly console: { readonly listen: Address; readonly tls: ConsoleTls };
  readonly postgres: {
    readonly listen: Address;
    /** What clients dial; undefined: the host of the public URL. */
    readonly publicHost: string | undefined;
    /** Of the gateway; 0: none but the main one. Undefined: one for each core, four at most. */
    readonly threads: number | undefined;
    readonly tls: ({ readonly kind: 'files' } & TlsFiles) | { readonly kind: 'own_ca' };
  };
  /** Undefined: the embedded server. */
  readonly databaseUrl: Secret<string> | undefined;
  /** Addresses and networks whose forwarding headers are believed. */
  readonly trustedProxies: readonly string[];
  readonly logLevel: LogLevel;
  /** Wait for the disk before a recorded statement is forwarded. */
  readonly strictJournal: boolean;
  /** Which version of AuthZEN's Access Request and Approval Profile is spoken, if any. */
  readonly accessRequests: AccessRequests;
  /** Start the sample target beside the server. */
  readonly sample: boolean;
  /** Where to write what runs where once all is ready; absolute. */
  readonly readyFile: string | undefined;
  /** The configuration file; absolute. Relative paths in it are relative to its folder. */
  readonly configurationFile: string | undefined;
};

/** Of the command line, as typed. */
export type ServerOptions = {
  readonly dataDirectory?: string;
  readonly publicUrl?: string;
  readonly consoleListen?: string;
  readonly postgresListen?: string;
  readonly postgresPublicHost?: string;
  readonly logLevel?: string;
  readonly sample?: boolean;
  readonly readyFile?: string;
};

export type ConfigFault = {
  /** `SALLY_PUBLIC_URL`, `--public-url`, or `public-url` in the configuration file. */
  readonly variable: string;
  readonly message: string;
  readonly help?: string;
};

export type CreateConfigOutcome =
  | { readonly kind: 'ok'; readonly config: ServerConfig }
  | { readonly kind: 'refused'; readonly faults: readonly ConfigFault[] };

export type Environment = Readonly<Record<string, string | undefined>>;

export const defaultConsoleListen = '127.0.0.1:7700';
export const defaultPostgresListen = '127.0.0.1:7701';
export const defaultDataDirectory = '.sally';

/** The process's environment. Everything below takes it as an argument. */
export function readEnvironment(): Environment {
  return process.env;
}

export function createConfig(from: {
  readonly env: Environment;
  readonly options: ServerOptions;
  /** The parsed `server` section and where it stood. */
  readonly file: { readonly path: string; readonly server: ServerSettings } | undefined;
  /** What relative paths of the command line and the environment start from. */
  readonly workingDirectory: string;
}): CreateConfigOutcome {
  const { options, file, workingDirectory } = from;
  const server = file?.server ?? {};
  const folder = file === undefined ? workingDirectory : dirname(resolve(workingDirectory, file.path));
  const faults: ConfigFault[] = [];
  const refuse = (variable: string, message: string, help?: string): undefined => {
    faults.push({ variable, message, ...(help === undefined ? {} : { help }) });
  };
  // An empty variable is one that isn't set: that is how they are cleared in compose files and units.
  const env = (name: string): string | undefined => (from.env[name] === '' ? undefined : from.env[name]);

  type Given = { readonly variable: string; readonly text: string; readonly folder: string };
  const given = (
    option: readonly [name: string, value: string | undefined],
    variable: string,
    key?: readonly [name: string, value: string | undefined],
  ): Given | undefined => {
    if (option[1] !== undefined) return { variable: option[0], text: option[1], folder: workingDirectory };
    const set = env(variable);
    if (set !== undefined) return { variable, text: set, folder: workingDirectory };
    return key?.[1] === undefined ? undefined : { variable: `\`${key[0]}\` in ${file?.path}`, text: key[1], folder };
  };

  const listen = (value: Given | undefined, otherwise: string): Address | undefined => {
    const text = value?.text ?? otherwise;
    return (
      parseAddress(text, 0) ??
      refuse(
        value?.variable ?? '',
        `\`${text}\` is not an address to listen on`,
        'write `host:port`; port 0 takes any free one',
      )
    );
  };
  const written = (address: Address | undefined) =>
    address === undefined
      ? undefined
      : `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;

  const tlsFiles = (prefix: string, fromFile: TlsFiles | undefined): TlsFiles | undefined => {
    const cert = env(`${prefix}_CERT`);
    const key = env(`${prefix}_KEY`);
    if (cert !== undefined && key !== undefined)
      return { cert: resolve(workingDirectory, cert), key: resolve(workingDirectory, key) };
    if (cert !== undefined || key !== undefined) {
      const [there, missing] = cert === undefined ? ['KEY', 'CERT'] : ['CERT', 'KEY'];
      return refuse(
        `${prefix}_${missing}`,
        `\`${prefix}_${there}\` is set and this is not`,
        'a certificate and its key go together',
      );
    }
    return fromFile && { cert: resolve(folder, fromFile.cert), key: resolve(folder, fromFile.key) };
  };

  const data = given(['--data', options.dataDirectory], 'SALLY_DATA_DIR', ['data', server.data]);
  const dataDirectory = resolve(data?.folder ?? workingDirectory, data?.text ?? defaultDataDirectory);

  const consoleListen = listen(
    given(['--console', options.consoleListen], 'SALLY_CONSOLE_LISTEN', [
      'console.listen',
      written(server.console?.listen),
    ]),
    defaultConsoleListen,
  );
  const postgresListen = listen(
    given(['--postgres', options.postgresListen], 'SALLY_POSTGRES_LISTEN', [
      'postgres.listen',
      written(server.postgres?.listen),
    ]),
    defaultPostgresListen,
  );
  if (
    consoleListen !== undefined &&
    postgresListen !== undefined &&
    consoleListen.port !== 0 &&
    consoleListen.port === postgresListen.port &&
    consoleListen.host === postgresListen.host
  )
    refuse(
      'SALLY_POSTGRES_LISTEN',
      "the console and the PostgreSQL gateway can't listen on the same address",
      'give one of them another port, with --postgres or --console, or in the environment or file',
    );

  const urlGiven = given(['--public-url', options.publicUrl], 'SALLY_PUBLIC_URL', ['public-url', server.publicUrl]);
  const url = urlGiven === undefined ? undefined : readPublicUrl(urlGiven.text);
  if (urlGiven !== undefined && url !== undefined && 'refused' in url) refuse(urlGiven.variable, url.refused, url.help);

  const proxies = env('SALLY_TRUSTED_PROXIES');
  const trustedProxies =
    proxies === undefined ? (server.trustedProxies ?? []) : proxies.split(',').map((network) => network.trim());
  for (const network of trustedProxies)
    if (!isNetwork(network))
      refuse(
        'SALLY_TRUSTED_PROXIES',
        `\`${network}\` is neither an address nor a network`,
        'for example `10.0.0.0/8,::1`',
      );

  const consoleFiles = tlsFiles('SALLY_CONSOLE_TLS', server.console?.tls);
  const postgresFiles = tlsFiles('SALLY_POSTGRES_TLS', server.postgres?.tls);
  const beyondLoopback = consoleListen !== undefined && !isLoopback(consoleListen.host);
  const origin = url !== undefined && 'origin' in url ? url.origin : undefined;
  if (beyondLoopback && urlGiven === undefined)
    refuse(
      'SALLY_PUBLIC_URL',
      'it must be set when the console listens beyond this machine',
      'the https address that people will open, for example `https://sally.example.com`',
    );
  if (beyondLoopback && origin?.startsWith('http:') === true)
    refuse(urlGiven?.variable ?? 'SALLY_PUBLIC_URL', 'it must be https when the console listens beyond this machine');
  // Plain HTTP only ever on loopback, and there only when nothing says https or a proxy is trusted to have done it.
  const consoleTls: ConsoleTls =
    consoleFiles !== undefined
      ? { kind: 'files', ...consoleFiles }
      : !beyondLoopback && (origin === undefined || origin.startsWith('http:') || trustedProxies.length > 0)
        ? { kind: 'none' }
        : { kind: 'own_ca' };
  if (consoleTls.kind === 'files' && origin?.startsWith('http:') === true)
    refuse(
      urlGiven?.variable ?? 'SALLY_PUBLIC_URL',
      'it is http, and the console has a certificate',
      'write `https://…`',
    );

  const hostGiven = given(['--postgres-public-host', options.postgresPublicHost], 'SALLY_POSTGRES_PUBLIC_HOST', [
    'postgres.public-host',
    server.postgres?.publicHost,
  ]);
  if (hostGiven !== undefined && !isHost(hostGiven.text))
    refuse(hostGiven.variable, `\`${hostGiven.text}\` is not a host name`);

  const threadsText = env('SALLY_POSTGRES_THREADS');
  const threads = threadsText === undefined ? server.postgres?.threads : Number(threadsText);
  if (threadsText !== undefined && !(/^\d{1,2}$/.test(threadsText) && Number(threadsText) <= mostThreads))
    refuse('SALLY_POSTGRES_THREADS', `\`${threadsText}\` is not a number of threads`, `write 0 to ${mostThreads}`);

  const levelGiven = given(['--log-level', options.logLevel], 'SALLY_LOG_LEVEL', ['log-level', server.logLevel]);
  const logLevel = logLevels.find((known) => known === (levelGiven?.text ?? 'info'));
  if (levelGiven !== undefined && logLevel === undefined)
    refuse(levelGiven.variable, `\`${levelGiven.text}\` is not a level`, `the levels are ${logLevels.join(', ')}`);

  const strict = env('SALLY_JOURNAL_STRICT');
  const strictJournal = strict === undefined ? (server.strictJournal ?? false) : readTruth(strict);
  if (strictJournal === undefined) refuse('SALLY_JOURNAL_STRICT', `\`${strict}\` is neither \`true\` nor \`false\``);

  const requestsText = env('SALLY_AUTHZEN_ACCESS_REQUESTS');
  const accessRequests =
    requestsText === undefined
      ? (server.accessRequests ?? 'off')
      : accessRequestVersions.find((known) => known === requestsText);
  if (accessRequests === undefined)
    refuse(
      'SALLY_AUTHZEN_ACCESS_REQUESTS',
      `\`${requestsText}\` is not a version of the profile`,
      `write one of ${accessRequestVersions.join(', ')}`,
    );

  const databaseUrl = readDatabaseUrl(env, server.databaseUrl, folder, refuse);

  if (faults.length > 0 || consoleListen === undefined || postgresListen === undefined)
    return { kind: 'refused', faults };
  return {
    kind: 'ok',
    config: {
      dataDirectory,
      publicUrl:
        url !== undefined && 'origin' in url
          ? { kind: 'given', ...url }
          : { kind: 'from_listener', scheme: consoleTls.kind === 'none' ? 'http' : 'https' },
      console: { listen: consoleListen, tls: consoleTls },
      postgres: {
        listen: postgresListen,
        publicHost: hostGiven?.text,
        threads,
        tls: postgresFiles === undefined ? { kind: 'own_ca' } : { kind: 'files', ...postgresFiles },
      },
      databaseUrl,
      trustedProxies,
      logLevel: logLevel ?? 'info',
      strictJournal: strictJournal ?? false,
      accessRequests: accessRequests ?? 'off',
      sample: options.sample ?? file === undefined,
      readyFile: options.readyFile === undefined ? undefined : resolve(workingDirectory, options.readyFile),
      configurationFile: file === undefined ? undefined : resolve(workingDirectory, file.path),
    },
  };
}

/** The origin people open and the relying party of their passkeys, once the console's port is known. */
export function publicOrigin(
  publicUrl: PublicUrl,
  consolePort: number,
): { readonly origin: string; readonly rpId: string } {
  if (publicUrl.kind === 'given') return { origin: publicUrl.origin, rpId: publicUrl.rpId };
  const usual = publicUrl.scheme === 'https' ? 443 : 80;
  const port = consolePort === usual ? '' : `:${consolePort}`;
  return { origin: `${publicUrl.scheme}://localhost${port}`, rpId: 'localhost' };
}

/** WebAuthn: the page must be a secure context and the relying party's id a domain, never an address. */
function readTruth(text: string): boolean | undefined {
  if (text === 'true' || text === '1') return true;
  return text === 'false' || text === '0' ? false : undefined;
}

/** INVARIANT 10: what is refused is named, never shown. */
function readDatabaseUrl(
  env: (name: string) => string | undefined,
  reference: ServerSettings['databaseUrl'],
  folder: string,
  refuse: (variable: string, message: string, help?: string) => undefined,
): Secret<string> | undefined {
  let variable = 'SALLY_DATABASE_URL';
  let text = env(variable);
  if (text === undefined && reference !== undefined) {
    if ('env' in reference) {
      variable = reference.env;
      text = env(variable);
      if (text === undefined) return refuse(variable, '`database-url` is to be read from it, and it is not set');
    } else {
      variable = `\`database-url\` in ${reference.file}`;
      try {
        text = readFileSync(resolve(folder, reference.file), 'utf8').trim();
      } catch (cause) {
        const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
        return refuse(variable, `the file can't be read (${code})`);
      }
    }
  }
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:'))
    return refuse(
      variable,
      'it is not a PostgreSQL URL',
      'for example `postgresql://sally@db.example.com/sally?sslmode=verify-full`',
    );
  return new Secret(text);
}

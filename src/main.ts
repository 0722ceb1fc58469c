/**
 * The composition root: starts the parts in order, hands each what it needs, and stops them in the other order. Everything
 * above it takes its dependencies as arguments; here is the only place where they are made.
 */
import { createServer } from 'node:net';
import { availableParallelism, hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { applyFirstConfiguration } from '#app/apply-first-configuration.ts';
import { changesChannel, createChanges, parseChange } from '#app/changes.ts';
import { createContentKeys } from '#app/content-keys.ts';
import type { AppContext } from '#app/context.ts';
import { rejudgeHolds } from '#app/settle-hold.ts';
import { ensureBootstrap } from '#app/ensure-bootstrap.ts';
import { loadConfiguration, newestConfiguration } from '#app/load-configuration.ts';
import { noteStart, noteStop } from '#app/note-system.ts';
import { createJudgedQuestions } from '#app/judged-questions.ts';
import { encodeBase64Url } from '#core/base64.ts';
import type { Instant } from '#core/instant.ts';
import type { Secret } from '#core/secret.ts';
import { steadyClock } from '#core/steady-clock.ts';
import { startApi } from '#api/server.ts';
import { startGateway } from '#gateway/gateway.ts';
import { createRateLimits } from '#identity/rate-limit.ts';
import { createKeyRing } from '#identity/sealing.ts';
import type { PolicyFile } from '#policy/engine.ts';
import { sampleConfigurationText } from '#policy/sample-configuration.ts';
import { listen, openDatabase, type DatabaseAddress } from '#store/database.ts';
import { DataDirLock } from '#store/embedded/data-dir-lock.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '#store/embedded/embedded-postgres.ts';
import { migrate } from '#store/migrate.ts';
import type { StoredFiles } from '#store/schema.ts';
import { startSampleTarget, type SampleTarget } from '#store/sample/sample-target.ts';
import { makeScramVerifier } from '#wire/postgres/scram.ts';
import { sql } from 'kysely';
import { readEnvironment, type ServerConfig } from './config.ts';
import {
  exampleConfiguration,
  openPolicyEngine,
  readConfigurationFiles,
  shippedPolicies,
} from './open-policy-engine.ts';
import { startBackground } from './start/background.ts';
import { certificateFiles, openAuthority, ownCertificate, type CertificateSource } from './start/certificates.ts';
import { createControlPlane } from './start/control-plane.ts';
import { openLogSigner } from './start/log-signer.ts';
import { apiEvents, gatewayEvents } from './start/events.ts';
import { createLogger } from './start/logging.ts';
import { openMasterKey } from './start/master-key.ts';
import { createMetrics } from './start/metrics.ts';
import { makePrivateFolder, readPrivateFile, writePrivateFile } from './start/private-file.ts';
import { StartError } from './start/start-error.ts';
import { realSystem, sleep, type System } from './start/system.ts';
import { version } from './version.ts';

export type RunningSally = {
  readonly version: string;
  readonly console: { readonly url: string };
  readonly postgres: { readonly host: string; readonly port: number; readonly caFile: string | undefined };
  readonly dataDirectory: string;
  readonly store: 'embedded' | 'external';
  readonly sample: SampleTarget | undefined;
  /** For the first administrator, until somebody has used one. */
  readonly enrolmentLink: { readonly url: Secret<string>; readonly expiresAt: Instant } | undefined;
  readonly logKey: string;
  /** A gentle stop; safe to call twice. */
  readonly stop: () => Promise<void>;
};

export type StartOptions = {
  readonly webRoot: string;
  readonly onProgress?: (text: string) => void;
  /** The operator's log goes to a file in the data directory rather than to standard error. */
  readonly logToFile?: boolean;
  /** Tests move the clock. */
  readonly system?: System;
  /** Tests kill it at a point of gateway/fault-points.ts that this file names. */
  readonly dieAt?: string;
};

export async function startSally(config: ServerConfig, options: StartOptions): Promise<RunningSally> {
  const given = options.system ?? realSystem;
  const system: System = { ...given, clock: steadyClock(given.clock, () => performance.now()) };
  const progress = options.onProgress ?? (() => undefined);
  const { clock, random, timers } = system;
  const environment = readEnvironment();
  const data = config.dataDirectory;
  makePrivateFolder(data);

  // What was started is stopped in reverse, also when starting fails half-way.
  const parts = new AsyncDisposableStack();
  let sampleStarting: Promise<SampleTarget> | undefined;
  try {
    parts.use(DataDirLock.take(data));
    const log = createLogger({
      level: config.logLevel,
      file: options.logToFile === true ? join(data, 'sallyport.log') : undefined,
    });

    const keys = join(data, 'keys');
    const keyRing = createKeyRing(openMasterKey(join(keys, 'master.key'), random), { random });
    const authority = await openAuthority(keys, system);

    sampleStarting = config.sample ? startSample() : undefined;
    // Looked at when it is awaited below; until then its failure must not be an unhandled one.
    sampleStarting?.catch(() => undefined);

    const address = await openStore();
    progress('checking the schema of the store');
    await migrate(address, {});
    const db = openDatabase(address, {
      // What breaks while everything is stopped was meant to.
      onError: (err) => {
        if (!parts.disposed) log.warn({ err }, 'a connection to the store broke');
      },
    });
    parts.defer(() => db.destroy());

    const changes = createChanges();
    const policy = await openPolicyEngine();
    const judged = createJudgedQuestions(policy);
    const contentKeys = createContentKeys({ db, keyRing, clock, random });
    // The address that people open is part of what passkeys sign for: it is settled before anything is served.
    const consoleListen = {
      host: config.console.listen.host,
      port:
        config.console.listen.port === 0 ? await freePort(config.console.listen.host, 0) : config.console.listen.port,
    };
    const site =
      config.publicUrl.kind === 'given'
        ? { publicUrl: config.publicUrl.origin, rpId: config.publicUrl.rpId }
        : { publicUrl: `${config.publicUrl.scheme}://localhost:${consoleListen.port}`, rpId: 'localhost' };
    let gatewayAddress = { host: '', port: 0 };
    const logSigner = await openLogSigner({
      db,
      keyRing,
      random,
      name: `${config.publicUrl.kind === 'given' ? config.publicUrl.rpId : 'localhost'}/sallyport/${encodeBase64Url(random(6)).replaceAll(/[-_]/g, 'x')}`,
    });
    const app: AppContext = {
      db,
      clock,
      random,
      timers: { sleep: (ms, signal) => sleep(timers, ms, signal) },
      policy: judged.policy,
      shipped: shippedPolicies(),
      changes,
      keyRing,
      rates: createRateLimits({ clock }),
      contentKeys,
      site: {
        ...site,
        rpName: 'Sallyport',
        ...(config.accessRequests === 'off' ? {} : { accessRequestProfile: config.accessRequests }),
        get postgres() {
          return gatewayAddress;
        },
      },
      gatewayRoot: () => gatewayRoot,
      scramVerifier: (password) => makeScramVerifier(password.reveal(), random(16)),
      logSigner,
    };

    // --- configuration
    const sample = await sampleStarting;
    if (sample !== undefined) {
      const example = exampleConfiguration();
      const { yaml, policies } = sampleConfigurationText(
        {
          address: `${sample.host}:${sample.port}`,
          passwordFile: sample.adminPasswordFile,
          ...(sample.caFile === undefined ? {} : { caFile: sample.caFile }),
          adminUser: sample.adminUser,
        },
        { yaml: example.text, policies: example.policies },
      );
      await keepSampleConfiguration(yaml, policies, example.cases);
    } else if (config.configurationFile !== undefined)
      await applyFirst(readConfigurationFiles(config.configurationFile));
    let configurationNumber: number | undefined;
    await reload();
    // One after the other, or an older configuration could be taken into use after a newer one.
    let following = Promise.resolve();
    const follow = (): Promise<void> => {
      // Who acts on a new configuration hears of it when it answers, not before.
      following = following.then(reload).then(
        async () => {
          changes.tell({ kind: 'configuration_loaded', version: policy.version });
          await rejudgeHolds(app);
        },
        (error: unknown) => log.error({ err: error }, 'the configuration can’t be loaded'),
      );
      return following;
    };
    changes.subscribe((change) => {
      if (change.kind === 'configuration' || change.kind === 'missed') void follow();
    });
    parts.use(
      await listen(address, [changesChannel], {
        onNotification: (_, payload) => {
          const change = parseChange(payload);
          if (change !== undefined) changes.tell(change);
        },
        onConnected: () => changes.tell({ kind: 'missed' }),
        onError: (error) => log.warn({ err: error }, 'not listening for changes; trying again'),
      }),
    );

    // --- certificates
    const publicHost =
      config.postgres.publicHost ?? (config.publicUrl.kind === 'given' ? config.publicUrl.rpId : 'localhost');
    const names = namesOf([publicHost, 'localhost', '127.0.0.1', '::1', hostname()]);
    const gatewayCertificate: CertificateSource =
      config.postgres.tls.kind === 'files'
        ? certificateFiles(config.postgres.tls)
        : await ownCertificate({ folder: keys, name: 'gateway', authority, names, system });
    const gatewayRoot =
      config.postgres.tls.kind === 'files' ? gatewayCertificate.current().cert : authority.certificatePem;
    const consoleNames = namesOf([
      config.publicUrl.kind === 'given' ? config.publicUrl.rpId : 'localhost',
      'localhost',
      '127.0.0.1',
      '::1',
    ]);
    const consoleCertificate: CertificateSource | undefined =
      config.console.tls.kind === 'files'
        ? certificateFiles(config.console.tls)
        : config.console.tls.kind === 'own_ca'
          ? await ownCertificate({ folder: keys, name: 'console', authority, names: consoleNames, system })
          : undefined;

    // --- what runs by itself; it stops last, so that what the other parts say at their end is in the log and in its tree
    let isStarted = false;
    let reloadConsoleTls = (): void => undefined;
    const background = startBackground({
      app,
      system,
      log,
      refreshCertificates: async () => {
        // Files that can't be used for one of them must not keep the other from its own.
        try {
          await gatewayCertificate.refresh();
        } finally {
          if ((await consoleCertificate?.refresh()) === true) reloadConsoleTls();
        }
      },
      // The poll behind the push: a process that could not load a configuration tries again.
      followConfiguration: async () => {
        if ((await newestConfiguration(app)) !== configurationNumber) await follow();
      },
      writeJudged: () => judged.flush(app),
    });
    parts.defer(async () => {
      if (isStarted) await noteStop(app).catch((error: unknown) => log.error({ err: error }, 'the stop is not logged'));
      await background.stop();
    });

    // --- the gateway
    progress('starting the PostgreSQL gateway');
    const isAlive = async (): Promise<boolean> => {
      try {
        await sql`select 1`.execute(db);
        return true;
      } catch {
        return false;
      }
    };
    const metrics = createMetrics({
      db,
      openSessions: () => gateway.sessions().length,
      unshippedBytes: () => gateway.unshippedBytes(),
      policyFaults: () => policy.faults,
    });
    const gateway = await listening('PostgreSQL gateway', '--postgres', config.postgres.listen, () =>
      startGateway({
        controlPlane: createControlPlane({
          app,
          environment,
          timers,
          isAlive,
          folder: config.configurationFile === undefined ? data : dirname(config.configurationFile),
        }),
        clock,
        random,
        timers,
        journalFolder: join(data, 'journal'),
        strict: config.strictJournal,
        listen: { ...config.postgres.listen, tls: () => gatewayCertificate.current() },
        // A clock that is moved by hand can't be had in other threads.
        threads: options.system === undefined ? (config.postgres.threads ?? Math.min(4, availableParallelism())) : 0,
        events: gatewayEvents(log, metrics),
        ...(options.dieAt === undefined ? {} : { dieAt: options.dieAt }),
      }),
    );
    parts.defer(() => gateway.stop());
    gatewayAddress = { host: publicHost, port: gateway.port };
    // What the gateway wrote down before it died comes first, then the end of the sessions that it can't have written.
    const orphans = await gateway.recover(AbortSignal.timeout(10_000));
    if (orphans > 0) log.warn({ sessions: orphans }, 'ended the sessions of a gateway that died');

    // --- the console and the API
    progress('starting the console');
    let isReady = false;
    const api = await listening('console', '--console', consoleListen, () =>
      startApi({
        app,
        listen: consoleListen,
        ...(consoleCertificate === undefined ? {} : { tls: () => consoleCertificate.current() }),
        webRoot: options.webRoot,
        trustedProxies: config.trustedProxies,
        ready: async () => (isReady ? ((await isAlive()) ? undefined : 'the store does not answer') : 'starting'),
        metrics: { text: () => metrics.text() },
        version,
        events: apiEvents(log),
      }),
    );
    parts.defer(() => api.stop());
    reloadConsoleTls = () => api.reloadTls();
    await noteStart(app, version);
    isStarted = true;
    const enrolmentLink = await ensureBootstrap(app);
    isReady = true;
    log.info({ version, console: site.publicUrl, postgres: gatewayAddress, data }, 'ready');

    let stopping: Promise<void> | undefined;
    return {
      version,
      console: { url: site.publicUrl },
      postgres: { ...gatewayAddress, caFile: config.postgres.tls.kind === 'files' ? undefined : authority.certFile },
      dataDirectory: data,
      store: config.databaseUrl === undefined ? 'embedded' : 'external',
      sample,
      enrolmentLink,
      logKey: logSigner.vkey,
      stop: () => (stopping ??= parts.disposeAsync()),
    };

    // --- the steps above, where they are longer than a line

    async function openStore(): Promise<DatabaseAddress> {
      if (config.databaseUrl !== undefined) return config.databaseUrl.reveal();
      const server: EmbeddedPostgres = await startEmbeddedPostgres({
        dataDir: join(data, 'store'),
        binaries: 'store',
        onProgress: progress,
        onEvent: (event) => log.warn({ event }, 'the embedded server'),
      });
      parts.defer(() => server.stop());
      return server.connection();
    }

    async function startSample(): Promise<SampleTarget> {
      const folder = join(data, 'sample');
      makePrivateFolder(folder);
      const certificate = await ownCertificate({
        folder: keys,
        name: 'sample',
        authority,
        names: namesOf(['localhost', '127.0.0.1', '::1']),
        system,
      });
      const target = await startSampleTarget({
        dataDir: folder,
        port: await samplePort(folder),
        random,
        tls: { certFile: certificate.certFile, keyFile: certificate.keyFile },
        caFile: authority.certFile,
        onProgress: progress,
        onEvent: (event) => log.warn({ event }, 'the sample target'),
      });
      parts.defer(() => target.stop());
      return target;
    }

    /** In force at the first start, and as files to edit and apply; what an administrator changes in either stays. */
    async function keepSampleConfiguration(
      text: string,
      policies: readonly PolicyFile[],
      cases: readonly PolicyFile[],
    ): Promise<void> {
      const files = { file: 'sallyport.yaml', text, policies };
      const folder = join(data, 'sample-configuration');
      if (readPrivateFile(join(folder, 'sallyport.yaml')) === undefined)
        for (const { name, text: content } of [...policies, ...cases, { name: 'sallyport.yaml', text }])
          writePrivateFile(join(folder, name), content);
      await applyFirst(files);
    }

    /** Later ones are applied with a passkey; at the very first start nobody is there to sign. */
    async function applyFirst(files: StoredFiles): Promise<void> {
      const { file, text, policies } = files;
      const first = await applyFirstConfiguration(app, { file: basename(file), text, policies });
      if (first.kind !== 'faults') return;
      const [fault] = first.faults;
      throw new StartError(
        'configuration_refused',
        `apply the first configuration: ${fault?.file}:${fault?.line}:${fault?.column}: ${fault?.message}`,
        { hint: `check it with \`sally validate -f ${file}\`` },
      );
    }

    async function reload(): Promise<void> {
      const loaded = await loadConfiguration(app);
      if (loaded.kind !== 'faults') {
        configurationNumber = loaded.number;
        return;
      }
      const [fault] = loaded.faults;
      throw new StartError(
        'configuration_refused',
        `the stored configuration is refused: ${fault?.file}:${fault?.line}: ${fault?.message}`,
        {
          hint: 'a newer version of Sallyport may have stored it; start that one',
        },
      );
    }

    /** Chosen once: the configuration that names it is stored. */
    async function samplePort(folder: string): Promise<number> {
      const path = join(folder, 'port');
      const known = Number(readPrivateFile(path));
      if (Number.isInteger(known) && known > 0 && known < 65_536) return known;
      // Who lets the console have any port has no wish for this one either.
      const port = await freePort('127.0.0.1', config.console.listen.port === 0 ? 0 : preferredSamplePort);
      writePrivateFile(path, `${port}\n`);
      return port;
    }
  } catch (error) {
    // A part that is still on its way has to arrive before it can be stopped.
    await sampleStarting?.catch(() => undefined);
    await parts.disposeAsync().catch(() => undefined);
    throw error;
  }
}

const preferredSamplePort = 7702;

/** The preferred port when nobody has it, else any. */
async function freePort(host: string, preferred: number): Promise<number> {
  const tryPort = (port: number) =>
    new Promise<number | undefined>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(undefined));
      server.listen(port, host, () => {
        const address = server.address();
        server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
      });
    });
  const port = (await tryPort(preferred)) ?? (await tryPort(0));
  if (port === undefined) throw new StartError('no_port', `no port of \`${host}\` can be listened on`);
  return port;
}

/** A port that somebody else has is the most frequent reason not to start: say which, and what helps. */
async function listening<T>(
  what: string,
  option: string,
  listen: { host: string; port: number },
  start: () => Promise<T>,
): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    const at = `\`${listen.host}:${listen.port}\``;
    if (code === 'EADDRINUSE')
      throw new StartError('port_in_use', `start the ${what}: another process listens on ${at}`, {
        hint: `stop that process, or choose another port with ${option} ${listen.host}:PORT (0 takes any free one)`,
        cause,
      });
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL')
      throw new StartError('address_unusable', `start the ${what}: ${at} can’t be listened on (${code})`, {
        hint: `choose another address with ${option}; ports below 1024 need more rights`,
        cause,
      });
    throw cause;
  }
}

/** Names and addresses for a certificate, told apart. */
function namesOf(all: readonly string[]): { dns: readonly string[]; ips: readonly string[] } {
  const unique = [...new Set(all)];
  const isAddress = (name: string) => /^[0-9.]+$/.test(name) || name.includes(':');
  return { dns: unique.filter((name) => !isAddress(name)), ips: unique.filter(isAddress) };
}

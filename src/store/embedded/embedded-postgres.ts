/**
 * A real PostgreSQL server as a child of this process: the embedded default of the store, and the server of the sample
 * target. The binaries come from npm packages; this folder finds them, makes the cluster once, starts the server,
 * starts it again when it ends by itself, and stops it.
 *
 * A data directory looks like this (all of it 0700 or 0600):
 *
 *     lock, owner.json    one supervisor at a time (data-dir-lock.ts)
 *     cluster/            PostgreSQL's own data directory
 *     socket/             its Unix socket; whoever may enter this folder is trusted (_socket-folder.ts)
 *     tls/                copies of certificate and key, when it listens on TCP with TLS
 *     server.log[.1]      what the server said, bounded
 *
 * Whatever an earlier run left behind, also one that was killed, is put right at the start (_orphan.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { type Binaries, type BinarySet, ensureLibraryLinks, findBinaries, run } from './_binaries.ts';
import { DataDirLock } from './data-dir-lock.ts';
import { type Launcher, chooseLauncher, serverEnvironment } from './_launcher.ts';
import { endOrphan, readPostmasterFile } from './_orphan.ts';
import { prepareSocketFolder } from './_socket-folder.ts';
import { codeOf, sleep } from './_wait.ts';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';

export type { BinarySet } from './_binaries.ts';

export type EmbeddedPostgresOptions = {
  /** Made when missing. Not to be used for anything else. */
  readonly dataDir: string;
  /** Default `store`. */
  readonly binaries?: BinarySet;
  /** Name of the database's superuser, who gets in by the socket only. Default `sallyport`. */
  readonly superuser?: string;
  /** What it is called in messages and in the process list. Default `store`. */
  readonly name?: string;
  /** Listen on loopback TCP as well, for SCRAM-SHA-256 logins. Port 0: any free one. Without it there is no TCP at all. */
  readonly tcp?: {
    readonly port: number;
    /** PEM files; then TLS 1.2 or newer is demanded of every TCP client. */
    readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined;
  };
  /** More server settings, by their PostgreSQL names. */
  readonly settings?: Readonly<Record<string, string>>;
  /** False only for tests: no fsync. */
  readonly durable?: boolean;
  /** False: the server is left running when this process is killed, as it is anyway where the system offers no help. */
  readonly endsWithUs?: boolean;
  /** What is being done, for people: `initialising the store`. */
  readonly onProgress?: (what: string) => void;
  /** What happened to the running server. */
  readonly onEvent?: (event: ServerEvent) => void;
};

export type ServerEvent =
  /** It ended by itself; it is started again after `restartInMs`. */
  | {
      readonly kind: 'ended';
      readonly code: number | null;
      readonly signal: string | null;
      readonly lastLines: readonly string[];
      readonly restartInMs: number;
    }
  /** It is back. */
  | { readonly kind: 'restarted'; readonly pid: number }
  /** The attempt failed; the next comes after `restartInMs`. */
  | { readonly kind: 'restart failed'; readonly error: EmbeddedPostgresError; readonly restartInMs: number };

const logLimitBytes = 8 << 20;
const restartDelaysMs = [100, 500, 2_000, 5_000, 15_000, 30_000];
/** A server that ran this long before it ended starts the row of delays anew. */
const stableAfterMs = 60_000;
/** Recovery after a crash replays the write-ahead log, which our settings keep below some hundred MB. */
const readyWithinMs = 300_000;

/** Starts the server on `options.dataDir`, made when missing. Throws `EmbeddedPostgresError`. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const binaries = findBinaries(options.binaries ?? 'store');
  const dataDir = prepareDataDir(options.dataDir);
  const lock = DataDirLock.take(dataDir);
  try {
    const libraries = ensureLibraryLinks(binaries, join(dataDir, 'lib'));
    const launcher = await chooseLauncher(binaries, dataDir, serverEnvironment(libraries), {
      endsWithUs: options.endsWithUs ?? true,
    });
    return await EmbeddedPostgres.start(options, { binaries, dataDir, lock, launcher });
  } catch (cause) {
    lock[Symbol.dispose]();
    throw cause;
  }
}

type Parts = {
  readonly binaries: Binaries;
  readonly dataDir: string;
  readonly lock: DataDirLock;
  readonly launcher: Launcher;
};

/** A running server. It is stopped by `stop()` or at the end of an `await using` block. */
export class EmbeddedPostgres implements AsyncDisposable {
  readonly #options: EmbeddedPostgresOptions;
  readonly #parts: Parts;
  readonly #cluster: string;
  #socketFolder = '';
  #port = 5432;
  #child: ChildProcess | undefined;
  #stopping: Promise<void> | undefined;
  #startedAt = 0;
  #failures = 0;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #restarting: Promise<void> | undefined;
  #rotation: ReturnType<typeof setInterval> | undefined;

  private constructor(options: EmbeddedPostgresOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#cluster = join(parts.dataDir, 'cluster');
  }

  /** Use `startEmbeddedPostgres`. */
  static async start(options: EmbeddedPostgresOptions, parts: Parts): Promise<EmbeddedPostgres> {
    const server = new EmbeddedPostgres(options, parts);
    await server.#prepare();
    // A port found free may be taken by the time the server binds it; a port that was asked for is not replaced.
    for (let attempt = 1; ; attempt += 1) {
      try {
        await server.#choosePort();
        await server.#launch();
        break;
      } catch (error) {
        const another = options.tcp?.port === 0 && attempt < 5;
        if (!(another && error instanceof EmbeddedPostgresError && error.code === 'port_in_use')) throw error;
      }
    }
    server.#rotation = setInterval(() => server.#boundLog(), 60_000);
    server.#rotation.unref();
    return server;
  }

  /** Where `pg` and `psql` find the socket: the value for `host`. */
  get socketFolder(): string {
    return this.#socketFolder;
  }
  /** TCP port, and part of the socket's name. */
  get port(): number {
    return this.#port;
  }
  get superuser(): string {
    return this.#options.superuser ?? 'sallyport';
  }
  get major(): number {
    return this.#parts.binaries.major;
  }
  get logFile(): string {
    return join(this.#parts.dataDir, 'server.log');
  }
  /** Of the running postmaster; undefined between an unexpected end and the restart. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Configuration for `pg`: the superuser over the socket. */
  connection(database = 'postgres'): {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
  } {
    return { host: this.#socketFolder, port: this.#port, user: this.superuser, database };
  }

  /** Takes over changed certificate files without a restart; sessions that exist keep theirs. */
  reloadCertificate(): void {
    this.#copyTlsFiles();
    this.#child?.kill('SIGHUP');
  }

  /**
   * Fast shutdown (open transactions roll back, clients are told), an immediate one when that takes longer than
   * `withinMs`, then releases the data directory. Any number of calls; all wait for the same end.
   */
  stop(withinMs = 15_000): Promise<void> {
    this.#stopping ??= this.#stop(withinMs);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(withinMs: number): Promise<void> {
    clearTimeout(this.#restart);
    clearInterval(this.#rotation);
    try {
      // A launch under way sees #stopping, and ends what it started.
      await this.#restarting;
      const child = this.#child;
      if (child !== undefined) await endChild(child, withinMs);
      this.#child = undefined;
    } finally {
      this.#parts.lock[Symbol.dispose]();
    }
  }

  #progress(what: string): void {
    this.#options.onProgress?.(what);
  }

  get #name(): string {
    return this.#options.name ?? 'store';
  }

  async #prepare(): Promise<void> {
    const { dataDir, binaries } = this.#parts;
    const versionFile = join(this.#cluster, 'PG_VERSION');
    if (existsSync(versionFile)) {
      const found = readFileSync(versionFile, 'utf8').trim();
      if (found !== String(binaries.major))
        throw new EmbeddedPostgresError(
          'wrong_version',
          `the data in \`${dataDir}\` was written by PostgreSQL ${found}, and this release runs PostgreSQL ${binaries.major}`,
          {
            hint: `start the release that wrote it, copy its data out with pg_dump, move \`${dataDir}\` away and read the copy into the new one; or keep the old data with a PostgreSQL ${found} of your own and SALLY_DATABASE_URL`,
          },
        );
      await endOrphan(this.#cluster, (what) => this.#progress(what));
    } else if (existsSync(this.#cluster)) {
      throw new EmbeddedPostgresError(
        'folder_unusable',
        `\`${this.#cluster}\` exists and is not a PostgreSQL data directory`,
        { hint: 'move it away, or choose another data directory' },
      );
    } else {
      await this.#initialise();
    }
    // Only the local superuser by the socket, everybody else by SCRAM over TCP, and over TLS when there is a certificate.
    const { tcp } = this.#options;
    const hostKind = tcp?.tls === undefined ? 'host' : 'hostssl';
    this.#write(
      join(this.#cluster, 'pg_hba.conf'),
      [
        '# written by sallyport at each start',
        `local all ${quoteHba(this.superuser)} trust`,
        ...(tcp === undefined ? [] : [`${hostKind} all all 127.0.0.1/32 scram-sha-256`]),
        '',
      ].join('\n'),
    );
    this.#copyTlsFiles();
    if (existsSync(this.logFile) && statSync(this.logFile).size > logLimitBytes)
      renameSync(this.logFile, `${this.logFile}.1`);
  }

  /** Into a folder that becomes `cluster` only when all is done: an `initdb` that was cut short leaves nothing behind. */
  async #initialise(): Promise<void> {
    const { dataDir, binaries, launcher } = this.#parts;
    this.#progress(`initialising the ${this.#name}`);
    for (const name of readdirSync(dataDir))
      if (name.startsWith('cluster.new-')) rmSync(join(dataDir, name), { recursive: true, force: true });
    const fresh = join(dataDir, `cluster.new-${performance.timeOrigin.toString(36).replace('.', '')}`);
    const [first = binaries.initdb, ...rest] = [
      ...launcher.prefix,
      binaries.initdb,
      `--pgdata=${fresh}`,
      `--username=${this.superuser}`,
      '--encoding=UTF8',
      '--locale=C',
      // From 17 on the server knows Unicode by itself and needs neither ICU nor the system's locales.
      ...(binaries.major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'] : []),
      '--auth-local=trust',
      '--auth-host=scram-sha-256',
      '--data-checksums',
      // Small segments: a store of this size never fills the usual 16 MB ones, and each new cluster starts with one.
      '--wal-segsize=4',
      '--no-instructions',
      ...(this.#durable ? [] : ['--no-sync']),
    ];
    const { ok, output } = await run([first, ...rest], {
      env: launcher.env,
      cwd: dataDir,
      uid: launcher.uid,
      gid: launcher.gid,
      timeoutMs: 180_000,
    });
    if (!ok) {
      rmSync(fresh, { recursive: true, force: true });
      throw new EmbeddedPostgresError('init_failed', `can't initialise \`${dataDir}\`: ${lastLine(output)}`, {
        hint: 'the folder must be writable and have some 100 MB free',
        cause: new Error(output),
      });
    }
    renameSync(fresh, this.#cluster);
  }

  get #durable(): boolean {
    return this.#options.durable ?? true;
  }

  async #choosePort(): Promise<void> {
    const { tcp } = this.#options;
    if (tcp !== undefined) this.#port = await freePort(tcp.port, this.#name);
    this.#socketFolder = prepareSocketFolder(this.#parts.dataDir, this.#port, this.#parts.launcher, (what) =>
      this.#progress(what),
    );
  }

  #settings(): Readonly<Record<string, string>> {
    const { tcp, settings } = this.#options;
    return {
      listen_addresses: tcp === undefined ? '' : '127.0.0.1',
      port: String(this.#port),
      unix_socket_directories: this.#socketFolder,
      unix_socket_permissions: '0700',
      password_encryption: 'scram-sha-256',
      ...(tcp?.tls === undefined
        ? {}
        : {
            ssl: 'on',
            ssl_cert_file: join(this.#parts.dataDir, 'tls', 'server.crt'),
            ssl_key_file: join(this.#parts.dataDir, 'tls', 'server.key'),
            ssl_min_protocol_version: 'TLSv1.2',
          }),
      cluster_name: `sallyport ${this.#name}`,
      // Small: a store and a sample on a laptop, not a database server.
      max_connections: '60',
      shared_buffers: '32MB',
      max_wal_size: '256MB',
      min_wal_size: '16MB',
      wal_level: 'minimal',
      max_wal_senders: '0',
      max_worker_processes: '4',
      max_logical_replication_workers: '0',
      max_parallel_workers_per_gather: '0',
      jit: 'off',
      // The worker processes of 18 are for disks slower than the ones this runs on.
      ...(this.major >= 18 ? { io_method: 'sync' } : {}),
      ...(this.#durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
      timezone: 'UTC',
      log_timezone: 'UTC',
      log_destination: 'stderr',
      logging_collector: 'off',
      log_line_prefix: '%m [%p] ',
      log_checkpoints: 'off',
      // INVARIANT 10: an error's text carries values (`invalid input syntax for type integer: "…"`), and so do its
      // details and its statement. Errors are for the client, who gets them; the log has what happens to the server.
      log_min_messages: 'log',
      log_error_verbosity: 'terse',
      ...settings,
    };
  }

  /** Starts the postmaster and waits until it takes connections. */
  async #launch(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#tryLaunch();
      if (outcome === 'ready') return;
      // Between our look and its start, something that looks like a live server came up in its lock file: look again.
      if (attempt === 5)
        throw new EmbeddedPostgresError('start_failed', `the ${this.#name} is said to run already, and does not`, {
          hint: `look at \`${join(this.#cluster, 'postmaster.pid')}\``,
        });
      await sleep(250 * attempt);
      await endOrphan(this.#cluster, (what) => this.#progress(what));
    }
  }

  async #tryLaunch(): Promise<'ready' | 'locked'> {
    const { launcher, binaries, dataDir } = this.#parts;
    const [first = binaries.postgres, ...rest] = [
      ...launcher.prefix,
      binaries.postgres,
      '-D',
      this.#cluster,
      ...Object.entries(this.#settings()).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
    const logFrom = existsSync(this.logFile) ? statSync(this.logFile).size : 0;
    const log = openSync(this.logFile, 'a', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(first, rest, {
        env: launcher.env,
        cwd: dataDir,
        // A session of its own: Ctrl-C in the terminal is for us, who still need the database to shut down in order.
        detached: true,
        // Straight into the file, so that nothing is lost when we die first.
        stdio: ['ignore', log, log],
        ...(launcher.uid === undefined ? {} : { uid: launcher.uid }),
        ...(launcher.gid === undefined ? {} : { gid: launcher.gid }),
      });
    } finally {
      closeSync(log);
    }
    // The server never keeps this process alive.
    child.unref();
    let failure: Error | undefined;
    child.once('error', (error) => {
      failure = error;
    });
    const ended = () => failure !== undefined || child.exitCode !== null || child.signalCode !== null;
    const giveUpAt = performance.now() + readyWithinMs;
    let told = performance.now() + 2_000;
    for (;;) {
      const file = readPostmasterFile(this.#cluster);
      if (file?.ready === true && file.pid === child.pid) break;
      if (ended()) return this.#whyEnded(child, failure, logFrom);
      if (performance.now() > giveUpAt) {
        await endChild(child, 5_000);
        throw new EmbeddedPostgresError(
          'start_failed',
          `the ${this.#name} was not ready within ${readyWithinMs / 1000} s`,
          { hint: `its log is \`${this.logFile}\`` },
        );
      }
      if (performance.now() > told) {
        this.#progress(`waiting for the ${this.#name} to recover`);
        told = Number.POSITIVE_INFINITY;
      }
      await sleep(10);
    }
    this.#child = child;
    this.#startedAt = performance.now();
    child.once('exit', (code, signal) => this.#onExit(child, code, signal));
    // It may have ended between its last word and our listening.
    if (ended()) this.#onExit(child, child.exitCode, child.signalCode);
    return 'ready';
  }

  #whyEnded(child: ChildProcess, failure: Error | undefined, logFrom: number): 'locked' {
    const said = readFileSync(this.logFile).subarray(logFrom).toString('utf8');
    if (said.includes('lock file "') && said.includes('already exists')) return 'locked';
    if (/could not bind .*: Address already in use/.test(said) || said.includes('could not create any TCP/IP sockets'))
      throw portInUse(this.#port, this.#name);
    const lines = said.trim().split('\n').slice(-10);
    const reason =
      lines.find((line) => line.includes('FATAL:'))?.replace(/^.*FATAL:\s*/, '') ??
      failure?.message ??
      lines.at(-1) ??
      `it ended with ${child.signalCode ?? child.exitCode}`;
    throw new EmbeddedPostgresError('start_failed', `the ${this.#name} did not start: ${reason}`, {
      hint: `its log is \`${this.logFile}\``,
      cause: failure ?? new Error(lines.join('\n')),
    });
  }

  #onExit(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (this.#stopping !== undefined) return;
    if (performance.now() - this.#startedAt > stableAfterMs) this.#failures = 0;
    const restartInMs = this.#nextDelay();
    this.#options.onEvent?.({ kind: 'ended', code, signal, lastLines: this.lastLogLines(), restartInMs });
    this.#restartAfter(restartInMs);
  }

  #nextDelay(): number {
    const delay = restartDelaysMs[Math.min(this.#failures, restartDelaysMs.length - 1)] ?? 30_000;
    this.#failures += 1;
    return delay;
  }

  /** Without end: a store that can't come up today (disk full) comes up when it can, and each attempt is reported. */
  #restartAfter(delayMs: number): void {
    this.#restart = setTimeout(() => {
      this.#restarting = this.#relaunch().finally(() => {
        this.#restarting = undefined;
      });
    }, delayMs);
  }

  async #relaunch(): Promise<void> {
    try {
      await endOrphan(this.#cluster, (what) => this.#progress(what));
      if (this.#stopping !== undefined) return;
      await this.#launch();
      const { pid } = this;
      if (pid !== undefined) this.#options.onEvent?.({ kind: 'restarted', pid });
    } catch (cause) {
      if (this.#stopping !== undefined) return;
      const error =
        cause instanceof EmbeddedPostgresError
          ? cause
          : new EmbeddedPostgresError('start_failed', `the ${this.#name} did not start again`, { cause });
      const restartInMs = this.#nextDelay();
      this.#options.onEvent?.({ kind: 'restart failed', error, restartInMs });
      this.#restartAfter(restartInMs);
    }
  }

  /** The end of the server's log, at most `count` lines. */
  lastLogLines(count = 10): readonly string[] {
    try {
      return readFileSync(this.logFile, 'utf8').trim().split('\n').slice(-count);
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return [];
      throw cause;
    }
  }

  /** The server holds the file open for appending, so it is copied and emptied; a line written in between is lost. */
  #boundLog(): void {
    try {
      if (statSync(this.logFile).size <= logLimitBytes) return;
      copyFileSync(this.logFile, `${this.logFile}.1`);
      truncateSync(this.logFile, 0);
    } catch {
      // A full disk, most likely: the log is the least of it, and the next minute tries again.
    }
  }

  /** Copies, because the server demands a key file that is its own and that nobody else may read. */
  #copyTlsFiles(): void {
    const tls = this.#options.tcp?.tls;
    if (tls === undefined) return;
    const folder = join(this.#parts.dataDir, 'tls');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#own(folder);
    this.#write(join(folder, 'server.crt'), readFileSync(tls.certFile));
    this.#write(join(folder, 'server.key'), readFileSync(tls.keyFile));
  }

  /** Replaces a file in one step; 0600 and the server's own. */
  #write(file: string, content: string | Uint8Array): void {
    const fresh = `${file}.new`;
    writeFileSync(fresh, content, { mode: 0o600 });
    chmodSync(fresh, 0o600);
    this.#own(fresh);
    renameSync(fresh, file);
  }

  #own(path: string): void {
    const { uid, gid } = this.#parts.launcher;
    if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
  }
}

/** The folder's real path (processes are recognised by it), made when missing, for our eyes only. */
function prepareDataDir(path: string): string {
  const wanted = resolve(path);
  try {
    mkdirSync(wanted, { recursive: true, mode: 0o700 });
    const real = realpathSync(wanted);
    chmodSync(real, 0o700);
    return real;
  } catch (cause) {
    throw new EmbeddedPostgresError('folder_unusable', `can't use \`${wanted}\` as a data directory`, {
      hint: 'it must be a folder that the user who starts sallyport owns',
      cause,
    });
  }
}

async function endChild(child: ChildProcess, fastMs: number): Promise<void> {
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  if (ended()) return;
  const exit = new Promise<void>((done) => {
    child.once('exit', () => done());
  });
  for (const [signal, withinMs] of [
    ['SIGINT', fastMs],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 5_000],
  ] as const) {
    child.kill(signal);
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      exit,
      new Promise<void>((late) => {
        timer = setTimeout(late, withinMs);
      }),
    ]);
    clearTimeout(timer);
    if (ended()) return;
  }
}

/** Asks the system: `wanted` itself when it is free, or for 0 a free one. */
function freePort(wanted: number, name: string): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once('error', (error) => fail(codeOf(error) === 'EADDRINUSE' ? portInUse(wanted, name) : error));
    probe.listen({ host: '127.0.0.1', port: wanted, exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => done(typeof address === 'object' && address !== null ? address.port : wanted));
    });
  });
}

function portInUse(port: number, name: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError('port_in_use', `port ${port} on 127.0.0.1, meant for the ${name}, is taken`, {
    hint: 'stop what listens there, or choose another port (0 takes any free one)',
  });
}

function quoteHba(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

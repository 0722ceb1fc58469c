import { chownSync, existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { type Binaries, run } from './_binaries.ts';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';

/** How the server's programs are started, so that they don't run as root and don't outlive us where that can be had. */
export type Launcher = {
  /** Programs put before the server's own; each replaces itself by the next, so the pid stays the child's. */
  readonly prefix: readonly string[];
  /** Unprivileged owner of the server and its files, when files can't stay with the user who started us. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly env: Readonly<Record<string, string>>;
};

/**
 * Only what the server needs: no `PG*` of the user's environment, English messages (we read some), times in UTC.
 */
export function serverEnvironment(libraryPath: string | undefined): Readonly<Record<string, string>> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C',
    TZ: 'UTC',
    ...(libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath, DYLD_LIBRARY_PATH: libraryPath }),
  };
}

/**
 * Chooses how to start the server for the files in `dataDir` (which exists).
 *
 * PostgreSQL refuses to run as root. For root there are two ways: a user namespace in which root is seen as uid 1000
 * (files stay root's, works below a home that nobody else may enter), or, where namespaces are forbidden, an
 * unprivileged account that then owns the data directory. Data that such an account owns already stays with it.
 *
 * `setpriv --pdeathsig` asks Linux to send the server a fast shutdown when we die, even by kill -9. The signal belongs to
 * the *thread* that spawned it, which is why the supervisor must live in the main thread. Without it, an orphan
 * is dealt with at the next start.
 */
export async function chooseLauncher(
  binaries: Binaries,
  dataDir: string,
  env: Readonly<Record<string, string>>,
  options: { readonly endsWithUs: boolean },
): Promise<Launcher> {
  const dying = options.endsWithUs ? [['setpriv', '--pdeathsig', 'INT'], []] : [[]];
  const namespaced = ['unshare', '--user', '--map-user=1000', '--map-group=1000'];
  const works = async (prefix: readonly string[], as?: Account): Promise<boolean> =>
    (await tryRun(binaries, dataDir, env, prefix, as)).ok;

  if (getuid?.() !== 0) {
    for (const prefix of dying) if (await works(prefix)) return { prefix, uid: undefined, gid: undefined, env };
    const { output } = await tryRun(binaries, dataDir, env, []);
    throw new EmbeddedPostgresError('no_binaries', `the packaged PostgreSQL server does not run here: ${output}`, {
      hint: 'it needs glibc 2.27 or newer on Linux; set SALLY_DATABASE_URL to a PostgreSQL of your own',
    });
  }

  const owner = statSync(existsSync(join(dataDir, 'cluster')) ? join(dataDir, 'cluster') : dataDir);
  if (owner.uid === 0) {
    for (const last of dying) {
      const prefix = [...namespaced, ...last];
      if (await works(prefix)) return { prefix, uid: undefined, gid: undefined, env };
    }
  }
  const account = owner.uid === 0 ? findAccount() : { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  if (account !== undefined) {
    giveTo(dataDir, account);
    for (const prefix of dying)
      if (await works(prefix, account)) return { prefix, uid: account.uid, gid: account.gid, env };
  }
  throw new EmbeddedPostgresError(
    'root_refused',
    account === undefined
      ? `started by root: PostgreSQL refuses to run as root, user namespaces are not allowed here, and there is no account \`postgres\` or \`nobody\``
      : `started by root: PostgreSQL refuses to run as root, user namespaces are not allowed here, and \`${account.name}\` can't run \`${binaries.postgres}\` with data in \`${dataDir}\``,
    {
      hint: 'start sallyport as an ordinary user, or put it and its data directory where that account can enter, or set SALLY_DATABASE_URL',
    },
  );
}

type Account = { readonly name: string; readonly uid: number; readonly gid: number };

function tryRun(
  binaries: Binaries,
  dataDir: string,
  env: Readonly<Record<string, string>>,
  prefix: readonly string[],
  as?: Account,
): Promise<{ readonly ok: boolean; readonly output: string }> {
  // The shell enters the data directory as the account, so one that can't fails here and not half-way.
  return run(['/bin/sh', '-c', 'cd "$0" && exec "$@"', dataDir, ...prefix, binaries.postgres, '--version'], {
    env,
    uid: as?.uid,
    gid: as?.gid,
    timeoutMs: 20_000,
  });
}

function findAccount(): Account | undefined {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const wanted of ['postgres', 'nobody']) {
    for (const line of lines) {
      const [name, , uid, gid] = line.split(':');
      if (name === wanted && Number(uid) > 0) return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  return undefined;
}

/** The data directory itself and what is directly in it; the cluster is made by the account, so it is its own already. */
function giveTo(dataDir: string, account: Account): void {
  chownSync(dataDir, account.uid, account.gid);
  for (const name of readdirSync(dataDir))
    if (name !== 'cluster') chownSync(join(dataDir, name), account.uid, account.gid);
}

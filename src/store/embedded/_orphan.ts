import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { kill } from 'node:process';
import { codeOf, waitUntil } from './_wait.ts';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';

/** What `postmaster.pid` says (its lines are described in PostgreSQL's `src/include/utils/pidfile.h`). */
export type PostmasterFile = { readonly pid: number; readonly ready: boolean };

export function readPostmasterFile(cluster: string): PostmasterFile | undefined {
  let text: string;
  try {
    text = readFileSync(join(cluster, 'postmaster.pid'), 'utf8');
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw cause;
  }
  const lines = text.split('\n');
  // A negative number is a stand-alone backend's.
  const pid = Math.abs(Number.parseInt(lines[0] ?? '', 10));
  return Number.isSafeInteger(pid) && pid > 1 ? { pid, ready: lines[7]?.trim() === 'ready' } : undefined;
}

export type OrphanLimits = {
  readonly fastMs: number;
  readonly immediateMs: number;
  readonly zombieMs: number;
};
const defaultLimits: OrphanLimits = { fastMs: 30_000, immediateMs: 10_000, zombieMs: 15_000 };

/**
 * Makes sure that no server runs on `cluster`, whatever an earlier run left there, and that no file claims so.
 * Called with the data directory's lock held, so what runs there has lost its supervisor.
 *
 * A live orphan is stopped and not adopted: it isn't our child, so its end would reach nobody; it runs with the
 * settings, the libraries and perhaps the version of the run that was killed; and a fast shutdown and a start
 * take a fraction of a second.
 *
 * `postmaster.pid` may name a zombie (PID 1 reaps late or never) or a number that now belongs to somebody else; PostgreSQL
 * would take both for a live server and refuse for ever. So we look at the process itself: a server and all its
 * backends have the data directory as their working directory.
 */
export async function endOrphan(
  cluster: string,
  report: (what: string) => void,
  limits: OrphanLimits = defaultLimits,
): Promise<void> {
  const file = readPostmasterFile(cluster);
  if (file !== undefined) {
    if (whatIs(file.pid, cluster) === 'server') {
      report(`stopping the PostgreSQL server ${file.pid} that an earlier run left behind`);
      const ended = () => whatIs(file.pid, cluster) !== 'server';
      send(file.pid, 'SIGINT');
      if (!(await waitUntil(ended, limits.fastMs))) {
        send(file.pid, 'SIGQUIT');
        if (!(await waitUntil(ended, limits.immediateMs)))
          throw new EmbeddedPostgresError(
            'start_failed',
            `the PostgreSQL server ${file.pid}, left behind by an earlier run, does not end`,
            { hint: `look at process ${file.pid}, end it, and start again`, pid: file.pid },
          );
      }
    }
    // A zombie holds nothing any more, yet a signal still reaches it, which is all that PostgreSQL's own check asks.
    if (whatIs(file.pid, cluster) === 'zombie') {
      report(`waiting for process ${file.pid}, which is dead, to be reaped`);
      await waitUntil(() => whatIs(file.pid, cluster) !== 'zombie', limits.zombieMs, 50);
    }
  }
  // Backends of a postmaster that was killed notice within moments; until then they still write.
  const left = (): readonly number[] => processesIn(cluster);
  if (!(await waitUntil(() => left().length === 0, limits.immediateMs))) {
    for (const pid of left()) send(pid, 'SIGQUIT');
    if (!(await waitUntil(() => left().length === 0, limits.immediateMs)))
      throw new EmbeddedPostgresError(
        'start_failed',
        `processes of an earlier PostgreSQL server still run in \`${cluster}\`: ${left().join(', ')}`,
        { hint: 'end them and start again', pid: left()[0] },
      );
  }
  // Nothing runs here, so the file is stale. (Without /proc a vanished process is left to PostgreSQL's own check,
  // which also looks for shared memory still in use.)
  if (file !== undefined && (existsSync('/proc/self/cwd') || whatIs(file.pid, cluster) !== 'gone'))
    rmSync(join(cluster, 'postmaster.pid'), { force: true });
}

/** What the process `pid` is to the server that runs on `cluster`. */
export function whatIs(pid: number, cluster: string): 'server' | 'zombie' | 'gone' | 'somebody else' {
  try {
    kill(pid, 0);
  } catch (cause) {
    if (codeOf(cause) === 'ESRCH') return 'gone';
    if (codeOf(cause) !== 'EPERM') throw cause;
  }
  if (existsSync('/proc/self/stat')) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The state follows the program's name, which is in brackets and may itself hold any character.
      if (stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) === 'Z') return 'zombie';
    } catch {
      return 'gone';
    }
    return workingFolder(pid) === cluster ? 'server' : 'somebody else';
  }
  try {
    const out = execFileSync('ps', ['-o', 'stat=,command=', '-p', String(pid)], { encoding: 'utf8', timeout: 10_000 });
    if (out.trim().startsWith('Z')) return 'zombie';
    return out.includes('postgres') && out.includes(cluster) ? 'server' : 'somebody else';
  } catch {
    return 'gone';
  }
}

/** Live processes that work in `cluster`; empty where there is no /proc. */
function processesIn(cluster: string): readonly number[] {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => workingFolder(pid) === cluster);
}

function workingFolder(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    // Gone, a zombie, or another user's: none of them is ours.
    return undefined;
  }
}

function send(pid: number, signal: 'SIGINT' | 'SIGQUIT'): void {
  try {
    kill(pid, signal);
  } catch (cause) {
    if (codeOf(cause) !== 'ESRCH') throw cause;
  }
}

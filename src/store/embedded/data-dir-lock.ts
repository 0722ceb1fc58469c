import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pid } from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';

/**
 * One supervisor per data directory.
 *
 * The lock is a lock of the kernel (`fcntl`), so it is free the moment its holder is dead, however it died, and no
 * number that a later process may get by chance (pid reuse, a reboot, another container) is ever trusted. Node has no
 * call for file locks; SQLite, which it carries, takes one for an exclusive transaction on an empty file. Nothing
 * is ever written into that file. It must not be opened by anything else in this process: POSIX drops a
 * process's locks on a file when any of its descriptors is closed. The holder's pid, which is for people to read
 * only, is therefore in a file of its own.
 */
export class DataDirLock implements Disposable {
  readonly #database: DatabaseSync;
  readonly #ownerFile: string;

  private constructor(database: DatabaseSync, ownerFile: string) {
    this.#database = database;
    this.#ownerFile = ownerFile;
  }

  /** Takes the lock on an existing folder, or throws `data_dir_in_use`. */
  static take(dataDir: string): DataDirLock {
    const ownerFile = join(dataDir, 'owner.json');
    const lockFile = join(dataDir, 'lock');
    let database: DatabaseSync;
    try {
      database = new DatabaseSync(lockFile);
    } catch (cause) {
      throw new EmbeddedPostgresError('folder_unusable', `can't open the lock file \`${lockFile}\``, {
        hint: 'the data directory must be writable by the user who starts sallyport',
        cause,
      });
    }
    try {
      database.exec('pragma busy_timeout = 0; pragma journal_mode = memory; begin exclusive');
    } catch (cause) {
      database.close();
      if (!isBusy(cause))
        throw new EmbeddedPostgresError('folder_unusable', `can't lock \`${lockFile}\``, {
          hint: 'the data directory must be on a local, writable file system that supports locks',
          cause,
        });
      const holder = readOwner(ownerFile);
      throw new EmbeddedPostgresError(
        'data_dir_in_use',
        `the data directory \`${dataDir}\` is in use by ${holder === undefined ? 'another process' : `process ${holder}`}`,
        { hint: 'stop that process, or give this one a data directory of its own', pid: holder, cause },
      );
    }
    writeFileSync(`${ownerFile}.new`, `${JSON.stringify({ pid })}\n`, { mode: 0o600 });
    renameSync(`${ownerFile}.new`, ownerFile);
    return new DataDirLock(database, ownerFile);
  }

  [Symbol.dispose](): void {
    if (!this.#database.isOpen) return;
    rmSync(this.#ownerFile, { force: true });
    this.#database.close();
  }
}

/** SQLITE_BUSY is 5 (https://sqlite.org/rescode.html#busy); extended codes keep it in the low byte. */
function isBusy(error: unknown): boolean {
  return (
    error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' && (error.errcode & 0xff) === 5
  );
}

function readOwner(file: string): number | undefined {
  try {
    const owner: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof owner === 'object' && owner !== null && 'pid' in owner && typeof owner.pid === 'number')
      return owner.pid;
  } catch {
    // The holder is between taking the lock and writing its name, or is letting go: then it has no name to show.
  }
  return undefined;
}

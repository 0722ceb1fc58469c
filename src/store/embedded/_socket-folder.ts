import { createHash } from 'node:crypto';
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { getuid } from 'node:process';
import type { Launcher } from './_launcher.ts';
import { codeOf } from './_wait.ts';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';

/** `sun_path` without its terminating zero: 107 bytes on Linux (`unix(7)`), 103 on macOS. */
const longestSocketPath = platform() === 'darwin' ? 103 : 107;

/**
 * The folder of the server's Unix socket, which only our user may enter: whoever reaches the socket is trusted.
 * It lies in the data directory; when the socket's path would be longer than the kernel takes, it is a folder in the
 * temporary folder, named after the data directory, and `report` says so.
 */
export function prepareSocketFolder(
  dataDir: string,
  port: number,
  launcher: Launcher,
  report: (what: string) => void,
): string {
  const inside = join(dataDir, 'socket');
  if (fits(inside, port)) return makePrivate(inside, launcher);
  const name = `sallyport-${createHash('sha256').update(dataDir).digest('hex').slice(0, 20)}`;
  for (const parent of [tmpdir(), '/tmp']) {
    const outside = join(parent, name);
    if (!fits(outside, port)) continue;
    report(`the path of the data directory is too long for a Unix socket: using \`${outside}\` for it`);
    return makePrivate(outside, launcher);
  }
  throw new EmbeddedPostgresError(
    'folder_unusable',
    `no folder for the socket of \`${dataDir}\` has a path short enough`,
    {
      hint: 'choose a data directory with a shorter path',
    },
  );
}

function fits(folder: string, port: number): boolean {
  return Buffer.byteLength(join(folder, `.s.PGSQL.${port}`)) <= longestSocketPath;
}

/**
 * Makes the folder, or accepts one that is a real folder of ours that nobody else may enter; empties it. In a shared
 * temporary folder somebody else could have made it first and would then own the door to the database.
 */
function makePrivate(folder: string, launcher: Launcher): string {
  const us = getuid?.() ?? 0;
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    if (codeOf(cause) !== 'EEXIST') throw cause;
  }
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || (stat.uid !== us && stat.uid !== launcher.uid))
    throw new EmbeddedPostgresError('folder_unusable', `\`${folder}\` is not a folder of ours`, {
      hint: 'remove it and start again',
    });
  chmodSync(folder, 0o700);
  if (launcher.uid !== undefined && launcher.gid !== undefined) chownSync(folder, launcher.uid, launcher.gid);
  // With the lock held and no server running, whatever lies here is a dead server's.
  for (const name of readdirSync(folder)) if (name.startsWith('.s.PGSQL.')) rmSync(join(folder, name), { force: true });
  return folder;
}

/** Files that only their owner may read: keys. Written whole or not at all. */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { StartError } from './start-error.ts';

export function makePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  } catch (cause) {
    throw new StartError('folder_unusable', `can't make the folder \`${path}\``, {
      hint: 'give a data directory that the user who starts sallyport may write to',
      cause,
    });
  }
}

/** Undefined when there is no such file. Refuses one that others may read. */
export function readPrivateFile(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const { mode } = statSync(path);
  if ((mode & 0o077) !== 0)
    throw new StartError(
      'key_file_open',
      `others may read the key file \`${path}\` (mode ${(mode & 0o777).toString(8)})`,
      {
        hint: `if nobody had access to it, run: chmod 600 ${path}`,
      },
    );
  return readFileSync(path, 'utf8');
}

export function writePrivateFile(path: string, text: string, mode = 0o600): void {
  makePrivateFolder(dirname(path));
  const temporary = `${path}.new`;
  const file = openSync(temporary, 'w', mode);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  // The name as well: what is sealed under a key must not outlive it in a power cut.
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

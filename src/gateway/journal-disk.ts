/** The few things that the journal asks of a disk. An interface, so that tests can let it fail at any moment. */
import { closeSync, ftruncateSync, fsyncSync, fdatasync, mkdirSync, openSync, readdirSync, readSync } from 'node:fs';
import { fstatSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export type JournalFile = {
  /** Appends; returns how many bytes it took, which may be fewer. Throws as `fs` does (`ENOSPC`, `EIO`). */
  readonly append: (bytes: Buffer, from: number, length: number) => number;
  readonly read: (position: number, length: number) => Buffer;
  readonly size: () => number;
  readonly truncate: (size: number) => void;
  /** Resolves when everything appended before the call would survive a power cut. */
  readonly sync: () => Promise<void>;
  readonly syncNow: () => void;
  readonly close: () => void;
};

export type JournalDisk = {
  readonly list: () => readonly string[];
  readonly open: (name: string) => JournalFile;
  readonly rename: (from: string, to: string) => void;
  readonly remove: (name: string) => void;
  /** Makes created, renamed and removed names durable. */
  readonly syncNames: () => void;
};

/** A private folder on a real disk; made when it isn't there. */
export function openJournalDisk(folder: string): JournalDisk {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return {
    list: () => readdirSync(folder),
    open(name) {
      const fd = openSync(join(folder, name), 'a+', 0o600);
      return {
        append: (bytes, from, length) => writeSync(fd, bytes, from, length),
        read(position, length) {
          const bytes = Buffer.allocUnsafe(length);
          let at = 0;
          while (at < length) {
            const count = readSync(fd, bytes, at, length - at, position + at);
            if (count === 0) break;
            at += count;
          }
          return bytes.subarray(0, at);
        },
        size: () => fstatSync(fd).size,
        truncate: (size) => ftruncateSync(fd, size),
        sync: () =>
          new Promise((resolve, reject) => {
            fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
          }),
        syncNow: () => fsyncSync(fd),
        close: () => closeSync(fd),
      };
    },
    rename: (from, to) => renameSync(join(folder, from), join(folder, to)),
    remove: (name) => rmSync(join(folder, name), { force: true }),
    syncNames() {
      const fd = openSync(folder, 'r');
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    },
  };
}

/** The few things that the journal asks of a disk. An interface, so that tests can let it fail at any moment. */
import {
  closeSync,
  constants,
  ftruncateSync,
  fsyncSync,
  fdatasync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
} from 'node:fs';
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
    open: (name) => openFile(join(folder, name)),
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

/**
 * Zeros are written ahead of the records, and cut off when the file is closed. A file that grows with each record makes each
 * fdatasync write the file system's own journal as well, and each record that is appended meanwhile wait for it. No
 * record contains a zero, so after a crash the file ends behind its last byte that is none.
 *
 * In small pieces, since the page cache keeps as one what was written as one, and looks through all of it at each write into
 * it: behind a megabyte in one piece a record costs twice as much.
 */
const aheadBytes = 1 << 20;
const zeros = Buffer.alloc(32_768);

function openFile(path: string): JournalFile {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  let end = endOf(fd);
  let reserved = end;
  const reserve = (): void => {
    try {
      for (const wanted = reserved + aheadBytes; reserved < wanted; reserved += zeros.length)
        writeSync(fd, zeros, 0, zeros.length, reserved);
    } catch {
      // What is left of the disk may be enough for records; if not, writing them says so.
      reserved = end;
    }
  };
  return {
    append(bytes, from, length) {
      if (end + length > reserved) {
        reserved = Math.max(reserved, end + length);
        reserve();
      }
      const count = writeSync(fd, bytes, from, length, end);
      end += count;
      return count;
    },
    read(position, length) {
      const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, end - position)));
      let at = 0;
      while (at < bytes.length) {
        const count = readSync(fd, bytes, at, bytes.length - at, position + at);
        if (count === 0) break;
        at += count;
      }
      return bytes.subarray(0, at);
    },
    size: () => end,
    truncate(size) {
      ftruncateSync(fd, size);
      end = size;
      reserved = size;
    },
    sync: () =>
      new Promise((resolve, reject) => {
        fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
      }),
    syncNow: () => fsyncSync(fd),
    close() {
      try {
        ftruncateSync(fd, end);
      } finally {
        closeSync(fd);
      }
    },
  };
}

/** Behind the last byte that isn't zero. */
function endOf(fd: number): number {
  const bytes = Buffer.allocUnsafe(65_536);
  for (let end = fstatSync(fd).size; end > 0;) {
    const begin = Math.max(0, end - bytes.length);
    const count = readSync(fd, bytes, 0, end - begin, begin);
    for (let at = count - 1; at >= 0; at -= 1) if (bytes[at] !== 0) return begin + at + 1;
    end = begin;
  }
  return 0;
}

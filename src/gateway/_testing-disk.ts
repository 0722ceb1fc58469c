/**
 * A disk in memory for tests. It takes short writes, fails on command ("no space", "failed, yet half of it happened"), and
 * can lose power: what was not synced may then be gone, in whole or in part.
 */
import type { JournalDisk, JournalFile } from './journal-disk.ts';

export type TestingDisk = JournalDisk & {
  /** Bytes that may still be written before ENOSPC; infinite at first. */
  room: number;
  /** The next fdatasync reports EIO. */
  failNextSync: boolean;
  /** A disk as it is found after a power cut; `keep` says for an unsynced tail how many of its bytes survived. */
  readonly afterPowerCut: (keep: (unsynced: number) => number) => TestingDisk;
  /** Changes what is on the disk behind the journal's back. */
  readonly edit: (name: string, change: (bytes: Buffer) => Buffer) => void;
  readonly bytes: (name: string) => Buffer;
};

export function createTestingDisk(from?: ReadonlyMap<string, Buffer>): TestingDisk {
  const files = new Map<string, { content: Buffer; synced: number }>();
  for (const [name, content] of from ?? []) files.set(name, { content, synced: content.length });

  const get = (name: string) => {
    const file = files.get(name) ?? { content: Buffer.alloc(0), synced: 0 };
    files.set(name, file);
    return file;
  };

  const disk: TestingDisk = {
    room: Infinity,
    failNextSync: false,
    list: () => [...files.keys()],
    open(name): JournalFile {
      const file = get(name);
      return {
        append(bytes, at, length) {
          if (disk.room <= 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
          // Never more than 64 kB at once, as some disks do.
          const count = Math.min(length, 65_536, disk.room);
          disk.room -= count;
          file.content = Buffer.concat([file.content, bytes.subarray(at, at + count)]);
          return count;
        },
        read: (position, length) => Buffer.from(file.content.subarray(position, position + length)),
        size: () => file.content.length,
        truncate(size) {
          file.content = file.content.subarray(0, size);
          file.synced = Math.min(file.synced, size);
        },
        async sync() {
          const upTo = file.content.length;
          await new Promise((resolve) => setImmediate(resolve));
          if (disk.failNextSync) {
            disk.failNextSync = false;
            throw Object.assign(new Error('input/output error'), { code: 'EIO' });
          }
          file.synced = Math.max(file.synced, Math.min(upTo, file.content.length));
        },
        syncNow() {
          file.synced = file.content.length;
        },
        close() {},
      };
    },
    rename(old, to) {
      files.set(to, get(old));
      files.delete(old);
    },
    remove: (name) => void files.delete(name),
    syncNames() {},
    afterPowerCut(keep) {
      const left = new Map<string, Buffer>();
      for (const [name, { content, synced }] of files)
        left.set(name, Buffer.from(content.subarray(0, synced + keep(content.length - synced))));
      return createTestingDisk(left);
    },
    edit(name, change) {
      const file = get(name);
      file.content = change(file.content);
    },
    bytes: (name) => get(name).content,
  };
  return disk;
}

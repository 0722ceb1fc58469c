/**
 * How many connections are at the door, not signed in yet: over all and by address. Counted in memory that all engines share,
 * so that a cap is one cap however many of them listen, with nobody asked on the accept path (INVARIANT 14). Each engine
 * counts in a row of its own, which is cleared when it dies.
 *
 * Addresses share counts when their keyed hashes meet, one in 65,536: that can turn somebody away, and never lets one in.
 */
import { hash } from 'node:crypto';
import type { Random } from '#core/ids.ts';

export type Door = {
  /** Undefined: there are too many. Otherwise call it once when the handshake is over. */
  readonly enter: (address: string) => (() => void) | undefined;
};

/** What the engines share; can be given to a thread. */
export type DoorCounts = { readonly cells: SharedArrayBuffer; readonly rows: number; readonly seed: string };

const buckets = 65_536;
/** The last of a row is its sum. */
const rowCells = buckets + 1;

export function createDoorCounts(rows: number, random: Random): DoorCounts {
  const cells = new SharedArrayBuffer(rows * rowCells * Int32Array.BYTES_PER_ELEMENT);
  return { cells, rows, seed: Buffer.from(random(16)).toString('hex') };
}

export function openDoor(
  counts: DoorCounts,
  row: number,
  caps: { readonly perAddress: number; readonly all: number },
): Door {
  const cells = new Int32Array(counts.cells);
  const own = row * rowCells;
  const sum = (cell: number) => {
    let all = 0;
    for (let each = 0; each < counts.rows; each += 1) all += Atomics.load(cells, each * rowCells + cell);
    return all;
  };
  return {
    enter(address) {
      const bucket = Number.parseInt(hash('sha256', counts.seed + address, 'hex').slice(0, 4), 16);
      const add = (by: number) => {
        Atomics.add(cells, own + bucket, by);
        Atomics.add(cells, own + buckets, by);
      };
      // Added first: of two that come at once at two engines neither misses the other.
      add(1);
      if (sum(bucket) <= caps.perAddress && sum(buckets) <= caps.all) return () => add(-1);
      add(-1);
      return undefined;
    },
  };
}

/** Who counted there is gone, and its sockets with it. */
export function clearRow(counts: DoorCounts, row: number): void {
  const cells = new Int32Array(counts.cells);
  for (let cell = row * rowCells; cell < (row + 1) * rowCells; cell += 1) Atomics.store(cells, cell, 0);
}

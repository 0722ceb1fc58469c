/**
 * The tree on disk or in a table, as C2SP tlog-tiles lays it out: tiles of 256 hashes, eight levels of the tree each.
 * Appending touches the right edge only. Where the tiles live is the caller's business (`TileStore`).
 */
import type { Hash, HashReader } from './tree.ts';
import { foldRight, leafHash, rootOf, sameHash } from './tree.ts';

/** Tiles by path. `write` may meet a path again after a crash, with the same or other bytes, and replaces it. */
export type TileStore = {
  readonly read: (path: string) => Promise<Uint8Array | undefined>;
  readonly write: (path: string, bytes: Uint8Array) => Promise<void>;
};

export const tileWidth = 256;
const hashBytes = 32;

export class TileError extends Error {
  readonly code = 'log.tiles_damaged';
  constructor(what: string) {
    super(`read the log's tiles: ${what}`);
  }
}

/** `tile/<L>/<N>[.p/<W>]`; `level` may be `entries`. A width of 256 is a full tile. */
export function tilePath(level: number | 'entries', index: number, width: number = tileWidth): string {
  return `tile/${level}/${indexPath(index)}${width === tileWidth ? '' : `.p/${width}`}`;
}

/** 1234067 is `x001/x234/067`. */
export function indexPath(index: number): string {
  const groups = [String(index % 1000).padStart(3, '0')];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`);
  return groups.join('/');
}

/** How many hashes the tiles of a level hold in all, in a tree of the given size. */
export function hashesAt(level: number, size: number): number {
  return Math.floor(size / tileWidth ** level);
}

export type AppendOutcome = {
  readonly size: number;
  readonly root: Hash;
  /** Partial tiles that a wider one has replaced: nothing needs them any more. */
  readonly stale: readonly string[];
};

/**
 * Appends leaves to a tree whose root is known, and writes the tiles that changed. Costs O(new leaves + log n): it
 * reads and writes the partial tile at the right of each level, no others.
 * @throws TileError when the stored edge doesn't have the given root: such a tree must not be grown, let alone signed
 */
export async function appendLeaves(
  store: TileStore,
  previous: { readonly size: number; readonly root: Hash },
  leaves: readonly Uint8Array[],
): Promise<AppendOutcome> {
  const edges: Hash[][] = [];
  const stale: string[] = [];
  for (let level = 0; hashesAt(level, previous.size) > 0; level += 1) {
    const count = hashesAt(level, previous.size);
    const width = count % tileWidth;
    edges.push(width === 0 ? [] : await readTile(store, level, Math.floor(count / tileWidth), width));
  }
  // INVARIANT: nothing is built on, or signed after, a tree other than the one that was signed before.
  if (!sameHash(edgeRoot(edges), previous.root))
    throw new TileError(`the tree of ${previous.size} leaves doesn't have the root that was signed`);

  let added: Hash[] = leaves.map(leafHash);
  for (let level = 0; added.length > 0; level += 1) {
    const edge = edges[level] ?? [];
    const count = hashesAt(level, previous.size);
    let index = Math.floor(count / tileWidth);
    if (edge.length > 0) stale.push(tilePath(level, index, edge.length));
    const above: Hash[] = [];
    let tile = edge;
    for (const hash of added) {
      tile.push(hash);
      if (tile.length === tileWidth) {
        await store.write(tilePath(level, index), Buffer.concat(tile));
        above.push(rootOf(tile));
        tile = [];
        index += 1;
      }
    }
    if (tile.length > 0) await store.write(tilePath(level, index, tile.length), Buffer.concat(tile));
    edges[level] = tile;
    added = above;
  }
  return { size: previous.size + leaves.length, root: edgeRoot(edges), stale };
}

/** The root of a tree from the partial tiles at its right edge, lowest level first. */
function edgeRoot(edges: readonly (readonly Hash[])[]): Hash {
  return foldRight(edges.toReversed().flatMap((edge) => [...completeSubtrees(edge)]));
}

/** The roots of the complete subtrees in a row of hashes, largest first. */
function completeSubtrees(hashes: readonly Hash[]): Hash[] {
  const roots: Hash[] = [];
  let at = 0;
  for (let width = tileWidth / 2; width >= 1; width /= 2) {
    if (hashes.length - at < width) continue;
    roots.push(rootOf(hashes.slice(at, at + width)));
    at += width;
  }
  return roots;
}

/**
 * Reads subtree hashes of a tree of the given size from its tiles, keeping the last few at hand. When a partial tile is
 * gone it takes a fuller one, if the store was read for a size that has since grown: pass the current size then.
 */
export function hashReader(store: Pick<TileStore, 'read'>, size: number): HashReader {
  const kept = new Map<string, Hash[]>();
  return async (level, index) => {
    const tileLevel = Math.floor(level / 8);
    const span = 2 ** (level - tileLevel * 8);
    const first = index * span;
    const tileIndex = Math.floor(first / tileWidth);
    const width = Math.min(tileWidth, hashesAt(tileLevel, size) - tileIndex * tileWidth);
    const offset = first - tileIndex * tileWidth;
    if (offset + span > width) throw new TileError(`a tree of ${size} leaves has no node ${index} at level ${level}`);
    const path = tilePath(tileLevel, tileIndex, width);
    let hashes = kept.get(path);
    if (hashes === undefined) {
      hashes = await readTile(store, tileLevel, tileIndex, width);
      kept.set(path, hashes);
      const [oldest] = kept.keys();
      if (kept.size > 32 && oldest !== undefined) kept.delete(oldest);
    }
    return rootOf(hashes.slice(offset, offset + span));
  };
}

async function readTile(store: Pick<TileStore, 'read'>, level: number, index: number, width: number): Promise<Hash[]> {
  const path = tilePath(level, index, width);
  const exact = await store.read(path);
  const bytes = exact ?? (width < tileWidth ? await store.read(tilePath(level, index)) : undefined);
  if (bytes === undefined) throw new TileError(`\`${path}\` is missing`);
  if (bytes.length !== hashBytes * (exact === undefined ? tileWidth : width))
    throw new TileError(`\`${path}\` has ${bytes.length} bytes`);
  return splitHashes(bytes).slice(0, width);
}

/** The hashes of a tile. */
export function splitHashes(bytes: Uint8Array): Hash[] {
  const hashes: Hash[] = [];
  for (let at = 0; at < bytes.length; at += hashBytes) hashes.push(bytes.subarray(at, at + hashBytes));
  return hashes;
}

/** An entry bundle: each leaf behind its length, 16 bits, big-endian. @throws RangeError for a leaf above 65,535 bytes */
export function encodeEntryBundle(leaves: readonly Uint8Array[]): Uint8Array {
  return lengthPrefixed(leaves, 2);
}

/** The leaves of a bundle, or undefined when it isn't made of exactly `count` of them. */
export function decodeEntryBundle(bytes: Uint8Array, count: number): Uint8Array[] | undefined {
  return splitLengthPrefixed(bytes, 2, count);
}

/** A content bundle: each sealed blob behind its length, 32 bits, big-endian; 0 for an entry without one. */
export function encodeContentBundle(blobs: readonly (Uint8Array | undefined)[]): Uint8Array {
  return lengthPrefixed(
    blobs.map((blob) => blob ?? new Uint8Array()),
    4,
  );
}

/** The blobs of a content bundle (empty where there is none), or undefined when there aren't exactly `count`. */
export function decodeContentBundle(bytes: Uint8Array, count: number): Uint8Array[] | undefined {
  return splitLengthPrefixed(bytes, 4, count);
}

function lengthPrefixed(parts: readonly Uint8Array[], prefixBytes: 2 | 4): Uint8Array {
  return Buffer.concat(
    parts.flatMap((part) => {
      const prefix = Buffer.alloc(prefixBytes);
      prefix.writeUIntBE(part.length, 0, prefixBytes);
      return [prefix, part];
    }),
  );
}

function splitLengthPrefixed(bytes: Uint8Array, prefixBytes: 2 | 4, count: number): Uint8Array[] | undefined {
  const parts: Uint8Array[] = [];
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (parts.length < count) {
    if (bytes.length - at < prefixBytes) return undefined;
    const length = buffer.readUIntBE(at, prefixBytes);
    at += prefixBytes;
    if (bytes.length - at < length) return undefined;
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return at === bytes.length ? parts : undefined;
}

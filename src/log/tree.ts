/**
 * The Merkle tree of RFC 6962 section 2.1 over SHA-256: hashes, inclusion and consistency proofs, and their
 * verification. Sizes and indices are plain numbers up to 2^53, so arithmetic is by division, never by 32-bit shifts.
 */
import { createHash } from 'node:crypto';

export type Hash = Uint8Array;

/** MTH({}): the root of the empty tree. */
export const emptyRoot: Hash = createHash('sha256').digest();

/** SHA-256(0x00 || leaf). */
export function leafHash(leaf: Uint8Array): Hash {
  return createHash('sha256').update(Uint8Array.of(0)).update(leaf).digest();
}

/** SHA-256(0x01 || left || right). */
export function nodeHash(left: Hash, right: Hash): Hash {
  return createHash('sha256').update(Uint8Array.of(1)).update(left).update(right).digest();
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** The right edge of a growing tree: the roots of its complete subtrees, largest first. O(log n) space. */
export type Frontier = {
  readonly size: () => number;
  /** Adds the hash of the next leaf. */
  readonly push: (hash: Hash) => void;
  /** The root now. */
  readonly root: () => Hash;
};

export function emptyFrontier(): Frontier {
  let size = 0;
  const roots: Hash[] = [];
  return {
    size: () => size,
    push: (hash) => {
      roots.push(hash);
      size += 1;
      // As many merges as the new size has trailing zero bits.
      for (let rest = size; rest % 2 === 0; rest /= 2) mergeLast(roots);
    },
    root: () => foldRight(roots),
  };
}

function mergeLast(roots: Hash[]): void {
  const right = roots.pop();
  const left = roots.pop();
  if (left === undefined || right === undefined) throw new RangeError('grow a tree: its edge is too short');
  roots.push(nodeHash(left, right));
}

/** The root over complete subtrees in descending order of size. */
export function foldRight(roots: readonly Hash[]): Hash {
  const last = roots.at(-1);
  if (last === undefined) return emptyRoot;
  let root = last;
  for (let i = roots.length - 2; i >= 0; i -= 1) root = nodeHash(roots[i]!, root); // in range
  return root;
}

/** The root over hashes that all are of the same level. */
export function rootOf(hashes: readonly Hash[]): Hash {
  const frontier = emptyFrontier();
  for (const hash of hashes) frontier.push(hash);
  return frontier.root();
}

/** The hash of the complete subtree of 2^level leaves that starts at leaf index * 2^level. */
export type HashReader = (level: number, index: number) => Promise<Hash>;

/** The audit path of a leaf, from its sibling up (RFC 6962 section 2.1.1). @throws RangeError when the index is outside */
export async function inclusionProof(read: HashReader, index: number, size: number): Promise<Hash[]> {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < size))
    throw new RangeError(`prove inclusion: the index \`${index}\` is not below the size \`${size}\``);
  const proof: Hash[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      proof.push(await rangeHash(read, middle, end));
      end = middle;
    } else {
      proof.push(await rangeHash(read, start, middle));
      start = middle;
    }
  }
  return proof.reverse();
}

/** That the tree of `size` leaves begins with the one of `earlier` leaves (RFC 6962 section 2.1.2). @throws RangeError */
export async function consistencyProof(read: HashReader, earlier: number, size: number): Promise<Hash[]> {
  if (!(Number.isSafeInteger(earlier) && earlier >= 0 && earlier <= size))
    throw new RangeError(`prove consistency: the size \`${earlier}\` is not within \`${size}\``);
  if (earlier === 0 || earlier === size) return [];
  const proof: Hash[] = [];
  let [start, end] = [0, size];
  let isWhole = true;
  // SUBPROOF, from the root down to the subtree at whose end the earlier tree stops.
  while (end !== earlier) {
    const middle = start + splitPoint(end - start);
    if (earlier <= middle) {
      proof.push(await rangeHash(read, middle, end));
      end = middle;
    } else {
      proof.push(await rangeHash(read, start, middle));
      start = middle;
      isWhole = false;
    }
  }
  if (!isWhole) proof.push(await rangeHash(read, start, end));
  return proof.reverse();
}

/** RFC 9162 section 2.1.3.2. */
export function verifyInclusion(
  of: { readonly leafHash: Hash; readonly index: number; readonly size: number; readonly root: Hash },
  proof: readonly Hash[],
): boolean {
  const { index, size } = of;
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return false;
  let node = index;
  let last = size - 1;
  let hash = of.leafHash;
  for (const sibling of proof) {
    if (last === 0 || sibling.length !== 32) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && sameHash(hash, of.root);
}

/** RFC 9162 section 2.1.4.2. Every tree is consistent with the empty one. */
export function verifyConsistency(
  earlier: { readonly size: number; readonly root: Hash },
  later: { readonly size: number; readonly root: Hash },
  proof: readonly Hash[],
): boolean {
  if (!Number.isSafeInteger(earlier.size) || !Number.isSafeInteger(later.size)) return false;
  if (earlier.size < 0 || earlier.size > later.size) return false;
  if (earlier.size === 0) return proof.length === 0 && sameHash(earlier.root, emptyRoot);
  if (earlier.size === later.size) return proof.length === 0 && sameHash(earlier.root, later.root);
  if (proof.some((hash) => hash.length !== 32)) return false;
  let node = earlier.size - 1;
  let last = later.size - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  // A complete earlier tree is its own first hash, and is left out of the proof.
  const path = node === 0 ? [earlier.root, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let earlierHash = first;
  let laterHash = first;
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      earlierHash = nodeHash(sibling, earlierHash);
      laterHash = nodeHash(sibling, laterHash);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      laterHash = nodeHash(laterHash, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && sameHash(earlierHash, earlier.root) && sameHash(laterHash, later.root);
}

/** MTH(D[start:end]) for a range that RFC 6962's recursion reaches: it starts at a multiple of its leftmost subtree. */
export async function rangeHash(read: HashReader, start: number, end: number): Promise<Hash> {
  const roots: Hash[] = [];
  let at = start;
  while (at < end) {
    let level = 0;
    let width = 1;
    while (at + width * 2 <= end) {
      width *= 2;
      level += 1;
    }
    roots.push(await read(level, at / width));
    at += width;
  }
  return foldRight(roots);
}

/** The largest power of two below n, for n of at least 2. */
function splitPoint(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

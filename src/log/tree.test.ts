import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { tilePath, appendLeaves, hashReader } from './tiles.ts';
import type { TileStore } from './tiles.ts';
import type { Hash } from './tree.ts';
import {
  consistencyProof,
  emptyFrontier,
  emptyRoot,
  inclusionProof,
  leafHash,
  nodeHash,
  sameHash,
  verifyConsistency,
  verifyInclusion,
} from './tree.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** RFC 6962 section 2.1, word for word: what all else is held against. */
function naiveRoot(hashes: readonly Hash[]): Hash {
  if (hashes.length === 0) return emptyRoot;
  if (hashes.length === 1) return hashes[0]!; // of length 1
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return nodeHash(naiveRoot(hashes.slice(0, k)), naiveRoot(hashes.slice(k)));
}

const leaf = (i: number) => Buffer.from(`leaf ${i}`);
const hashes = Array.from({ length: 1100 }, (_, i) => leafHash(leaf(i)));
const readNaive = (level: number, index: number) =>
  Promise.resolve(naiveRoot(hashes.slice(index * 2 ** level, (index + 1) * 2 ** level)));

// The test tree of the Certificate Transparency reference implementation.
const ctLeaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
const ctRoots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('tree: the roots of the Certificate Transparency test tree', () => {
  const frontier = emptyFrontier();
  assert.equal(hex(frontier.root()), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  ctLeaves.forEach((text, i) => {
    frontier.push(leafHash(Buffer.from(text, 'hex')));
    assert.equal(hex(frontier.root()), ctRoots[i]);
  });
});

test('tree: audit paths of the Certificate Transparency test tree', async () => {
  const leaves = ctLeaves.map((text) => leafHash(Buffer.from(text, 'hex')));
  const read = (level: number, index: number) =>
    Promise.resolve(naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)));
  assert.deepEqual((await inclusionProof(read, 0, 8)).map(hex), [
    '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
    '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
    '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
  ]);
  assert.deepEqual((await inclusionProof(read, 2, 3)).map(hex), [ctRoots[1]]);
  assert.deepEqual((await consistencyProof(read, 6, 8)).map(hex), [
    '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
    'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
    ctRoots[3],
  ]);
});

test('tree: the growing edge has the root of the whole tree', () => {
  const frontier = emptyFrontier();
  for (let size = 0; size < 300; size += 1) {
    assert.ok(sameHash(frontier.root(), naiveRoot(hashes.slice(0, size))), `size ${size}`);
    frontier.push(hashes[size]!); // below 1100
  }
});

test('tree: every inclusion proof verifies, for this leaf, index, size and root only', async () => {
  for (let size = 1; size <= 33; size += 1) {
    const root = naiveRoot(hashes.slice(0, size));
    for (let index = 0; index < size; index += 1) {
      const proof = await inclusionProof(readNaive, index, size);
      const of = { leafHash: hashes[index]!, index, size, root }; // index is below 33
      assert.ok(verifyInclusion(of, proof), `${index} of ${size}`);
      assert.ok(!verifyInclusion({ ...of, leafHash: hashes[index + 1]! }, proof)); // below 34
      // (Another index within the same tree must not fit; a larger size may share the path, its root then differs.)
      for (let other = 0; other < size; other += 1)
        if (other !== index)
          assert.ok(!verifyInclusion({ ...of, index: other }, proof), `${index} as ${other} of ${size}`);
      assert.ok(!verifyInclusion({ ...of, root: leafHash(root) }, proof));
      assert.ok(!verifyInclusion(of, [...proof, root]));
      if (proof.length > 0) assert.ok(!verifyInclusion(of, proof.slice(1)));
    }
  }
});

test('tree: every consistency proof verifies, for these two trees only', async () => {
  for (let later = 0; later <= 33; later += 1) {
    const laterRoot = naiveRoot(hashes.slice(0, later));
    for (let earlier = 0; earlier <= later; earlier += 1) {
      const proof = await consistencyProof(readNaive, earlier, later);
      const from = { size: earlier, root: naiveRoot(hashes.slice(0, earlier)) };
      const to = { size: later, root: laterRoot };
      assert.ok(verifyConsistency(from, to, proof), `${earlier} to ${later}`);
      assert.ok(!verifyConsistency({ ...from, root: leafHash(laterRoot) }, to, proof));
      if (earlier > 0) assert.ok(!verifyConsistency(from, { ...to, root: leafHash(laterRoot) }, proof));
      assert.ok(!verifyConsistency(from, to, [...proof, laterRoot]));
      if (proof.length > 0) assert.ok(!verifyConsistency(from, to, proof.slice(0, -1)));
      if (earlier > 1) assert.ok(!verifyConsistency({ ...from, size: earlier - 1 }, to, proof));
    }
  }
});

function memoryStore(): TileStore & { readonly files: Map<string, Uint8Array>; readonly reads: string[] } {
  const files = new Map<string, Uint8Array>();
  const reads: string[] = [];
  return {
    files,
    reads,
    read: (path) => {
      reads.push(path);
      return Promise.resolve(files.get(path));
    },
    write: (path, bytes) => {
      files.set(path, Uint8Array.from(bytes));
      return Promise.resolve();
    },
  };
}

test('tiles: the paths of the specification', () => {
  assert.equal(tilePath(0, 1_234_067), 'tile/0/x001/x234/067');
  assert.equal(tilePath('entries', 0, 8), 'tile/entries/000.p/8');
  assert.equal(tilePath(2, 1000, 255), 'tile/2/x001/000.p/255');
  assert.equal(tilePath(63, 999), 'tile/63/999');
});

test('tiles: appended in any steps, the tree and its proofs are those of the naive tree', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 200, max: 520 })), { maxLength: 6 }),
      fc.nat(),
      async (steps, pick) => {
        const store = memoryStore();
        let tree: { size: number; root: Hash } = { size: 0, root: emptyRoot };
        for (const step of steps) {
          const count = Math.min(step, hashes.length - tree.size);
          const leaves = Array.from({ length: count }, (_, i) => leaf(tree.size + i));
          const grown = await appendLeaves(store, tree, leaves);
          for (const path of grown.stale) assert.ok(store.files.delete(path), path);
          tree = grown;
          assert.equal(hex(tree.root), hex(naiveRoot(hashes.slice(0, tree.size))));
        }
        if (tree.size === 0) return;
        const read = hashReader(store, tree.size);
        const index = pick % tree.size;
        const proof = await inclusionProof(read, index, tree.size);
        assert.ok(verifyInclusion({ leafHash: hashes[index]!, index, ...tree }, proof)); // below size
        const earlier = { size: index, root: naiveRoot(hashes.slice(0, index)) };
        assert.ok(verifyConsistency(earlier, tree, await consistencyProof(read, index, tree.size)));
      },
    ),
    { numRuns: 40 },
  );
});

test('tiles: a tree of 70,000 leaves has the tiles that the specification counts, and appending reads the edge only', async () => {
  const store = memoryStore();
  const leaves = Array.from({ length: 70_000 }, (_, i) => leaf(i));
  const tree = await appendLeaves(store, { size: 0, root: emptyRoot }, leaves);
  const paths = [...store.files.keys()];
  assert.equal(paths.filter((path) => /^tile\/0\/\d{3}$/.test(path)).length, 273);
  assert.deepEqual(
    paths.filter((path) => !/^tile\/0\/\d{3}$/.test(path)),
    ['tile/0/273.p/112', 'tile/1/000', 'tile/1/001.p/17', 'tile/2/000.p/1'],
  );
  store.reads.length = 0;
  const grown = await appendLeaves(store, tree, [leaf(70_000)]);
  assert.deepEqual(store.reads, ['tile/0/273.p/112', 'tile/1/001.p/17', 'tile/2/000.p/1']);
  assert.deepEqual(grown.stale, ['tile/0/273.p/112']);
});

test('tiles: a tree whose stored edge was changed is not grown', async () => {
  const store = memoryStore();
  const tree = await appendLeaves(store, { size: 0, root: emptyRoot }, [leaf(0), leaf(1)]);
  const tile = store.files.get('tile/0/000.p/2');
  assert.ok(tile !== undefined);
  tile[40] = (tile[40] ?? 0) ^ 1;
  await assert.rejects(appendLeaves(store, tree, [leaf(2)]), { code: 'log.tiles_damaged' });
  store.files.delete('tile/0/000.p/2');
  await assert.rejects(appendLeaves(store, tree, [leaf(2)]), { code: 'log.tiles_damaged' });
});

/**
 * Verifies a copy of the log offline. Trust is in the log's public key alone: the manifest is signed and names every
 * file with its hash; the checkpoint is signed and names the root; every leaf, hashed upwards, gives that root, and the
 * roots of the earlier checkpoints on the way; every entry is spelled in the one way there is; every content is the one
 * that its entry commits to and opens where its key is there; every proof verifies against the keys that the log has
 * enrolled before it. It goes on after a fault, so that the report names all of them.
 */
import { openContent, contentHash, contentKeyId } from './content.ts';
import type { ContentKey } from './content.ts';
import type { Checkpoint } from './checkpoint.ts';
import { openCheckpoint } from './checkpoint.ts';
import type { Listed } from './_copy-layout.ts';
import { earlierCheckpointSize, parseContentKeys, parseManifest, paths, sha256Hex } from './_copy-layout.ts';
import type { Entry } from './entry.ts';
import { parseEntry } from './entry.ts';
import type { ProofCheck } from './evidence.ts';
import { startProofCheck } from './evidence.ts';
import type { NoteVerifier } from './note.ts';
import { openNote, parseVerifier } from './note.ts';
import { decodeContentBundle, decodeEntryBundle, hashesAt, splitHashes, tilePath, tileWidth } from './tiles.ts';
import type { Hash } from './tree.ts';
import { emptyFrontier, emptyRoot, leafHash, rootOf, sameHash } from './tree.ts';
import type { Json } from '#core/jcs.ts';

export type CopyFault = {
  readonly path: string;
  /** Where in the file the first difference is, when that is known. */
  readonly offset?: number;
  /** The entry that is touched, when that is known. */
  readonly entryIndex?: number;
  readonly what: string;
};

export type CopyReport = {
  readonly ok: boolean;
  readonly origin: string | undefined;
  readonly size: number;
  /** Lower-case hex. */
  readonly root: string | undefined;
  readonly files: number;
  readonly entries: number;
  readonly earlierCheckpoints: number;
  /** Contents that opened, are sealed under a key that the copy doesn't have, or are not in the copy. */
  readonly contentsOpened: number;
  readonly contentsSealed: number;
  readonly contentsMissing: number;
  readonly checkedProofs: number;
  /** Proofs in contents that can't be opened. */
  readonly unreadableProofs: number;
  readonly faults: readonly CopyFault[];
  /** Faults beyond the thousand that are kept. */
  readonly moreFaults: number;
};

export type CopyReader = {
  readonly read: (path: string) => Promise<Uint8Array | undefined>;
  /** Every file of the copy, by its path with `/`. */
  readonly list: () => Promise<readonly string[]>;
};

const maxFaults = 1000;

/** Without `trust.vkey` the copy's own key is taken: that proves the copy consistent, not whose log it is. */
export async function verifyCopy(copy: CopyReader, trust: { readonly vkey?: string }): Promise<CopyReport> {
  const state = new Verification(copy);
  await state.run(trust);
  return state.report();
}

type Counts = { -readonly [K in Exclude<keyof CopyReport, 'ok' | 'faults' | 'origin' | 'root' | 'size'>]: number };

/** One run over one copy; it owns what has been counted and found so far. */
class Verification {
  readonly #copy: CopyReader;
  readonly #faults: CopyFault[] = [];
  readonly #counts: Counts = {
    files: 0,
    entries: 0,
    earlierCheckpoints: 0,
    contentsOpened: 0,
    contentsSealed: 0,
    contentsMissing: 0,
    checkedProofs: 0,
    unreadableProofs: 0,
    moreFaults: 0,
  };
  /** Files whose bytes aren't those of the manifest: what follows from them is not reported a second time. */
  readonly #changed = new Set<string>();
  readonly #expected = new Set<string>([paths.manifest]);
  readonly #proofs: ProofCheck = startProofCheck();
  #manifest: ReadonlyMap<string, Listed> | undefined;
  #keys: ReadonlyMap<string, ContentKey> = new Map();
  #checkpoint: Checkpoint | undefined;
  #tileBroken = false;

  constructor(copy: CopyReader) {
    this.#copy = copy;
  }

  report(): CopyReport {
    const { origin, size = 0, root } = this.#checkpoint ?? {};
    return {
      ok: this.#faults.length === 0,
      origin,
      size,
      root: root === undefined ? undefined : Buffer.from(root).toString('hex'),
      ...this.#counts,
      faults: this.#faults,
    };
  }

  async run(trust: { readonly vkey?: string }): Promise<void> {
    const present = new Set(await this.#copy.list());
    this.#counts.files = present.size;
    const key = await this.#readKey(trust.vkey);
    if (key === undefined) return;
    await this.#readManifest(key);
    // The key's own file was read before there was a manifest to hold it against.
    await this.#read(paths.key);

    const checkpoint = await this.#openCheckpoint(paths.checkpoint, key);
    const keysText = await this.#readText(paths.contentKeys);
    const keys = keysText === undefined ? undefined : parseContentKeys(keysText);
    if (keys !== undefined) this.#keys = keys;
    else if (keysText !== undefined) this.#fault({ path: paths.contentKeys, what: 'not a list of content keys' });
    if (checkpoint !== undefined && checkpoint.size / tileWidth > present.size) {
      // Otherwise a size made up by somebody with a key of their own would keep us busy for ever.
      this.#fault({ path: paths.checkpoint, what: `signs ${checkpoint.size} entries, more than the copy can hold` });
    } else if (checkpoint !== undefined) {
      this.#checkpoint = checkpoint;
      await this.#readTree(checkpoint, await this.#readEarlierCheckpoints(present, checkpoint, key));
    }
    await this.#compareFiles(present, this.#checkpoint !== undefined);
  }

  async #readKey(trusted: string | undefined): Promise<NoteVerifier | undefined> {
    const bytes = await this.#copy.read(paths.key);
    const text = bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1');
    const own = text?.endsWith('\n') === true ? parseVerifier(text.slice(0, -1)) : undefined;
    if (own === undefined) this.#fault({ path: paths.key, what: bytes === undefined ? 'missing' : 'not a public key' });
    if (trusted === undefined) return own;
    const key = parseVerifier(trusted);
    if (key === undefined) this.#fault({ path: paths.key, what: 'the trusted key is not a public key' });
    else if (own !== undefined && own.vkey !== key.vkey)
      this.#fault({ path: paths.key, what: `not the trusted key \`${key.vkey}\`` });
    return key;
  }

  async #readManifest(key: NoteVerifier): Promise<void> {
    const bytes = await this.#copy.read(paths.manifest);
    const path = paths.manifest;
    if (bytes === undefined) return this.#fault({ path, what: 'missing' });
    const note = openNote(bytes, key);
    if (note.kind === 'refused') return this.#fault({ path, what: `not signed by the log: ${note.because}` });
    // A signature of somebody else would be bytes that nobody has signed.
    if (note.signatures !== 1) return this.#fault({ path, what: 'more than one signature' });
    const manifest = parseManifest(note.text);
    if (manifest === undefined) return this.#fault({ path, what: 'not a list of files' });
    if (manifest.origin !== key.name) return this.#fault({ path, what: `of another log, \`${manifest.origin}\`` });
    this.#manifest = manifest.files;
  }

  /** Reads a file that ought to be there and holds it against the manifest. */
  async #read(path: string): Promise<Uint8Array | undefined> {
    this.#expected.add(path);
    const bytes = await this.#copy.read(path);
    if (bytes === undefined) {
      this.#changed.add(path);
      this.#fault({ path, what: 'missing' });
      return undefined;
    }
    const listed = this.#manifest?.get(path);
    if (this.#manifest !== undefined && listed === undefined) this.#fault({ path, what: 'not listed in the manifest' });
    if (listed !== undefined && (listed.size !== bytes.length || listed.sha256 !== sha256Hex(bytes))) {
      this.#changed.add(path);
      const length = listed.size === bytes.length ? '' : `, ${bytes.length} bytes in place of ${listed.size}`;
      this.#fault({ path, what: `not the bytes that the manifest names${length}` });
    }
    return bytes;
  }

  async #readText(path: string): Promise<string | undefined> {
    const bytes = await this.#read(path);
    if (bytes === undefined) return undefined;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return '';
    }
  }

  async #openCheckpoint(path: string, key: NoteVerifier): Promise<Checkpoint | undefined> {
    const bytes = await this.#read(path);
    if (bytes === undefined) return undefined;
    const opened = openCheckpoint(bytes, key);
    if (opened.kind === 'opened') return opened.checkpoint;
    this.#fault({ path, what: `not a checkpoint of the log: ${opened.because}` });
    return undefined;
  }

  async #readEarlierCheckpoints(
    present: ReadonlySet<string>,
    current: Checkpoint,
    key: NoteVerifier,
  ): Promise<ReadonlyMap<number, Hash>> {
    const roots = new Map<number, Hash>();
    for (const path of new Set([...present, ...(this.#manifest?.keys() ?? [])])) {
      const size = earlierCheckpointSize(path);
      if (size === undefined) continue;
      const checkpoint = await this.#openCheckpoint(path, key);
      if (checkpoint === undefined) continue;
      if (checkpoint.size !== size) this.#fault({ path, what: `is of a tree of ${checkpoint.size} leaves` });
      else if (size > current.size) this.#fault({ path, what: 'is of a larger tree than the checkpoint' });
      else roots.set(size, checkpoint.root);
    }
    return roots;
  }

  /** Bundle by bundle from the first leaf to the root. */
  async #readTree(checkpoint: Checkpoint, earlier: ReadonlyMap<number, Hash>): Promise<void> {
    const { size } = checkpoint;
    const tree = emptyFrontier();
    const edges: Hash[][] = [[]];
    const meetEarlier = () => {
      const root = earlier.get(tree.size());
      if (root === undefined) return;
      this.#counts.earlierCheckpoints += 1;
      if (!sameHash(root, tree.root()) && !this.#tileBroken)
        this.#fault({
          path: paths.earlierCheckpoint(tree.size()),
          what: 'the log does not begin with the tree that this checkpoint signed',
        });
    };
    meetEarlier();
    for (let bundle = 0; bundle * tileWidth < size; bundle += 1) {
      const width = Math.min(tileWidth, size - bundle * tileWidth);
      let hashes = await this.#readBundle(bundle, width);
      if (hashes === undefined) {
        // What is above a lost tile can't be computed; the fault has been named. Go on counting for the rest.
        this.#tileBroken = true;
        hashes = Array.from({ length: width }, () => emptyRoot);
      }
      for (const hash of hashes) {
        tree.push(hash);
        meetEarlier();
      }
      await this.#closeTile(edges, 0, bundle, hashes);
    }
    for (const [level, hashes] of edges.entries()) {
      if (level > 0 && hashes.length > 0)
        await this.#compareTile(level, Math.floor(hashesAt(level, size) / tileWidth), hashes);
    }
    if (!this.#tileBroken && !sameHash(tree.root(), checkpoint.root))
      this.#fault({ path: paths.checkpoint, what: 'the entries do not have the root that the checkpoint signed' });
  }

  /** Hands a full tile's root to the level above, whose own tile is compared when it is full. */
  async #closeTile(edges: Hash[][], level: number, index: number, hashes: readonly Hash[]): Promise<void> {
    if (hashes.length < tileWidth) return;
    const above = (edges[level + 1] ??= []);
    above.push(rootOf(hashes));
    if (above.length < tileWidth) return;
    const aboveIndex = Math.floor(index / tileWidth);
    await this.#compareTile(level + 1, aboveIndex, above);
    edges[level + 1] = [];
    await this.#closeTile(edges, level + 1, aboveIndex, above);
  }

  async #compareTile(level: number, index: number, hashes: readonly Hash[]): Promise<void> {
    const path = tilePath(level, index, hashes.length);
    const bytes = await this.#read(path);
    if (bytes === undefined || this.#tileBroken) return;
    const offset = firstDifference(bytes, Buffer.concat(hashes));
    if (offset !== undefined) this.#fault({ path, offset, what: 'hashes that the entries do not give' });
  }

  /** The leaf hashes of a bundle: from its entries, or from its tile when only the entries were changed. */
  async #readBundle(index: number, width: number): Promise<readonly Hash[] | undefined> {
    const entriesPath = tilePath('entries', index, width);
    const tileName = tilePath(0, index, width);
    const contentPath = paths.content(index);
    const entryBytes = await this.#read(entriesPath);
    const tileBytes = await this.#read(tileName);
    const contentBytes = await this.#read(contentPath);

    const leaves = entryBytes === undefined ? undefined : decodeEntryBundle(entryBytes, width);
    if (entryBytes !== undefined && leaves === undefined)
      this.#fault({ path: entriesPath, what: `not a bundle of ${width} entries` });
    const blobs = contentBytes === undefined ? undefined : decodeContentBundle(contentBytes, width);
    if (contentBytes !== undefined && blobs === undefined)
      this.#fault({ path: contentPath, what: `not a bundle of ${width} contents` });
    const tile = tileBytes?.length === width * 32 ? splitHashes(tileBytes) : undefined;
    if (tileBytes !== undefined && tile === undefined) this.#fault({ path: tileName, what: `not ${width} hashes` });

    const first = index * tileWidth;
    const hashes = leaves?.map(leafHash);
    if (hashes !== undefined && tile !== undefined) {
      // Whichever the manifest says was changed is named; without a manifest it is the entry.
      const path = this.#changed.has(tileName) && !this.#changed.has(entriesPath) ? tileName : entriesPath;
      for (let i = 0; i < width; i += 1) {
        const [hash, stored] = [hashes[i], tile[i]];
        if (hash !== undefined && stored !== undefined && !sameHash(hash, stored))
          this.#fault({
            path,
            ...(path === tileName ? { offset: i * 32 } : {}),
            entryIndex: first + i,
            what: 'the entry does not have the hash in the tile',
          });
      }
    }
    if (leaves !== undefined)
      for (const [i, leaf] of leaves.entries()) this.#takeEntry(first + i, leaf, entriesPath, contentPath, blobs?.[i]);
    const entriesHold = hashes !== undefined && !this.#changed.has(entriesPath);
    return entriesHold ? hashes : tile !== undefined && !this.#changed.has(tileName) ? tile : (hashes ?? tile);
  }

  #takeEntry(
    entryIndex: number,
    leaf: Uint8Array,
    path: string,
    contentPath: string,
    blob: Uint8Array | undefined,
  ): void {
    const entry = parseEntry(leaf);
    if (entry === undefined) {
      this.#fault({ path, entryIndex, what: 'not an entry in its one spelling' });
      return;
    }
    this.#counts.entries += 1;
    const content = this.#openContent(entry, entryIndex, contentPath, blob);
    if (content === undefined && entry.subjects['proof'] !== undefined) this.#counts.unreadableProofs += 1;
    const { faults, verified } = this.#proofs.take(entry, content);
    if (verified) this.#counts.checkedProofs += 1;
    for (const what of faults) this.#fault({ path, entryIndex, what });
  }

  #openContent(entry: Entry, entryIndex: number, path: string, blob: Uint8Array | undefined): Json | undefined {
    if (blob === undefined) return undefined; // the bundle is missing or broken, which has been named
    if (blob.length === 0) {
      if (entry.content !== undefined) this.#counts.contentsMissing += 1;
      return undefined;
    }
    if (contentHash(blob) !== entry.content) {
      this.#fault({ path, entryIndex, what: 'not the content that the entry commits to' });
      return undefined;
    }
    const keyId = contentKeyId(blob);
    if (keyId === undefined) {
      this.#fault({ path, entryIndex, what: 'not a sealed content' });
      return undefined;
    }
    const key = this.#keys.get(keyId);
    if (key === undefined) {
      this.#counts.contentsSealed += 1;
      return undefined;
    }
    const opened = openContent(key, entry.id, blob);
    if (opened.kind === 'opened') {
      this.#counts.contentsOpened += 1;
      return opened.value;
    }
    this.#fault({ path, entryIndex, what: `the content doesn't open with the key \`${keyId}\`: ${opened.because}` });
    return undefined;
  }

  /** What is there and shouldn't be; and without a checkpoint to say what should be, at least every listed file. */
  async #compareFiles(present: ReadonlySet<string>, knowsTree: boolean): Promise<void> {
    const listed = [...(this.#manifest?.keys() ?? [])].filter((path) => !this.#expected.has(path));
    for (const path of listed)
      if (!knowsTree) await this.#read(path);
      else if (!present.has(path)) this.#fault({ path, what: 'missing' });
    for (const path of present) if (!this.#expected.has(path)) this.#fault({ path, what: 'not a file of this copy' });
  }

  #fault(fault: CopyFault): void {
    // What a file says may be hostile, and a fault is printed: control characters would write to the terminal.
    if (this.#faults.length < maxFaults)
      this.#faults.push({ ...fault, what: fault.what.replace(/\p{Cc}/gu, '\uFFFD') });
    else this.#counts.moreFaults += 1;
  }
}

function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) if (a[i] !== b[i]) return i;
  return a.length === b.length ? undefined : length;
}

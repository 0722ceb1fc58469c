/**
 * Writes a copy of the log that can be verified with nothing but the log's public key: checkpoint, earlier checkpoints,
 * tiles, entries, sealed contents, the content keys that the exporter may read, and a signed manifest over all files.
 * Bundle by bundle: memory doesn't grow with the log but for one line of manifest per 100 entries or so.
 */
import type { ContentKey } from './content.ts';
import { openCheckpoint } from './checkpoint.ts';
import type { Listed } from './_copy-layout.ts';
import { encodeContentKeys, manifestText, paths, sha256Hex } from './_copy-layout.ts';
import type { NoteSigner } from './note.ts';
import { signNote } from './note.ts';
import { encodeContentBundle, encodeEntryBundle, tilePath, tileWidth } from './tiles.ts';
import type { Hash } from './tree.ts';
import { emptyFrontier, leafHash, rootOf, sameHash } from './tree.ts';

export type CopySources = {
  readonly signer: NoteSigner;
  /** The signed checkpoint whose tree is copied. */
  readonly checkpoint: string;
  /** Earlier signed checkpoints of the same log, each of another size, any order. */
  readonly earlierCheckpoints: AsyncIterable<string> | Iterable<string>;
  /** The leaves in order from index 0, each with its sealed content where it has one and still is there. */
  readonly entries: AsyncIterable<CopyEntry> | Iterable<CopyEntry>;
  /** The keys whose contents the reader of the copy may see. */
  readonly contentKeys: readonly ContentKey[];
};

export type CopyEntry = { readonly leaf: Uint8Array; readonly content?: Uint8Array };

/** Where the files go. Each path is written once. */
export type CopySink = { readonly write: (path: string, bytes: Uint8Array) => Promise<void> };

export class CopyError extends Error {
  readonly code = 'log.copy_refused';
  constructor(what: string) {
    super(`copy the log: ${what}`);
  }
}

/** @throws CopyError when the entries don't have the root of the checkpoint: a copy that can't verify is not signed */
export async function writeCopy(
  sources: CopySources,
  sink: CopySink,
): Promise<{ readonly entries: number; readonly files: number }> {
  const { signer } = sources;
  const opened = openCheckpoint(sources.checkpoint, signer);
  if (opened.kind === 'refused') throw new CopyError(`the checkpoint is refused: ${opened.because}`);
  const { size, root } = opened.checkpoint;

  const files = new Map<string, Listed>();
  const write = async (path: string, content: Uint8Array | string) => {
    const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
    if (files.has(path)) throw new CopyError(`\`${path}\` is there twice`);
    files.set(path, { path, size: bytes.length, sha256: sha256Hex(bytes) });
    await sink.write(path, bytes);
  };

  const tree = emptyFrontier();
  const edges: Hash[][] = [];
  const pushHash = async (level: number, index: number, hash: Hash): Promise<void> => {
    const tile = (edges[level] ??= []);
    tile.push(hash);
    if (tile.length < tileWidth) return;
    const tileIndex = Math.floor(index / tileWidth);
    await write(tilePath(level, tileIndex), Buffer.concat(tile));
    edges[level] = [];
    await pushHash(level + 1, tileIndex, rootOf(tile));
  };
  let bundle: CopyEntry[] = [];
  const writeBundle = async () => {
    const index = Math.floor((tree.size() - 1) / tileWidth);
    await write(tilePath('entries', index, bundle.length), encodeEntryBundle(bundle.map(({ leaf }) => leaf)));
    await write(paths.content(index), encodeContentBundle(bundle.map(({ content }) => content)));
    bundle = [];
  };

  if (size > 0) {
    for await (const entry of sources.entries) {
      const hash = leafHash(entry.leaf);
      await pushHash(0, tree.size(), hash);
      tree.push(hash);
      bundle.push(entry);
      if (bundle.length === tileWidth) await writeBundle();
      if (tree.size() === size) break;
    }
  }
  if (bundle.length > 0) await writeBundle();
  if (tree.size() !== size) throw new CopyError(`there are ${tree.size()} entries of ${size}`);
  if (!sameHash(tree.root(), root)) throw new CopyError('the entries do not have the root of the checkpoint');
  for (const [level, tile] of edges.entries()) {
    const index = Math.floor(size / tileWidth ** (level + 1));
    if (tile.length > 0) await write(tilePath(level, index, tile.length), Buffer.concat(tile));
  }

  for await (const note of sources.earlierCheckpoints) {
    const earlier = openCheckpoint(note, signer);
    if (earlier.kind === 'refused') throw new CopyError(`an earlier checkpoint is refused: ${earlier.because}`);
    if (earlier.checkpoint.size > size) throw new CopyError('an earlier checkpoint is of a larger tree');
    await write(paths.earlierCheckpoint(earlier.checkpoint.size), note);
  }
  await write(paths.checkpoint, sources.checkpoint);
  await write(paths.contentKeys, encodeContentKeys(sources.contentKeys));
  await write(paths.key, `${signer.vkey}\n`);
  const manifest = signNote(manifestText(signer.name, [...files.values()]), signer);
  await sink.write(paths.manifest, Buffer.from(manifest, 'utf8'));
  return { entries: size, files: files.size + 1 };
}

/** A receipt: that one entry is in the log, in a file that stands alone and is checked with the log's public key. */
import { decodeBase64, encodeBase64 } from '#core/base64.ts';
import type { Json } from '#core/jcs.ts';
import { canonicalJson, canonicalJsonBytes, parseCanonicalJson } from '#core/jcs.ts';
import { openCheckpoint } from './checkpoint.ts';
import type { Entry } from './entry.ts';
import { parseEntry } from './entry.ts';
import type { NoteVerifier } from './note.ts';
import { parseVerifier } from './note.ts';
import type { TileStore } from './tiles.ts';
import { hashReader } from './tiles.ts';
import { inclusionProof, leafHash, verifyInclusion } from './tree.ts';

export type Receipt = {
  readonly v: 1;
  readonly index: number;
  /** The entry itself: its canonical JSON is the leaf. */
  readonly entry: Entry;
  /** From the leaf's sibling up, base64 each. */
  readonly proof: readonly string[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
};

export class ReceiptError extends Error {
  readonly code = 'log.receipt_refused';
  constructor(what: string) {
    super(`write a receipt: ${what}`);
  }
}

/**
 * The receipt of the entry at an index, under a checkpoint whose tree holds it.
 * @throws ReceiptError when leaf, index, tiles and checkpoint don't belong together; TileError when tiles are missing
 */
export async function proveEntry(
  store: Pick<TileStore, 'read'>,
  at: { readonly index: number; readonly leaf: Uint8Array; readonly checkpoint: string },
  vkey: string,
): Promise<Receipt> {
  const key = parseVerifier(vkey);
  const opened = key === undefined ? undefined : openCheckpoint(at.checkpoint, key);
  const entry = parseEntry(at.leaf);
  if (opened?.kind !== 'opened' || entry === undefined) throw new ReceiptError('the entry or checkpoint is not ours');
  const { size } = opened.checkpoint;
  if (!(at.index < size))
    throw new ReceiptError(`the checkpoint of size ${size} does not hold the index \`${at.index}\``);
  const proof = await inclusionProof(hashReader(store, size), at.index, size);
  const receipt: Receipt = {
    v: 1,
    index: at.index,
    entry,
    proof: proof.map((hash) => encodeBase64(hash)),
    checkpoint: at.checkpoint,
  };
  const outcome = verifyReceipt(canonicalJson(receipt), vkey);
  if (outcome.kind === 'refused')
    throw new ReceiptError(`the entry at \`${at.index}\` is not proven: ${outcome.because}`);
  return receipt;
}

/** The file of a receipt: canonical JSON. */
export function formatReceipt(receipt: Receipt): string {
  return canonicalJson(receipt);
}

export type ReceiptOutcome =
  | { readonly kind: 'verified'; readonly entry: Entry; readonly index: number; readonly size: number }
  | {
      readonly kind: 'refused';
      readonly because: 'malformed' | 'key_malformed' | 'checkpoint_refused' | 'not_in_the_tree';
    };

/** Checks a receipt's text with nothing but the log's public key. A final line feed is allowed. */
export function verifyReceipt(text: string, vkey: string): ReceiptOutcome {
  const key: NoteVerifier | undefined = parseVerifier(vkey);
  if (key === undefined) return { kind: 'refused', because: 'key_malformed' };
  const malformed: ReceiptOutcome = { kind: 'refused', because: 'malformed' };
  const value = parseCanonicalJson(text.endsWith('\n') ? text.slice(0, -1) : text);
  if (!isRecord(value) || value['v'] !== 1 || Object.keys(value).length !== 5) return malformed;
  const { index, proof, checkpoint } = value;
  const leaf = isRecord(value['entry']) ? canonicalJsonBytes(value['entry']) : undefined;
  const entry = leaf === undefined ? undefined : parseEntry(leaf);
  if (leaf === undefined || entry === undefined || typeof index !== 'number') return malformed;
  if (!Array.isArray(proof) || typeof checkpoint !== 'string') return malformed;
  const hashes = (proof as readonly unknown[]).map((hash) =>
    typeof hash === 'string' ? decodeBase64(hash) : undefined,
  );
  if (!hashes.every((hash) => hash !== undefined)) return malformed;
  const opened = openCheckpoint(checkpoint, key);
  if (opened.kind === 'refused') return { kind: 'refused', because: 'checkpoint_refused' };
  const { size, root } = opened.checkpoint;
  return verifyInclusion({ leafHash: leafHash(leaf), index, size, root }, hashes)
    ? { kind: 'verified', entry, index, size }
    : { kind: 'refused', because: 'not_in_the_tree' };
}

function isRecord(value: Json | undefined): value is { readonly [name: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Checkpoints (C2SP tlog-checkpoint): the log's signed statement of its size and root. */
import { decodeBase64, encodeBase64 } from '#core/base64.ts';
import type { NoteSigner, NoteVerifier } from './note.ts';
import { openNote, signNote } from './note.ts';
import type { Hash } from './tree.ts';

export type Checkpoint = {
  /** Names the log; the name of its key. */
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
};

export type OpenedCheckpoint =
  | { readonly kind: 'opened'; readonly checkpoint: Checkpoint }
  | {
      readonly kind: 'refused';
      readonly because: 'malformed' | 'not_signed_by_key' | 'bad_signature' | 'other_origin';
    };

/** The signed note for a tree. The origin is the signer's name. */
export function signCheckpoint(tree: { readonly size: number; readonly root: Hash }, signer: NoteSigner): string {
  return signNote(`${signer.name}\n${tree.size}\n${encodeBase64(tree.root)}\n`, signer);
}

/** Reads a checkpoint of the log that the key belongs to. Extension lines are refused: we never write any. */
export function openCheckpoint(note: Uint8Array | string, key: NoteVerifier): OpenedCheckpoint {
  const opened = openNote(note, key);
  if (opened.kind === 'refused') return opened;
  const checkpoint = parseCheckpoint(opened.text);
  if (checkpoint === undefined) return { kind: 'refused', because: 'malformed' };
  if (checkpoint.origin !== key.name) return { kind: 'refused', because: 'other_origin' };
  return { kind: 'opened', checkpoint };
}

/** The three lines of a checkpoint, or undefined. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const lines = /^([^\n]+)\n(0|[1-9][0-9]{0,15})\n([^\n]+)\n$/.exec(text);
  const [, origin, sizeText, rootText] = lines ?? [];
  if (origin === undefined || sizeText === undefined || rootText === undefined) return undefined;
  const size = Number(sizeText);
  const root = decodeBase64(rootText);
  return Number.isSafeInteger(size) && root?.length === 32 ? { origin, size, root } : undefined;
}

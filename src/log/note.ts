/**
 * Signed notes (C2SP signed-note) with Ed25519, and the text forms of their keys as Go's sumdb/note has them. Reading
 * is strict: one spelling of base64, no control characters, a note that we accept re-encodes to itself.
 */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { decodeBase64, encodeBase64 } from '#core/base64.ts';
import type { Random } from '#core/ids.ts';

export type NoteVerifier = {
  readonly name: string;
  /** First four bytes of the key hash, lower-case hex. */
  readonly keyHash: string;
  /** `name+hash+base64`, what an outsider is given. */
  readonly vkey: string;
  readonly verify: (text: Uint8Array, signature: Uint8Array) => boolean;
};

export type NoteSigner = NoteVerifier & { readonly sign: (text: Uint8Array) => Uint8Array };

export type OpenedNote =
  | { readonly kind: 'opened'; readonly text: string; readonly signatures: number }
  | { readonly kind: 'refused'; readonly because: 'malformed' | 'not_signed_by_key' | 'bad_signature' };

export class NoteError extends Error {
  readonly code = 'log.note_refused';
  constructor(what: string) {
    super(`signed note: ${what}`);
  }
}

const ed25519 = 0x01;
/** PKCS #8 and SPKI around a raw Ed25519 key (RFC 8410). */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
const maxSignatures = 64;

/**
 * A new key pair in text form. `skey` is a secret: `PRIVATE+KEY+name+hash+base64`.
 * @throws NoteError for a name that is empty or holds spaces, controls or `+`
 */
export function newNoteKey(name: string, random: Random): { readonly skey: string; readonly vkey: string } {
  if (!isKeyName(name)) throw new NoteError(`the key name \`${name}\` is empty or holds spaces, controls or \`+\``);
  const seed = random(32);
  const signer = signerOf(name, seed);
  return {
    skey: `PRIVATE+KEY+${name}+${signer.keyHash}+${encodeBase64(Buffer.concat([Uint8Array.of(ed25519), seed]))}`,
    vkey: signer.vkey,
  };
}

/** @throws NoteError when the text isn't a signing key; the message doesn't repeat it */
export function parseSigner(skey: string): NoteSigner {
  const parts = /^PRIVATE\+KEY\+([^+]+)\+([0-9a-f]{8})\+(.*)$/s.exec(skey);
  const seed = decodeKey(parts?.[3]);
  const name = parts?.[1];
  if (name === undefined || !isKeyName(name) || seed === undefined) throw new NoteError('the signing key is malformed');
  const signer = signerOf(name, seed);
  if (signer.keyHash !== parts?.[2]) throw new NoteError('the signing key does not have the hash that it names');
  return signer;
}

/** The verifier of a `vkey`, or undefined when the text isn't one. */
export function parseVerifier(vkey: string): NoteVerifier | undefined {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+(.*)$/s.exec(vkey);
  const key = decodeKey(parts?.[3]);
  const name = parts?.[1];
  if (name === undefined || !isKeyName(name) || key === undefined || parts?.[2] !== keyHashOf(name, key))
    return undefined;
  return verifierOf(name, key);
}

/** The signed note over a text. @throws NoteError for a text that doesn't end in a line feed or holds other controls */
export function signNote(text: string, signer: NoteSigner): string {
  if (!text.endsWith('\n') || !isNoteText(text)) throw new NoteError('the text is not that of a note');
  const signature = Buffer.concat([Buffer.from(signer.keyHash, 'hex'), signer.sign(Buffer.from(text, 'utf8'))]);
  return `${text}\n\u2014 ${signer.name} ${encodeBase64(signature)}\n`;
}

/**
 * The text of a note, if the key has signed it. Signatures of other keys are ignored, as the specification asks;
 * `signatures` counts all of them.
 */
export function openNote(note: Uint8Array | string, key: NoteVerifier): OpenedNote {
  const malformed = { kind: 'refused', because: 'malformed' } as const;
  const whole = typeof note === 'string' ? note : decodeUtf8(note);
  if (whole === undefined || !isNoteText(whole)) return malformed;
  const split = whole.lastIndexOf('\n\n');
  if (split < 0 || !whole.endsWith('\n')) return malformed;
  const text = whole.slice(0, split + 1);
  const lines = whole.slice(split + 2, -1).split('\n');
  if (lines.length > maxSignatures) return malformed;
  let outcome: OpenedNote = { kind: 'refused', because: 'not_signed_by_key' };
  for (const line of lines) {
    const parts = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line);
    const name = parts?.[1];
    const signature = decodeBase64(parts?.[2] ?? '');
    if (name === undefined || !isKeyName(name) || signature === undefined || signature.length < 5) return malformed;
    if (name !== key.name || Buffer.from(signature.subarray(0, 4)).toString('hex') !== key.keyHash) continue;
    if (!key.verify(Buffer.from(text, 'utf8'), signature.subarray(4)))
      return { kind: 'refused', because: 'bad_signature' };
    outcome = { kind: 'opened', text, signatures: lines.length };
  }
  return outcome;
}

function signerOf(name: string, seed: Uint8Array): NoteSigner {
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const verifier = verifierOf(name, spki.subarray(spkiPrefix.length));
  return { ...verifier, sign: (text) => sign(null, text, key) };
}

function verifierOf(name: string, key: Uint8Array): NoteVerifier {
  const object: KeyObject = createPublicKey({ key: Buffer.concat([spkiPrefix, key]), format: 'der', type: 'spki' });
  const keyHash = keyHashOf(name, key);
  return {
    name,
    keyHash,
    vkey: `${name}+${keyHash}+${encodeBase64(Buffer.concat([Uint8Array.of(ed25519), key]))}`,
    verify: (text, signature) => signature.length === 64 && verify(null, text, object, signature),
  };
}

/** SHA-256(name || 0x0A || 0x01 || key)[:4]. */
function keyHashOf(name: string, key: Uint8Array): string {
  return createHash('sha256').update(`${name}\n`).update(Uint8Array.of(ed25519)).update(key).digest('hex').slice(0, 8);
}

/** The 32 bytes behind the algorithm byte. */
function decodeKey(text: string | undefined): Uint8Array | undefined {
  const bytes = text === undefined ? undefined : decodeBase64(text);
  return bytes?.length === 33 && bytes[0] === ed25519 ? bytes.subarray(1) : undefined;
}

function isKeyName(name: string): boolean {
  return /^[^\s\p{White_Space}\p{Cc}+]+$/u.test(name);
}

function isNoteText(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) if (text.charCodeAt(i) < 32 && text[i] !== '\n') return false;
  return text.isWellFormed();
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

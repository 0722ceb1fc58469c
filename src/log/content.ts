/**
 * Sealed content: the personal part of an entry (handles, reasons, statement texts, addresses, proofs), encrypted beside
 * the tree. The leaf holds only the hash of the sealed blob, so destroying the key erases the content for good while
 * every hash and signature of the log stays valid. docs/log-format.md has the layout.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hash,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import type { EntryId, Random } from '#core/ids.ts';
import type { Json } from '#core/jcs.ts';
import { canonicalJson, parseCanonicalJsonBytes } from '#core/jcs.ts';
import type { ContentHash } from './entry.ts';

/** A key that seals contents. Whoever erases a person's data destroys the keys that sealed it. */
export type ContentKey = {
  /** 1 to 63 characters of `a-z 0-9 _ -`. */
  readonly id: string;
  /** 32 uniformly random bytes. They don't change: what is derived from them is kept with the key. */
  readonly key: Uint8Array;
};

export type SealedContent = { readonly blob: Uint8Array<ArrayBuffer>; readonly hash: ContentHash };

export class ContentError extends Error {
  readonly code = 'log.content_refused';
  constructor(what: string) {
    super(`seal log content: ${what}`);
  }
}

const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const commitmentBytes = 32;
const keyIdSpelling = /^[a-z0-9_-]{1,63}$/;

/**
 * Seals a value for one entry: AES-256-GCM over its canonical JSON, bound to the entry and the key.
 * blob = 0x01 || length of key id (1 byte) || key id || key commitment (32) || nonce (12) || ciphertext || tag (16)
 * @throws ContentError for a malformed key; CanonicalJsonError for a value without canonical form
 */
export function sealContent(key: ContentKey, entry: EntryId, value: Json, random: Random): SealedContent {
  const { head, secret } = preparedFor(key);
  const nonce = random(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', secret, nonce);
  cipher.setAAD(boundTo(entry, key.id));
  const blob = concat(head, nonce, cipher.update(canonicalJson(value), 'utf8'), cipher.final(), cipher.getAuthTag());
  return { blob, hash: contentHash(blob) };
}

type Prepared = {
  /** Everything before the nonce. */
  readonly head: Uint8Array;
  readonly secret: KeyObject;
};

const prepared = new WeakMap<ContentKey, Prepared>();

/** A journal seals thousands of contents under one key. @throws ContentError for a malformed key */
function preparedFor(key: ContentKey): Prepared {
  const known = prepared.get(key);
  if (known !== undefined) return known;
  if (!keyIdSpelling.test(key.id)) throw new ContentError(`the key id \`${key.id}\` is not 1 to 63 of a-z 0-9 _ -`);
  if (key.key.length !== 32) throw new ContentError(`the key \`${key.id}\` has ${key.key.length} bytes, not 32`);
  const made: Prepared = {
    head: concat(Uint8Array.of(version, key.id.length), Buffer.from(key.id, 'ascii'), keyCommitment(key)),
    secret: createSecretKey(key.key),
  };
  prepared.set(key, made);
  return made;
}

/** In memory of its own: a slice of the pool would keep the pool. */
function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What a leaf commits to: SHA-256 of the whole blob. */
export function contentHash(blob: Uint8Array): ContentHash {
  return `sha256:${hash('sha256', blob, 'hex')}`;
}

/** The id of the key that sealed a blob, or undefined when the blob is malformed. */
export function contentKeyId(blob: Uint8Array): string | undefined {
  return splitBlob(blob)?.keyId;
}

export type OpenedContent =
  | { readonly kind: 'opened'; readonly value: Json }
  | { readonly kind: 'refused'; readonly because: 'malformed' | 'other_key' | 'not_authentic' | 'not_canonical' };

/** Opens the content of an entry. Anything but the exact blob, entry and key is refused. */
export function openContent(key: ContentKey, entry: EntryId, blob: Uint8Array): OpenedContent {
  const parts = splitBlob(blob);
  if (parts === undefined || key.key.length !== 32) return { kind: 'refused', because: 'malformed' };
  // AES-GCM alone commits to no key: a blob can be made that opens to two different texts under two keys.
  if (parts.keyId !== key.id || !timingSafeEqual(parts.commitment, keyCommitment(key)))
    return { kind: 'refused', because: 'other_key' };
  const decipher = createDecipheriv('aes-256-gcm', key.key, parts.nonce);
  decipher.setAAD(boundTo(entry, key.id));
  decipher.setAuthTag(parts.tag);
  let text: Uint8Array;
  try {
    text = Buffer.concat([decipher.update(parts.ciphertext), decipher.final()]);
  } catch {
    return { kind: 'refused', because: 'not_authentic' };
  }
  const value = parseCanonicalJsonBytes(text);
  return value === undefined ? { kind: 'refused', because: 'not_canonical' } : { kind: 'opened', value };
}

function keyCommitment(key: ContentKey): Uint8Array {
  return createHash('sha256').update(`sallyport/content-key/v1\0${key.id}\0`).update(key.key).digest();
}

function boundTo(entry: EntryId, keyId: string): Buffer {
  return Buffer.from(`sallyport/content/v1\0${keyId}\0${entry}`, 'ascii');
}

function splitBlob(blob: Uint8Array):
  | {
      readonly keyId: string;
      readonly commitment: Uint8Array;
      readonly nonce: Uint8Array;
      readonly ciphertext: Uint8Array;
      readonly tag: Uint8Array;
    }
  | undefined {
  const idLength = blob[1];
  if (blob[0] !== version || idLength === undefined) return undefined;
  const commitmentAt = 2 + idLength;
  const nonceAt = commitmentAt + commitmentBytes;
  const ciphertextAt = nonceAt + nonceBytes;
  const tagAt = blob.length - tagBytes;
  if (tagAt < ciphertextAt) return undefined;
  const keyId = String.fromCharCode(...blob.subarray(2, commitmentAt));
  if (!keyIdSpelling.test(keyId)) return undefined;
  return {
    keyId,
    commitment: blob.subarray(commitmentAt, nonceAt),
    nonce: blob.subarray(nonceAt, ciphertextAt),
    ciphertext: blob.subarray(ciphertextAt, tagAt),
    tag: blob.subarray(tagAt),
  };
}

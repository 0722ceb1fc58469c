/**
 * Secrets at rest. The database holds only what is sealed here under a key from a file outside it (INVARIANT 10); whoever
 * has a copy of the database alone has no target credential and no content of a log entry.
 *
 * A sealed blob is: version 0x01, 8 bytes that name the master key, 12 random bytes of nonce, then AES-256-GCM of the
 * content under HKDF-SHA-256(master key, purpose), with a 16-byte tag. Purpose and id are authenticated: a blob can't be
 * opened for anything but what, and whom, it was sealed for.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import type { Random } from '#core/ids.ts';
import { Secret } from '#core/secret.ts';

const version = 1;
const keyIdLength = 8;
const nonceLength = 12;
const tagLength = 16;
const headLength = 1 + keyIdLength + nonceLength;
const purposeForm = /^[a-z][a-z0-9_]{0,62}$/;

export type SealingErrorCode =
  | 'sealing_key_malformed'
  | 'sealed_with_another_key'
  | 'sealed_damaged'
  | 'sealed_unknown';

/** A fault, never an expected outcome: the key file and the database don't belong together, or a blob is damaged. */
export class SealingError extends Error {
  override readonly name = 'SealingError';
  readonly code: SealingErrorCode;
  constructor(code: SealingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type KeyRing = {
  /** Names the master key that seals, in hex. Not secret: it may be shown to tell key files apart. */
  readonly keyId: string;
  /**
   * @param purpose what kind of secret, such as `target_credential`: lower-case letters, digits and `_`
   * @param id whose, such as a resource name or an entry id; opening takes the same
   */
  readonly seal: (purpose: string, bytes: Uint8Array, id?: string) => Uint8Array<ArrayBuffer>;
  /** @throws SealingError */
  readonly open: (purpose: string, blob: Uint8Array, id?: string) => Secret<Uint8Array<ArrayBuffer>>;
};

type MasterKey = {
  readonly id: Uint8Array;
  readonly key: Secret<Uint8Array>;
  readonly derived: Map<string, Uint8Array>;
};

/**
 * A key ring that seals with `masterKey` and opens what it, or one of the `older` keys, sealed.
 * @param masterKey 32 random bytes
 * @throws SealingError `sealing_key_malformed` when a key isn't 32 bytes
 */
export function createKeyRing(
  masterKey: Secret<Uint8Array>,
  from: { readonly random: Random; readonly older?: readonly Secret<Uint8Array>[] },
): KeyRing {
  const current = prepare(masterKey);
  const all = [current, ...(from.older ?? []).map(prepare)];

  return {
    keyId: hex(current.id),
    seal(purpose, bytes, id = '') {
      const head = new Uint8Array(headLength);
      head[0] = version;
      head.set(current.id, 1);
      head.set(from.random(nonceLength), 1 + keyIdLength);
      const cipher = createCipheriv('aes-256-gcm', keyFor(current, purpose), nonceOf(head), {
        authTagLength: tagLength,
      });
      cipher.setAAD(contextOf(head, purpose, id));
      return concat(head, cipher.update(bytes), cipher.final(), cipher.getAuthTag());
    },
    open(purpose, blob, id = '') {
      if (blob.length < headLength + tagLength || blob[0] !== version)
        throw new SealingError('sealed_unknown', `open a sealed \`${purpose}\`: the format is not one that is known`);
      const head = blob.subarray(0, headLength);
      const keyId = head.subarray(1, 1 + keyIdLength);
      const master = all.find((candidate) => hex(candidate.id) === hex(keyId));
      if (master === undefined)
        throw new SealingError(
          'sealed_with_another_key',
          `open a sealed \`${purpose}\`: it was sealed with the key \`${hex(keyId)}\`, and the key file holds \`${hex(current.id)}\``,
        );
      const decipher = createDecipheriv('aes-256-gcm', keyFor(master, purpose), nonceOf(head), {
        authTagLength: tagLength,
      });
      decipher.setAAD(contextOf(head, purpose, id));
      decipher.setAuthTag(blob.subarray(blob.length - tagLength));
      try {
        return new Secret(
          concat(decipher.update(blob.subarray(headLength, blob.length - tagLength)), decipher.final()),
        );
      } catch (cause) {
        throw new SealingError(
          'sealed_damaged',
          `open a sealed \`${purpose}\`: it is damaged, or was sealed for something else`,
          { cause },
        );
      }
    },
  };
}

function prepare(key: Secret<Uint8Array>): MasterKey {
  const bytes = key.reveal();
  if (bytes.length !== 32)
    throw new SealingError('sealing_key_malformed', `use a master key: it has \`${bytes.length}\` bytes, not 32`);
  return { id: derive(bytes, 'sallyport/sealing/v1/key-id', keyIdLength), key, derived: new Map() };
}

// Purposes are words in our code, a handful; deriving a key once for each is enough.
function keyFor(master: MasterKey, purpose: string): Uint8Array {
  if (!purposeForm.test(purpose)) throw new TypeError(`seal: \`${purpose}\` is not the form of a purpose`);
  const known = master.derived.get(purpose);
  if (known !== undefined) return known;
  const key = derive(master.key.reveal(), `sallyport/sealing/v1/purpose/${purpose}`, 32);
  master.derived.set(purpose, key);
  return key;
}

function derive(key: Uint8Array, info: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, new Uint8Array(0), info, length));
}

/** What is authenticated besides the content. A purpose holds no NUL, so the split between it and the id is clear. */
function contextOf(head: Uint8Array, purpose: string, id: string): Uint8Array {
  return concat(head, new TextEncoder().encode(`${purpose}\0${id}`));
}

function nonceOf(head: Uint8Array): Uint8Array {
  return head.subarray(1 + keyIdLength, headLength);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

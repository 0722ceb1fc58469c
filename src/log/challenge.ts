/** From a proof object to the WebAuthn challenge that a passkey signs (docs/proof-format.md). */
import { createHash } from 'node:crypto';
import { canonicalJson } from '#core/jcs.ts';
import type { ProofObject } from '#core/proof.ts';

/** Keeps a proof's hash from ever being the hash of something else of ours. */
const domain = 'sallyport/proof/v1\0';

/** SHA-256("sallyport/proof/v1" || 0x00 || JCS(object)): 32 bytes. */
export function proofChallenge(object: ProofObject): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(domain).update(canonicalJson(object)).digest());
}

/** SHA-256 of a text in UTF-8, lower-case hex: the `reasonHash` of an approval. */
export function textHash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

/**
 * Opaque tokens. A token is 256 random bits behind a prefix that names its kind (so that secret scanners find a leaked
 * one, and one kind can't be used as another); it is shown to its holder once, and only its SHA-256 is stored. A plain
 * hash is enough: there is nothing to guess in 256 random bits, so nothing to slow down.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { decodeBase64Url, encodeBase64Url } from '#core/base64.ts';
import type { Random } from '#core/ids.ts';
import { Secret } from '#core/secret.ts';

const prefixes = {
  access: 'sly_at_',
  refresh: 'sly_rt_',
  code: 'sly_ac_',
  web_session: 'sly_ws_',
  link: 'sly_ln_',
} as const;

export type TokenKind = keyof typeof prefixes;

/** SHA-256 of the whole token text, prefix included: 32 bytes. What is stored and looked up. */
export type TokenHash = Uint8Array<ArrayBuffer>;

export type NewToken = { readonly token: Secret<string>; readonly hash: TokenHash };

/** A new token of the kind: prefix and 43 characters of base64url. */
export function newToken(kind: TokenKind, random: Random): NewToken {
  const token = prefixes[kind] + encodeBase64Url(random(32));
  return { token: new Secret(token), hash: hashToken(token) };
}

/** The hash to look up, or undefined when the text isn't a token of that kind: prefix, length, one spelling of 32 bytes. */
export function parseToken(kind: TokenKind, text: unknown): TokenHash | undefined {
  const prefix = prefixes[kind];
  if (typeof text !== 'string' || text.length !== prefix.length + 43 || !text.startsWith(prefix)) return undefined;
  return decodeBase64Url(text.slice(prefix.length)) === undefined ? undefined : hashToken(text);
}

/** Whether two hashes are the same, in a time that doesn't depend on where they differ. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function hashToken(token: string): TokenHash {
  return new Uint8Array(createHash('sha256').update(token, 'ascii').digest());
}

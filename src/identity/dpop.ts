/**
 * DPoP (RFC 9449): each request of the CLI carries a small signed statement by the key that its token is bound to, so a
 * stolen token is worth nothing without that key. The checks and their order are §4.3 of the RFC. Replays within the
 * window are for the caller to find: it keeps `replayKey` until `rememberUntil` and refuses a second one.
 */
import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, compactVerify, EmbeddedJWK, type JWK } from 'jose';
import { encodeBase64Url } from '#core/base64.ts';
import type { Duration, Instant } from '#core/instant.ts';
import { after, seconds } from '#core/instant.ts';

/** How far `iat` may be from our clock, either way. */
export const dpopWindow: Duration = seconds(60);
/** For `algs` in `WWW-Authenticate` and `dpop_signing_alg_values_supported`. `EdDSA` is over Ed25519 only. */
export const dpopAlgorithms = ['ES256', 'EdDSA'] as const;

export type DpopRefusal =
  | 'missing'
  | 'malformed'
  | 'algorithm'
  | 'key'
  | 'signature'
  | 'other_method'
  | 'other_url'
  | 'not_now'
  | 'other_token'
  | 'other_key';

export type DpopOutcome =
  | {
      readonly kind: 'verified';
      /** RFC 7638 thumbprint of the key, base64url: what tokens are bound to. */
      readonly jkt: string;
      /** One value for each (key, jti), 43 characters: store it, and refuse the request when it is already there. */
      readonly replayKey: string;
      /** When the replay key may be forgotten. */
      readonly rememberUntil: Instant;
    }
  | { readonly kind: 'refused'; readonly because: DpopRefusal };

const refused = (because: DpopRefusal): DpopOutcome => ({ kind: 'refused', because });

/**
 * Checks the proof of one request.
 * @param request.proof the `DPoP` header; two of them, joined by a comma as Node does, are malformed
 * @param request.url the whole address as the client sees it: the configured public address and the path
 * @param request.token present when the request carries an access token: its text, and the thumbprint it is bound to
 */
export async function verifyDpop(request: {
  readonly proof: string | undefined;
  readonly method: string;
  readonly url: string;
  readonly now: Instant;
  readonly token?: { readonly text: string; readonly jkt: string };
}): Promise<DpopOutcome> {
  if (request.proof === undefined || request.proof === '') return refused('missing');
  if (request.proof.length > 8192 || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(request.proof)) return refused('malformed');

  // The header decides which key verifies, so it is judged before anything is verified with it.
  const header = parseJson(request.proof.slice(0, request.proof.indexOf('.')));
  if (header === undefined || header['typ'] !== 'dpop+jwt' || Object.hasOwn(header, 'crit'))
    return refused('malformed');
  const { alg } = header;
  if (alg !== 'ES256' && alg !== 'EdDSA' && alg !== 'Ed25519') return refused('algorithm');
  const jwk = publicKeyOf(header['jwk'], alg === 'ES256' ? 'EC' : 'OKP');
  if (jwk === undefined) return refused('key');

  let payload: Readonly<Record<string, unknown>> | undefined;
  try {
    const verified = await compactVerify(request.proof, EmbeddedJWK, { algorithms: [alg] });
    payload = parseJsonText(new TextDecoder('utf-8', { fatal: true }).decode(verified.payload));
  } catch {
    return refused('signature');
  }
  if (payload === undefined) return refused('malformed');
  const { jti, htm, htu, iat, ath } = payload;
  if (typeof jti !== 'string' || jti === '' || jti.length > 256) return refused('malformed');
  if (typeof htm !== 'string' || typeof htu !== 'string') return refused('malformed');
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return refused('malformed');

  // Methods are case-sensitive (RFC 9110 §9.1).
  if (htm !== request.method) return refused('other_method');
  const wanted = normalised(request.url);
  if (wanted === undefined || normalised(htu) !== wanted) return refused('other_url');
  if (Math.abs(iat * 1000 - request.now) > dpopWindow) return refused('not_now');

  const jkt = await calculateJwkThumbprint(jwk, 'sha256');
  if (request.token !== undefined) {
    if (ath !== accessTokenHash(request.token.text)) return refused('other_token');
    if (jkt !== request.token.jkt) return refused('other_key');
  }
  return {
    kind: 'verified',
    jkt,
    replayKey: encodeBase64Url(createHash('sha256').update(`${jkt}\0${jti}`).digest()),
    // Rounded up to the whole second behind the window, in which the proof would still be taken.
    rememberUntil: after((Math.ceil(iat) * 1000) as Instant, (dpopWindow + 1000) as Duration),
  };
}

/** RFC 9449 §4.2 `ath`: BASE64URL(SHA-256(ASCII(access token))). */
export function accessTokenHash(token: string): string {
  return encodeBase64Url(createHash('sha256').update(token, 'ascii').digest());
}

/** RFC 9449 §7.1: the `WWW-Authenticate` value of a 401 to a request with a token or none. */
export function dpopChallenge(error?: 'invalid_token' | 'invalid_dpop_proof'): string {
  const algs = `algs="${dpopAlgorithms.join(' ')}"`;
  return error === undefined ? `DPoP ${algs}` : `DPoP error="${error}", ${algs}`;
}

export type AuthorizationHeader =
  | { readonly kind: 'none' }
  /** Another scheme, or not one token. A bound token sent as `Bearer` is one of these (RFC 9449 §7.2). */
  | { readonly kind: 'malformed' }
  | { readonly kind: 'dpop'; readonly token: string };

/** Reads `Authorization: DPoP TOKEN` (RFC 9449 §7.1; the scheme in any case). */
export function parseAuthorization(header: string | undefined): AuthorizationHeader {
  if (header === undefined) return { kind: 'none' };
  const match = /^dpop +([A-Za-z0-9._~+/-]+=*)$/i.exec(header);
  return match?.[1] === undefined || header.length > 4096 ? { kind: 'malformed' } : { kind: 'dpop', token: match[1] };
}

/** The public members of an EC P-256 or Ed25519 key. A key with any private member is refused whole (§4.3, 7). */
function publicKeyOf(value: unknown, kty: 'EC' | 'OKP'): JWK | undefined {
  if (!isRecord(value) || value['kty'] !== kty) return undefined;
  if (['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'].some((name) => Object.hasOwn(value, name)))
    return undefined;
  const { crv, x, y } = value;
  if (typeof x !== 'string') return undefined;
  if (kty === 'OKP') return crv === 'Ed25519' ? { kty, crv, x } : undefined;
  return crv === 'P-256' && typeof y === 'string' ? { kty, crv, x, y } : undefined;
}

/**
 * Scheme, host, port and path: query and fragment don't count (§4.3, 9), and spelling is normalised as RFC 3986 §6.2.2
 * and §6.2.3 have it (case of scheme and host, default port, dot segments, percent-encoding of what needs none).
 */
function normalised(text: string): string | undefined {
  if (text.length > 2048 || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  if ((url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '' || url.password !== '')
    return undefined;
  const path = url.pathname.replace(/%[0-9a-f]{2}/gi, (found) => {
    const character = String.fromCharCode(Number.parseInt(found.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : found.toUpperCase();
  });
  return url.origin + path;
}

function parseJson(segment: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return parseJsonText(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(segment, 'base64url')));
  } catch {
    return undefined;
  }
}

function parseJsonText(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

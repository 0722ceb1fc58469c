/**
 * Verifies a WebAuthn assertion offline, years later, from what the log keeps (WebAuthn Level 3, section 7.2). Small and
 * on node:crypto alone, so that somebody who trusts nobody can read it; live sign-ins go through a kept library.
 */
import { createHash, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { encodeBase64Url } from '#core/base64.ts';
import { readCbor } from './_cbor.ts';

export type RawAssertion = {
  readonly authenticatorData: Uint8Array;
  readonly clientDataJSON: Uint8Array;
  readonly signature: Uint8Array;
};

export type AssertionExpectation = {
  readonly challenge: Uint8Array;
  readonly rpId: string;
  /** Any of these: `https://sally.example`, `http://localhost:8080`. */
  readonly origins: readonly string[];
  readonly publicKey: PasskeyPublicKey;
};

export type AssertionRefusal =
  | 'client_data_malformed'
  | 'not_an_assertion'
  | 'other_challenge'
  | 'other_origin'
  | 'cross_origin'
  | 'authenticator_data_malformed'
  | 'other_relying_party'
  | 'user_not_present'
  | 'user_not_verified'
  | 'bad_signature';

export type AssertionOutcome =
  | { readonly kind: 'verified'; readonly counter: number; readonly origin: string; readonly backedUp: boolean }
  | { readonly kind: 'refused'; readonly because: AssertionRefusal };

export type PasskeyPublicKey = { readonly algorithm: -7 | -8 | -257; readonly key: KeyObject };

const flag = {
  userPresent: 0x01,
  userVerified: 0x04,
  backupEligible: 0x08,
  backedUp: 0x10,
  attested: 0x40,
  extended: 0x80,
};

/** Signature, challenge, origin, relying party, user presence and user verification, all required. */
export function verifyAssertion(assertion: RawAssertion, expected: AssertionExpectation): AssertionOutcome {
  const refused = (because: AssertionRefusal): AssertionOutcome => ({ kind: 'refused', because });
  const clientData = parseClientData(assertion.clientDataJSON);
  if (clientData === undefined) return refused('client_data_malformed');
  if (clientData.type !== 'webauthn.get') return refused('not_an_assertion');
  // Compared as text: the browser writes base64url without padding, which has one spelling.
  if (clientData.challenge !== encodeBase64Url(expected.challenge)) return refused('other_challenge');
  if (!expected.origins.includes(clientData.origin)) return refused('other_origin');
  if (clientData.crossOrigin) return refused('cross_origin');

  const data = parseAuthenticatorData(assertion.authenticatorData);
  if (data === undefined) return refused('authenticator_data_malformed');
  const rpIdHash = createHash('sha256').update(expected.rpId).digest();
  if (!timingSafeEqual(rpIdHash, data.rpIdHash)) return refused('other_relying_party');
  if ((data.flags & flag.userPresent) === 0) return refused('user_not_present');
  if ((data.flags & flag.userVerified) === 0) return refused('user_not_verified');

  const signed = Buffer.concat([
    assertion.authenticatorData,
    createHash('sha256').update(assertion.clientDataJSON).digest(),
  ]);
  if (!hasSigned(expected.publicKey, signed, assertion.signature)) return refused('bad_signature');
  return {
    kind: 'verified',
    counter: data.counter,
    origin: clientData.origin,
    backedUp: (data.flags & flag.backedUp) !== 0,
  };
}

/**
 * The key in a COSE_Key (RFC 9052, 9053) as authenticators write it: ES256 on P-256, EdDSA on Ed25519, or RS256 with at
 * least 2048 bits, with exactly the members that its type needs. Undefined for any other; refuse such a key at enrolment.
 */
export function parseCosePublicKey(cose: Uint8Array): PasskeyPublicKey | undefined {
  const map = readCbor(cose);
  if (!(map instanceof Map)) return undefined;
  const bytes = (label: number, length?: number): string | undefined => {
    const value: unknown = map.get(label);
    if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) return undefined;
    return encodeBase64Url(value);
  };
  const algorithm: unknown = map.get(3);
  const is = (type: number, members: number) => map.get(1) === type && map.size === members;
  try {
    if (algorithm === -7 && is(2, 5) && map.get(-1) === 1) {
      const [x, y] = [bytes(-2, 32), bytes(-3, 32)];
      if (x === undefined || y === undefined) return undefined;
      return { algorithm, key: createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } }) };
    }
    if (algorithm === -8 && is(1, 4) && map.get(-1) === 6) {
      const x = bytes(-2, 32);
      if (x === undefined) return undefined;
      return { algorithm, key: createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } }) };
    }
    if (algorithm === -257 && is(3, 4)) {
      const [n, e] = [bytes(-1), bytes(-2)];
      if (n === undefined || e === undefined) return undefined;
      const key = createPublicKey({ format: 'jwk', key: { kty: 'RSA', n, e } });
      return (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048 ? { algorithm, key } : undefined;
    }
  } catch {
    // Not a point of the curve, or not a modulus.
  }
  return undefined;
}

function hasSigned(publicKey: PasskeyPublicKey, signed: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(publicKey.algorithm === -8 ? null : 'sha256', signed, publicKey.key, signature);
  } catch {
    return false;
  }
}

function parseClientData(
  bytes: Uint8Array,
): { type: string; challenge: string; origin: string; crossOrigin: boolean } | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    if (typeof value !== 'object' || value === null) return undefined;
    const { type, challenge, origin, crossOrigin = false, topOrigin } = value as Readonly<Record<string, unknown>>;
    if (typeof type !== 'string' || typeof challenge !== 'string' || typeof origin !== 'string') return undefined;
    if (typeof crossOrigin !== 'boolean') return undefined;
    return { type, challenge, origin, crossOrigin: crossOrigin || topOrigin !== undefined };
  } catch {
    return undefined;
  }
}

function parseAuthenticatorData(
  bytes: Uint8Array,
): { rpIdHash: Uint8Array; flags: number; counter: number } | undefined {
  const flags = bytes[32];
  if (bytes.length < 37 || flags === undefined) return undefined;
  // Attested credential data belongs to a registration.
  if ((flags & flag.attested) !== 0) return undefined;
  // "If the credential isn't backup eligible, the backup state can't be set" (section 6.1.3).
  if ((flags & flag.backedUp) !== 0 && (flags & flag.backupEligible) === 0) return undefined;
  const rest = bytes.subarray(37);
  if ((flags & flag.extended) === 0 ? rest.length !== 0 : !(readCbor(rest) instanceof Map)) return undefined;
  const counter = new DataView(bytes.buffer, bytes.byteOffset + 33, 4).getUint32(0);
  return { rpIdHash: bytes.subarray(0, 32), flags, counter };
}

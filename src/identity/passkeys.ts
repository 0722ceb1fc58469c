/**
 * Who is it: passkeys (WebAuthn Level 3). This is the folder's main file; around it are tokens, one-time links, sign-ins
 * of console and CLI, and the keys and certificates of the server itself. Nothing here stores anything: what must be
 * looked up arrives as an argument, what must be kept is returned.
 *
 * A ceremony is two steps. `…Options` makes what the browser is asked, with a challenge that the caller keeps; `verify…`
 * judges what comes back. Sign-in and enrolment take a random challenge; a proof takes the hash of what is about to be
 * done (core/proof.ts), which is what makes the assertion evidence. Either way a challenge is for one use within minutes,
 * and the caller must have used it up in the same transaction: synced passkeys keep their counter at zero, so nothing
 * else stops a replay.
 *
 * The checks are those of WebAuthn §7.1 and §7.2. User verification is always required. What comes in is `unknown`, and
 * whatever it is, the answer is an outcome: nothing here throws at the caller for what a client sent.
 *
 * INVARIANT: what is taken here is taken by the offline verifier (log/webauthn-assertion.ts) too. Were this one laxer, an
 * approver could sign so that the approval counts today and its evidence fails tomorrow. So the bytes have one spelling,
 * and the signature is checked by OpenSSL as the offline verifier does it, besides by the library.
 */
import { createHash, createPublicKey, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import {
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type PublicKeyCredentialCreationOptionsJSON,
  type PublicKeyCredentialRequestOptionsJSON,
  type RegistrationResponseJSON,
} from '@simplewebauthn/server';
import { decodeAttestationObject, decodeCredentialPublicKey, isoCBOR } from '@simplewebauthn/server/helpers';
import { decodeBase64Url, encodeBase64Url } from '#core/base64.ts';
import type { PrincipalId } from '#core/ids.ts';
import { type Duration, minutes } from '#core/instant.ts';

/** How long a ceremony may take, in the browser and on the server. */
export const ceremonyLifetime: Duration = minutes(5);

const ES256 = -7;
const EdDSA = -8;
const RS256 = -257;
/** COSE algorithm ids in order of preference. Naming them also keeps the library from probing for experimental ones. */
const algorithms: number[] = [ES256, EdDSA, RS256];

const transports = ['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb'] as const;
export type Transport = (typeof transports)[number];

/** What a registration leaves to keep. */
export type NewAuthenticator = {
  /** Base64url of at most 1023 bytes. */
  readonly credentialId: string;
  /** COSE_Key, CBOR-encoded. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly counter: number;
  readonly transports: readonly Transport[];
  /** Model of the authenticator in the form of a UUID; all zeros when it doesn't say. */
  readonly aaguid: string;
  /** The passkey is synced somewhere. */
  readonly backedUp: boolean;
};

/** What verifying an assertion needs of a kept authenticator. */
export type KnownAuthenticator = {
  readonly credentialId: string;
  readonly publicKey: Uint8Array;
  readonly counter: number;
  readonly principal: PrincipalId;
};

export type PasskeyRefusal =
  /** Not a response of WebAuthn at all, or one with parts that don't fit together. */
  | 'malformed'
  /** `clientDataJSON` is of the other ceremony. */
  | 'other_type'
  | 'other_challenge'
  | 'other_origin'
  /** The page was inside a page of another origin. */
  | 'cross_origin'
  | 'other_rp'
  | 'user_not_present'
  | 'user_not_verified'
  /** The key is of a kind that wasn't asked for, or isn't a key. */
  | 'algorithm'
  /** An attestation came that wasn't asked for. */
  | 'attestation'
  | 'unknown_credential'
  /** The user handle names another principal than the credential's. */
  | 'other_principal'
  | 'signature'
  /** The signature counter went back or stood still: there may be two of this authenticator. */
  | 'cloned';

export type Refused = { readonly kind: 'refused'; readonly because: PasskeyRefusal };
const refused = (because: PasskeyRefusal): Refused => ({ kind: 'refused', because });

// --- Asking ---------------------------------------------------------------------------------------------------------

export type KnownCredential = { readonly credentialId: string; readonly transports: readonly Transport[] };

/** Options for `navigator.credentials.create`: a discoverable passkey with user verification, attestation not wanted. */
export function registrationOptions(from: {
  readonly rpId: string;
  readonly rpName: string;
  readonly principal: { readonly id: PrincipalId; readonly handle: string; readonly name: string };
  /** The principal's authenticators, which can't be registered twice. */
  readonly existing: readonly KnownCredential[];
  readonly challenge: Uint8Array;
}): PublicKeyCredentialCreationOptionsJSON {
  return {
    rp: { id: from.rpId, name: from.rpName },
    user: {
      id: encodeBase64Url(userHandleOf(from.principal.id)),
      name: from.principal.handle,
      displayName: from.principal.name,
    },
    challenge: encodeBase64Url(from.challenge),
    pubKeyCredParams: algorithms.map((alg) => ({ type: 'public-key', alg })),
    timeout: ceremonyLifetime,
    excludeCredentials: from.existing.map(descriptor),
    authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
    attestation: 'none',
  };
}

/** Options for `navigator.credentials.get` to sign in: any passkey of ours, no name asked (so none can be probed for). */
export function signInOptions(from: {
  readonly rpId: string;
  readonly challenge: Uint8Array;
}): PublicKeyCredentialRequestOptionsJSON {
  return requestOptions(from.rpId, from.challenge, []);
}

/** Options for `navigator.credentials.get` over the content of a proof, by one of the principal's own passkeys. */
export function proofOptions(from: {
  readonly rpId: string;
  readonly challenge: Uint8Array;
  readonly allowed: readonly KnownCredential[];
}): PublicKeyCredentialRequestOptionsJSON {
  return requestOptions(from.rpId, from.challenge, from.allowed);
}

function requestOptions(
  rpId: string,
  challenge: Uint8Array,
  allowed: readonly KnownCredential[],
): PublicKeyCredentialRequestOptionsJSON {
  return {
    rpId,
    challenge: encodeBase64Url(challenge),
    timeout: ceremonyLifetime,
    userVerification: 'required',
    allowCredentials: allowed.map(descriptor),
  };
}

function descriptor(known: KnownCredential): { type: 'public-key'; id: string; transports: Transport[] } {
  return { type: 'public-key', id: known.credentialId, transports: [...known.transports] };
}

/** The WebAuthn user handle of a principal: its id in ASCII. Random, so it says nothing about a person. */
export function userHandleOf(principal: PrincipalId): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(principal);
}

// --- Registering ----------------------------------------------------------------------------------------------------

export type RegistrationOutcome = { readonly kind: 'verified'; readonly authenticator: NewAuthenticator } | Refused;

/**
 * Judges the answer to `registrationOptions`. The caller still refuses a credential id that is known already, whoever's
 * it is (WebAuthn §7.1, 26).
 * @param by.origins the exact origins of the console, such as `https://sally.example`
 */
export async function verifyRegistration(by: {
  readonly response: unknown;
  readonly challenge: Uint8Array;
  readonly origins: readonly string[];
  readonly rpId: string;
}): Promise<RegistrationOutcome> {
  const response = parseRegistrationResponse(by.response);
  if (response === undefined) return refused('malformed');
  const wrongClient = judgeClientData(response.clientData, 'webauthn.create', by);
  if (wrongClient !== undefined) return refused(wrongClient);
  const authenticatorData = authenticatorDataOf(response.attestationObject);
  if (authenticatorData === undefined) return refused('malformed');
  if (authenticatorData === 'attestation') return refused('attestation');
  const wrongData = judgeAuthenticatorData(authenticatorData, by.rpId);
  if (wrongData !== undefined) return refused(wrongData);

  try {
    const { verified, registrationInfo: info } = await verifyRegistrationResponse({
      response: response.json,
      expectedChallenge: encodeBase64Url(by.challenge),
      expectedOrigin: [...by.origins],
      expectedRPID: by.rpId,
      requireUserVerification: true,
      supportedAlgorithmIDs: algorithms,
    });
    if (!verified) return refused('attestation');
    const { credential } = info;
    if (credential.id !== response.json.id) return refused('malformed');
    const publicKey = new Uint8Array(credential.publicKey);
    if (keyOf(publicKey) === undefined) return refused('algorithm');
    return {
      kind: 'verified',
      authenticator: {
        credentialId: credential.id,
        publicKey,
        counter: credential.counter,
        transports: response.transports,
        aaguid: info.aaguid,
        backedUp: info.credentialBackedUp,
      },
    };
  } catch (error) {
    // Everything else was judged above, so what the library still finds is the key's kind, or bytes that don't parse.
    return refused(error instanceof Error && /public key alg/.test(error.message) ? 'algorithm' : 'malformed');
  }
}

// --- Asserting ------------------------------------------------------------------------------------------------------

/** What a verifier needs later, in base64url as it came. The log keeps it without the user handle (docs/proof-format.md). */
export type RawAssertion = {
  readonly credentialId: string;
  readonly authenticatorData: string;
  readonly clientDataJSON: string;
  readonly signature: string;
  readonly userHandle: string | null;
};

export type AssertionOutcome =
  | {
      readonly kind: 'verified';
      /** To be stored with the condition that the stored one is still the one that was given. */
      readonly newCounter: number;
      readonly backedUp: boolean;
      readonly raw: RawAssertion;
    }
  | Refused;

export type SignInOutcome<A extends KnownAuthenticator> =
  | (Extract<AssertionOutcome, { readonly kind: 'verified' }> & { readonly authenticator: A })
  /** `authenticator` is there when the credential is known, so that the caller can record whose sign-in failed. */
  | (Refused & { readonly authenticator?: A });

/**
 * Judges the answer to `signInOptions`. The passkey says itself whose it is, so the authenticator is looked up by its
 * credential id; the lookup must find usable ones only (not revoked, principal not suspended).
 */
export async function verifySignIn<A extends KnownAuthenticator>(by: {
  readonly response: unknown;
  readonly challenge: Uint8Array;
  readonly origins: readonly string[];
  readonly rpId: string;
  readonly find: (credentialId: string) => Promise<A | undefined>;
}): Promise<SignInOutcome<A>> {
  const response = parseAuthenticationResponse(by.response);
  if (response === undefined) return refused('malformed');
  const authenticator = await by.find(response.json.id);
  if (authenticator === undefined) return refused('unknown_credential');
  // WebAuthn §7.2, 6: without a name given before, the passkey must name its owner.
  if (response.userHandle === null) return { ...refused('other_principal'), authenticator };
  const outcome = await judgeAssertion(response, { ...by, authenticator });
  return { ...outcome, authenticator };
}

/** Judges an assertion by one known authenticator: for a proof, the one among the principal's own that it names. */
export async function verifyAssertion(by: {
  readonly response: unknown;
  readonly challenge: Uint8Array;
  readonly authenticator: KnownAuthenticator;
  readonly origins: readonly string[];
  readonly rpId: string;
}): Promise<AssertionOutcome> {
  const response = parseAuthenticationResponse(by.response);
  return response === undefined ? refused('malformed') : judgeAssertion(response, by);
}

/** The credential id that an assertion names, to look its authenticator up; undefined when it isn't an assertion. */
export function credentialIdOf(response: unknown): string | undefined {
  return parseAuthenticationResponse(response)?.json.id;
}

async function judgeAssertion(
  response: ParsedAuthentication,
  by: {
    readonly challenge: Uint8Array;
    readonly authenticator: KnownAuthenticator;
    readonly origins: readonly string[];
    readonly rpId: string;
  },
): Promise<AssertionOutcome> {
  const { authenticator } = by;
  if (response.json.id !== authenticator.credentialId) return refused('unknown_credential');
  if (response.userHandle !== null && !sameBytes(response.userHandle, userHandleOf(authenticator.principal)))
    return refused('other_principal');
  const wrongClient = judgeClientData(response.clientData, 'webauthn.get', by);
  if (wrongClient !== undefined) return refused(wrongClient);
  const wrongData = judgeAuthenticatorData(response.authenticatorData, by.rpId);
  if (wrongData !== undefined) return refused(wrongData);
  if (!isAssertionData(response.authenticatorData)) return refused('malformed');

  try {
    if (!hasSigned(keyOf(authenticator.publicKey), response)) return refused('signature');
    const { verified, authenticationInfo: info } = await verifyAuthenticationResponse({
      response: response.json,
      expectedChallenge: encodeBase64Url(by.challenge),
      expectedOrigin: [...by.origins],
      expectedRPID: by.rpId,
      requireUserVerification: true,
      // The counter is judged below, after the signature: before it, anybody could make up a "clone".
      credential: { id: authenticator.credentialId, publicKey: new Uint8Array(authenticator.publicKey), counter: 0 },
    });
    if (!verified) return refused('signature');
    const { newCounter } = info;
    // WebAuthn §7.2, 22: it must rise, unless this authenticator doesn't count.
    if ((newCounter !== 0 || authenticator.counter !== 0) && newCounter <= authenticator.counter)
      return refused('cloned');
    const { clientDataJSON, authenticatorData, signature, userHandle } = response.json.response;
    return {
      kind: 'verified',
      newCounter,
      backedUp: info.credentialBackedUp,
      raw: {
        credentialId: response.json.id,
        authenticatorData,
        clientDataJSON,
        signature,
        userHandle: userHandle ?? null,
      },
    };
  } catch {
    // A signature that doesn't even parse, for the parts around it were judged above.
    return refused('signature');
  }
}

// --- The parts that both ceremonies share ---------------------------------------------------------------------------

type ClientData = {
  readonly type: string;
  readonly challenge: string;
  readonly origin: string;
  readonly crossOrigin: boolean;
  readonly topOrigin: boolean;
};

function judgeClientData(
  clientData: ClientData,
  type: 'webauthn.create' | 'webauthn.get',
  by: { readonly challenge: Uint8Array; readonly origins: readonly string[] },
): PasskeyRefusal | undefined {
  if (clientData.type !== type) return 'other_type';
  const challenge = decodeBase64Url(clientData.challenge);
  // INVARIANT 5: the challenge is the content, so another challenge is a proof of something else.
  if (challenge === undefined || by.challenge.length === 0 || !sameBytes(challenge, by.challenge))
    return 'other_challenge';
  if (!by.origins.includes(clientData.origin)) return 'other_origin';
  if (clientData.crossOrigin || clientData.topOrigin) return 'cross_origin';
  return undefined;
}

/** The parts of authenticator data that come first in it, WebAuthn §6.1. */
function judgeAuthenticatorData(data: Uint8Array, rpId: string): PasskeyRefusal | undefined {
  if (data.length < 37) return 'malformed';
  if (!sameBytes(data.subarray(0, 32), createHash('sha256').update(rpId, 'utf8').digest())) return 'other_rp';
  const flags = data[32] ?? 0;
  if ((flags & 0x01) === 0) return 'user_not_present';
  if ((flags & 0x04) === 0) return 'user_not_verified';
  // §6.1.3: what isn't eligible for backup can't be backed up.
  if ((flags & 0x10) !== 0 && (flags & 0x08) === 0) return 'malformed';
  return undefined;
}

/** Authenticator data of an attestation object that carries no attestation, or only that of the new key over itself. */
function authenticatorDataOf(attestationObject: Uint8Array<ArrayBuffer>): Uint8Array | 'attestation' | undefined {
  try {
    const decoded = decodeAttestationObject(attestationObject);
    const format: unknown = decoded.get('fmt');
    const data: unknown = decoded.get('authData');
    const statement: unknown = decoded.get('attStmt');
    if (!(data instanceof Uint8Array) || !(statement instanceof Map)) return undefined;
    // §5.4.7: "none" was asked for. A browser may pass a self attestation on; a certificate chain it may not.
    if (format !== 'none' && !(format === 'packed' && !statement.has('x5c'))) return 'attestation';
    return data;
  } catch {
    return undefined;
  }
}

/** Behind the counter an assertion has nothing, or one map of extensions; attested data belongs to a registration. */
function isAssertionData(data: Uint8Array): boolean {
  const flags = data[32] ?? 0;
  if ((flags & 0x40) !== 0) return false;
  const rest = Uint8Array.from(data.subarray(37));
  if ((flags & 0x80) === 0) return rest.length === 0;
  try {
    const extensions = isoCBOR.decodeFirst<unknown>(rest);
    // One spelling: encoding it again gives the same bytes.
    return extensions instanceof Map && isPlain(extensions) && sameBytes(isoCBOR.encode(extensions as never), rest);
  } catch {
    return false;
  }
}

/** What authenticators put into extensions: no floats, no tags, nothing undefined. */
function isPlain(value: unknown): boolean {
  if (value instanceof Map)
    return [...value].every(([key, item]) => (typeof key === 'string' || Number.isInteger(key)) && isPlain(item));
  if (Array.isArray(value)) return value.every(isPlain);
  return (
    value === null ||
    typeof value === 'boolean' ||
    typeof value === 'string' ||
    Number.isSafeInteger(value) ||
    value instanceof Uint8Array
  );
}

/**
 * The key of a COSE_Key when it is one of the three kinds that are asked for, with exactly the members of its kind, and
 * OpenSSL takes it (a point on its curve, for one).
 */
function keyOf(cose: Uint8Array): { readonly digest: 'sha256' | null; readonly key: KeyObject } | undefined {
  try {
    const members = decodeCredentialPublicKey(Uint8Array.from(cose)) as unknown as ReadonlyMap<number, unknown>;
    const text = (label: number, length?: number): string => {
      const value = members.get(label);
      if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length))
        throw new TypeError(`read a COSE key: label \`${label}\` isn't the bytes it should be`);
      return encodeBase64Url(value);
    };
    const is = (kty: number, size: number) => members.get(1) === kty && members.size === size;
    switch (members.get(3)) {
      case ES256: {
        if (!is(2, 5) || members.get(-1) !== 1) return undefined;
        const jwk = { kty: 'EC', crv: 'P-256', x: text(-2, 32), y: text(-3, 32) };
        return { digest: 'sha256', key: createPublicKey({ format: 'jwk', key: jwk }) };
      }
      case EdDSA:
        if (!is(1, 4) || members.get(-1) !== 6) return undefined;
        return {
          digest: null,
          key: createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: text(-2, 32) } }),
        };
      case RS256: {
        if (!is(3, 4)) return undefined;
        const key = createPublicKey({ format: 'jwk', key: { kty: 'RSA', n: text(-1), e: text(-2) } });
        const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
        return modulusLength >= 2048 && modulusLength <= 8192 && publicExponent >= 3n
          ? { digest: 'sha256', key }
          : undefined;
      }
      default:
        return undefined;
    }
  } catch {
    return undefined;
  }
}

/** WebAuthn §7.2, 20 and 21. */
function hasSigned(by: ReturnType<typeof keyOf>, response: ParsedAuthentication): boolean {
  if (by === undefined) return false;
  const hash = createHash('sha256').update(response.clientDataBytes).digest();
  return verify(by.digest, Buffer.concat([response.authenticatorData, hash]), by.key, response.signature);
}

// --- Parsing (WebAuthn §5.1, JSON forms) ----------------------------------------------------------------------------

/** Far above what any authenticator sends, far below what would cost us. */
const maxPartLength = 16_384;
/** §4: a credential id has at most 1023 bytes. */
const maxIdLength = 1364;

type ParsedRegistration = {
  /** Only what was read, in the one spelling: hostile extras don't reach the library. */
  readonly json: RegistrationResponseJSON;
  readonly clientData: ClientData;
  readonly attestationObject: Uint8Array<ArrayBuffer>;
  readonly transports: readonly Transport[];
};

function parseRegistrationResponse(value: unknown): ParsedRegistration | undefined {
  const credential = parseCredential(value);
  if (credential === undefined) return undefined;
  const { id, clientDataJSON, clientData, response } = credential;
  const attestationObject = bytesOf(response['attestationObject']);
  if (attestationObject === undefined) return undefined;
  const given = response['transports'];
  if (given !== undefined && !Array.isArray(given)) return undefined;
  // Transports are hints, and new ones appear: unknown ones are dropped (§5.8.4).
  const known = transports.filter((transport) => (given as unknown[] | undefined)?.includes(transport) === true);
  return {
    json: {
      id,
      rawId: id,
      type: 'public-key',
      clientExtensionResults: {},
      response: { clientDataJSON, attestationObject: encodeBase64Url(attestationObject), transports: known },
    },
    clientData,
    attestationObject,
    transports: known,
  };
}

type ParsedAuthentication = {
  readonly json: AuthenticationResponseJSON;
  readonly clientData: ClientData;
  readonly clientDataBytes: Uint8Array;
  readonly authenticatorData: Uint8Array;
  readonly signature: Uint8Array;
  readonly userHandle: Uint8Array | null;
};

function parseAuthenticationResponse(value: unknown): ParsedAuthentication | undefined {
  const credential = parseCredential(value);
  if (credential === undefined) return undefined;
  const { id, clientDataJSON, clientData, clientDataBytes, response } = credential;
  const authenticatorData = bytesOf(response['authenticatorData']);
  const signature = bytesOf(response['signature']);
  if (authenticatorData === undefined || signature === undefined) return undefined;
  const given = response['userHandle'];
  const userHandle = given === undefined || given === null ? null : bytesOf(given);
  if (userHandle === undefined) return undefined;
  return {
    json: {
      id,
      rawId: id,
      type: 'public-key',
      clientExtensionResults: {},
      response: {
        clientDataJSON,
        authenticatorData: encodeBase64Url(authenticatorData),
        signature: encodeBase64Url(signature),
        ...(userHandle === null ? {} : { userHandle: encodeBase64Url(userHandle) }),
      },
    },
    clientData,
    clientDataBytes,
    authenticatorData,
    signature,
    userHandle,
  };
}

function parseCredential(value: unknown):
  | {
      readonly id: string;
      readonly clientDataJSON: string;
      readonly clientData: ClientData;
      readonly clientDataBytes: Uint8Array;
      readonly response: Readonly<Record<string, unknown>>;
    }
  | undefined {
  if (!isRecord(value)) return undefined;
  const { id, rawId, type, response } = value;
  if (type !== 'public-key' || typeof id !== 'string' || id !== rawId || id.length > maxIdLength) return undefined;
  if (bytesOf(id) === undefined || !isRecord(response)) return undefined;
  const bytes = bytesOf(response['clientDataJSON']);
  if (bytes === undefined) return undefined;
  const clientData = parseClientData(bytes);
  if (clientData === undefined) return undefined;
  return { id, clientDataJSON: encodeBase64Url(bytes), clientData, clientDataBytes: bytes, response };
}

/** §5.8.1. Members that we don't know are for the future and are let pass, as the specification demands. */
function parseClientData(bytes: Uint8Array): ClientData | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const { type, challenge, origin, crossOrigin } = value;
  if (typeof type !== 'string' || typeof challenge !== 'string' || typeof origin !== 'string') return undefined;
  if (crossOrigin !== undefined && typeof crossOrigin !== 'boolean') return undefined;
  return { type, challenge, origin, crossOrigin: crossOrigin === true, topOrigin: value['topOrigin'] !== undefined };
}

/** At least one byte, in strict base64url. */
function bytesOf(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof value !== 'string' || value === '' || value.length > maxPartLength) return undefined;
  return decodeBase64Url(value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

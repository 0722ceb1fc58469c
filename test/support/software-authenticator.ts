/**
 * A browser and its authenticator in software: answers WebAuthn options with real registrations and assertions, as
 * `navigator.credentials` would hand them to a page, and misbehaves on command. For tests only.
 *
 *     const key = createSoftwareAuthenticator({ origin: 'http://localhost:8080' });
 *     const registration = key.register(ceremony.options);
 *     const assertion = key.assert(offer.options, { userVerified: false });
 */
import { randomBytes } from 'node:crypto';
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import { newPasskey, type PasskeyAlgorithm, type SoftwarePasskey } from './software-passkey.ts';

export type Misbehaviour = {
  /** Sign this challenge instead of the one in the options. */
  readonly challenge?: Uint8Array;
  readonly origin?: string;
  readonly rpId?: string;
  readonly type?: string;
  readonly userPresent?: false;
  readonly userVerified?: false;
  /** Backed up although it says that it can't be. */
  readonly impossibleBackup?: true;
  /** Answer with this signature counter; the next one counts on from the true one. */
  readonly counter?: number;
  readonly crossOrigin?: true;
  readonly topOrigin?: string;
  /** Set these flags of an assertion as well, and put these bytes behind the counter. */
  readonly flags?: number;
  readonly tail?: Uint8Array;
  /** Flip a bit of this part after signing. */
  readonly tamper?: 'signature' | 'authenticatorData' | 'clientDataJSON';
  /** Null leaves it out. */
  readonly userHandle?: Uint8Array | null;
  /** Claim to be this credential (base64url). */
  readonly credentialId?: string;
  /** What comes with a registration instead of no attestation. */
  readonly attestation?: 'packed_self' | 'packed_chain' | 'unknown_format';
  /** Register this COSE key instead of the true one. */
  readonly publicKey?: Uint8Array;
};

export type SoftwareAuthenticator = {
  /** Makes a passkey for `PublicKeyCredentialCreationOptionsJSON`. @throws when it holds one that is excluded */
  readonly register: (
    options: object,
    misbehaviour?: Misbehaviour,
  ) => RegistrationResponseJSON & Record<string, unknown>;
  /** Signs for `PublicKeyCredentialRequestOptionsJSON`. @throws when it holds no passkey that is allowed */
  readonly assert: (
    options: object,
    misbehaviour?: Misbehaviour,
  ) => AuthenticationResponseJSON & Record<string, unknown>;
};

type Held = {
  readonly passkey: SoftwarePasskey;
  readonly id: string;
  readonly rpId: string;
  readonly userHandle: Uint8Array;
  counter: number;
};

/** @param from.counts false: the signature counter stays at zero, as that of a synced passkey does */
export function createSoftwareAuthenticator(from: {
  readonly origin: string;
  readonly algorithm?: PasskeyAlgorithm;
  readonly rsaBits?: number;
  readonly counts?: boolean;
}): SoftwareAuthenticator {
  const held: Held[] = [];
  const step = from.counts === false ? 0 : 1;

  const flagsOf = (how: Misbehaviour, more = 0): number =>
    (how.userPresent === false ? 0 : 0x01) |
    (how.userVerified === false ? 0 : 0x04) |
    (how.impossibleBackup === true ? 0x10 : 0) |
    more;

  return {
    register(given, how = {}) {
      const options = given as CreationOptions;
      const rpId = options.rp.id ?? new URL(from.origin).hostname;
      if (options.excludeCredentials?.some(({ id }) => held.some((own) => own.id === id)) === true)
        throw new Error('InvalidStateError: one of the excluded passkeys is held here');
      const passkey = newPasskey(from.algorithm ?? 'ES256', from.rsaBits);
      const own: Held = {
        passkey,
        id: base64url(passkey.credentialId),
        rpId,
        userHandle: Buffer.from(options.user.id, 'base64url'),
        counter: step,
      };
      held.push(own);
      // WebAuthn §6.5.2: AAGUID, length of the credential id, credential id, public key.
      const attested = Buffer.concat([
        Buffer.alloc(16),
        Buffer.from([passkey.credentialId.length >> 8, passkey.credentialId.length & 255]),
        passkey.credentialId,
        how.publicKey ?? passkey.cose,
      ]);
      const signed = passkey.sign({
        rpId: how.rpId ?? rpId,
        origin: how.origin ?? from.origin,
        challenge: how.challenge ?? Buffer.from(options.challenge, 'base64url'),
        counter: how.counter ?? own.counter,
        flags: flagsOf(how, 0x40),
        tail: attested,
        type: how.type ?? 'webauthn.create',
        crossOrigin: how.crossOrigin ?? false,
        ...(how.topOrigin === undefined ? {} : { clientData: { topOrigin: how.topOrigin } }),
      });
      const authenticatorData = tampered(signed.authenticatorData, how.tamper === 'authenticatorData');
      const algorithm = { ES256: -7, EdDSA: -8, RS256: -257 }[from.algorithm ?? 'ES256'];
      const signature = tampered(signed.signature, how.tamper === 'signature');
      const id = how.credentialId ?? own.id;
      return {
        id,
        rawId: id,
        type: 'public-key',
        clientExtensionResults: {},
        authenticatorAttachment: 'platform',
        response: {
          clientDataJSON: base64url(tampered(signed.clientDataJSON, how.tamper === 'clientDataJSON')),
          attestationObject: base64url(attestationObject(authenticatorData, how.attestation, algorithm, signature)),
          transports: ['internal', 'hybrid'],
        },
      };
    },

    assert(given, how = {}) {
      const options = given as RequestOptions;
      const rpId = options.rpId ?? new URL(from.origin).hostname;
      const allowed = options.allowCredentials ?? [];
      const own = held.findLast(
        (one) => one.rpId === rpId && (allowed.length === 0 || allowed.some(({ id }) => id === one.id)),
      );
      if (own === undefined) throw new Error('NotAllowedError: no passkey that is allowed is held here');
      own.counter += step;
      const signed = own.passkey.sign({
        rpId: how.rpId ?? rpId,
        origin: how.origin ?? from.origin,
        challenge: how.challenge ?? Buffer.from(options.challenge, 'base64url'),
        counter: how.counter ?? own.counter,
        flags: flagsOf(how, how.flags),
        ...(how.tail === undefined ? {} : { tail: how.tail }),
        type: how.type ?? 'webauthn.get',
        crossOrigin: how.crossOrigin ?? false,
        ...(how.topOrigin === undefined ? {} : { clientData: { topOrigin: how.topOrigin } }),
      });
      const id = how.credentialId ?? own.id;
      const userHandle = how.userHandle === undefined ? own.userHandle : how.userHandle;
      return {
        id,
        rawId: id,
        type: 'public-key',
        clientExtensionResults: {},
        authenticatorAttachment: 'platform',
        response: {
          clientDataJSON: base64url(tampered(signed.clientDataJSON, how.tamper === 'clientDataJSON')),
          authenticatorData: base64url(tampered(signed.authenticatorData, how.tamper === 'authenticatorData')),
          signature: base64url(tampered(signed.signature, how.tamper === 'signature')),
          ...(userHandle === null ? {} : { userHandle: base64url(userHandle) }),
        },
      };
    },
  };
}

type CreationOptions = {
  readonly rp: { readonly id?: string };
  readonly user: { readonly id: string };
  readonly challenge: string;
  readonly excludeCredentials?: readonly { readonly id: string }[];
};

type RequestOptions = {
  readonly rpId?: string;
  readonly challenge: string;
  readonly allowCredentials?: readonly { readonly id: string }[];
};

/** One bit of the last byte; in client data, of the last letter of the last name, so that it stays JSON. */
function tampered(bytes: Uint8Array, really: boolean): Uint8Array {
  if (!really) return bytes;
  const copy = Uint8Array.from(bytes);
  const at = copy.at(-1) === 0x7d ? copy.lastIndexOf(0x22) - 1 : copy.length - 1;
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

/** WebAuthn §6.5.4, in CBOR: `{ "fmt": …, "attStmt": …, "authData": … }`. */
function attestationObject(
  authenticatorData: Uint8Array,
  attestation: Misbehaviour['attestation'],
  algorithm: number,
  signature: Uint8Array,
): Uint8Array {
  const alg = [text('alg'), negative(algorithm)];
  const statements = {
    none: { format: 'none', statement: Buffer.from([0xa0]) },
    packed_self: {
      format: 'packed',
      statement: Buffer.concat([Buffer.from([0xa2]), ...alg, text('sig'), bytes(signature)]),
    },
    packed_chain: {
      format: 'packed',
      statement: Buffer.concat([
        Buffer.from([0xa3]),
        ...alg,
        text('sig'),
        bytes(signature),
        text('x5c'),
        Buffer.from([0x81]),
        bytes(randomBytes(64)),
      ]),
    },
    unknown_format: { format: 'made-up', statement: Buffer.from([0xa0]) },
  };
  const { format, statement } = statements[attestation ?? 'none'];
  return Buffer.concat([
    Buffer.from([0xa3]),
    text('fmt'),
    text(format),
    text('attStmt'),
    statement,
    text('authData'),
    bytes(authenticatorData),
  ]);
}

/** CBOR head (RFC 8949 §3) for lengths below 65,536. */
function head(major: number, length: number): Buffer {
  const first = major << 5;
  if (length < 24) return Buffer.from([first | length]);
  return length < 256 ? Buffer.from([first | 24, length]) : Buffer.from([first | 25, length >> 8, length & 255]);
}

const text = (value: string): Buffer => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
const bytes = (value: Uint8Array): Buffer => Buffer.concat([head(2, value.length), value]);
const negative = (value: number): Buffer => head(1, -1 - value);
const base64url = (value: Uint8Array): string => Buffer.from(value).toString('base64url');

/**
 * A passkey in software: makes a key pair and signs WebAuthn assertions as an authenticator and a browser together
 * would, including wrong ones. For tests only; nothing is kept.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export type PasskeyAlgorithm = 'ES256' | 'EdDSA' | 'RS256';

export type SignRequest = {
  readonly rpId: string;
  readonly origin: string;
  readonly challenge: Uint8Array;
  readonly counter: number;
  /** User present (0x01) and user verified (0x04) unless said otherwise. */
  readonly flags?: number;
  /** Bytes behind the counter: extensions. */
  readonly tail?: Uint8Array;
  readonly type?: string;
  readonly crossOrigin?: boolean;
  /** Further members of the client data, such as `topOrigin`. */
  readonly clientData?: Readonly<Record<string, unknown>>;
};

export type SoftwarePasskey = {
  readonly credentialId: Uint8Array;
  /** The COSE_Key as an authenticator writes it. */
  readonly cose: Uint8Array;
  readonly sign: (request: SignRequest) => {
    readonly authenticatorData: Uint8Array;
    readonly clientDataJSON: Uint8Array;
    readonly signature: Uint8Array;
  };
};

export function newPasskey(algorithm: PasskeyAlgorithm = 'ES256', rsaBits = 2048): SoftwarePasskey {
  const { publicKey, privateKey } = generate(algorithm, rsaBits);
  return {
    credentialId: randomBytes(32),
    cose: coseKey(publicKey),
    sign: (request) => {
      const clientDataJSON = Buffer.from(
        JSON.stringify({
          type: request.type ?? 'webauthn.get',
          challenge: Buffer.from(request.challenge).toString('base64url'),
          origin: request.origin,
          crossOrigin: request.crossOrigin ?? false,
          ...request.clientData,
        }),
      );
      const flagsAndCounter = Buffer.alloc(5);
      flagsAndCounter.writeUInt8(request.flags ?? 0x05, 0);
      flagsAndCounter.writeUInt32BE(request.counter, 1);
      const authenticatorData = Buffer.concat([
        createHash('sha256').update(request.rpId).digest(),
        flagsAndCounter,
        request.tail ?? new Uint8Array(),
      ]);
      const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientDataJSON).digest()]);
      const signature = sign(algorithm === 'EdDSA' ? null : 'sha256', signed, privateKey);
      return { authenticatorData, clientDataJSON, signature };
    },
  };
}

function generate(algorithm: PasskeyAlgorithm, rsaBits: number): { publicKey: KeyObject; privateKey: KeyObject } {
  switch (algorithm) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    case 'RS256':
      return generateKeyPairSync('rsa', { modulusLength: rsaBits });
    default:
      return algorithm satisfies never;
  }
}

function coseKey(key: KeyObject): Uint8Array {
  const { kty, x, y, n, e } = key.export({ format: 'jwk' });
  const bytes = (text: string | undefined) => byteString(Buffer.from(text ?? '', 'base64url'));
  // The members in CTAP2's canonical order: 1, 3, -1, -2, -3.
  if (kty === 'EC') return concat([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21], bytes(x), [0x22], bytes(y));
  if (kty === 'OKP') return concat([0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21], bytes(x));
  return concat([0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20], bytes(n), [0x21], bytes(e));
}

function byteString(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  const head = length < 24 ? [0x40 + length] : length < 256 ? [0x58, length] : [0x59, length >> 8, length & 255];
  return concat(head, bytes);
}

function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

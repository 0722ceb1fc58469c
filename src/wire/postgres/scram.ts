/**
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both sides, without sockets, as PostgreSQL speaks it: the
 * user name inside the exchange is ignored (the start-up packet names the user), and an authorization identity is refused.
 * Channel binding is `tls-server-end-point` (RFC 5929). SASLprep is the identity on printable ASCII, and other passwords
 * are refused rather than prepared differently from the peer.
 */
import { createHash, createHmac, pbkdf2, pbkdf2Sync, timingSafeEqual, X509Certificate } from 'node:crypto';

export const scramSha256 = 'SCRAM-SHA-256';
export const scramSha256Plus = 'SCRAM-SHA-256-PLUS';

/**
 * Bounds for the iterations that a server asks for. RFC 7677 section 4 wants 4,096 at the least: fewer would let a server
 * that isn't ours, and that has our answer, try passwords that much quicker. More than the upper bound would keep us busy
 * for seconds with each connection (PostgreSQL's `scram_iterations` is 4,096 unless somebody changes it).
 */
export const leastIterations = 4096;
export const mostIterations = 1_000_000;

/** The exchange broke the RFC, or the peer proved to be somebody else. The message is safe to log. */
export class ScramFailure extends Error {
  readonly code = 'scram_failure';
  constructor(message: string) {
    super(message);
    this.name = 'ScramFailure';
  }
}

export type ScramVerifier = {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
};

/** What a client derives from its password for one salt; as good as the password. */
export type ScramClientKeys = { readonly clientKey: Buffer; readonly serverKey: Buffer };

const hmac = (key: Uint8Array, data: Uint8Array | string): Buffer => createHmac('sha256', key).update(data).digest();
const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();

function xor(a: Buffer, b: Buffer): Buffer {
  const out = Buffer.alloc(a.length);
  for (let i = 0; i < a.length; i += 1) out[i] = (a[i] ?? 0) ^ (b[i] ?? 0);
  return out;
}

/** One spelling: padded standard alphabet. */
function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new ScramFailure('malformed base64');
  return bytes;
}

function checkPassword(password: string): void {
  if (!/^[\x20-\x7e]+$/.test(password)) throw new ScramFailure('password is empty or not printable ASCII');
}

function keysFromSalted(salted: Buffer): ScramClientKeys {
  return { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') };
}

/** The expensive step (PBKDF2), off the thread. A salt and an iteration count of the server's choosing: bound the count. */
export function deriveScramKeys(password: string, salt: Uint8Array, iterations: number): Promise<ScramClientKeys> {
  checkPassword(password);
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, 32, 'sha256', (error, salted) =>
      error === null ? resolve(keysFromSalted(salted)) : reject(error),
    );
  });
}

/**
 * Keys that come from no password: for a login that is used by nobody but who made it. As good as those of a random
 * password, without the thousands of rounds that make a guessable one dear.
 */
export function randomScramKeys(salted: Uint8Array): ScramClientKeys {
  if (salted.length !== 32) throw new RangeError('make keys: the salted password has 32 bytes');
  return keysFromSalted(Buffer.from(salted));
}

export function verifierFromKeys(keys: ScramClientKeys, salt: Uint8Array, iterations: number): string {
  const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  return `${scramSha256}$${iterations}:${b64(salt)}$${b64(sha256(keys.clientKey))}:${b64(keys.serverKey)}`;
}

/** `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, which PostgreSQL takes in place of a password. */
export function makeScramVerifier(password: string, salt: Uint8Array, iterations = 4096): string {
  checkPassword(password);
  return verifierFromKeys(keysFromSalted(pbkdf2Sync(password, salt, iterations, 32, 'sha256')), salt, iterations);
}

/** Undefined when the text is not a verifier. */
export function parseScramVerifier(text: string): ScramVerifier | undefined {
  const match = /^SCRAM-SHA-256\$([1-9]\d{0,8}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)$/.exec(
    text,
  );
  const [, iterations, salt, stored, server] = match ?? [];
  if (iterations === undefined || salt === undefined || stored === undefined || server === undefined) return undefined;
  return {
    iterations: Number(iterations),
    salt: Buffer.from(salt, 'base64'),
    storedKey: Buffer.from(stored, 'base64'),
    serverKey: Buffer.from(server, 'base64'),
  };
}

/**
 * For a user name nobody has: a verifier that looks the same on every try (the salt comes from the name under a secret of
 * this server) and that no password satisfies. INVARIANT 14: the exchange tells nothing about who exists.
 */
export function mockScramVerifier(userName: string, serverSecret: Uint8Array, iterations = 4096): ScramVerifier {
  const part = (label: string) => hmac(serverSecret, `${label}\0${userName}`);
  return {
    iterations,
    salt: part('mock salt').subarray(0, 16),
    storedKey: part('mock stored key'),
    serverKey: part('mock server key'),
  };
}

/**
 * The hash of a server certificate for `tls-server-end-point`: with the hash of its signature, SHA-256 in place of MD5 and
 * SHA-1 (RFC 5929 section 4.1). Undefined for signatures without a hash of their own (Ed25519): no binding then.
 */
export function serverEndPointBinding(certificate: Uint8Array): Buffer | undefined {
  const algorithm = new X509Certificate(certificate).signatureAlgorithm?.toLowerCase() ?? '';
  const hash = /sha-?(256|384|512)/.exec(algorithm)?.[1] ?? (/sha-?1|md5/.test(algorithm) ? '256' : undefined);
  return hash === undefined ? undefined : createHash(`sha${hash}`).update(certificate).digest();
}

const nonceText = /^[\x21-\x2b\x2d-\x7e]+$/;

export type ScramServer = {
  /** Takes client-first-message, gives server-first-message. */
  readonly first: (message: Buffer) => Buffer;
  /** Takes client-final-message; the server-final-message, or undefined when the proof is wrong. */
  readonly final: (message: Buffer) => Buffer | undefined;
};

/** `binding` is given exactly when SCRAM-SHA-256-PLUS was offered; `nonce` is fresh, at least 18 random bytes in base64. */
export function createScramServer(options: {
  readonly verifier: ScramVerifier;
  readonly mechanism: string;
  readonly binding: Buffer | undefined;
  readonly nonce: string;
}): ScramServer {
  const { verifier, mechanism, binding, nonce } = options;
  let state: { gs2: string; bare: string; serverFirst: string; nonce: string } | undefined;
  return {
    first(message) {
      if (message.length > 1024) throw new ScramFailure('client-first-message is too long');
      const text = message.toString('latin1');
      const match = /^((n|y|p=tls-server-end-point),,)(n=[^,]*,r=([^,]+))$/.exec(text);
      const [, gs2, flag, bare, clientNonce] = match ?? [];
      if (gs2 === undefined || bare === undefined || clientNonce === undefined || !nonceText.test(clientNonce))
        throw new ScramFailure('malformed client-first-message');
      const isPlus = mechanism === scramSha256Plus;
      if (isPlus !== (flag !== 'n' && flag !== 'y'))
        throw new ScramFailure('channel binding flag and mechanism differ');
      // The client can bind but believes that we can't, though we offered it: somebody in between removed the offer.
      if (flag === 'y' && binding !== undefined) throw new ScramFailure('channel binding was negotiated away');
      if (isPlus && binding === undefined) throw new ScramFailure('channel binding was not offered');
      const combined = clientNonce + nonce;
      const serverFirst = `r=${combined},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`;
      state = { gs2, bare, serverFirst, nonce: combined };
      return Buffer.from(serverFirst, 'latin1');
    },
    final(message) {
      if (state === undefined) throw new ScramFailure('client-final-message without a first');
      if (message.length > 2048) throw new ScramFailure('client-final-message is too long');
      const text = message.toString('latin1');
      const match = /^(c=([^,]+),r=([^,]+)),p=([^,]+)$/.exec(text);
      const [, withoutProof, bound, finalNonce, proofText] = match ?? [];
      if (withoutProof === undefined || bound === undefined || proofText === undefined)
        throw new ScramFailure('malformed client-final-message');
      if (finalNonce !== state.nonce) throw new ScramFailure('nonce differs');
      const expected = Buffer.concat([
        Buffer.from(state.gs2, 'latin1'),
        mechanism === scramSha256Plus && binding !== undefined ? binding : Buffer.alloc(0),
      ]);
      const given = decodeBase64(bound);
      if (given.length !== expected.length || !timingSafeEqual(given, expected))
        throw new ScramFailure('channel binding differs');
      const proof = decodeBase64(proofText);
      if (proof.length !== 32) throw new ScramFailure('malformed proof');
      const authMessage = `${state.bare},${state.serverFirst},${withoutProof}`;
      const clientKey = xor(proof, hmac(verifier.storedKey, authMessage));
      if (!timingSafeEqual(sha256(clientKey), verifier.storedKey)) return undefined;
      return Buffer.from(`v=${hmac(verifier.serverKey, authMessage).toString('base64')}`, 'latin1');
    },
  };
}

export type ScramClient = {
  readonly mechanism: string;
  readonly first: () => Buffer;
  /** Takes server-first-message, gives client-final-message. */
  readonly final: (serverFirst: Buffer) => Promise<Buffer>;
  /** Throws unless the server has proven that it knows the verifier. */
  readonly verify: (serverFinal: Buffer) => void;
};

/**
 * `binding`: of the server's certificate, on TLS. `keys` gives the keys for the server's salt, so a caller can keep them.
 */
export function createScramClient(options: {
  readonly offered: readonly string[];
  readonly binding: Buffer | undefined;
  readonly nonce: string;
  readonly keys: (salt: Buffer, iterations: number) => Promise<ScramClientKeys>;
}): ScramClient {
  const { offered, binding, nonce } = options;
  const isPlus = binding !== undefined && offered.includes(scramSha256Plus);
  if (!isPlus && !offered.includes(scramSha256)) throw new ScramFailure('server offers no SCRAM-SHA-256');
  const gs2 = isPlus ? 'p=tls-server-end-point,,' : binding === undefined ? 'n,,' : 'y,,';
  const bare = `n=,r=${nonce}`;
  let signature: Buffer | undefined;
  return {
    mechanism: isPlus ? scramSha256Plus : scramSha256,
    first: () => Buffer.from(gs2 + bare, 'latin1'),
    async final(serverFirst) {
      if (serverFirst.length > 4096) throw new ScramFailure('server-first-message is too long');
      const text = serverFirst.toString('latin1');
      const [, combined, saltText, count] = /^r=([^,]+),s=([^,]+),i=([1-9]\d{0,8})$/.exec(text) ?? [];
      if (combined === undefined || saltText === undefined) throw new ScramFailure('malformed server-first-message');
      if (!combined.startsWith(nonce) || combined.length === nonce.length || !nonceText.test(combined))
        throw new ScramFailure('nonce differs');
      const iterations = Number(count);
      if (iterations < leastIterations) throw new ScramFailure('server asks for too few iterations');
      if (iterations > mostIterations) throw new ScramFailure('server asks for too many iterations');
      const { clientKey, serverKey } = await options.keys(decodeBase64(saltText), iterations);
      const bound = Buffer.concat([Buffer.from(gs2, 'latin1'), isPlus ? binding : Buffer.alloc(0)]);
      const withoutProof = `c=${bound.toString('base64')},r=${combined}`;
      const authMessage = `${bare},${text},${withoutProof}`;
      const proof = xor(clientKey, hmac(sha256(clientKey), authMessage));
      signature = hmac(serverKey, authMessage);
      return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`, 'latin1');
    },
    verify(serverFinal) {
      const [, text] = /^v=([^,]+)$/.exec(serverFinal.toString('latin1')) ?? [];
      const given = text === undefined ? undefined : decodeBase64(text);
      if (given === undefined || signature === undefined || given.length !== 32 || !timingSafeEqual(given, signature))
        throw new ScramFailure('server does not know the password');
    },
  };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type JWK, type JWTPayload } from 'jose';
import type { Instant } from '#core/instant.ts';
import { accessTokenHash, dpopChallenge, parseAuthorization, verifyDpop } from './dpop.ts';

// RFC 9449, figures 2 and 4 (token request), 13 (resource request), §6.1 (thumbprint) and §7.1 (access token).
const rfcHeader =
  'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19';
const rfcTokenProof = `${rfcHeader}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg`;
const rfcResourceProof = `${rfcHeader}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA`;
const rfcThumbprint = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I';
const rfcAccessToken = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU';

test('RFC 9449: the proof of the token request of figure 2 is taken', async () => {
  const outcome = await verifyDpop({
    proof: rfcTokenProof,
    method: 'POST',
    url: 'https://server.example.com/token',
    now: 1_562_262_616_000 as Instant,
  });
  assert.equal(outcome.kind, 'verified');
  assert.equal(outcome.jkt, rfcThumbprint);
});

test('RFC 9449: the proof of the resource request of figure 13 is taken, with its token', async () => {
  const ask = {
    proof: rfcResourceProof,
    method: 'GET',
    url: 'https://resource.example.org/protectedresource',
    now: 1_562_262_618_000 as Instant,
  };
  const outcome = await verifyDpop({ ...ask, token: { text: rfcAccessToken, jkt: rfcThumbprint } });
  assert.equal(outcome.kind, 'verified');
  const other = await verifyDpop({ ...ask, token: { text: `${rfcAccessToken}x`, jkt: rfcThumbprint } });
  assert.deepEqual(other, { kind: 'refused', because: 'other_token' });
});

test('RFC 9449 §7.1: the hash of the access token', () => {
  assert.equal(accessTokenHash(rfcAccessToken), 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo');
});

test('RFC 7638 §3.1: the thumbprint of the example key', async () => {
  const jwk = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
    alg: 'RS256',
    kid: '2011-04-29',
  };
  assert.equal(await calculateJwkThumbprint(jwk, 'sha256'), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
});

// --- Our own -------------------------------------------------------------------------------------------------------

const now = 1_800_000_000_000 as Instant;
const url = 'https://sally.example/api/v1/me';
const keys = await generateKeyPair('ES256', { extractable: true });
const publicJwk = await exportJWK(keys.publicKey);
const jkt = await calculateJwkThumbprint(publicJwk);
const accessToken = 'sly_at_x';

type Change = {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly payload?: Readonly<Record<string, unknown>>;
  readonly alg?: string;
};

async function proof(change: Change = {}, key = keys.privateKey): Promise<string> {
  const payload: Record<string, unknown> = {
    jti: 'a1',
    htm: 'GET',
    htu: url,
    iat: now / 1000,
    ath: accessTokenHash(accessToken),
    ...change.payload,
  };
  return new SignJWT(payload as JWTPayload)
    .setProtectedHeader({ typ: 'dpop+jwt', alg: change.alg ?? 'ES256', jwk: publicJwk, ...change.header })
    .sign(key);
}

async function judge(given: string | undefined, change: { method?: string; url?: string; jkt?: string } = {}) {
  const outcome = await verifyDpop({
    proof: given,
    method: change.method ?? 'GET',
    url: change.url ?? url,
    now,
    token: { text: accessToken, jkt: change.jkt ?? jkt },
  });
  return outcome.kind === 'refused' ? outcome.because : outcome.kind;
}

test('a proof by the key of the token, for this request, now, is taken', async () => {
  assert.equal(await judge(await proof()), 'verified');
});

test('a proof by an Ed25519 key is taken, under either name of the algorithm', async () => {
  const ed = await generateKeyPair('EdDSA', { extractable: true });
  const jwk = await exportJWK(ed.publicKey);
  for (const alg of ['EdDSA', 'Ed25519'])
    assert.equal(
      await judge(await proof({ alg, header: { jwk } }, ed.privateKey), { jkt: await calculateJwkThumbprint(jwk) }),
      'verified',
    );
});

for (const [name, change, expected] of [
  ['another method', { payload: { htm: 'POST' } }, 'other_method'],
  ['the method in lower case', { payload: { htm: 'get' } }, 'other_method'],
  ['another path', { payload: { htu: 'https://sally.example/api/v1/requests' } }, 'other_url'],
  ['another host', { payload: { htu: 'https://evil.test/api/v1/me' } }, 'other_url'],
  ['another scheme', { payload: { htu: 'http://sally.example/api/v1/me' } }, 'other_url'],
  ['another port', { payload: { htu: 'https://sally.example:8443/api/v1/me' } }, 'other_url'],
  ['a relative address', { payload: { htu: '/api/v1/me' } }, 'other_url'],
  ['an encoded slash', { payload: { htu: 'https://sally.example/api/v1%2Fme' } }, 'other_url'],
  ['user information', { payload: { htu: 'https://a@sally.example/api/v1/me' } }, 'other_url'],
  ['another spelling', { payload: { htu: 'HTTPS://Sally.Example:443/x/../api/v1/%6de' } }, 'verified'],
  ['a query and fragment', { payload: { htu: `${url}?a=b#c` } }, 'verified'],
  ['a minute ago', { payload: { iat: now / 1000 - 60 } }, 'verified'],
  ['more than a minute ago', { payload: { iat: now / 1000 - 61 } }, 'not_now'],
  ['in a minute', { payload: { iat: now / 1000 + 60 } }, 'verified'],
  ['in more than a minute', { payload: { iat: now / 1000 + 61 } }, 'not_now'],
  ['a time in milliseconds', { payload: { iat: now } }, 'not_now'],
  ['no time', { payload: { iat: undefined } }, 'malformed'],
  ['a time in text', { payload: { iat: String(now / 1000) } }, 'malformed'],
  ['another token', { payload: { ath: accessTokenHash('other') } }, 'other_token'],
  ['no token', { payload: { ath: undefined } }, 'other_token'],
  ['no jti', { payload: { jti: undefined } }, 'malformed'],
  ['an empty jti', { payload: { jti: '' } }, 'malformed'],
  ['a long jti', { payload: { jti: 'a'.repeat(257) } }, 'malformed'],
  ['another type', { header: { typ: 'JWT' } }, 'malformed'],
  ['no type', { header: { typ: undefined } }, 'malformed'],
  ['no key', { header: { jwk: undefined } }, 'key'],
  ['a key with its private part', { header: { jwk: { ...publicJwk, d: 'AA' } } }, 'key'],
  ['a symmetric key', { header: { jwk: { kty: 'oct', k: 'AA' } } }, 'key'],
  ['a key on another curve', { header: { jwk: { ...publicJwk, crv: 'P-384' } } }, 'key'],
  ['half a key', { header: { jwk: { ...publicJwk, y: undefined } } }, 'key'],
] as const satisfies readonly (readonly [string, Change, string])[])
  test(`a proof with ${name}: ${expected}`, async () => {
    assert.equal(await judge(await proof(change)), expected);
  });

test('a proof by another key is refused, though it names itself rightly', async () => {
  const other = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(other.publicKey);
  assert.equal(await judge(await proof({ header: { jwk } }, other.privateKey)), 'other_key');
  assert.equal(await judge(await proof({}, other.privateKey)), 'signature');
});

test('other algorithms are refused before anything is verified', async () => {
  const rsa = await generateKeyPair('RS256', { extractable: true });
  const jwk = await exportJWK(rsa.publicKey);
  assert.equal(await judge(await proof({ alg: 'RS256', header: { jwk } }, rsa.privateKey)), 'algorithm');
  const unsigned = (header: object) =>
    `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${(rfcTokenProof.split('.')[1] ?? '') || 'x'}.AA`;
  assert.equal(await judge(unsigned({ typ: 'dpop+jwt', alg: 'none', jwk: publicJwk })), 'algorithm');
  assert.equal(await judge(unsigned({ typ: 'dpop+jwt', alg: 'HS256', jwk: publicJwk })), 'algorithm');
});

test('a missing proof, two proofs and a critical extension are told apart from a wrong one', async () => {
  assert.equal(await judge(undefined), 'missing');
  assert.equal(await judge(''), 'missing');
  assert.equal(await judge(`${await proof()}, ${await proof()}`), 'malformed');
  assert.equal(await judge(`${(await proof()).slice(0, -1)}.x`), 'malformed');
  const header = Buffer.from(
    JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk, crit: ['b64'], b64: false }),
  ).toString('base64url');
  assert.equal(await judge(`${header}.e30.AA`), 'malformed');
});

test('one key and jti make one replay key, which is kept for as long as the proof would be taken', async () => {
  const verified = async (change: Change, at: Instant = now) => {
    const outcome = await verifyDpop({ proof: await proof(change), method: 'GET', url, now: at });
    assert.equal(outcome.kind, 'verified');
    return outcome;
  };
  const first = await verified({});
  const again = await verified({}, (now + 30_000) as Instant);
  const other = await verified({ payload: { jti: 'a2' } });
  assert.equal(first.replayKey, again.replayKey);
  assert.notEqual(first.replayKey, other.replayKey);
  assert.match(first.replayKey, /^[\w-]{43}$/);
  for (const iat of [now / 1000 - 60, now / 1000, now / 1000 + 59.5]) {
    const { rememberUntil } = await verified({ payload: { iat } });
    assert.ok(rememberUntil > iat * 1000 + 60_000);
  }
});

test('whatever the header says, verifying answers and never throws', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => {
      assert.notEqual(await judge(text), 'verified');
    }),
  );
  const segment = fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value)).toString('base64url'));
  await fc.assert(
    fc.asyncProperty(segment, segment, fc.uint8Array({ minLength: 1 }), async (header, payload, signature) => {
      const text = `${header}.${payload}.${Buffer.from(signature).toString('base64url')}`;
      assert.notEqual(await judge(text), 'verified');
    }),
  );
  const almost = fc.record({ typ: fc.constant('dpop+jwt'), alg: fc.constant('ES256'), jwk: fc.anything() });
  await fc.assert(
    fc.asyncProperty(almost, async (header) => {
      const text = Buffer.from(JSON.stringify(header, (_, v: unknown) => (typeof v === 'bigint' ? 1 : v)));
      assert.notEqual(await judge(`${text.toString('base64url')}.e30.AA`), 'verified');
    }),
  );
});

test('a wrong point on the curve is refused, not a fault', async () => {
  const bad: JWK = { ...publicJwk, y: publicJwk.x ?? '' };
  assert.equal(await judge(await proof({ header: { jwk: bad } })), 'signature');
});

test('the Authorization header is `DPoP` and one token', () => {
  assert.deepEqual(parseAuthorization(undefined), { kind: 'none' });
  assert.deepEqual(parseAuthorization('DPoP sly_at_x'), { kind: 'dpop', token: 'sly_at_x' });
  assert.deepEqual(parseAuthorization('dpop  sly_at_x'), { kind: 'dpop', token: 'sly_at_x' });
  for (const other of ['', 'DPoP', 'DPoP ', 'DPoP a b', 'Bearer sly_at_x', 'DPoPsly_at_x', 'DPoP a, DPoP b'])
    assert.deepEqual(parseAuthorization(other), { kind: 'malformed' }, other);
});

test('the challenge names what is wrong and which algorithms are taken', () => {
  assert.equal(dpopChallenge(), 'DPoP algs="ES256 EdDSA"');
  assert.equal(dpopChallenge('invalid_token'), 'DPoP error="invalid_token", algs="ES256 EdDSA"');
});

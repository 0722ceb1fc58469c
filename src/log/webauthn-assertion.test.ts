import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { newPasskey } from '#test/support/software-passkey.ts';
import { parseCosePublicKey, verifyAssertion } from './webauthn-assertion.ts';

const rpId = 'sally.example';
const origin = 'https://sally.example';
const challenge = new Uint8Array(createHash('sha256').update('a proof').digest());
const algorithms = ['ES256', 'EdDSA', 'RS256'] as const;

for (const algorithm of algorithms) {
  const passkey = newPasskey(algorithm);
  const publicKey = parseCosePublicKey(passkey.cose);

  test(`assertion: one by a fresh ${algorithm} key verifies`, () => {
    assert.ok(publicKey !== undefined);
    const assertion = passkey.sign({ rpId, origin, challenge, counter: 7 });
    assert.deepEqual(verifyAssertion(assertion, { challenge, rpId, origins: ['https://other', origin], publicKey }), {
      kind: 'verified',
      counter: 7,
      origin,
      backedUp: false,
    });
  });

  test(`assertion: one by a fresh ${algorithm} key with any bit changed is refused`, () => {
    assert.ok(publicKey !== undefined);
    const expected = { challenge, rpId, origins: [origin], publicKey };
    const good = passkey.sign({ rpId, origin, challenge, counter: 7 });
    assert.equal(verifyAssertion(good, expected).kind, 'verified');
    for (const part of ['authenticatorData', 'clientDataJSON', 'signature'] as const) {
      for (let at = 0; at < good[part].length; at += 1) {
        const bytes = Uint8Array.from(good[part]);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
        assert.equal(verifyAssertion({ ...good, [part]: bytes }, expected).kind, 'refused', `${part} ${at}`);
      }
    }
  });
}

const passkey = newPasskey('ES256');
const publicKey = parseCosePublicKey(passkey.cose);
assert.ok(publicKey !== undefined);
const expected = { challenge, rpId, origins: [origin], publicKey };

// Each is signed by the right key: only the content is wrong.
for (const [name, over, because] of [
  ['for another challenge', { challenge: new Uint8Array(32) }, 'other_challenge'],
  ['made at another origin', { origin: 'https://evil.example' }, 'other_origin'],
  ['for another relying party', { rpId: 'evil.example' }, 'other_relying_party'],
  ['without user verification', { flags: 0x01 }, 'user_not_verified'],
  ['without user presence', { flags: 0x04 }, 'user_not_present'],
  ['backed up but not eligible', { flags: 0x15 }, 'authenticator_data_malformed'],
  ['with attested data', { flags: 0x45 }, 'authenticator_data_malformed'],
  ['with bytes behind its end', { tail: Uint8Array.of(0) }, 'authenticator_data_malformed'],
  ['with extensions that are no map', { flags: 0x85, tail: Uint8Array.of(0) }, 'authenticator_data_malformed'],
  ['that is a registration', { type: 'webauthn.create' }, 'not_an_assertion'],
  ['made in a frame of another site', { crossOrigin: true }, 'cross_origin'],
] as const) {
  test(`assertion: one ${name} is refused`, () => {
    const assertion = passkey.sign({ rpId, origin, challenge, counter: 1, ...over });
    assert.deepEqual(verifyAssertion(assertion, expected), { kind: 'refused', because });
  });
}

test('assertion: extensions that are a CBOR map are accepted', () => {
  const tail = Uint8Array.of(0xa1, 0x63, 0x75, 0x76, 0x6d, 0xf5); // {"uvm": true}
  const assertion = passkey.sign({ rpId, origin, challenge, counter: 1, flags: 0x85, tail });
  assert.equal(verifyAssertion(assertion, expected).kind, 'verified');
});

test('assertion: one by another key is refused', () => {
  const assertion = newPasskey('ES256').sign({ rpId, origin, challenge, counter: 1 });
  assert.deepEqual(verifyAssertion(assertion, expected), { kind: 'refused', because: 'bad_signature' });
});

test('public keys: other members, other curves, points off the curve and trailing bytes are refused', () => {
  const { cose } = passkey;
  assert.equal(parseCosePublicKey(Buffer.concat([cose, Uint8Array.of(0)])), undefined);
  assert.equal(parseCosePublicKey(cose.subarray(0, -1)), undefined);
  const off = Uint8Array.from(cose);
  off[off.length - 1] = (off.at(-1) ?? 0) ^ 1;
  assert.equal(parseCosePublicKey(off), undefined);
  // The map says six pairs, and a member that nobody asked for follows.
  const more = Buffer.concat([Uint8Array.of(0xa6), cose.subarray(1), Uint8Array.of(0x04, 0x01)]);
  assert.equal(parseCosePublicKey(more), undefined);
  assert.equal(parseCosePublicKey(newPasskey('RS256', 1024).cose), undefined);
});

test('public keys: hostile bytes are refused without a throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
      parseCosePublicKey(bytes);
    }),
  );
  for (let i = 0; i < 2000; i += 1) {
    const mangled = Uint8Array.from(passkey.cose);
    for (const at of randomBytes(2)) mangled[at % mangled.length] = randomBytes(1)[0] ?? 0;
    parseCosePublicKey(mangled);
  }
});

/**
 * Passkeys are judged twice: live, through the library (identity/passkeys.ts), and offline from the log
 * (log/webauthn-assertion.ts). Evidence is worth something only if the second never refuses what the first took.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64Url } from '#core/base64.ts';
import type { PrincipalId } from '#core/ids.ts';
import { proofOptions, registrationOptions, verifyAssertion, verifyRegistration } from '#identity/passkeys.ts';
import { parseCosePublicKey, verifyAssertion as verifyOffline } from '#log/webauthn-assertion.ts';
import { createSoftwareAuthenticator, type Misbehaviour } from './support/software-authenticator.ts';

const rpId = 'sally.example';
const origins = ['https://sally.example'];
const principal = 'usr_01k9000000000000000000adaa' as PrincipalId;
const bytesOf = (text: string) => decodeBase64Url(text) ?? new Uint8Array();

async function enrol(algorithm: 'ES256' | 'EdDSA' | 'RS256') {
  const device = createSoftwareAuthenticator({ origin: 'https://sally.example', algorithm, counts: false });
  const challenge = new Uint8Array(randomBytes(32));
  const options = registrationOptions({
    rpId,
    rpName: 'Sallyport',
    principal: { id: principal, handle: 'ada', name: 'Ada' },
    existing: [],
    challenge,
  });
  const outcome = await verifyRegistration({ response: device.register(options), challenge, origins, rpId });
  assert.equal(outcome.kind, 'verified');
  const publicKey = parseCosePublicKey(outcome.authenticator.publicKey);
  assert.ok(publicKey !== undefined, 'a key that was registered can be read offline');
  return { device, known: { ...outcome.authenticator, principal }, publicKey };
}

const misbehaviours: readonly Misbehaviour[] = [
  {},
  { userVerified: false },
  { impossibleBackup: true },
  { crossOrigin: true },
  { topOrigin: 'https://sally.example' },
  { flags: 0x40 },
  { flags: 0x08 },
  { flags: 0x18 },
  { flags: 0x22 },
  { flags: 0x80, tail: Uint8Array.of(0xa0) },
  { flags: 0x80, tail: Uint8Array.of(0xb8, 0) },
  { flags: 0x80, tail: Uint8Array.of(0xa1, 0x61, 0x61, 0xf7) },
  { flags: 0x80, tail: Uint8Array.of(0xa1, 0x61, 0x61, 0xc0, 0x60) },
  { tail: Uint8Array.of(0) },
];

for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const)
  test(`INVARIANT 5: what is taken live with ${algorithm} is taken offline`, async () => {
    const { device, known, publicKey } = await enrol(algorithm);
    const both = async (challenge: Uint8Array, response: ReturnType<typeof device.assert>) => {
      const live = await verifyAssertion({ response, challenge, authenticator: known, origins, rpId });
      const { authenticatorData, clientDataJSON, signature } = response.response;
      const offline = verifyOffline(
        {
          authenticatorData: bytesOf(authenticatorData),
          clientDataJSON: bytesOf(clientDataJSON),
          signature: bytesOf(signature),
        },
        { challenge, rpId, origins, publicKey },
      );
      return { live: live.kind, offline: offline.kind };
    };

    for (const how of misbehaviours) {
      const challenge = new Uint8Array(randomBytes(32));
      const { live, offline } = await both(
        challenge,
        device.assert(proofOptions({ rpId, challenge, allowed: [] }), how),
      );
      assert.equal(live, offline, JSON.stringify(how));
    }

    const challenge = new Uint8Array(randomBytes(32));
    const good = device.assert(proofOptions({ rpId, challenge, allowed: [] }));
    assert.deepEqual(await both(challenge, good), { live: 'verified', offline: 'verified' });
    // Any byte of any part replaced, dropped or added. A signature has spare room (BER, leading zeros) to be lax about.
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('signature', 'authenticatorData', 'clientDataJSON' as const),
        fc.nat(),
        fc.nat(1),
        fc.uint8Array({ maxLength: 2 }),
        async (part, where, dropped, added) => {
          const bytes = Buffer.from(good.response[part], 'base64url');
          const at = where % (bytes.length + 1);
          const changed = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + dropped)]);
          const response = { ...good, response: { ...good.response, [part]: changed.toString('base64url') } };
          const { live, offline } = await both(challenge, response);
          if (live === 'verified') assert.equal(offline, 'verified');
        },
      ),
      { numRuns: 300 },
    );
  });

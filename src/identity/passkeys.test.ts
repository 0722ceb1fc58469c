import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PrincipalId } from '#core/ids.ts';
import { createSoftwareAuthenticator, type Misbehaviour } from '#test/support/software-authenticator.ts';
import {
  credentialIdOf,
  proofOptions,
  registrationOptions,
  signInOptions,
  verifyAssertion,
  verifyRegistration,
  verifySignIn,
  type KnownAuthenticator,
} from './passkeys.ts';

const rpId = 'sally.example';
const origins = ['https://sally.example'];
const ada = 'usr_01k9000000000000000000adaa' as PrincipalId;
const bob = 'usr_01k9000000000000000000bobb' as PrincipalId;

const challengeOf = () => new Uint8Array(randomBytes(32));

function creation(challenge: Uint8Array, existing: readonly string[] = []) {
  return registrationOptions({
    rpId,
    rpName: 'Sallyport',
    principal: { id: ada, handle: 'ada', name: 'Ada Lovelace' },
    existing: existing.map((credentialId) => ({ credentialId, transports: ['internal'] })),
    challenge,
  });
}

/** A device of ada's with a registered passkey, and what the server keeps of it. */
async function enrolled(how: { algorithm?: 'ES256' | 'EdDSA' | 'RS256'; counts?: boolean } = {}) {
  const device = createSoftwareAuthenticator({ origin: origins[0] ?? '', ...how });
  const challenge = challengeOf();
  const outcome = await verifyRegistration({
    response: device.register(creation(challenge)),
    challenge,
    origins,
    rpId,
  });
  assert.equal(outcome.kind, 'verified');
  const known: KnownAuthenticator = { ...outcome.authenticator, principal: ada };
  return { device, known, registered: outcome.authenticator };
}

async function assertWith(misbehaviour: Misbehaviour, how: Parameters<typeof enrolled>[0] = {}) {
  const { device, known } = await enrolled(how);
  const challenge = challengeOf();
  const response = device.assert(proofOptions({ rpId, challenge, allowed: [] }), misbehaviour);
  const outcome = await verifyAssertion({ response, challenge, authenticator: known, origins, rpId });
  return outcome.kind === 'refused' ? outcome.because : outcome.kind;
}

async function registerWith(misbehaviour: Misbehaviour, rsaBits?: number) {
  const device = createSoftwareAuthenticator({
    origin: origins[0] ?? '',
    ...(rsaBits === undefined ? {} : { algorithm: 'RS256', rsaBits }),
  });
  const challenge = challengeOf();
  const response = device.register(creation(challenge), misbehaviour);
  const outcome = await verifyRegistration({ response, challenge, origins, rpId });
  return outcome.kind === 'refused' ? outcome.because : outcome.kind;
}

for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const) {
  test(`a passkey of ${algorithm} is registered, signs in, and proves`, async () => {
    const { device, known, registered } = await enrolled({ algorithm });
    assert.equal(registered.counter, 1);
    assert.deepEqual(registered.transports, ['hybrid', 'internal']);
    assert.equal(registered.aaguid, '00000000-0000-0000-0000-000000000000');
    assert.equal(registered.backedUp, false);

    const challenge = challengeOf();
    const signIn = await verifySignIn({
      response: device.assert(signInOptions({ rpId, challenge })),
      challenge,
      origins,
      rpId,
      find: (id) => Promise.resolve(id === known.credentialId ? known : undefined),
    });
    assert.equal(signIn.kind, 'verified');
    assert.equal(signIn.authenticator, known);
    assert.equal(signIn.newCounter, 2);

    const content = challengeOf();
    const response = device.assert(
      proofOptions({ rpId, challenge: content, allowed: [{ credentialId: known.credentialId, transports: [] }] }),
    );
    const proof = await verifyAssertion({
      response,
      challenge: content,
      authenticator: { ...known, counter: signIn.newCounter },
      origins,
      rpId,
    });
    assert.equal(proof.kind, 'verified');
    assert.equal(proof.newCounter, 3);
    assert.deepEqual(proof.raw, {
      credentialId: known.credentialId,
      authenticatorData: response.response.authenticatorData,
      clientDataJSON: response.response.clientDataJSON,
      signature: response.response.signature,
      userHandle: Buffer.from(ada).toString('base64url'),
    });
  });
}

test('options ask for a discoverable passkey, user verification, no attestation and three algorithms', () => {
  const options = creation(new Uint8Array(32), ['AAAA']);
  assert.deepEqual(options.authenticatorSelection, {
    residentKey: 'required',
    requireResidentKey: true,
    userVerification: 'required',
  });
  assert.equal(options.attestation, 'none');
  assert.deepEqual(
    options.pubKeyCredParams.map(({ alg }) => alg),
    [-7, -8, -257],
  );
  assert.deepEqual(options.excludeCredentials, [{ type: 'public-key', id: 'AAAA', transports: ['internal'] }]);
  assert.equal(options.challenge, 'A'.repeat(43));
  assert.equal(signInOptions({ rpId, challenge: new Uint8Array(32) }).userVerification, 'required');
});

const wrongInBoth: readonly (readonly [string, Misbehaviour, string])[] = [
  ['another challenge was signed', { challenge: new Uint8Array(32) }, 'other_challenge'],
  ['a part of the challenge was signed', { challenge: new Uint8Array(0) }, 'other_challenge'],
  ['it was made on another origin', { origin: 'https://sally.example.evil.test' }, 'other_origin'],
  ['it was made on another port', { origin: 'https://sally.example:8443' }, 'other_origin'],
  ['the page was framed by another origin', { crossOrigin: true }, 'cross_origin'],
  ['a top origin is named', { topOrigin: 'https://evil.test' }, 'cross_origin'],
  ['framed, with a top origin', { crossOrigin: true, topOrigin: 'https://evil.test' }, 'cross_origin'],
  ['it is for another relying party', { rpId: 'evil.test' }, 'other_rp'],
  ['nobody was there', { userPresent: false }, 'user_not_present'],
  ['the user was not verified', { userVerified: false }, 'user_not_verified'],
  ['it is backed up and can’t be', { impossibleBackup: true }, 'malformed'],
];

for (const [name, misbehaviour, expected] of [
  ...wrongInBoth,
  ['the signature was changed', { tamper: 'signature' }, 'signature'],
  ['a byte of the client data was changed', { tamper: 'clientDataJSON' }, 'signature'],
  ['the authenticator data was changed', { tamper: 'authenticatorData' }, 'signature'],
  ['it is an answer to a registration', { type: 'webauthn.create' }, 'other_type'],
  ['the counter went back', { counter: 0 }, 'cloned'],
  ['the counter stood still', { counter: 1 }, 'cloned'],
  ['it has attested data', { flags: 0x40 }, 'malformed'],
  ['something is behind it', { tail: Uint8Array.of(0xa0) }, 'malformed'],
  ['its extensions are missing', { flags: 0x80 }, 'malformed'],
  ['its extensions are no map', { flags: 0x80, tail: Uint8Array.of(0x80) }, 'malformed'],
  ['something is behind its extensions', { flags: 0x80, tail: Uint8Array.of(0xa0, 0xa0) }, 'malformed'],
  ['its extensions have a second spelling', { flags: 0x80, tail: Uint8Array.of(0xb8, 0x00) }, 'malformed'],
  ['its extensions hold a float', { flags: 0x80, tail: Uint8Array.of(0xa1, 0x61, 0x61, 0xf9, 0x3e, 0) }, 'malformed'],
  ['another credential is named', { credentialId: 'AAAAAAAAAAAAAAAAAAAAAA' }, 'unknown_credential'],
  ['another principal is named', { userHandle: Buffer.from(bob) }, 'other_principal'],
] as const satisfies readonly (readonly [string, Misbehaviour, string])[]) {
  test(`INVARIANT 5: an assertion is refused when ${name}`, async () => {
    assert.equal(await assertWith(misbehaviour), expected);
  });
}

for (const [name, misbehaviour, expected] of [
  ...wrongInBoth,
  ['it is an answer to a request', { type: 'webauthn.get' }, 'other_type'],
  ['it names another credential than it attests', { credentialId: 'AAAAAAAAAAAAAAAAAAAAAA' }, 'malformed'],
  ['it brings a certificate chain', { attestation: 'packed_chain' }, 'attestation'],
  ['it brings an unknown attestation', { attestation: 'unknown_format' }, 'attestation'],
  ['its self attestation doesn’t verify', { attestation: 'packed_self', tamper: 'signature' }, 'attestation'],
  ['its key is not a point on the curve', { publicKey: coseEc(-7, 1, 32) }, 'algorithm'],
  ['its key is on another curve', { publicKey: coseEc(-35, 2, 48) }, 'algorithm'],
  ['its key says one algorithm and is another', { publicKey: coseEc(-8, 1, 32) }, 'algorithm'],
  [
    'its key has a member too many',
    { publicKey: Buffer.concat([Buffer.from([0xa6]), coseEc(-7, 1, 32).subarray(1), Buffer.from([0x04, 0x80])]) },
    'algorithm',
  ],
  ['its key is not a key', { publicKey: Uint8Array.of(0xa0) }, 'malformed'],
] as const satisfies readonly (readonly [string, Misbehaviour, string])[]) {
  test(`a registration is refused when ${name}`, async () => {
    assert.equal(await registerWith(misbehaviour), expected);
  });
}

test('a registration is refused when its RSA key is short', async () => {
  assert.equal(await registerWith({}, 1024), 'algorithm');
  assert.equal(await registerWith({}, 2048), 'verified');
});

test('a self attestation, which a browser may pass on, is taken', async () => {
  assert.equal(await registerWith({ attestation: 'packed_self' }), 'verified');
});

test('a signature is judged before the counter, so that nobody without the key can make a passkey look cloned', async () => {
  assert.equal(await assertWith({ counter: 0, tamper: 'signature' }), 'signature');
});

test('a synced passkey keeps its counter at zero and is taken', async () => {
  assert.equal(await assertWith({}, { counts: false }), 'verified');
});

test('a counter that was above zero and is zero now is a clone', async () => {
  const { device, known } = await enrolled({ counts: false });
  const challenge = challengeOf();
  const response = device.assert(signInOptions({ rpId, challenge }));
  const outcome = await verifyAssertion({
    response,
    challenge,
    authenticator: { ...known, counter: 7 },
    origins,
    rpId,
  });
  assert.deepEqual(outcome, { kind: 'refused', because: 'cloned' });
});

test('INVARIANT 5: the same assertion does for no second content', async () => {
  const { device, known } = await enrolled({ counts: false });
  const challenge = challengeOf();
  const response = device.assert(proofOptions({ rpId, challenge, allowed: [] }));
  const check = (over: Uint8Array) =>
    verifyAssertion({ response, challenge: over, authenticator: known, origins, rpId });
  assert.equal((await check(challenge)).kind, 'verified');
  const changed = Uint8Array.from(challenge, (byte, at) => (at === 31 ? byte ^ 1 : byte));
  assert.deepEqual(await check(changed), { kind: 'refused', because: 'other_challenge' });
  assert.deepEqual(await check(new Uint8Array(0)), { kind: 'refused', because: 'other_challenge' });
});

test('another key than the registered one is refused, though all else fits', async () => {
  const mine = await enrolled();
  const other = await enrolled();
  const challenge = challengeOf();
  const response = other.device.assert(signInOptions({ rpId, challenge }), {
    credentialId: mine.known.credentialId,
  });
  const outcome = await verifyAssertion({ response, challenge, authenticator: mine.known, origins, rpId });
  assert.deepEqual(outcome, { kind: 'refused', because: 'signature' });
});

test('a sign-in by an unknown passkey, or one that names nobody, is refused', async () => {
  const { device, known } = await enrolled();
  const challenge = challengeOf();
  const signIn = (response: unknown, found: KnownAuthenticator | undefined) =>
    verifySignIn({ response, challenge, origins, rpId, find: () => Promise.resolve(found) });
  assert.deepEqual(await signIn(device.assert(signInOptions({ rpId, challenge })), undefined), {
    kind: 'refused',
    because: 'unknown_credential',
  });
  assert.deepEqual(await signIn(device.assert(signInOptions({ rpId, challenge }), { userHandle: null }), known), {
    kind: 'refused',
    because: 'other_principal',
    authenticator: known,
  });
});

test('extensions that nobody asked for are let pass', async () => {
  const tail = Uint8Array.of(0xa1, 0x61, 0x61, 0xf5); // {"a": true}
  assert.equal(await assertWith({ flags: 0x80, tail }), 'verified');
});

test('unknown members are let pass, for browsers add them', async () => {
  const { device, known } = await enrolled();
  const challenge = challengeOf();
  const response = { ...device.assert(signInOptions({ rpId, challenge })), somethingNew: { a: 1 } };
  assert.equal((await verifyAssertion({ response, challenge, authenticator: known, origins, rpId })).kind, 'verified');
  assert.equal(credentialIdOf(response), known.credentialId);
});

test('base64 has one spelling: padding, the other alphabet and stray bits are refused', async () => {
  const { device, known } = await enrolled();
  const challenge = challengeOf();
  const good = device.assert(signInOptions({ rpId, challenge }));
  for (const change of [
    (text: string) => `${text}=`,
    (text: string) => `${text}\n`,
    (text: string) => ` ${text}`,
    () => '',
  ]) {
    for (const part of ['signature', 'authenticatorData', 'clientDataJSON', 'userHandle'] as const) {
      const value = good.response[part] ?? '';
      const response = { ...good, response: { ...good.response, [part]: change(value) } };
      const outcome = await verifyAssertion({ response, challenge, authenticator: known, origins, rpId });
      assert.deepEqual(outcome, { kind: 'refused', because: 'malformed' }, part);
    }
  }
});

test('whatever JSON comes in, the verifiers answer and never throw', async () => {
  const { device, known } = await enrolled();
  const challenge = challengeOf();
  const assertion = device.assert(signInOptions({ rpId, challenge }));
  const registration = createSoftwareAuthenticator({ origin: origins[0] ?? '' }).register(creation(challenge));
  const check = async (response: unknown) => {
    const by = { response, challenge, origins, rpId };
    const outcomes = [
      await verifyRegistration(by),
      await verifyAssertion({ ...by, authenticator: known }),
      await verifySignIn({ ...by, find: () => Promise.resolve(known) }),
    ];
    for (const outcome of outcomes) assert.equal(outcome.kind, 'refused');
  };
  await fc.assert(fc.asyncProperty(fc.jsonValue(), check), { numRuns: 200 });
  // Close to the real thing: one part replaced by any JSON, or by any bytes.
  const anyPart = fc.oneof(
    fc.jsonValue(),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
  );
  for (const [whole, parts] of [
    [assertion, ['clientDataJSON', 'authenticatorData', 'signature']],
    [registration, ['clientDataJSON', 'attestationObject']],
  ] as const) {
    for (const part of parts)
      await fc.assert(
        fc.asyncProperty(anyPart, (value) => check({ ...whole, response: { ...whole.response, [part]: value } })),
        { numRuns: 100 },
      );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('id', 'rawId', 'type', 'response'), fc.jsonValue(), (name, value) =>
        check({ ...whole, [name]: value }),
      ),
      { numRuns: 100 },
    );
  }
});

test('whatever bytes an attestation object holds, a registration is answered', async () => {
  const challenge = challengeOf();
  const good = createSoftwareAuthenticator({ origin: origins[0] ?? '' }).register(creation(challenge));
  const bytes = Buffer.from(good.response.attestationObject, 'base64url');
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), async (at, value) => {
      const changed = Buffer.from(bytes);
      changed[at] = value;
      const response = {
        ...good,
        response: { ...good.response, attestationObject: changed.toString('base64url') },
      };
      const outcome = await verifyRegistration({ response, challenge, origins, rpId });
      assert.ok(outcome.kind === 'verified' || outcome.kind === 'refused');
    }),
    { numRuns: 300 },
  );
});

/** A COSE key of kty EC2 whose point has the wrong coordinates: all 0x11. */
function coseEc(algorithm: number, curve: number, size: number): Uint8Array {
  const coordinate = Buffer.concat([Buffer.from([0x58, size]), Buffer.alloc(size, 0x11)]);
  const alg = -1 - algorithm;
  return Buffer.concat([
    Buffer.from([0xa5, 0x01, 0x02, 0x03, ...(alg < 24 ? [0x20 | alg] : [0x38, alg]), 0x20, curve, 0x21]),
    coordinate,
    Buffer.from([0x22]),
    coordinate,
  ]);
}

test('no warning about experimental algorithms is printed', async () => {
  const warnings: string[] = [];
  const note = (warning: Error) => warnings.push(warning.name);
  process.on('warning', note);
  await enrolled();
  assert.equal(await assertWith({}), 'verified');
  // Warnings are emitted on the next tick.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  assert.deepEqual(warnings, []);
});

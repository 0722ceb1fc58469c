import assert from 'node:assert/strict';
import { createHmac, createHash, pbkdf2Sync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createScramClient,
  createScramServer,
  deriveScramKeys,
  makeScramVerifier,
  mockScramVerifier,
  parseScramVerifier,
  scramSha256,
  scramSha256Plus,
  ScramFailure,
} from './scram.ts';

const nonce = () => randomBytes(18).toString('base64');

function verifierOf(password: string) {
  const verifier = parseScramVerifier(makeScramVerifier(password, randomBytes(16)));
  assert.ok(verifier !== undefined);
  return verifier;
}

test('the server gives the messages of RFC 7677 section 3', () => {
  // The example's client puts its user name into the exchange; the server takes it and does not care.
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  const verifier = parseScramVerifier(makeScramVerifier('pencil', salt));
  assert.ok(verifier !== undefined);
  const server = createScramServer({
    verifier,
    mechanism: scramSha256,
    binding: undefined,
    nonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  });
  const first = server.first(Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'));
  assert.equal(
    first.toString(),
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  );
  const final = server.final(
    Buffer.from(
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    ),
  );
  assert.equal(final?.toString(), 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
});

test('the verifier is what PostgreSQL stores', () => {
  const salt = Buffer.alloc(16, 7);
  const salted = pbkdf2Sync('pw', salt, 4096, 32, 'sha256');
  const stored = createHash('sha256')
    .update(createHmac('sha256', salted).update('Client Key').digest())
    .digest('base64');
  const server = createHmac('sha256', salted).update('Server Key').digest('base64');
  assert.equal(makeScramVerifier('pw', salt), `SCRAM-SHA-256$4096:${salt.toString('base64')}$${stored}:${server}`);
});

for (const withBinding of [false, true]) {
  test(`both sides agree on any printable password ${withBinding ? 'with' : 'without'} channel binding`, async () => {
    const binding = withBinding ? randomBytes(32) : undefined;
    const offered = withBinding ? [scramSha256Plus, scramSha256] : [scramSha256];
    const printable = fc.string({
      unit: fc.integer({ min: 32, max: 126 }).map((c) => String.fromCharCode(c)),
      minLength: 1,
    });
    await fc.assert(
      fc.asyncProperty(printable, printable, async (right, typed) => {
        const client = createScramClient({
          offered,
          binding,
          nonce: nonce(),
          keys: (s, i) => deriveScramKeys(typed, s, i),
        });
        const server = createScramServer({
          verifier: verifierOf(right),
          mechanism: client.mechanism,
          binding,
          nonce: nonce(),
        });
        const answer = server.final(await client.final(server.first(client.first())));
        assert.equal(answer !== undefined, right === typed);
        if (answer !== undefined) client.verify(answer);
      }),
      { numRuns: 20 },
    );
  });
}

test('a server that does not know the verifier is found out', async () => {
  const client = createScramClient({
    offered: [scramSha256],
    binding: undefined,
    nonce: nonce(),
    keys: (s, i) => deriveScramKeys('pw', s, i),
  });
  const server = createScramServer({
    verifier: verifierOf('pw'),
    mechanism: scramSha256,
    binding: undefined,
    nonce: nonce(),
  });
  await client.final(server.first(client.first()));
  assert.throws(() => client.verify(Buffer.from(`v=${randomBytes(32).toString('base64')}`)), ScramFailure);
});

test('a stripped offer of channel binding is refused', () => {
  const server = createScramServer({
    verifier: verifierOf('pw'),
    mechanism: scramSha256,
    binding: randomBytes(32),
    nonce: nonce(),
  });
  assert.throws(() => server.first(Buffer.from('y,,n=,r=abc')), /negotiated away/);
});

test('another channel than the one that was bound is refused', async () => {
  const client = createScramClient({
    offered: [scramSha256Plus],
    binding: randomBytes(32),
    nonce: nonce(),
    keys: (s, i) => deriveScramKeys('pw', s, i),
  });
  const server = createScramServer({
    verifier: verifierOf('pw'),
    mechanism: scramSha256Plus,
    binding: randomBytes(32),
    nonce: nonce(),
  });
  const final = await client.final(server.first(client.first()));
  assert.throws(() => server.final(final), /channel binding differs/);
});

for (const bad of [
  '',
  'n,,',
  'n,a=x,n=,r=abc',
  'n,,m=1,n=,r=abc',
  'p=tls-unique,,n=,r=abc',
  'n,,n=,r=',
  'n,,n=,r=a,x=1',
]) {
  test(`the server refuses the first message ${JSON.stringify(bad)}`, () => {
    const server = createScramServer({
      verifier: verifierOf('pw'),
      mechanism: scramSha256,
      binding: undefined,
      nonce: nonce(),
    });
    assert.throws(() => server.first(Buffer.from(bad)), ScramFailure);
  });
}

const salt = Buffer.alloc(16).toString('base64');
for (const [name, answer, because] of [
  ['another nonce', `r=someoneelse,s=${salt},i=4096`, /nonce differs/],
  ['no nonce of its own', `r=mine,s=${salt},i=4096`, /nonce differs/],
  ['fewer iterations than the RFC wants', `r=mine+yours,s=${salt},i=4095`, /too few iterations/],
  ['a single iteration', `r=mine+yours,s=${salt},i=1`, /too few iterations/],
  ['ten million iterations', `r=mine+yours,s=${salt},i=10000000`, /too many iterations/],
  ['a number of iterations that is none', `r=mine+yours,s=${salt},i=0x1000`, /malformed/],
  ['an extension that must be understood', `m=1,r=mine+yours,s=${salt},i=4096`, /malformed/],
  ['a salt that is none', `r=mine+yours,s=?,i=4096`, /base64/],
  ['an error', 'e=other-error', /malformed/],
] as const)
  test(`the client refuses a server with ${name}, before the password is used`, async () => {
    const client = createScramClient({
      offered: [scramSha256],
      binding: undefined,
      nonce: 'mine',
      keys: () => assert.fail('the password is used'),
    });
    client.first();
    await assert.rejects(client.final(Buffer.from(answer)), because);
  });

test('INVARIANT 14: an unknown user gets the same salt each time and never gets in', async () => {
  const secret = randomBytes(32);
  const one = mockScramVerifier('nobody', secret);
  assert.deepEqual(one, mockScramVerifier('nobody', secret));
  assert.notDeepEqual(one.salt, mockScramVerifier('nobody2', secret).salt);
  assert.equal(one.salt.length, 16);
  const server = createScramServer({ verifier: one, mechanism: scramSha256, binding: undefined, nonce: nonce() });
  const client = createScramClient({
    offered: [scramSha256],
    binding: undefined,
    nonce: nonce(),
    keys: (s, i) => deriveScramKeys('anything', s, i),
  });
  assert.equal(server.final(await client.final(server.first(client.first()))), undefined);
});

test('a password that would need SASLprep is refused', () => {
  assert.throws(() => makeScramVerifier('pässword', randomBytes(16)), ScramFailure);
  assert.throws(() => makeScramVerifier('', randomBytes(16)), ScramFailure);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authentications, type Authentication } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import type { AuthenticationRequest } from '#wire/postgres/backend.ts';
import { authenticateToTarget } from './target-authentication.ts';

const channels = {
  cleartext: { isTls: false, hasCertificate: false, binding: undefined },
  tls: { isTls: true, hasCertificate: false, binding: Buffer.alloc(32) },
  'tls with our certificate': { isTls: true, hasCertificate: true, binding: Buffer.alloc(32) },
} as const;

const questions: Readonly<Record<string, AuthenticationRequest>> = {
  'scram-plus': { kind: 'sasl', mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] },
  scram: { kind: 'sasl', mechanisms: ['SCRAM-SHA-256'] },
  'scram-sha-1': { kind: 'sasl', mechanisms: ['SCRAM-SHA-1'] },
  md5: { kind: 'md5', salt: Buffer.alloc(4) },
  cleartext: { kind: 'cleartext' },
  nothing: { kind: 'ok' },
  kerberos: { kind: 'other', code: 2 },
  gss: { kind: 'other', code: 7 },
  sspi: { kind: 'other', code: 9 },
  'what there may be later': { kind: 'other', code: 99 },
};

function isAnswered(weakest: Authentication, channel: keyof typeof channels, question: AuthenticationRequest): boolean {
  const { answer } = authenticateToTarget({
    weakest,
    ...channels[channel],
    nonce: 'abcdefghijklmnopqrstuvwx',
    identity: { user: 'sally', password: new Secret('secret'), keys: () => assert.fail('not yet') },
  });
  try {
    const bytes = answer(question);
    // Whatever is sent, the password itself only when it is asked for.
    return question.kind === 'cleartext' || !(Buffer.isBuffer(bytes) && bytes.includes('secret'));
  } catch {
    return false;
  }
}

/** Read it as: under what a resource names, and on this channel, these questions of a target are answered. */
const expected: Readonly<Record<Authentication, Readonly<Record<keyof typeof channels, readonly string[]>>>> = {
  'scram-sha-256-plus': {
    cleartext: [],
    tls: ['scram-plus'],
    'tls with our certificate': ['scram-plus'],
  },
  'scram-sha-256': {
    cleartext: ['scram-plus', 'scram'],
    tls: ['scram-plus', 'scram'],
    'tls with our certificate': ['scram-plus', 'scram'],
  },
  md5: {
    cleartext: ['scram-plus', 'scram', 'md5'],
    tls: ['scram-plus', 'scram', 'md5'],
    'tls with our certificate': ['scram-plus', 'scram', 'md5'],
  },
  password: {
    cleartext: ['scram-plus', 'scram', 'md5'],
    tls: ['scram-plus', 'scram', 'md5', 'cleartext'],
    'tls with our certificate': ['scram-plus', 'scram', 'md5', 'cleartext'],
  },
  cert: {
    cleartext: ['scram-plus', 'scram'],
    tls: ['scram-plus', 'scram'],
    'tls with our certificate': ['scram-plus', 'scram', 'nothing'],
  },
  trust: {
    cleartext: ['scram-plus', 'scram', 'nothing'],
    tls: ['scram-plus', 'scram', 'nothing'],
    'tls with our certificate': ['scram-plus', 'scram', 'nothing'],
  },
};

for (const weakest of authentications)
  for (const channel of Object.keys(channels) as (keyof typeof channels)[])
    test(`INVARIANT 10: with \`authentication: ${weakest}\` on ${channel}, only what it names or better is answered`, () => {
      const answered = Object.entries(questions).flatMap(([name, question]) =>
        isAnswered(weakest, channel, question) ? [name] : [],
      );
      assert.deepEqual(answered, expected[weakest][channel]);
    });

test('a server that says ok in the middle of the exchange has not proven itself', async () => {
  const start = () =>
    authenticateToTarget({
      weakest: 'scram-sha-256',
      ...channels.tls,
      nonce: 'abcdefghijklmnopqrstuvwx',
      identity: {
        user: 'sally',
        password: new Secret('secret'),
        keys: () => Promise.resolve({ clientKey: Buffer.alloc(32), serverKey: Buffer.alloc(32) }),
      },
    });
  const asked: AuthenticationRequest = { kind: 'sasl', mechanisms: ['SCRAM-SHA-256'] };
  const first = start();
  assert.ok(first.answer(asked));
  assert.throws(() => first.answer({ kind: 'ok' }), /out of turn/);
  const second = start();
  assert.ok(second.answer(asked));
  const salt = Buffer.alloc(16).toString('base64');
  await second.answer({ kind: 'sasl_continue', data: Buffer.from(`r=abcdefghijklmnopqrstuvwxy,s=${salt},i=4096`) });
  assert.throws(() => second.answer({ kind: 'ok' }), /out of turn/);
  assert.throws(
    () => second.answer({ kind: 'sasl_final', data: Buffer.from(`v=${Buffer.alloc(32, 1).toString('base64')}`) }),
    /does not know the password/,
  );
  assert.equal(second.isDone(), false);
});

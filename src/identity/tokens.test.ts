import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { newToken, parseToken, sameHash, type TokenKind } from './tokens.ts';

const kinds: readonly TokenKind[] = ['access', 'refresh', 'code', 'web_session', 'link'];
const random = (length: number) => new Uint8Array(randomBytes(length));

test('a token is its prefix and 256 random bits, and only its SHA-256 is kept', () => {
  const { token, hash } = newToken('access', (length) => new Uint8Array(length).fill(0xff));
  assert.equal(token.reveal(), 'sly_at___________________________________________8');
  assert.deepEqual(hash, new Uint8Array(createHash('sha256').update(token.reveal()).digest()));
});

test('INVARIANT 10: a new token prints as a placeholder', () => {
  const made = newToken('refresh', random);
  for (const text of [inspect(made), JSON.stringify(made), String(made.token)])
    assert.ok(!text.includes(made.token.reveal().slice(7)));
});

test('a token is read back as its own kind and no other', () => {
  for (const kind of kinds) {
    const { token, hash } = newToken(kind, random);
    for (const other of kinds) {
      const parsed = parseToken(other, token.reveal());
      if (other === kind) assert.ok(parsed !== undefined && sameHash(parsed, hash));
      else assert.equal(parsed, undefined);
    }
  }
});

test('a token has one spelling', () => {
  const text = newToken('web_session', () => new Uint8Array(32)).token.reveal();
  assert.ok(parseToken('web_session', text));
  for (const wrong of [
    '',
    text.slice(0, -1),
    `${text}A`,
    `${text.slice(0, -1)}B`, // stray low bits
    `${text.slice(0, -1)}=`,
    ` ${text}`,
    text.toUpperCase(),
    `${text.slice(0, -1)}é`,
    undefined,
    42,
    [text],
  ])
    assert.equal(parseToken('web_session', wrong), undefined);
});

test('no two texts are the same token', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      const hash = parseToken('access', `sly_at_${text}`);
      return hash === undefined || /^[\w-]{43}$/.test(text);
    }),
  );
});

test('hashes are compared whole', () => {
  const hash = random(32);
  assert.ok(sameHash(hash, Uint8Array.from(hash)));
  for (let at = 0; at < 32; at += 1)
    assert.ok(
      !sameHash(
        hash,
        Uint8Array.from(hash, (byte, i) => (i === at ? byte ^ 1 : byte)),
      ),
    );
  assert.ok(!sameHash(hash, hash.subarray(1)));
  assert.ok(!sameHash(hash, new Uint8Array(0)));
});

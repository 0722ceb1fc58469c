import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { Secret } from '#core/secret.ts';
import { createKeyRing, SealingError, type SealingErrorCode } from './sealing.ts';

const random = (length: number) => new Uint8Array(randomBytes(length));
const key = (fill: number) => new Secret(new Uint8Array(32).fill(fill));
const ring = () => createKeyRing(key(1), { random });
const password = new TextEncoder().encode('correct horse battery staple');

function refuses(code: SealingErrorCode, open: () => unknown) {
  assert.throws(open, (error) => error instanceof SealingError && error.code === code);
}

test('what is sealed is opened again, for the same purpose and id', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), fc.string(), (bytes, id) => {
      const blob = ring().seal('target_credential', bytes, id);
      assert.deepEqual([...ring().open('target_credential', blob, id).reveal()], [...bytes]);
    }),
  );
});

test('the format is version, key id, nonce, content and tag, and stays so', () => {
  const fixed = createKeyRing(key(1), { random: (length) => new Uint8Array(length).fill(7) });
  const blob = fixed.seal('target_credential', new TextEncoder().encode('secret'), 'orders');
  assert.equal(blob.length, 1 + 8 + 12 + 6 + 16);
  assert.equal(
    Buffer.from(blob).toString('hex'),
    '01ef53b659b60dacc20707070707070707070707074216517429699a80ae9709d6b081a9087c94daf9f3d0',
  );
});

test('INVARIANT 10: a blob shows nothing of its content, and the same content seals differently each time', () => {
  const [one, two] = [ring().seal('x', password), ring().seal('x', password)];
  assert.notDeepEqual(one, two);
  assert.ok(!Buffer.from(one).includes(Buffer.from(password)));
  const opened = ring().open('x', one);
  assert.equal(inspect(opened), '[secret]');
});

test('another purpose, another id or a missing id opens nothing', () => {
  const blob = ring().seal('target_credential', password, 'orders');
  refuses('sealed_damaged', () => ring().open('log_content', blob, 'orders'));
  refuses('sealed_damaged', () => ring().open('target_credential', blob, 'billing'));
  refuses('sealed_damaged', () => ring().open('target_credential', blob));
});

test('another key file is named as such', () => {
  const blob = ring().seal('target_credential', password);
  assert.throws(
    () => createKeyRing(key(2), { random }).open('target_credential', blob),
    (error) =>
      error instanceof SealingError &&
      error.code === 'sealed_with_another_key' &&
      error.message.includes(ring().keyId) &&
      !error.message.includes('correct horse'),
  );
});

test('a ring with an older key opens what that sealed, and seals with the new one', () => {
  const blob = ring().seal('x', password);
  const rotated = createKeyRing(key(2), { random, older: [key(1)] });
  assert.deepEqual(rotated.open('x', blob).reveal(), password);
  refuses('sealed_with_another_key', () => ring().open('x', rotated.seal('x', password)));
});

test('one flipped bit anywhere is found', () => {
  const blob = ring().seal('x', password, 'id');
  for (let at = 0; at < blob.length * 8; at += 1) {
    const changed = Uint8Array.from(blob, (byte, i) => (i === at >> 3 ? byte ^ (1 << (at & 7)) : byte));
    assert.throws(() => ring().open('x', changed, 'id'), SealingError);
  }
});

test('whatever bytes are opened, the fault is a SealingError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      assert.throws(() => ring().open('x', bytes), SealingError);
    }),
  );
});

test('a key file of another length is refused', () => {
  for (const length of [0, 16, 31, 33, 64])
    refuses('sealing_key_malformed', () => createKeyRing(new Secret(new Uint8Array(length)), { random }));
});

test('a purpose that isn’t a word is a mistake of ours', () => {
  for (const purpose of ['', 'a\0b', 'A', 'a b']) assert.throws(() => ring().seal(purpose, password), TypeError);
});

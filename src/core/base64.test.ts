import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64, decodeBase64Url, encodeBase64, encodeBase64Url } from './base64.ts';

// RFC 4648 section 10.
for (const [plain, text] of [
  ['', ''],
  ['f', 'Zg=='],
  ['fo', 'Zm8='],
  ['foo', 'Zm9v'],
  ['foob', 'Zm9vYg=='],
  ['fooba', 'Zm9vYmE='],
  ['foobar', 'Zm9vYmFy'],
] as const) {
  test(`base64: ${JSON.stringify(plain)} of RFC 4648`, () => {
    assert.equal(encodeBase64(new TextEncoder().encode(plain)), text);
    assert.deepEqual(decodeBase64(text), new TextEncoder().encode(plain));
  });
}

test('base64: agrees with the platform', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.equal(encodeBase64(bytes), Buffer.from(bytes).toString('base64'));
      assert.equal(encodeBase64Url(bytes), Buffer.from(bytes).toString('base64url'));
    }),
  );
});

test('base64: a text that decodes is the only one for its bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ABgwQZaz09+/-_= '.split('')), maxLength: 9 }), (text) => {
      const standard = decodeBase64(text);
      if (standard !== undefined) assert.equal(encodeBase64(standard), text);
      const url = decodeBase64Url(text);
      if (url !== undefined) assert.equal(encodeBase64Url(url), text);
    }),
    { numRuns: 2000 },
  );
});

for (const text of ['Zg', 'Zg=', 'Zh==', 'Zg==\n', 'Z', '====', '=', 'Zm9v=', 'Zm8_', 'é===']) {
  test(`base64: refuses ${JSON.stringify(text)}`, () => assert.equal(decodeBase64(text), undefined));
}

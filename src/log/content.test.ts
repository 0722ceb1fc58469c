import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EntryId } from '#core/ids.ts';
import { canonicalJson } from '#core/jcs.ts';
import type { ContentKey } from './content.ts';
import { contentHash, contentKeyId, openContent, sealContent } from './content.ts';

const key: ContentKey = { id: 'ck_1', key: new Uint8Array(32).fill(4) };
const entry = `ent_${'0'.repeat(26)}` as EntryId;
const otherEntry = `ent_${'0'.repeat(25)}1` as EntryId;
const random = (length: number) => new Uint8Array(randomBytes(length));

test('contents: what is sealed opens again, whatever it is', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
      const json = JSON.parse(canonicalJson(value)) as null;
      const sealed = sealContent(key, entry, json, random);
      assert.equal(sealed.hash, contentHash(sealed.blob));
      assert.equal(contentKeyId(sealed.blob), 'ck_1');
      assert.deepEqual(openContent(key, entry, sealed.blob), { kind: 'opened', value: json });
    }),
  );
});

test('contents: a statement of ten megabytes is sealed like any other', () => {
  const text = 'x'.repeat(10_000_000);
  const opened = openContent(key, entry, sealContent(key, entry, { text }, random).blob);
  assert.ok(opened.kind === 'opened' && (opened.value as { text: string }).text.length === text.length);
});

test('contents: another entry, another key or any changed byte is refused', () => {
  const { blob } = sealContent(key, entry, { reason: 'INC-4211' }, random);
  assert.deepEqual(openContent(key, otherEntry, blob), { kind: 'refused', because: 'not_authentic' });
  const sameId = { id: 'ck_1', key: new Uint8Array(32).fill(5) };
  assert.deepEqual(openContent(sameId, entry, blob), { kind: 'refused', because: 'other_key' });
  assert.deepEqual(openContent({ ...key, id: 'ck_2' }, entry, blob), { kind: 'refused', because: 'other_key' });
  for (let at = 0; at < blob.length; at += 1) {
    const flipped = Uint8Array.from(blob);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    assert.equal(openContent(key, entry, flipped).kind, 'refused', `byte ${at}`);
    assert.equal(openContent(key, entry, blob.subarray(0, at)).kind, 'refused', `${at} bytes`);
  }
});

test('contents: a malformed key is a fault', () => {
  for (const bad of [
    { ...key, id: '' },
    { ...key, id: 'Ck' },
    { ...key, id: 'c'.repeat(64) },
    { ...key, key: new Uint8Array(31) },
  ])
    assert.throws(() => sealContent(bad, entry, 1, random), { code: 'log.content_refused' });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EntryId, PrincipalId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Entry } from './entry.ts';
import { encodeEntry, makeEntry, newEntryId, parseEntry } from './entry.ts';

const from = { now: 1_795_341_600_000 as Instant, random: (length: number) => new Uint8Array(length).fill(1) };
const id = newEntryId(from);
const entry = makeEntry(
  {
    kind: 'request.filed',
    actor: `usr_${'0'.repeat(26)}` as PrincipalId,
    subjects: { request: 'req_x' },
    public: { durationSeconds: 7200 },
    content: `sha256:${'0'.repeat(64)}`,
  },
  { id, now: from.now },
);

test('entries: what is written is read back', () => {
  const leaf = encodeEntry(entry);
  assert.deepEqual(parseEntry(leaf), entry);
  assert.ok(Buffer.from(leaf).toString().startsWith('{"actor":"usr_00'));
});

test('entries: any other spelling or shape is refused', () => {
  const text = Buffer.from(encodeEntry(entry)).toString();
  for (const bad of [
    `${text} `,
    text.replace('{"actor"', '{ "actor"'),
    text.replace('"v":1', '"v":1,"w":1'),
    text.replace('"v":1', '"v":2'),
    text.replace('request.filed', 'request.field'),
    text.replace('request.filed', 'constructor'),
    text.replace('usr_', 'grt_'),
    text.replace('sha256:0', 'sha256:A'),
    text.replace('7200', '7200.0'),
    text.replace('.000Z', 'Z'),
    text.replace('"req_x"', '1'),
    text.replace('{"durationSeconds":7200}', '[]'),
    '',
    'null',
  ])
    assert.equal(parseEntry(Buffer.from(bad)), undefined, bad);
});

test('entries: one that is malformed or above 65,535 bytes is not written', () => {
  const bad = (over: Record<string, unknown>) => ({ ...entry, ...over }) as Entry;
  assert.throws(() => encodeEntry(bad({ id: 'ent_1' as EntryId })), { code: 'log.entry_refused' });
  assert.throws(() => encodeEntry(bad({ content: undefined })), { code: 'log.entry_refused' });
  assert.throws(() => encodeEntry(bad({ public: { secret: Number.NaN } })), { code: 'log.entry_refused' });
  const { length } = encodeEntry(bad({ public: { text: '' } }));
  const fits = bad({ public: { text: 'x'.repeat(65_535 - length) } });
  assert.equal(encodeEntry(fits).length, 65_535);
  assert.ok(parseEntry(encodeEntry(fits)) !== undefined);
  assert.throws(() => encodeEntry(bad({ public: { text: 'x'.repeat(65_536 - length) } })), {
    code: 'log.entry_refused',
  });
});

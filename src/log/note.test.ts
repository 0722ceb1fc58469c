import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openCheckpoint, parseCheckpoint, signCheckpoint } from './checkpoint.ts';
import { newNoteKey, openNote, parseSigner, parseVerifier, signNote } from './note.ts';
import { emptyRoot } from './tree.ts';

// The example of the documentation of golang.org/x/mod/sumdb/note.
const peter = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const peterSecret = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const peterText =
  'If you think cryptography is the answer to your problem,\nthen you don\u2019t know what your problem is.\n'.replace(
    '\u2019',
    "'",
  );
const peterNote = `${peterText}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

const verifier = (vkey: string) => {
  const key = parseVerifier(vkey);
  assert.ok(key !== undefined);
  return key;
};

test('notes: the example of Go’s sumdb/note verifies, and is written the same', () => {
  assert.equal(parseSigner(peterSecret).vkey, peter);
  assert.deepEqual(openNote(peterNote, verifier(peter)), { kind: 'opened', text: peterText, signatures: 1 });
  assert.equal(signNote(peterText, parseSigner(peterSecret)), peterNote);
});

const random = (length: number) => new Uint8Array(length).fill(9);
const { skey, vkey } = newNoteKey('sally.example/log', random);
const signer = parseSigner(skey);
const key = verifier(vkey);

test('notes: any byte flipped, cut or added is refused', () => {
  const note = Buffer.from(signNote('one\n\ntwo ü\n', signer));
  assert.equal(openNote(note, key).kind, 'opened');
  for (let at = 0; at < note.length; at += 1) {
    for (const bit of [1, 2, 4, 8, 16, 32, 64, 128]) {
      const flipped = Buffer.from(note);
      flipped[at] = (flipped[at] ?? 0) ^ bit;
      assert.equal(openNote(flipped, key).kind, 'refused', `bit ${bit} of byte ${at}`);
    }
    assert.equal(openNote(Buffer.concat([note.subarray(0, at), note.subarray(at + 1)]), key).kind, 'refused');
    assert.equal(openNote(note.subarray(0, at), key).kind, 'refused');
  }
  assert.equal(openNote(Buffer.concat([note, Buffer.from('\n')]), key).kind, 'refused');
});

test('notes: signatures of unknown keys are ignored, a bad one of the known key is not', () => {
  const note = signNote('text\n', signer);
  const other = parseSigner(newNoteKey('witness.example', () => new Uint8Array(32).fill(3)).skey);
  const both = note + signNote('text\n', other).split('\n\n')[1];
  assert.deepEqual(openNote(both, key), { kind: 'opened', text: 'text\n', signatures: 2 });
  assert.equal(openNote(signNote('text\n', other), key).kind, 'refused');
  const wrong = note + signNote('other text\n', signer).split('\n\n')[1];
  assert.deepEqual(openNote(wrong, key), { kind: 'refused', because: 'bad_signature' });
});

test('notes: what is not one spelling of a key is refused', () => {
  for (const bad of [
    vkey.toUpperCase(),
    `${vkey} `,
    vkey.slice(0, -1),
    vkey.replace('sally', 'solly'),
    `${vkey}\n`,
    '',
  ])
    assert.equal(parseVerifier(bad), undefined, bad);
  for (const name of ['', 'a b', 'a+b', 'a\u2003b', 'a\nb'])
    assert.throws(() => newNoteKey(name, random), { code: 'log.note_refused' });
  assert.throws(() => parseSigner(vkey), { code: 'log.note_refused' });
  assert.throws(() => signNote('no line feed', signer), { code: 'log.note_refused' });
  assert.throws(() => signNote('tab\there\n', signer), { code: 'log.note_refused' });
});

test('checkpoints: what is signed is read back', () => {
  const note = signCheckpoint({ size: 20_852_163, root: emptyRoot }, signer);
  assert.match(note, /^sally\.example\/log\n20852163\n47DEQpj8HBSa\+\/TImW\+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 /);
  assert.deepEqual(openCheckpoint(note, key), {
    kind: 'opened',
    checkpoint: { origin: 'sally.example/log', size: 20_852_163, root: new Uint8Array(emptyRoot) },
  });
});

test('checkpoints: other spellings, other origins and extensions are refused', () => {
  const root = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';
  assert.ok(parseCheckpoint(`o\n0\n${root}\n`) !== undefined);
  for (const text of [
    `o\n01\n${root}\n`,
    `o\n-1\n${root}\n`,
    `o\n1e3\n${root}\n`,
    `o\n9999999999999999\n${root}\n`,
    `o\n1\n${root.slice(0, -1)}\n`,
    `o\n1\n${root.replace('U=', 'V=')}\n`,
    `o\n1\n${root}\nextension\n`,
    `\n1\n${root}\n`,
    `o\n1\n${root}`,
  ])
    assert.equal(parseCheckpoint(text), undefined, text);
  const other = signNote(`other.example\n1\n${root}\n`, signer);
  assert.deepEqual(openCheckpoint(other, key), { kind: 'refused', because: 'other_origin' });
});

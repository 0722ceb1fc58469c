import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrincipalId, ResourceName, RoleName } from '#core/ids.ts';
import { newId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { parseInstant, seconds } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import type { ProofObject } from '#core/proof.ts';
import { offerProof } from '#core/proof.ts';
import { newPasskey } from '#test/support/software-passkey.ts';
import { manifestText, sha256Hex } from './_copy-layout.ts';
import { proofChallenge, textHash } from './challenge.ts';
import { signCheckpoint } from './checkpoint.ts';
import type { ContentKey } from './content.ts';
import { sealContent } from './content.ts';
import type { EntryKind } from './entry.ts';
import { encodeEntry, makeEntry, newEntryId } from './entry.ts';
import { proofEvidence } from './evidence.ts';
import { newNoteKey, parseSigner, signNote } from './note.ts';
import { formatReceipt, proveEntry, verifyReceipt } from './receipt.ts';
import { appendLeaves } from './tiles.ts';
import type { Hash } from './tree.ts';
import { emptyRoot } from './tree.ts';
import type { CopyReport } from './verify-copy.ts';
import { verifyCopy } from './verify-copy.ts';
import type { CopyEntry } from './write-copy.ts';
import { writeCopy } from './write-copy.ts';

type Files = Map<string, Uint8Array>;

const rpId = 'sally.example';
const origin = 'https://sally.example';

/** Deterministic, so that a failure can be looked at again. */
function counterRandom(): (length: number) => Uint8Array {
  let state = 1;
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (state * 48_271) % 2_147_483_647;
      return state & 255;
    });
}

/** A small log, written the way the server writes it: with keys, passkeys and a clock of its own. */
function newLog() {
  const random = counterRandom();
  const signer = parseSigner(newNoteKey('sally.example/log', random).skey);
  let now = parseInstant('2026-11-22T10:00:00Z') ?? (0 as Instant);
  const from = () => ({ now, random });
  const contentKey: ContentKey = { id: 'ck_ada', key: random(32) };
  const otherKey: ContentKey = { id: 'ck_erased', key: random(32) };
  const bob = { id: newId('principal', from()), handle: 'bob' };
  const ada = { id: newId('principal', from()), handle: 'ada' };
  const passkey = newPasskey('ES256');
  const authenticator = newId('authenticator', from());
  const entries: CopyEntry[] = [];
  const earlier: string[] = [];
  const tiles: Files = new Map();
  const store = {
    read: (path: string) => Promise.resolve(tiles.get(path)),
    write: (path: string, bytes: Uint8Array) => Promise.resolve(void tiles.set(path, bytes)),
  };
  let tree: { size: number; root: Hash } = { size: 0, root: emptyRoot };

  const add = (
    kind: EntryKind,
    parts: {
      actor?: PrincipalId;
      subjects?: Record<string, string>;
      public?: Record<string, Json>;
      content?: Json;
      key?: ContentKey;
    } = {},
  ) => {
    const id = newEntryId(from());
    const sealed =
      parts.content === undefined ? undefined : sealContent(parts.key ?? contentKey, id, parts.content, random);
    const entry = makeEntry(
      {
        kind,
        actor: parts.actor ?? 'system',
        ...(parts.subjects === undefined ? {} : { subjects: parts.subjects }),
        ...(parts.public === undefined ? {} : { public: parts.public }),
        ...(sealed === undefined ? {} : { content: sealed.hash }),
      },
      { id, now },
    );
    now = (now + seconds(1)) as Instant;
    entries.push({ leaf: encodeEntry(entry), ...(sealed === undefined ? {} : { content: sealed.blob }) });
  };
  const enrol = (who = bob.id) =>
    add('authenticator.enrolled', {
      actor: who,
      subjects: { principal: who, authenticator },
      public: {
        credentialId: Buffer.from(passkey.credentialId).toString('base64url'),
        publicKey: Buffer.from(passkey.cose).toString('base64url'),
        rpId,
        origins: [origin],
      },
    });
  const offer = (reason = 'INC-4211 refund stuck') =>
    offerProof(
      {
        purpose: 'approve_request',
        request: newId('request', from()),
        requester: ada,
        role: 'orders/support-read' as RoleName,
        resource: 'orders' as ResourceName,
        durationSeconds: 7200,
        reason,
        reasonHash: textHash(reason),
        approvalsNeeded: 1,
      },
      { principal: bob, policyVersion: 'p1', ...from() },
    ).object;
  const approve = (
    object: ProofObject<'approve_request'>,
    over: { signed?: ProofObject; counter?: number; subjects?: Record<string, string>; key?: ContentKey } = {},
  ) => {
    const challenge = proofChallenge(over.signed ?? object);
    const assertion = passkey.sign({ rpId, origin, challenge, counter: over.counter ?? 0 });
    const evidence = proofEvidence(object, { credentialId: passkey.credentialId, ...assertion });
    add('request.approved', {
      actor: bob.id,
      subjects: { request: object.request, proof: object.id, ...over.subjects },
      content: { proof: evidence },
      ...(over.key === undefined ? {} : { key: over.key }),
    });
  };
  /** Puts what is new into the tree and signs it. */
  const sequence = async () => {
    if (tree.size > 0) earlier.push(signCheckpoint(tree, signer));
    tree = await appendLeaves(
      store,
      tree,
      entries.slice(tree.size).map(({ leaf }) => leaf),
    );
  };
  const copy = async (contentKeys = [contentKey]): Promise<Files> => {
    const files: Files = new Map();
    await writeCopy(
      { signer, checkpoint: signCheckpoint(tree, signer), earlierCheckpoints: earlier, entries, contentKeys },
      { write: (path, bytes) => Promise.resolve(void files.set(path, Uint8Array.from(bytes))) },
    );
    return files;
  };
  const wait = (by: number) => {
    now = (now + by) as Instant;
  };
  return {
    signer,
    contentKey,
    otherKey,
    bob,
    ada,
    authenticator,
    entries,
    tiles,
    store,
    add,
    enrol,
    offer,
    approve,
    sequence,
    copy,
    wait,
    tree: () => tree,
  };
}

const verify = (files: Files, vkey?: string): Promise<CopyReport> =>
  verifyCopy(
    {
      read: (path) => Promise.resolve(files.get(path)),
      list: () => Promise.resolve([...files.keys()]),
    },
    vkey === undefined ? {} : { vkey },
  );

/** What an operator with the log's key could do after changing files. */
function signAgain(files: Files, log: ReturnType<typeof newLog>): Files {
  const listed = [...files]
    .filter(([path]) => path !== 'manifest')
    .map(([path, bytes]) => ({ path, size: bytes.length, sha256: sha256Hex(bytes) }));
  return new Map(files).set('manifest', Buffer.from(signNote(manifestText(log.signer.name, listed), log.signer)));
}

async function storyLog() {
  const log = newLog();
  log.add('system.started', { public: { rpId, origins: [origin] } });
  log.enrol();
  await log.sequence();
  log.approve(log.offer(), { counter: 3 });
  log.add('statement.ended', { actor: log.ada.id, public: { rows: 3 }, content: { text: 'select 1' } });
  await log.sequence();
  return log;
}

test('copy: a small log is written and verified, every part of it counted', async () => {
  const log = await storyLog();
  log.add('sign_in.failed', { content: { address: '192.0.2.1' }, key: log.otherKey });
  log.approve(log.offer(), { counter: 4, key: log.otherKey });
  await log.sequence();
  const files = await log.copy();
  assert.deepEqual([...files.keys()].sort(), [
    'checkpoint',
    'checkpoints/2',
    'checkpoints/4',
    'content/000',
    'keys.json',
    'log.vkey',
    'manifest',
    'tile/0/000.p/6',
    'tile/entries/000.p/6',
  ]);
  const report = await verify(files, log.signer.vkey);
  assert.deepEqual(report, {
    ok: true,
    origin: 'sally.example/log',
    size: 6,
    root: Buffer.from(log.tree().root).toString('hex'),
    files: 9,
    entries: 6,
    earlierCheckpoints: 2,
    contentsOpened: 2,
    contentsSealed: 2,
    contentsMissing: 0,
    checkedProofs: 1,
    unreadableProofs: 1,
    moreFaults: 0,
    faults: [],
  });
});

test('copy: any byte of any file flipped is found, and the file named', async () => {
  const files = await (await storyLog()).copy();
  for (const [path, bytes] of files) {
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      const { faults } = await verify(new Map(files).set(path, flipped));
      assert.ok(
        faults.some((fault) => fault.path === path),
        `byte ${at} of ${path}: ${JSON.stringify(faults)}`,
      );
    }
  }
});

test('copy: bytes and files added, removed and renamed are found, and the file named', async () => {
  const log = await storyLog();
  const files = await log.copy();
  for (const [path, bytes] of files) {
    for (const other of [
      Buffer.concat([bytes, Uint8Array.of(0)]),
      Buffer.concat([bytes, Buffer.from('\n')]),
      bytes.subarray(0, -1),
      bytes.subarray(1),
      new Uint8Array(),
    ]) {
      const { faults } = await verify(new Map(files).set(path, other), log.signer.vkey);
      assert.ok(
        faults.some((fault) => fault.path === path),
        path,
      );
    }
    const without = new Map(files);
    without.delete(path);
    assert.ok(
      (await verify(without, log.signer.vkey)).faults.some((fault) => fault.path === path),
      `no ${path}`,
    );
    const renamed = new Map(without).set(`${path}x`, bytes);
    const named = (await verify(renamed, log.signer.vkey)).faults.map((fault) => fault.path);
    assert.ok(named.includes(path) && named.includes(`${path}x`), `${path} renamed: ${named.join(' ')}`);
  }
  for (const path of ['notes.txt', 'tile/0/001', 'checkpoints/9', 'checkpoints/1']) {
    const { faults } = await verify(new Map(files).set(path, Buffer.from('new')), log.signer.vkey);
    assert.ok(
      faults.some((fault) => fault.path === path),
      path,
    );
  }
});

test('copy: even with the manifest signed anew, a changed entry, tile, content, key or checkpoint is found', async () => {
  const log = await storyLog();
  const files = await log.copy();
  for (const [path, bytes] of files) {
    if (path === 'manifest') continue;
    for (let at = 0; at < bytes.length; at += 3) {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      const report = await verify(signAgain(new Map(files).set(path, flipped), log));
      // A key under another id is a key that the copy doesn't have: its contents count as sealed.
      const isSealed = path === 'keys.json' && report.contentsSealed === 2;
      assert.ok(!report.ok || isSealed, `byte ${at} of ${path}`);
    }
  }
});

test('copy: a changed entry is named by its index, a changed tile by its offset', async () => {
  const log = newLog();
  for (let i = 0; i < 300; i += 1) log.add('sign_out', { public: { i } });
  await log.sequence();
  const files = await log.copy();
  assert.ok((await verify(files)).ok);

  const entries = Uint8Array.from(files.get('tile/entries/001.p/44') ?? []);
  const offset = Buffer.from(entries).indexOf('"i":290') + 4;
  entries[offset] = 0x31;
  const changedEntry = await verify(new Map(files).set('tile/entries/001.p/44', entries));
  assert.deepEqual(
    changedEntry.faults.map(({ path, entryIndex }) => ({ path, entryIndex })),
    [
      { path: 'tile/entries/001.p/44', entryIndex: undefined },
      { path: 'tile/entries/001.p/44', entryIndex: 290 },
    ],
  );

  const tile = Uint8Array.from(files.get('tile/0/000') ?? []);
  tile[100] = (tile[100] ?? 0) ^ 1;
  const changedTile = await verify(new Map(files).set('tile/0/000', tile));
  assert.deepEqual(
    changedTile.faults.map(({ path, offset: at }) => ({ path, at })),
    [
      { path: 'tile/0/000', at: undefined },
      { path: 'tile/0/000', at: 96 },
    ],
  );

  const above = Uint8Array.from(files.get('tile/1/000.p/1') ?? []);
  above[5] = (above[5] ?? 0) ^ 1;
  const changedAbove = await verify(signAgain(new Map(files).set('tile/1/000.p/1', above), log));
  assert.deepEqual(changedAbove.faults, [
    { path: 'tile/1/000.p/1', offset: 5, what: 'hashes that the entries do not give' },
  ]);

  const lost = new Map(files);
  lost.delete('tile/0/000');
  lost.delete('tile/entries/000');
  assert.deepEqual((await verify(lost)).faults.map(({ path }) => path).sort(), ['tile/0/000', 'tile/entries/000']);
});

test('copy: a log of 70,000 entries verifies', async () => {
  const log = newLog();
  for (let i = 0; i < 70_000; i += 1) log.add('sign_out', { public: { i } });
  await log.sequence();
  const report = await verify(await log.copy());
  assert.deepEqual(report.faults, []);
  assert.equal(report.entries, 70_000);
});

test('copy: an empty log verifies', async () => {
  const log = newLog();
  const report = await verify(await log.copy(), log.signer.vkey);
  assert.deepEqual([report.ok, report.size], [true, 0]);
});

test('copy: the log of another key is refused', async () => {
  const log = await storyLog();
  const other = newNoteKey('sally.example/log', () => new Uint8Array(32).fill(5)).vkey;
  const report = await verify(await log.copy(), other);
  assert.ok(!report.ok);
  assert.ok(report.faults.some(({ path, what }) => path === 'log.vkey' && what.startsWith('not the trusted key')));
});

test('copy: an earlier checkpoint that the log does not begin with is found', async () => {
  const log = await storyLog();
  const files = await log.copy();
  const forked = signCheckpoint({ size: 2, root: emptyRoot }, log.signer);
  const report = await verify(signAgain(new Map(files).set('checkpoints/2', Buffer.from(forked)), log));
  assert.deepEqual(report.faults, [
    { path: 'checkpoints/2', what: 'the log does not begin with the tree that this checkpoint signed' },
  ]);
});

test('copy: one whose entries do not have the root of the checkpoint is not written', async () => {
  const log = await storyLog();
  log.entries.reverse();
  await assert.rejects(log.copy(), { code: 'log.copy_refused' });
  log.entries.pop();
  await assert.rejects(log.copy(), { code: 'log.copy_refused' });
});

/** Each is a log whose operator signed everything; only the proof in it is wrong. */
const wrongProofs: Record<string, readonly [(log: ReturnType<typeof newLog>) => void, RegExp]> = {
  'for another content than was signed': [
    (log) => {
      const object = log.offer();
      log.approve({ ...object, durationSeconds: 7201 }, { signed: object });
    },
    /other_challenge/,
  ],
  'used twice': [
    (log) => {
      const object = log.offer();
      log.approve(object);
      log.approve(object);
    },
    /was used before/,
  ],
  'used twice under a key that nobody has': [
    (log) => {
      const object = log.offer();
      log.approve(object, { key: log.otherKey });
      log.approve(object, { key: log.otherKey });
    },
    /was used before/,
  ],
  'used after its time': [
    (log) => {
      const object = log.offer();
      log.wait(seconds(300));
      log.approve(object);
    },
    /was not valid at/,
  ],
  'moved to another request': [
    (log) => {
      const object = log.offer();
      log.approve(object, { subjects: { request: log.offer().request } });
    },
    /for another request/,
  ],
  'moved to another role': [
    (log) => log.approve(log.offer(), { subjects: { role: 'orders/fix-orders' } }),
    /for another role/,
  ],
  'named by another id': [
    (log) => log.approve(log.offer(), { subjects: { proof: log.offer().id } }),
    /doesn't name the proof/,
  ],
  'whose counter went back': [
    (log) => {
      log.approve(log.offer(), { counter: 9 });
      log.approve(log.offer(), { counter: 9 });
    },
    /counter of the passkey went from 9 to 9/,
  ],
  'whose reason was changed under its hash': [
    (log) => log.approve({ ...log.offer(), reasonHash: textHash('another') }),
    /not the one that was hashed/,
  ],
  'by a passkey that was removed before': [
    (log) => {
      log.add('authenticator.removed', { subjects: { principal: log.bob.id, authenticator: log.authenticator } });
      log.approve(log.offer());
    },
    /not enrolled at this point/,
  ],
  'by a passkey that was reset before': [
    (log) => {
      log.add('authenticators.reset', { subjects: { principal: log.bob.id } });
      log.approve(log.offer());
    },
    /not enrolled at this point/,
  ],
  'left out': [(log) => log.add('request.approved', { actor: log.bob.id }), /names no proof/],
  'named but not in the content': [
    (log) =>
      log.add('request.approved', { actor: log.bob.id, subjects: { proof: log.offer().id }, content: { note: 1 } }),
    /content lacks the proof/,
  ],
};
for (const [name, [act, what]] of Object.entries(wrongProofs)) {
  test(`INVARIANT 5: an approval with a proof ${name} is found in a copy`, async () => {
    const log = newLog();
    log.enrol();
    act(log);
    await log.sequence();
    const { faults } = await verify(await log.copy());
    assert.equal(faults.length, 1, JSON.stringify(faults));
    assert.match(faults[0]?.what ?? '', what);
    assert.equal(faults[0]?.entryIndex, log.entries.length - 1);
  });
}

test('INVARIANT 5: an approval by the passkey of somebody else is found in a copy', async () => {
  const log = newLog();
  log.enrol(log.ada.id);
  log.approve(log.offer());
  await log.sequence();
  const { faults } = await verify(await log.copy());
  assert.match(faults[0]?.what ?? '', /belongs to another principal/);
});

test('INVARIANT 5: a proof before the enrolment of its passkey is found in a copy', async () => {
  const log = newLog();
  log.approve(log.offer());
  log.enrol();
  await log.sequence();
  const { faults } = await verify(await log.copy());
  assert.match(faults[0]?.what ?? '', /not enrolled at this point/);
});

test('copy: with a key destroyed the rest still verifies', async () => {
  const log = await storyLog();
  const report = await verify(await log.copy([]), log.signer.vkey);
  assert.deepEqual([report.ok, report.contentsSealed, report.unreadableProofs], [true, 2, 1]);
});

test('copy: a content under another key of the same id, or moved to another entry, is found', async () => {
  const log = await storyLog();
  const files = await log.copy();
  const keys = `{"keys":{"ck_ada":"${Buffer.alloc(32, 1).toString('base64url')}"},"v":1}`;
  const wrongKey = await verify(signAgain(new Map(files).set('keys.json', Buffer.from(keys)), log));
  assert.match(wrongKey.faults[0]?.what ?? '', /other_key/);
});

test('copy: a hostile one costs little and leads nowhere', async () => {
  const log = await storyLog();
  const files = await log.copy();
  const huge = signCheckpoint({ size: 9_007_199_254_740_991, root: emptyRoot }, log.signer);
  const report = await verify(signAgain(new Map(files).set('checkpoint', Buffer.from(huge)), log));
  assert.match(report.faults[0]?.what ?? '', /more than the copy can hold/);

  const listed = [{ path: '../outside', size: 0, sha256: sha256Hex(new Uint8Array()) }];
  const note = signNote(manifestText(log.signer.name, listed), log.signer);
  const asked: string[] = [];
  const escaped = await verifyCopy(
    {
      read: (path) => {
        asked.push(path);
        return Promise.resolve(path === 'manifest' ? Buffer.from(note) : files.get(path));
      },
      list: () => Promise.resolve([...files.keys()]),
    },
    {},
  );
  assert.ok(escaped.faults.some(({ path, what }) => path === 'manifest' && what === 'not a list of files'));
  assert.ok(!asked.includes('../outside'));

  log.add('request.approved', { actor: log.bob.id, subjects: { proof: '\u001b[2Jclear' } });
  await log.sequence();
  const printed = (await verify(await log.copy())).faults;
  assert.equal(printed[0]?.what, '`\uFFFD[2Jclear` is not the id of a proof');
});

test('receipts: each entry has one that verifies alone, and any change voids it', async () => {
  const log = newLog();
  for (let i = 0; i < 300; i += 1) log.add('sign_out', { public: { i } });
  await log.sequence();
  const checkpoint = signCheckpoint(log.tree(), log.signer);
  const receiptOf = async (index: number) => {
    const { leaf } = log.entries[index] ?? { leaf: new Uint8Array() };
    return formatReceipt(await proveEntry(log.store, { index, leaf, checkpoint }, log.signer.vkey));
  };
  for (const index of [0, 1, 255, 256, 299]) {
    const outcome = verifyReceipt(`${await receiptOf(index)}\n`, log.signer.vkey);
    assert.equal(outcome.kind, 'verified');
    assert.deepEqual([outcome.index, outcome.size, outcome.entry.public], [index, 300, { i: index }]);
  }
  const text = Buffer.from(await receiptOf(299));
  for (let at = 0; at < text.length; at += 1) {
    const flipped = Buffer.from(text);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    assert.equal(verifyReceipt(flipped.toString(), log.signer.vkey).kind, 'refused', `byte ${at}`);
  }
  await assert.rejects(
    proveEntry(log.store, { index: 1, leaf: log.entries[2]?.leaf ?? text, checkpoint }, log.signer.vkey),
    { code: 'log.receipt_refused' },
  );
  await assert.rejects(receiptOf(300), { code: 'log.receipt_refused' });
});

/**
 * The test vectors of docs/proof-format.md and docs/log-format.md, for those who write a client or a verifier of their
 * own. A change here is a change of format: `node --test --test-update-snapshots src/log/vectors.test.ts` rewrites them.
 */
import assert from 'node:assert/strict';
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import type { EntryId, PrincipalId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { canonicalJson } from '#core/jcs.ts';
import type { Json } from '#core/jcs.ts';
import { describeProof, parseProofObject } from '#core/proof.ts';
import { proofChallenge, textHash } from './challenge.ts';
import { signCheckpoint } from './checkpoint.ts';
import { openContent, sealContent } from './content.ts';
import { encodeEntry, makeEntry } from './entry.ts';
import { newNoteKey, parseSigner } from './note.ts';
import { formatReceipt, proveEntry, verifyReceipt } from './receipt.ts';
import { appendLeaves, encodeContentBundle, encodeEntryBundle } from './tiles.ts';
import { emptyRoot, leafHash } from './tree.ts';
import { parseCosePublicKey, verifyAssertion } from './webauthn-assertion.ts';
import { writeCopy } from './write-copy.ts';

const file = (name: string) => join(import.meta.dirname, '../../docs/test-vectors', name);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const id = (prefix: string, tail: string) => `${prefix}_${tail.padStart(26, '0')}`;
const bob = { id: id('usr', 'b0b'), handle: 'bob' };
const ada = { id: id('usr', 'ada'), handle: 'ada' };
const reason = 'INC-4211 refund stuck — Kundin wartet';

const common = {
  v: 1,
  id: id('prf', '1'),
  principal: bob,
  policyVersion: 'sha256:5f1c',
  nonce: Buffer.alloc(32, 7).toString('base64url'),
  createdAt: '2026-11-22T10:00:00.000Z',
  expiresAt: '2026-11-22T10:05:00.000Z',
};
const objects = [
  {
    ...common,
    purpose: 'approve_request',
    request: id('req', '1'),
    requester: ada,
    role: 'orders/support-read',
    resource: 'orders',
    durationSeconds: 7200,
    permissions: ['select on public.orders', 'select on public.customers (id, name)'],
    reason,
    reasonHash: textHash(reason),
    ticket: 'INC-4211',
    approvalsNeeded: 1,
  },
  {
    ...common,
    purpose: 'activate_grant',
    principal: ada,
    grant: id('grt', '1'),
    request: id('req', '1'),
    role: 'orders/support-read',
    resource: 'orders',
    notBefore: '2026-11-22T10:00:00.000Z',
    endsAt: '2026-11-22T12:00:00.000Z',
    activationSeconds: 7200,
  },
  { ...common, purpose: 'enrol_authenticator', subject: ada },
  { ...common, purpose: 'invite_principal', subject: ada, kind: 'user', displayName: 'Ada L.', groups: ['engineers'] },
  {
    ...common,
    purpose: 'change_configuration',
    plan: id('pln', '1'),
    configurationHash: textHash('the configuration'),
    added: 2,
    changed: 0,
    removed: 1,
    summary: ['+ role orders/fix-orders', '+ role orders/support-read', '- resource legacy'],
  },
  {
    ...common,
    purpose: 'change_principal',
    subject: ada,
    statusBefore: 'active',
    statusAfter: 'suspended',
    groupsBefore: ['engineers'],
    groupsAfter: [],
  },
  {
    ...common,
    purpose: 'reset_authenticators',
    subject: ada,
    authenticators: [id('key', '1')],
    reason: 'lost the phone',
  },
].map((object) => {
  const parsed = parseProofObject(object);
  assert.ok(parsed !== undefined, object.purpose);
  return parsed;
});

// Ed25519 signatures are deterministic, so that a whole assertion can be a vector.
const passkey = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 0x42)]),
  format: 'der',
  type: 'pkcs8',
});
const cose = Buffer.concat([
  Buffer.from('a4010103272006215820', 'hex'),
  Buffer.from(passkey.export({ format: 'jwk' }).x ?? '', 'base64url'),
]);
const rpId = 'sally.example';
const origin = 'https://sally.example';

function assertionOver(challenge: Uint8Array) {
  const clientDataJSON = Buffer.from(
    `{"type":"webauthn.get","challenge":"${Buffer.from(challenge).toString('base64url')}","origin":"${origin}","crossOrigin":false}`,
  );
  const authenticatorData = Buffer.concat([
    createHash('sha256').update(rpId).digest(),
    Buffer.from('0500000001', 'hex'),
  ]);
  const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientDataJSON).digest()]);
  return { authenticatorData, clientDataJSON, signature: sign(null, signed, passkey) };
}

test('the vectors of the proof format are what the code does', (t) => {
  const [first] = objects;
  assert.ok(first !== undefined);
  const assertion = assertionOver(proofChallenge(first));
  const publicKey = parseCosePublicKey(cose);
  assert.ok(publicKey !== undefined);
  const expected = { challenge: proofChallenge(first), rpId, origins: [origin], publicKey };
  assert.equal(verifyAssertion(assertion, expected).kind, 'verified');
  t.assert.fileSnapshot(
    {
      proofs: objects.map((object) => ({
        object,
        canonical: canonicalJson(object),
        challenge: hex(proofChallenge(object)),
        words: describeProof(object),
      })),
      assertion: {
        about: 'over the challenge of the first object, by an Ed25519 key with the seed 42 42 … 42',
        rpId,
        origin,
        publicKeyCose: hex(cose),
        authenticatorData: hex(assertion.authenticatorData),
        clientDataJSON: assertion.clientDataJSON.toString(),
        signature: hex(assertion.signature),
      },
    },
    file('proof.json'),
  );
});

test('the vectors of the log format are what the code does', async (t) => {
  const [approval] = objects;
  assert.ok(approval !== undefined && approval.purpose === 'approve_request');
  const signer = parseSigner(newNoteKey('sally.example/log', (length) => new Uint8Array(length).fill(0x17)).skey);
  const contentKey = { id: 'ck_bob', key: new Uint8Array(32).fill(0x23) };
  const credentialId = Buffer.from('credential 1').toString('base64url');
  const now = (offset: number) => (1_795_341_600_000 + offset) as Instant;

  const assertion = assertionOver(proofChallenge(approval));
  const content = {
    proof: {
      object: approval,
      assertion: {
        credentialId,
        authenticatorData: assertion.authenticatorData.toString('base64url'),
        clientDataJSON: assertion.clientDataJSON.toString('base64url'),
        signature: assertion.signature.toString('base64url'),
      },
    },
  };
  const approvalEntry = id('ent', '2') as EntryId;
  const sealed = sealContent(contentKey, approvalEntry, content as unknown as Json, () => new Uint8Array(12).fill(9));
  assert.equal(openContent(contentKey, approvalEntry, sealed.blob).kind, 'opened');

  const entries = [
    makeEntry(
      { kind: 'system.started', actor: 'system', public: { rpId, origins: [origin] } },
      {
        id: id('ent', '0') as EntryId,
        now: now(0),
      },
    ),
    makeEntry(
      {
        kind: 'authenticator.enrolled',
        actor: bob.id as PrincipalId,
        subjects: { principal: bob.id, authenticator: id('key', '1') },
        public: { credentialId, publicKey: cose.toString('base64url'), rpId, origins: [origin] },
      },
      { id: id('ent', '1') as EntryId, now: now(1000) },
    ),
    makeEntry(
      {
        kind: 'request.approved',
        actor: bob.id as PrincipalId,
        subjects: { request: approval.request, proof: approval.id },
        content: sealed.hash,
      },
      { id: approvalEntry, now: now(2000) },
    ),
  ];
  const leaves = entries.map(encodeEntry);
  const tiles = new Map<string, Uint8Array>();
  const store = {
    read: (path: string) => Promise.resolve(tiles.get(path)),
    write: (path: string, bytes: Uint8Array) => Promise.resolve(void tiles.set(path, bytes)),
  };
  const roots: string[] = [hex(emptyRoot)];
  let tree = { size: 0, root: emptyRoot };
  for (const leaf of leaves) {
    tree = await appendLeaves(store, tree, [leaf]);
    roots.push(hex(tree.root));
  }
  const checkpoint = signCheckpoint(tree, signer);
  const files = new Map<string, Uint8Array>();
  const copied = leaves.map((leaf, i) => (i === 2 ? { leaf, content: sealed.blob } : { leaf }));
  await writeCopy(
    { signer, checkpoint, earlierCheckpoints: [], entries: copied, contentKeys: [contentKey] },
    { write: (path, bytes) => Promise.resolve(void files.set(path, bytes)) },
  );
  const receipt = formatReceipt(
    await proveEntry(store, { index: 1, leaf: leaves[1] ?? new Uint8Array(), checkpoint }, signer.vkey),
  );
  assert.equal(verifyReceipt(receipt, signer.vkey).kind, 'verified');
  t.assert.fileSnapshot(
    {
      vkey: signer.vkey,
      entries: leaves.map((leaf, index) => ({
        index,
        leaf: Buffer.from(leaf).toString(),
        leafHash: hex(leafHash(leaf)),
      })),
      roots: { about: 'of the trees of 0, 1, 2 and 3 entries', hex: roots },
      content: {
        keyId: contentKey.id,
        key: hex(contentKey.key),
        entry: approvalEntry,
        nonce: hex(new Uint8Array(12).fill(9)),
        plaintext: canonicalJson(content),
        blob: hex(sealed.blob),
        hash: sealed.hash,
      },
      entryBundle: hex(encodeEntryBundle(leaves)),
      contentBundle: hex(encodeContentBundle(copied.map((entry) => entry.content))),
      checkpoint,
      manifest: Buffer.from(files.get('manifest') ?? []).toString(),
      keysJson: Buffer.from(files.get('keys.json') ?? []).toString(),
      receipt,
    },
    file('log.json'),
  );
});

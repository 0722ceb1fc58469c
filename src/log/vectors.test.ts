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
/** A statement with two bound parameters, and what its run is held against. */
const held = {
  hold: id('hld', '1'),
  subject: 'statement',
  grant: id('grt', '1'),
  session: id('ses', '1'),
  role: 'orders/fix-orders',
  resource: 'orders',
  text: 'update orders\n\tset status = $1 where id = $2 -- „Rückgabe“',
  parameters: ["$1 text = 'refunded'", '$2 int8 = 4211'],
  digest: statementDigest('update orders\n\tset status = $1 where id = $2 -- „Rückgabe“', [
    { type: 25, format: 0, value: Buffer.from('refunded') },
    { type: 20, format: 1, value: Buffer.from('0000000000001073', 'hex') },
  ]),
  needs: ['update on public.orders (status)', 'select on public.orders (id)'],
  askedBy: ['orders-changes-are-proven'],
};
const act = canonicalJson({ purpose: 'remove_authenticator', subject: ada, authenticator: id('key', '1') });
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
  {
    ...common,
    purpose: 'add_authenticator',
    principal: ada,
    subject: ada,
    link: id('lnk', '1'),
    authenticators: [id('key', '1')],
  },
  {
    ...common,
    purpose: 'remove_authenticator',
    subject: ada,
    authenticator: id('key', '1'),
    authenticatorName: 'the old phone',
    left: 1,
  },
  {
    ...common,
    ...held,
    purpose: 'do_action',
    principal: ada,
    covers: ['select on public.customers (email) for 10m'],
    previewRows: 3,
    previewSha256: textHash('[]'),
  },
  {
    ...common,
    ...held,
    purpose: 'approve_action',
    requester: ada,
    actsFor: ['carol'],
    reasonHash: textHash(reason),
    ticket: 'INC-4211',
    statementReason: 'the refund was sent twice',
    rowsAtMost: 1,
    validSeconds: 60,
  },
  {
    ...common,
    purpose: 'approve_act',
    hold: id('hld', '2'),
    requester: ada,
    words: ['Remove a passkey', 'Whose account: ada', 'Passkey: the old phone'],
    act,
    actHash: textHash(act),
    askedBy: ['two-people-remove-passkeys'],
  },
  {
    ...common,
    purpose: 'approve_request',
    request: id('req', '2'),
    requester: ada,
    role: 'orders/fix-orders',
    resource: 'orders',
    durationSeconds: 600,
    startsAt: '2026-11-22T11:00:00.000Z',
    extends: id('grt', '1'),
    reason,
    reasonHash: textHash(reason),
    statement: { text: held.text, digest: held.digest },
    once: true,
    approvalsNeeded: 2,
  },
].map((object) => {
  const parsed = parseProofObject(object);
  assert.ok(parsed !== undefined, object.purpose);
  return parsed;
});

/** As docs/proof-format.md describes it; the gateway has its own. */
function statementDigest(
  text: string,
  parameters: readonly { readonly type: number; readonly format: number; readonly value: Buffer | null }[],
): string {
  const u32 = (value: number) => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
  const u16 = (value: number) => Buffer.from([value >>> 8, value & 255]);
  const bytes = Buffer.from(text);
  const hash = createHash('sha256').update('sallyport/statement/v1\0').update(u32(bytes.length)).update(bytes);
  hash.update(u16(parameters.length));
  for (const { type, format, value } of parameters) {
    hash
      .update(u32(type))
      .update(u16(format))
      .update(u32(value === null ? 0xffffffff : value.length));
    if (value !== null) hash.update(value);
  }
  return hash.digest('hex');
}

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
      statement: {
        about:
          'the digest of `do_action` and `approve_action`: the text, and for each parameter its type, its format (0 text, 1 binary) and its bytes (null: no value)',
        text: held.text,
        parameters: [
          { type: 25, format: 0, hex: Buffer.from('refunded').toString('hex') },
          { type: 20, format: 1, hex: '0000000000001073' },
        ],
        digest: held.digest,
        ofNone: { text: 'select 1', digest: statementDigest('select 1', []) },
        ofNull: {
          text: 'select $1',
          parameters: [{ type: 0, format: 0, hex: null }],
          digest: statementDigest('select $1', [{ type: 0, format: 0, value: null }]),
        },
      },
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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrincipalId, RequestId, ResourceName, RoleName } from './ids.ts';
import { newId } from './ids.ts';
import type { Instant } from './instant.ts';
import { formatInstant, minutes, parseInstant, seconds } from './instant.ts';
import { canonicalJson } from './jcs.ts';
import type { ApproveRequest, OfferedProof, ProofObject } from './proof.ts';
import { describeProof, expireProof, offerProof, parseProofObject, useProof } from './proof.ts';

const now = parseInstant('2026-11-22T10:00:00Z') ?? (0 as Instant);
const at = (offset: number) => (now + offset) as Instant;
const random = (length: number) => new Uint8Array(length).fill(7);
const from = { now, random };
const bob = { id: newId('principal', from), handle: 'bob' };
const ada = { id: newId('principal', { now: at(1), random }), handle: 'ada' };

const content: ApproveRequest = {
  purpose: 'approve_request',
  request: newId('request', from) satisfies RequestId,
  requester: ada,
  role: 'orders/support-read' as RoleName,
  resource: 'orders' as ResourceName,
  durationSeconds: 7200,
  reason: 'INC-4211 refund stuck',
  reasonHash: '0'.repeat(64),
  ticket: 'INC-4211',
  approvalsNeeded: 1,
};
const offer = (over: Partial<ApproveRequest> = {}): OfferedProof<'approve_request'> =>
  offerProof({ ...content, ...over }, { principal: bob, policyVersion: 'p1', now, random });
const byBob = { purpose: 'approve_request', principal: bob.id } as const;

test('INVARIANT 5: a proof is used once', () => {
  const first = useProof(offer(), at(1000), byBob);
  assert.equal(first.kind, 'used');
  const second = useProof(first.proof, at(2000), byBob);
  assert.deepEqual(second, { kind: 'refused', because: 'already_used' });
});

for (const [name, by, offset, because] of [
  ['of another purpose', { purpose: 'activate_grant', principal: bob.id }, 0, 'other_purpose'],
  ['of another principal', { purpose: 'approve_request', principal: ada.id }, 0, 'other_principal'],
  ['at the end of its time', byBob, minutes(5), 'expired'],
] as const) {
  test(`INVARIANT 5: a proof ${name} is refused`, () =>
    assert.deepEqual(useProof(offer(), at(offset), by), { kind: 'refused', because }));
}

test('a proof is used until the last millisecond, and expires from the next', () => {
  assert.equal(useProof(offer(), at(minutes(5) - 1), byBob).kind, 'used');
  assert.equal(expireProof(offer(), at(minutes(5) - 1)).state, 'offered');
  const expired = expireProof(offer(), at(minutes(5)));
  assert.equal(expired.state, 'expired');
  assert.deepEqual(useProof(expired, at(0), byBob), { kind: 'refused', because: 'expired' });
});

test('a proof lives five minutes at most', () => {
  const by = { principal: bob, policyVersion: 'p1', now, random };
  assert.throws(() => offerProof(content, { ...by, lifetime: seconds(301) }), TypeError);
  assert.throws(() => offerProof(content, { ...by, lifetime: seconds(0) }), TypeError);
  const { object } = offer();
  assert.equal(parseProofObject({ ...object, expiresAt: formatInstant(at(minutes(5) + 1)) }), undefined);
  assert.equal(parseProofObject({ ...object, expiresAt: object.createdAt }), undefined);
});

test('an optional field that is undefined is left out of the object', () => {
  const object = offerProof({ ...content, startsAt: undefined } as unknown as ApproveRequest, {
    principal: bob,
    policyVersion: 'p1',
    now,
    random,
  }).object;
  assert.ok(!('startsAt' in object));
  assert.ok(canonicalJson(object).includes('"ticket":"INC-4211"'));
});

test('a proof object is exactly one of the known shapes', () => {
  const { object } = offer();
  assert.deepEqual(parseProofObject(JSON.parse(canonicalJson(object))), object);
  for (const broken of [
    { ...object, extra: 1 },
    { ...object, v: 2 },
    { ...object, purpose: 'toString' },
    { ...object, purpose: 'activate_grant' },
    { ...object, reasonHash: 'A'.repeat(64) },
    { ...object, durationSeconds: 0 },
    { ...object, durationSeconds: '7200' },
    { ...object, createdAt: '2026-11-22T10:00:00Z' },
    { ...object, nonce: 'short' },
    { ...object, principal: { ...bob, admin: true } },
    { ...object, requester: ada.id },
    { ...object, reason: '\ud800' },
    { ...object, role: 'orders' },
  ])
    assert.equal(parseProofObject(broken), undefined, JSON.stringify(broken));
  for (const name of Object.keys(object)) {
    const { [name as keyof ProofObject]: _, ...rest } = object;
    assert.equal(parseProofObject(rest) !== undefined, name === 'ticket', `without ${name}`);
  }
});

test('every value of the object is in the words that are shown', () => {
  const examples: ProofObject[] = [
    offer({ startsAt: formatInstant(at(5)), permissions: ['select on orders', 'select on payments'] }).object,
    offerProof(
      {
        purpose: 'change_principal',
        subject: ada,
        statusBefore: 'active',
        statusAfter: 'suspended',
        groupsBefore: ['dba', 'engineers'],
        groupsAfter: [],
      },
      { principal: bob, policyVersion: 'p1', now, random },
    ).object,
    offerProof(
      {
        purpose: 'reset_authenticators',
        subject: ada,
        authenticators: [newId('authenticator', from)],
        reason: 'lost phone',
      },
      { principal: bob, policyVersion: 'p1', now, random },
    ).object,
  ];
  for (const object of examples) {
    const shown = describeProof(object)
      .map(({ value }) => value)
      .join('\n');
    const { v: _v, purpose: _purpose, ...rest } = object;
    for (const value of leaves(rest)) {
      const words = typeof value === 'number' && value === 7200 ? '2h' : String(value);
      assert.ok(shown.includes(words), `${words} in ${shown}`);
    }
  }
});

function leaves(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(leaves) : [value];
}

test('text that would reorder or hide what is shown is made visible', () => {
  const lines = describeProof(offer({ reason: 'drop\u202Etable\u200B \u0007\nfake\r\u{E0041}' }).object);
  const reason = lines.find(({ label }) => label === 'Reason');
  assert.equal(reason?.value, 'drop[U+202E]table[U+200B] [U+0007]\nfake[U+000D][U+E0041]');
});

test('a principal id of another kind is not a principal', () => {
  const { object } = offer();
  const id = newId('grant', from) as string as PrincipalId;
  assert.equal(parseProofObject({ ...object, principal: { id, handle: 'bob' } }), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Demand } from './decision.ts';
import {
  cure,
  demandKey,
  denyHold,
  endHold,
  expireHold,
  refuseApproval,
  refuseProof,
  release,
  unmet,
  withdrawHold,
  type Approval,
  type Hold,
  type HoldState,
  type Obtained,
} from './hold.ts';
import { newId, type GrantId, type SessionId } from './ids.ts';
import { minutes, seconds, type Instant } from './instant.ts';

const now = 1_767_787_200_000 as Instant;
const at = (offset: number) => (now + offset) as Instant;
let drawn = 0;
const from = { now, random: (length: number) => new Uint8Array(length).fill((drawn += 1)) };
const [ada, bob, cas] = [newId('principal', from), newId('principal', from), newId('principal', from)];
const session = newId('session', from) satisfies SessionId;
const grant = newId('grant', from) satisfies GrantId;
const digest = 'd'.repeat(64);
const proof: Demand = { policy: 'p', cure: { kind: 'proof' } };
const approval = (count = 1): Demand => ({ policy: 'a', cure: { kind: 'approval', by: [{ group: 'dba' }], count } });
const none: Obtained = { approvals: [], hasReason: false, isActivated: true };
const by = (who: typeof bob, more: Partial<Approval> = {}): Approval => ({
  by: who,
  handle: who === bob ? 'bob' : 'cas',
  groups: ['dba'],
  at: now,
  sawPreview: false,
  ...more,
});

function hold(state: HoldState, demands: readonly Demand[] = [proof]): Hold {
  const opened = {
    id: newId('hold', from),
    requester: ada,
    actsFor: [cas],
    subject: { kind: 'statement', session, grant, digest } as const,
    demands,
    openedAt: now,
    expiresAt: at(minutes(5)),
  };
  switch (state) {
    case 'waiting':
    case 'cured':
      return { ...opened, state };
    case 'denied':
      return { ...opened, state, deniedBy: bob, word: 'no', settledAt: now };
    case 'ended':
      return { ...opened, state, word: 'gone', settledAt: now };
    default:
      return { ...opened, state, settledAt: now };
  }
}
const so = { isProven: false, hasApproved: false, hasPreview: false };

for (const [name, demands, obtained, left] of [
  ['nothing obtained', [proof], none, 1],
  ['proven', [proof], { ...none, proof: { at: now, sawPreview: false } }, 0],
  ['one of two people', [approval(2)], { ...none, approvals: [by(bob)] }, 1],
  ['one person twice', [approval(2)], { ...none, approvals: [by(bob), by(bob)] }, 1],
  ['two people', [approval(2)], { ...none, approvals: [by(bob), by(cas)] }, 0],
  ['somebody of another group', [approval()], { ...none, approvals: [by(bob, { groups: ['ops'] })] }, 1],
  [
    'by handle',
    [{ policy: 'a', cure: { kind: 'approval', by: [{ handle: 'bob' }], count: 1 } }],
    { ...none, approvals: [by(bob, { groups: [] })] },
    0,
  ],
  [
    'one person counts for both that ask',
    [approval(), { ...approval(), policy: 'b' }],
    { ...none, approvals: [by(bob)] },
    0,
  ],
  [
    'an approval whose time is over',
    [approval()],
    { ...none, approvals: [by(bob, { at: at(-60_000), validFor: seconds(60) })] },
    1,
  ],
  [
    'an approval in its time',
    [approval()],
    { ...none, approvals: [by(bob, { at: at(-59_999), validFor: seconds(60) })] },
    0,
  ],
  ['covered for another policy', [proof], { ...none, covered: new Set([demandKey({ ...proof, policy: 'q' })]) }, 1],
  ['covered', [proof], { ...none, covered: new Set([demandKey(proof)]) }, 0],
  [
    'a proof that saw no preview',
    [{ policy: 'v', cure: { kind: 'preview' } }],
    { ...none, proof: { at: now, sawPreview: false } },
    1,
  ],
  [
    'a proof of the preview',
    [{ policy: 'v', cure: { kind: 'preview' } }],
    { ...none, proof: { at: now, sawPreview: true } },
    0,
  ],
  [
    'signed in too long ago',
    [{ policy: 's', cure: { kind: 'fresh_sign_in', within: minutes(5) } }],
    { ...none, signedInAt: at(-300_001) },
    1,
  ],
  [
    'signed in lately',
    [{ policy: 's', cure: { kind: 'fresh_sign_in', within: minutes(5) } }],
    { ...none, signedInAt: at(-300_000) },
    0,
  ],
] satisfies readonly (readonly [string, readonly Demand[], Obtained, number])[])
  test(`unmet: ${name}`, () => assert.equal(unmet(demands, obtained, now).length, left));

const states = ['waiting', 'cured', 'released', 'denied', 'withdrawn', 'expired', 'ended'] as const;
for (const state of states)
  test(`a hold that is ${state} takes the steps that it may take, and no others`, () => {
    const live = state === 'waiting' || state === 'cured';
    const run = { kind: 'statement', session, grant, digest } as const;
    assert.equal(release(hold(state), run, now).kind === 'done', state === 'cured');
    assert.equal(cure(hold(state, []), none, now).kind === 'done', state === 'waiting');
    assert.equal(denyHold(hold(state), { who: bob, word: 'no' }, now).kind === 'done', live);
    assert.equal(withdrawHold(hold(state), now).kind === 'done', live);
    assert.equal(endHold(hold(state), 'gone', now).kind === 'done', live);
    assert.equal(expireHold(hold(state), at(minutes(5))).state, live ? 'expired' : state);
    assert.equal(refuseProof(hold(state), ada, so, now) === undefined, state === 'waiting');
    assert.equal(
      refuseApproval(hold(state, [approval()]), { id: bob, handle: 'bob', groups: ['dba'] }, so, now) === undefined,
      state === 'waiting',
    );
  });

test('INVARIANT 5: a hold is released for its session and content, in its time, and for nothing else', () => {
  const run = { kind: 'statement', session, grant, digest } as const;
  const because = (of: Parameters<typeof release>[1], when = now) => {
    const outcome = release(hold('cured'), of, when);
    return outcome.kind === 'refused' ? outcome.because : outcome.kind;
  };
  assert.equal(because({ ...run, digest: 'e'.repeat(64) }), 'other_content');
  assert.equal(because({ ...run, session: newId('session', from) }), 'other_session');
  assert.equal(because({ kind: 'act', digest }), 'other_content');
  assert.equal(because(run, at(minutes(5))), 'expired');
  assert.equal(because(run, at(minutes(5) - 1)), 'done');
});

test('INVARIANT 2: neither the requester nor anybody it acts for approves or denies a hold, in whichever group', () => {
  for (const id of [ada, cas]) {
    assert.equal(
      refuseApproval(hold('waiting', [approval()]), { id, handle: 'x', groups: ['dba'] }, so, now),
      'own_hold',
    );
    assert.deepEqual(denyHold(hold('waiting'), { who: id, word: 'no' }, now), { kind: 'refused', because: 'own_hold' });
  }
});

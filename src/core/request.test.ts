import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, parseRoleName, type PrincipalId, type RoleName } from './ids.ts';
import { hours, type Instant } from './instant.ts';
import { approve, deny, expire, expiryOf, withdraw, type PendingRequest } from './request.ts';

const at = (ms: number) => ms as Instant;
let counter = 0;
const random = (n: number) => new Uint8Array(n).fill((counter += 1));
const id = <K extends Parameters<typeof newId>[0]>(kind: K) => newId(kind, { now: at(1), random });
const [ada, bob, eve, boss] = [id('principal'), id('principal'), id('principal'), id('principal')];
const role = parseRoleName('orders/support-read') as RoleName;

function pending(changes: Partial<PendingRequest> = {}): PendingRequest {
  return {
    state: 'pending',
    id: id('request'),
    requester: ada,
    actsFor: [],
    role,
    duration: hours(2),
    reason: 'INC-1',
    ticket: undefined,
    startsAt: undefined,
    filedAt: at(0),
    expiresAt: expiryOf(at(0)),
    approvalsNeeded: 1,
    approvedBy: [],
    ...changes,
  };
}

for (const [name, request, approver, now, expected] of [
  ['somebody else approves in time', pending(), bob, 99, 'approved'],
  ['INVARIANT 2: the requester approves', pending(), ada, 99, 'own_request'],
  ['INVARIANT 2: somebody the requester acts for approves', pending({ actsFor: [boss] }), boss, 99, 'own_request'],
  ['the request has run out', pending(), bob, hours(1), 'expired'],
  ['the first of two people', pending({ approvalsNeeded: 2 }), bob, 99, 'counted'],
  [
    'INVARIANT 2: the same person twice counts once',
    pending({ approvalsNeeded: 2, approvedBy: [bob] }),
    bob,
    99,
    'already_approved_by_you',
  ],
  ['the second of two people', pending({ approvalsNeeded: 2, approvedBy: [bob] }), eve, 99, 'approved'],
] as const satisfies readonly (readonly [string, PendingRequest, PrincipalId, number, string])[]) {
  test(`approve: ${name}`, () => {
    const out = approve(request, { approver, grant: id('grant') }, at(now));
    assert.equal(out.kind === 'refused' ? out.because : out.kind, expected);
  });
}

test('deny: not one’s own, and a decided request stays decided', () => {
  assert.deepEqual(deny(pending(), { approver: ada, word: 'no' }, at(1)), { kind: 'refused', because: 'own_request' });
  const denied = deny(pending(), { approver: bob, word: 'no' }, at(1));
  assert.equal(denied.kind, 'denied');
  if (denied.kind !== 'denied') return;
  const again = approve(denied.request, { approver: eve, grant: id('grant') }, at(2));
  assert.deepEqual(again, { kind: 'refused', because: 'already_decided' });
});

test('withdraw: only by the requester, only while pending', () => {
  assert.equal(withdraw(pending(), ada, at(1)).kind, 'withdrawn');
  assert.deepEqual(withdraw(pending(), bob, at(1)), { kind: 'refused', because: 'not_yours' });
});

test('expire: a pending request whose time is over expired at that moment', () => {
  const expired = expire(pending(), at(hours(5)));
  assert.equal(expired.state === 'expired' && expired.decidedAt, hours(1));
  assert.equal(expire(pending(), at(5)).state, 'pending');
});

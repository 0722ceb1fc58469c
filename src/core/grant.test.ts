import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activate, createGrant, end, isLive, type ActiveGrant } from './grant.ts';
import { newId, type RoleName } from './ids.ts';
import { days, hours, minutes, type Instant } from './instant.ts';

const at = (ms: number) => ms as Instant;
let counter = 0;
const random = (n: number) => new Uint8Array(n).fill((counter += 1));
const ada = newId('principal', { now: at(1), random });
const bob = newId('principal', { now: at(1), random });
const approved = createGrant({
  id: newId('grant', { now: at(1), random }),
  request: newId('request', { now: at(1), random }),
  principal: ada,
  role: 'orders/support-read' as RoleName,
  duration: hours(2),
  notBefore: at(1000),
});

function active(now = 5000): ActiveGrant {
  const out = activate(approved, ada, at(now));
  assert.equal(out.kind, 'activated');
  if (out.kind !== 'activated') throw new Error('unreachable');
  return out.grant;
}

for (const [name, who, now, expected] of [
  ['by its owner, in time', ada, 1000, 'activated'],
  ['by somebody else', bob, 1000, 'not_yours'],
  ['before it starts', ada, 999, 'too_early'],
  ['after its window', ada, 1000 + days(1), 'expired'],
] as const) {
  test(`activate: ${name}`, () => {
    const out = activate(approved, who, at(now));
    assert.equal(out.kind === 'refused' ? out.because : out.kind, expected);
  });
}

test('the clock starts at activation, not at approval', () => assert.equal(active(5000).endsAt, 5000 + hours(2)));

test('INVARIANT 4: a grant is live up to its end and not at it', () => {
  const grant = active(0 + 1000);
  assert.ok(isLive(grant, at(grant.endsAt - 1)));
  assert.ok(!isLive(grant, grant.endsAt));
  assert.ok(!isLive(approved, at(1500)));
});

test('INVARIANT 8: nothing that was ended comes back', () => {
  const out = end(active(), { how: 'revoked', who: bob }, at(6000));
  assert.equal(out.kind, 'ended');
  if (out.kind !== 'ended') return;
  assert.deepEqual(activate(out.grant, ada, at(6001)), { kind: 'refused', because: 'ended' });
  assert.deepEqual(end(out.grant, { how: 'expired', who: undefined }, at(days(9))), {
    kind: 'refused',
    because: 'already_ended',
  });
});

test('expiry is dated to the moment it was due, however late it is written down', () => {
  const grant = active(5000);
  assert.deepEqual(end(grant, { how: 'expired', who: undefined }, at(grant.endsAt - 1)), {
    kind: 'refused',
    because: 'not_yet',
  });
  const out = end(grant, { how: 'expired', who: undefined }, at(grant.endsAt + minutes(7)));
  assert.equal(out.kind === 'ended' && out.grant.endedAt, grant.endsAt);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Instant, seconds } from '#core/instant.ts';
import { addressKey, createRateLimits, rateRules } from './rate-limit.ts';

function movingClock() {
  let now = 1_800_000_000_000;
  return { now: () => now as Instant, forward: (ms: number) => (now += ms) };
}
const rules = { tries: { burst: 3, every: seconds(10) }, other: { burst: 1, every: seconds(1) } };

test('so many at once, then one each so often', () => {
  const clock = movingClock();
  const limits = createRateLimits({ clock, rules });
  for (let i = 0; i < 3; i += 1) assert.deepEqual(limits.take('tries', 'a'), { kind: 'allowed' });
  assert.deepEqual(limits.take('tries', 'a'), { kind: 'limited', retryAfter: 10_000 });
  clock.forward(9_999);
  assert.deepEqual(limits.take('tries', 'a'), { kind: 'limited', retryAfter: 1 });
  clock.forward(1);
  assert.deepEqual(limits.take('tries', 'a'), { kind: 'allowed' });
  assert.equal(limits.take('tries', 'a').kind, 'limited');
});

test('a long rest gives the burst back, and no more', () => {
  const clock = movingClock();
  const limits = createRateLimits({ clock, rules });
  limits.take('tries', 'a');
  clock.forward(1_000_000);
  const outcomes = Array.from({ length: 4 }, () => limits.take('tries', 'a').kind);
  assert.deepEqual(outcomes, ['allowed', 'allowed', 'allowed', 'limited']);
});

test('being limited costs nothing: who keeps trying gets in as soon as who waits', () => {
  const clock = movingClock();
  const limits = createRateLimits({ clock, rules });
  for (let i = 0; i < 50; i += 1) limits.take('tries', 'a');
  clock.forward(10_000);
  assert.equal(limits.take('tries', 'a').kind, 'allowed');
});

test('keys and kinds don’t share', () => {
  const limits = createRateLimits({ clock: movingClock(), rules });
  assert.equal(limits.take('other', 'a').kind, 'allowed');
  assert.equal(limits.take('other', 'a').kind, 'limited');
  assert.equal(limits.take('other', 'b').kind, 'allowed');
  assert.equal(limits.take('tries', 'a').kind, 'allowed');
});

test('memory is bounded, and what was used longest ago is forgotten', () => {
  const limits = createRateLimits({ clock: movingClock(), rules, capacity: 100 });
  for (let i = 0; i < 3; i += 1) limits.take('tries', 'kept');
  for (let i = 0; i < 10_000; i += 1) limits.take('other', `flood ${i}`);
  assert.equal(limits.size(), 101);
  assert.equal(limits.take('tries', 'kept').kind, 'limited', 'a flood of one kind leaves the others alone');
  assert.equal(limits.take('other', 'flood 9999').kind, 'limited');
  assert.equal(limits.take('other', 'flood 0').kind, 'allowed');
});

test('a clock that goes back gives nobody more', () => {
  const clock = movingClock();
  const limits = createRateLimits({ clock, rules });
  for (let i = 0; i < 3; i += 1) limits.take('tries', 'a');
  clock.forward(-1_000_000);
  assert.equal(limits.take('tries', 'a').kind, 'limited');
});

test('over any run, no more than the burst and what time gave back are allowed', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(15_000), { maxLength: 200 }), (waits) => {
      const clock = movingClock();
      const limits = createRateLimits({ clock, rules });
      const start = clock.now();
      let allowed = 0;
      for (const wait of waits) {
        clock.forward(wait);
        if (limits.take('tries', 'a').kind === 'allowed') allowed += 1;
        assert.ok(allowed <= 3 + (clock.now() - start) / 10_000);
      }
    }),
  );
});

test('every shipped rule allows something and limits something', () => {
  const limits = createRateLimits({ clock: movingClock() });
  for (const what of Object.keys(rateRules) as (keyof typeof rateRules)[]) {
    const outcomes = Array.from({ length: 200 }, () => limits.take(what, 'a').kind);
    assert.equal(outcomes[0], 'allowed');
    assert.equal(outcomes.at(-1), 'limited');
  }
});

for (const [address, key] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002:ffff::', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
] as const)
  test(`the address ${address} counts as ${key}`, () => {
    assert.equal(addressKey(address), key);
  });

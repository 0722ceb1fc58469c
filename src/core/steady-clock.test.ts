import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Instant } from './instant.ts';
import { steadyClock } from './steady-clock.ts';

function clocks() {
  const set = { wall: 1_000_000, elapsed: 0 };
  const clock = steadyClock({ now: () => set.wall as Instant }, () => set.elapsed);
  const pass = (ms: number) => {
    set.wall += ms;
    set.elapsed += ms;
  };
  return { set, clock, pass };
}

test('it is the clock on the wall while that goes as time goes', () => {
  const { clock, pass } = clocks();
  for (const ms of [0, 1, 0.4, 1000, 86_400_000]) {
    pass(Math.ceil(ms));
    clock.now();
  }
  assert.equal(clock.now(), 1_000_000 + 86_401_002);
});

test('INVARIANT 4: set back, it goes on from where it was, until the other has caught up', () => {
  const { set, clock, pass } = clocks();
  pass(10_000);
  assert.equal(clock.now(), 1_010_000);
  set.wall -= 3_600_000;
  assert.equal(clock.now(), 1_010_000);
  pass(5_000);
  assert.equal(clock.now(), 1_015_000);
  set.wall += 3_600_000;
  assert.equal(clock.now(), 1_015_000);
  pass(1);
  assert.equal(clock.now(), 1_015_001);
});

test('set forward, it follows', () => {
  const { set, clock, pass } = clocks();
  set.wall += 3_600_000;
  assert.equal(clock.now(), 4_600_000);
  pass(1_000);
  assert.equal(clock.now(), 4_601_000);
});

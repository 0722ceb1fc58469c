import assert from 'node:assert/strict';
import { test } from 'node:test';
import { percentile, ratios, shuffled, spread } from './statistics.ts';

test('percentiles lie between neighbours', () => {
  assert.equal(percentile([4, 1, 3, 2], 0.5), 2.5);
  assert.equal(percentile([1, 2, 3, 4, 5], 0.25), 2);
  assert.equal(percentile([7], 0.99), 7);
  assert.throws(() => percentile([], 0.5), /empty/);
});

test('a spread is the median with its quartiles', () => {
  assert.deepEqual(spread([5, 1, 2, 4, 3]), { median: 3, q1: 2, q3: 4, samples: 5 });
});

test('ratios compare what was measured in the same cycle, and leave out a cycle in which one side did nothing', () => {
  assert.deepEqual(ratios([2, 9, 0, 8], [4, 3, 5, 0]), [0.5, 3]);
});

test('shuffling keeps everything', () => {
  const items = Array.from({ length: 20 }, (_, i) => i);
  let seed = 1;
  const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  const out = shuffled(items, random);
  assert.notDeepEqual(out, items);
  assert.deepEqual(
    out.toSorted((a, b) => a - b),
    items,
  );
});

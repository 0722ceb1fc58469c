import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { createPacer } from './pacer.ts';

const busy = (ms: number) => {
  for (const until = performance.now() + ms; performance.now() < until;);
};

test('what fits is done at once and in order, and an empty batch is done', () => {
  const pacer = createPacer(1000);
  const seen: unknown[] = [];
  const see = (what: unknown) => void seen.push(what);
  pacer.add([1, 2], see, () => see('done'));
  pacer.add([], see, () => see('nothing'));
  assert.deepEqual(seen, [1, 2, 'done', 'nothing']);
});

test('others have their turn between the slices of a long batch, also of one that comes in single pieces', async () => {
  const pacer = createPacer(2);
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const done: number[] = [];
  await new Promise<void>((resolve) => {
    for (let i = 0; i < 20; i += 1) {
      pacer.add([i], () => {
        busy(1.5);
        done.push(i);
        if (i === 19) resolve();
      });
    }
    assert.ok(done.length < 20, 'not all in one turn');
  });
  isOver = true;
  assert.equal(new Set(done).size, 20);
  assert.ok(turns >= 5, `${turns} turns`);
});

test('a short batch that comes later is not behind a long one', async () => {
  const pacer = createPacer(1);
  let left = 200;
  const long = new Promise<void>((resolve) => {
    pacer.add(
      Array.from({ length: 200 }, (_, i) => i),
      () => {
        busy(0.2);
        left -= 1;
      },
      resolve,
    );
  });
  await new Promise<void>((resolve) => pacer.add(['short'], () => {}, resolve));
  assert.ok(left > 100, `${left} left`);
  await long;
  assert.equal(left, 0);
});

test('what may wait is done when nothing else is left, and goes on where it was', async () => {
  const pacer = createPacer(1);
  const seen: string[] = [];
  const slowly = (what: string) => {
    busy(0.4);
    seen.push(what);
  };
  const over = new Promise<void>((resolve) => pacer.addLater(['l', 'l', 'l', 'l', 'l', 'l'], slowly, resolve));
  const before = seen.length;
  pacer.add(['u', 'u', 'u', 'u', 'u', 'u'], slowly);
  await over;
  assert.ok(before < 6);
  assert.equal(seen.slice(before).lastIndexOf('u'), 5, seen.join(''));
  assert.equal(seen.length, 12);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameLengthAt } from '#wire/postgres/bytes.ts';
import { modes, workload } from './workloads.ts';

/** Types of the messages in some bytes; throws when they don't end where a message ends. */
function types(bytes: Buffer): string {
  let out = '';
  let at = 0;
  for (; at < bytes.length; at += frameLengthAt(bytes, at)) out += String.fromCharCode(bytes[at] ?? 0);
  assert.equal(at, bytes.length);
  return out;
}

test('each mode sends what pgbench sends', () => {
  const sent = Object.fromEntries(modes.map((mode) => [mode, workload(mode).steps.map((step) => types(step()))]));
  assert.deepEqual(sent, {
    simple: ['Q'],
    extended: ['PBDES'],
    prepared: ['BDES'],
    tpcb: ['Q', 'Q', 'Q', 'Q', 'Q', 'Q', 'Q'],
  });
  assert.equal(types(workload('prepared').prepare ?? Buffer.alloc(0)), 'PS');
});

test('another account each time, always whole', () => {
  for (const mode of ['simple', 'extended', 'prepared'] as const) {
    const step = workload(mode).steps[0];
    assert.ok(step);
    const seen = new Set(Array.from({ length: 20 }, () => /[1-9]\d{5}/.exec(step().toString('latin1'))?.[0]));
    assert.ok(seen.size > 15, mode);
    assert.ok(!seen.has(undefined));
  }
});

test('a transaction of TPC-B is about one account', () => {
  const sent = workload('tpcb').steps.map((step) => step().toString('latin1'));
  const account = /aid = (\d+)/.exec(sent[1] ?? '')?.[1] ?? 'none';
  assert.ok(sent[2]?.includes(`aid = ${account};`));
  assert.ok(sent[5]?.includes(`, ${account}, `));
});

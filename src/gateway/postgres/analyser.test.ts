import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startAnalyser } from './analyser.ts';

const nothing = { relations: null, routines: null, operators: null, casts: null, types: null };
const json = JSON.stringify({ version: 180_000, database: 'd', ...nothing });
const snapshot = { resource: 'orders', version: 'v1', json };
const unknown = { kind: 'unknown' } as const;

test('a text that takes too long is denied, and whoever waits behind it is answered', async (t) => {
  const long = `select ${'1,'.repeat(500_000)}1`;
  const patient = startAnalyser({ timeoutMs: 60_000 });
  await patient.analyse('select 1', snapshot, unknown, []);
  const since = performance.now();
  await patient.analyse(long, snapshot, unknown, []);
  const took = performance.now() - since;
  await patient[Symbol.asyncDispose]();

  const analyser = startAnalyser({ timeoutMs: took / 2 });
  t.after(() => analyser[Symbol.asyncDispose]());
  const ask = (text: string) => analyser.analyse(text, snapshot, unknown, []);
  const slow = assert.rejects(ask(long), /takes too long to parse/);
  const behind = await Promise.all([ask('select 1'), ask('select 2'), ask('select')]);
  assert.deepEqual(
    behind.map((analysis) => analysis.kind),
    ['statements', 'statements', 'statements'],
  );
  await slow;
  assert.equal((await ask('select 3')).kind, 'statements');
});

test('where the thread fails at every text, every text is denied', async (t) => {
  const analyser = startAnalyser();
  t.after(() => analyser[Symbol.asyncDispose]());
  // A catalogue that is none: the thread dies of it.
  const ask = (version: string) => analyser.analyse('select 1', { resource: version, version, json: '' }, unknown, []);
  await Promise.all(['a', 'b', 'c', 'd', 'e'].map((each) => assert.rejects(ask(each), /parsing thread/)));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '#core/jcs.ts';
import { factsOf, type Entry, type EntryKind } from '#log/entry.ts';
import { summaryOf } from './summary-of.ts';

function line(
  kind: EntryKind,
  from: {
    readonly subjects?: Readonly<Record<string, string>>;
    readonly facts?: Readonly<Record<string, Json>>;
    readonly content?: Readonly<Record<string, Json>>;
    readonly who?: string;
    readonly whom?: string;
    readonly transaction?: { readonly number: string; readonly state: string };
  },
): string {
  const entry = { kind, subjects: from.subjects ?? {}, public: from.facts ?? {} } as unknown as Entry;
  return summaryOf({
    entry,
    title: factsOf(kind).title,
    content: from.content,
    transaction: from.transaction,
    who: from.who ?? 'system',
    whom: from.whom,
  });
}

const on = { role: 'orders/support-read', resource: 'orders' };

for (const [statements, said] of [
  [0, ', no statements'],
  [1, ', 1 statement'],
  [12, ', 12 statements'],
  [undefined, ''],
] as const)
  test(`a session with ${statements ?? 'an unknown number of'} statements is told in words`, () => {
    const facts = { how: 'client_closed', ...(statements === undefined ? {} : { statements }) };
    assert.equal(
      line('session.ended', { subjects: on, facts, whom: 'ada' }),
      `session of ada on orders ends: client closed${said}`,
    );
  });

test('times are to the minute and say their zone', () => {
  assert.equal(
    line('grant.activated', { subjects: on, facts: { endsAt: '2026-11-22T13:35:12.345Z' }, who: 'ada' }),
    'ada activates orders/support-read until 2026-11-22 13:35 UTC',
  );
});

test('what was erased is told as such, and the rest of the line stays', () => {
  const facts = { outcome: 'completed', tag: 'SELECT 3', durationMs: 1.5 };
  assert.equal(line('statement.ended', { facts, who: 'ada' }), '(text erased) · SELECT 3 · 1.5 ms');
  assert.equal(
    line('grant.ended', { subjects: on, facts: { how: 'handed_back' }, who: 'ada' }),
    'orders/support-read of ada ends: handed back by ada',
  );
});

for (const [name, facts, state, said] of [
  ['committed by itself', { transaction: 'committed' }, 'committed', ''],
  ['rolled back', { transaction: 'rolled_back' }, 'rolled_back', ' · rolled back'],
  ['lost', { transaction: 'unknown' }, 'unknown', ' · committed or not, it is not known'],
  ['in an open transaction', { transaction: 'open' }, 'open', ' · in transaction 2'],
  ['in one that was rolled back', { transaction: 'open' }, 'rolled_back', ' · in transaction 2: rolled back'],
  [
    'a rollback to a savepoint',
    { transaction: 'open', undoes: { statement: 7, command: 0 } },
    'committed',
    ', back to statement 7 · in transaction 2: committed',
  ],
] as const)
  test(`what became of a statement is told: ${name}`, () => {
    const all = { outcome: 'completed', tag: 'SELECT 3', durationMs: 1.5, ...facts };
    assert.equal(
      line('statement.ended', { facts: all, content: { text: 'select 1' }, transaction: { number: '2', state } }),
      `select 1 · SELECT 3 · 1.5 ms${said}`,
    );
  });

test('what `execute` runs is told with it', () => {
  const prepared = [{ name: 's', text: { text: 'prepare s as update orders set note = $1' } }];
  assert.equal(
    line('statement.begun', { content: { text: { text: 'execute s(1)' }, prepared } }),
    'execute s(1) → prepare s as update orders set note = $1 · no end seen',
  );
});

test('the end of a transaction is told by its number', () => {
  const subjects = { transaction: '3' };
  assert.equal(
    line('transaction.ended', { subjects, facts: { outcome: 'rolled_back' } }),
    'transaction 3: rolled back',
  );
});

test('a statement takes one line of two hundred characters at most', () => {
  const said = line('statement.denied', {
    content: { text: { text: `select\n\t${'x'.repeat(500)}` }, error: 'no' },
    who: 'ada',
  });
  assert.ok(said.startsWith('select xxx') && said.endsWith('… · denied: no') && said.length < 230, said);
});

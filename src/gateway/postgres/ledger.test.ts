import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger } from './ledger.ts';

test('a name means what the server has confirmed; what failed never happened', () => {
  const ledger = new Ledger<string>();
  const first = ledger.set('s', 'one', 1);
  assert.equal(ledger.get('s')?.isSettled, false);
  ledger.settle(first);
  assert.deepEqual([...ledger.settled()], [['s', 'one']]);
  const second = ledger.set('s', 'two', 2);
  assert.equal(ledger.get('s')?.value, 'two');
  ledger.revert(second);
  assert.equal(ledger.get('s')?.value, 'one');
  assert.equal(ledger.get('s')?.isSettled, true);
});

test('INVARIANT 7: an answer about an earlier message does not touch what a later one has made of the name', () => {
  const ledger = new Ledger<string>();
  const first = ledger.set('s', 'one', 1);
  const second = ledger.set('s', undefined, 1);
  ledger.settle(first);
  assert.equal(ledger.get('s')?.value, undefined);
  ledger.gone(first);
  ledger.revert(first);
  assert.equal(ledger.get('s')?.segment, second.segment);
  ledger.gone(second);
  assert.equal(ledger.get('s'), undefined);
});

test('a transaction that ends takes what was settled, and leaves what is on its way', () => {
  const ledger = new Ledger<string>();
  ledger.settle(ledger.set('old', 'x', 1));
  ledger.set('new', 'y', 2);
  ledger.clearSettled();
  assert.equal(ledger.get('old'), undefined);
  assert.equal(ledger.get('new')?.value, 'y');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWaiting, networkOf } from './waiting.ts';

test('INVARIANT 14: the newcomer takes the place of whoever has waited longest from the same network', () => {
  const waiting = createWaiting();
  const gone: string[] = [];
  const add = (network: string, name: string) => waiting.add(network, () => gone.push(name));
  add('a', 'a1');
  const proven = add('a', 'a2');
  add('b', 'b1');
  add('a', 'a3');
  proven();
  assert.equal(waiting.evictFor('a'), true);
  assert.equal(waiting.evictFor('a'), true);
  assert.deepEqual(gone, ['a1', 'a3']);
  add('c', 'c1');
  add('c', 'c2');
  assert.equal(waiting.evictFor('a'), true, 'somebody of the largest crowd');
  assert.deepEqual(gone.slice(2), ['c1']);
  waiting.evictFor('b');
  waiting.evictFor('c');
  assert.equal(waiting.evictFor('a'), false);
});

test('INVARIANT 14: caps count by IPv4 address, and by the first half of an IPv6 address', () => {
  for (const [address, network] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.0.0.7', '10.0.0.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:db8::9', '2001:db8:0:0::/64'],
    ['2001:0db8::1:2:3', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['', ''],
  ] as const)
    assert.equal(networkOf(address), network, address);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClientAddress } from './client-address.ts';

const proxies = ['10.0.0.0/8', 'fd00::/8', '127.0.0.1'];

for (const [name, socket, forwarded, trusted, expected] of [
  ['nobody is trusted: the socket, whatever a header says', '198.51.100.7', '203.0.113.9', [], '198.51.100.7'],
  ['a stranger that claims to be a proxy', '198.51.100.7', '203.0.113.9', proxies, '198.51.100.7'],
  ['one proxy', '10.0.0.1', '203.0.113.9', proxies, '203.0.113.9'],
  ['what the client wrote in front is not read', '10.0.0.1', '192.0.2.1, 203.0.113.9', proxies, '203.0.113.9'],
  ['two proxies', '10.0.0.1', '203.0.113.9, 10.0.0.2', proxies, '203.0.113.9'],
  ['proxies all the way: the first of them', '10.0.0.1', '10.0.0.3, 10.0.0.2', proxies, '10.0.0.3'],
  ['no header', '10.0.0.1', undefined, proxies, '10.0.0.1'],
  ['nonsense from a proxy: the proxy', '10.0.0.1', '203.0.113.9, unknown', proxies, '10.0.0.1'],
  ['nonsense behind the client is never reached', '10.0.0.1', 'rubbish, 203.0.113.9', proxies, '203.0.113.9'],
  ['an IPv4 proxy over an IPv6 socket', '::ffff:10.0.0.1', '203.0.113.9', proxies, '203.0.113.9'],
  ['IPv6', 'fd00::1', '2001:DB8::5', proxies, '2001:db8::5'],
  ['with ports, as some proxies write them', '10.0.0.1', '[2001:db8::5]:443, 10.0.0.2:1234', proxies, '2001:db8::5'],
  ['no socket any more', undefined, '203.0.113.9', proxies, 'unknown'],
] as const)
  test(`the client's address: ${name}`, () => {
    assert.equal(createClientAddress(trusted)(socket, forwarded), expected);
  });

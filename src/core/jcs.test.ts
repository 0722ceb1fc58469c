import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CanonicalJsonError, canonicalJson, parseCanonicalJson, parseCanonicalJsonBytes } from './jcs.ts';

test('canonical JSON: the example of RFC 8785 section 3.2.2', () => {
  const input = JSON.parse(`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/",
    "literals": [null, true, false]
  }`) as unknown;
  assert.equal(
    canonicalJson(input),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
});

test('canonical JSON: members are sorted by UTF-16 code units, as in RFC 8785 section 3.2.3', () => {
  const input = {
    '\u20ac': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew Letter Dalet With Dagesh',
    '1': 'One',
    '\ud83d\ude00': 'Emoji: Grinning Face',
    '\u0080': 'Control',
    '\u00f6': 'Latin Small Letter O With Diaeresis',
  };
  // The example's expected order is that of its values: carriage return, one, control, o, euro, emoji, dalet.
  const order = [...canonicalJson(input).matchAll(/:"([^"]+)"/g)].map((match) => match[1]);
  assert.deepEqual(order, [
    'Carriage Return',
    'One',
    'Control',
    'Latin Small Letter O With Diaeresis',
    'Euro Sign',
    'Emoji: Grinning Face',
    'Hebrew Letter Dalet With Dagesh',
  ]);
});

// RFC 8785 appendix B: IEEE 754 bits and the text they must become.
for (const [bits, text] of [
  ['0000000000000000', '0'],
  ['8000000000000000', '0'],
  ['0000000000000001', '5e-324'],
  ['8000000000000001', '-5e-324'],
  ['7fefffffffffffff', '1.7976931348623157e+308'],
  ['ffefffffffffffff', '-1.7976931348623157e+308'],
  ['4340000000000000', '9007199254740992'],
  ['c340000000000000', '-9007199254740992'],
  ['4430000000000000', '295147905179352830000'],
  ['44b52d02c7e14af5', '9.999999999999997e+22'],
  ['44b52d02c7e14af6', '1e+23'],
  ['44b52d02c7e14af7', '1.0000000000000001e+23'],
  ['444b1ae4d6e2ef4e', '999999999999999700000'],
  ['444b1ae4d6e2ef4f', '999999999999999900000'],
  ['444b1ae4d6e2ef50', '1e+21'],
  ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
  ['3eb0c6f7a0b5ed8d', '0.000001'],
  ['41b3de4355555553', '333333333.3333332'],
  ['41b3de4355555557', '333333333.33333343'],
  ['becbf647612f3696', '-0.0000033333333333333333'],
  ['43143ff3c1cb0959', '1424953923781206.2'],
] as const) {
  test(`canonical JSON: the number ${bits} of RFC 8785 appendix B is ${text}`, () => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(`0x${bits}`));
    assert.equal(canonicalJson(view.getFloat64(0)), text);
  });
}

const nested: unknown[] = [];
nested.push(nested);
for (const [name, value] of [
  ['NaN', Number.NaN],
  ['infinity', Number.POSITIVE_INFINITY],
  ['undefined', undefined],
  ['an undefined member', { a: undefined }],
  // oxlint-disable-next-line no-sparse-arrays -- the hole is the point
  ['a hole', [1, , 2]],
  ['a high surrogate alone', 'a\ud800'],
  ['a low surrogate alone', { 'b\udc00': 1 }],
  ['swapped surrogates', '\ude00\ud83d'],
  ['a function', () => 1],
  ['a bigint', 1n],
  ['a Date', new Date(0)],
  ['a Map', new Map()],
  ['a circle', nested],
] as const) {
  test(`canonical JSON: refuses ${name}`, () => assert.throws(() => canonicalJson(value), CanonicalJsonError));
}

test('canonical JSON: what is written is read back, whatever the order of members', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary', maxDepth: 5 }), (value) => {
      const text = canonicalJson(value);
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      assert.deepEqual(parseCanonicalJson(text), JSON.parse(text));
      assert.equal(canonicalJson(reversed(value)), text);
    }),
  );
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  );
}

for (const text of [
  '{"a":1,"a":1}',
  '{"b":1,"a":2}',
  ' 1',
  '1.0',
  '-0',
  '1e400',
  '"\\u0041"',
  '"\\/"',
  '[1,]',
  '"\\ud800"',
  '',
]) {
  test(`canonical JSON: ${JSON.stringify(text)} is not the one spelling`, () =>
    assert.equal(parseCanonicalJson(text), undefined));
}

test('canonical JSON: malformed UTF-8 and a byte order mark are refused', () => {
  assert.equal(parseCanonicalJsonBytes(Uint8Array.of(0x22, 0xff, 0x22)), undefined);
  assert.equal(parseCanonicalJsonBytes(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31)), undefined);
  assert.equal(parseCanonicalJsonBytes(Uint8Array.of(0x31)), 1);
});

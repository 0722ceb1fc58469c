import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, formatInstant, parseDuration, parseInstant } from './instant.ts';

test('instants: our calendar agrees with the platform from 1970 to 9999', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (ms) => {
      const instant = parseInstant(ms);
      assert.ok(instant !== undefined);
      const text = formatInstant(instant);
      assert.equal(text, new Date(ms).toISOString());
      assert.equal(parseInstant(text), ms);
    }),
  );
});

for (const bad of ['2026-02-29T00:00:00Z', '2026-13-01T00:00:00Z', '2026-01-01T24:00:00Z', '2026-01-01', '', -1, 1.5]) {
  test(`instants: refuses ${JSON.stringify(bad)}`, () => assert.equal(parseInstant(bad), undefined));
}

for (const [text, ms] of [
  ['90s', 90_000],
  ['1h30m', 5_400_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
] as const) {
  test(`durations: ${text}`, () => assert.equal(parseDuration(text), ms));
}
for (const bad of ['', '0s', '5', '1m1h', '-1h', '1.5h', 'h', '1w', '9999999h']) {
  test(`durations: refuses ${JSON.stringify(bad)}`, () => assert.equal(parseDuration(bad), undefined));
}
test('durations: what is formatted is read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999_999 }), (count) => {
      const duration = parseDuration(`${count}s`);
      assert.ok(duration !== undefined);
      assert.equal(parseDuration(formatDuration(duration)), duration);
    }),
  );
});

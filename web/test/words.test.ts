/** The console's small pure parts: what times, durations, statements and addresses become. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entryKinds } from '#log/entry.ts';
import { createServerClock } from '../src/api/server-clock.ts';
import { durationText, parseDurationText, timeLeftText } from '../src/format/duration.ts';
import { exactParts } from '../src/format/exact.ts';
import { relativeText } from '../src/format/moment.ts';
import { thisDevice } from '../src/format/this-device.ts';
import { kinds } from '../src/log/kinds.ts';
import { isLoopback } from '../src/loopback.ts';
import { parseGroups } from '../src/people/groups.ts';
import { safePath } from '../src/safe-path.ts';
import { logSearch, parseSearch, stringifySearch } from '../src/search.ts';
import { readStatements } from '../src/sessions/statement.ts';

test('the filter of the log offers every kind that there is, and no other', () => {
  assert.deepEqual(Object.values(kinds).flat().toSorted(), Object.keys(entryKinds).toSorted());
});

for (const [seconds, text] of [
  [0, '0 s'],
  [59, '59 s'],
  [900, '15 min'],
  [5400, '1 h 30 min'],
  [86_400, '1 d'],
  [90_061, '1 d 1 h'],
] as const)
  test(`${seconds} seconds are ${text}`, () => assert.equal(durationText(seconds), text));

for (const [seconds, text] of [
  [7199, '1 h 59 min'],
  [300, '5 min'],
  [299, '4:59 min'],
  [9, '0:09 min'],
  [-1, '0 s'],
] as const)
  test(`${seconds} seconds that are left read ${text}`, () => assert.equal(timeLeftText(seconds), text));

for (const [text, seconds] of [
  ['90m', 5400],
  ['1h30m', 5400],
  ['1h 30min', 5400],
  ['2D', 172_800],
  ['', undefined],
  ['0m', undefined],
  ['1.5h', undefined],
  ['30m1h', undefined],
  ['soon', undefined],
] as const)
  test(`the duration \`${text}\` is ${seconds ?? 'refused'}`, () => assert.equal(parseDurationText(text), seconds));

test('the server’s time is taken over a local clock that is wrong, and a second more or less is let be', () => {
  let local = Date.parse('2026-03-03T12:10:00.000Z');
  const clock = createServerClock(() => local);
  clock.hear(null);
  clock.hear('nonsense');
  assert.equal(clock.now(), local);
  clock.hear('Tue, 03 Mar 2026 12:00:00 GMT');
  local += 1000;
  assert.equal(new Date(clock.now()).toISOString(), '2026-03-03T12:00:01.000Z');
  clock.hear('Tue, 03 Mar 2026 12:10:03 GMT');
  assert.equal(clock.now(), local);
});

test('moments are told relative to now', () => {
  const now = Date.parse('2026-03-03T12:00:00.000Z');
  assert.equal(relativeText('2026-03-03T12:00:04.000Z', now), 'just now');
  assert.equal(relativeText('2026-03-03T11:57:00.000Z', now), '3 minutes ago');
  assert.equal(relativeText('2026-03-03T11:00:20.000Z', now), '1 hour ago');
  assert.equal(relativeText('2026-03-04T12:00:00.000Z', now), 'tomorrow');
});

test('a passkey gets a name that its owner will know', () => {
  const chrome =
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36';
  const safari =
    'Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 Version/26.0 Mobile Safari/604.1';
  const edge =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0';
  assert.equal(thisDevice(chrome), 'Chrome on Linux');
  assert.equal(thisDevice(safari), 'Safari on iPhone');
  assert.equal(thisDevice(edge), 'Edge on Windows');
  assert.equal(thisDevice('curl'), 'Browser on this device');
});

for (const to of [
  'https://evil.example/',
  '//evil.example',
  '/\\evil.example',
  'javascript:alert(1)',
  '/sign-in?to=/x',
  '',
])
  test(`after the sign-in, \`${to}\` leads home`, () => assert.equal(safePath(to, 'https://sally.example'), '/'));

test('after the sign-in, one of our own paths leads there', () => {
  assert.equal(safePath('/grants?state=live#x', 'https://sally.example'), '/grants?state=live#x');
  assert.equal(safePath(undefined, 'https://sally.example'), '/');
});

for (const [address, expected] of [
  ['http://127.0.0.1:49152/callback', true],
  ['http://[::1]:49152/callback', true],
  ['https://127.0.0.1:49152/callback', false],
  ['http://localhost:49152/callback', false],
  ['http://127.0.0.1:49152/other', false],
  ['http://127.0.0.1@evil.example/callback', false],
  ['http://user@127.0.0.1/callback', false],
  ['http://127.0.0.1.evil.example/callback', false],
  ['not an address', false],
] as const)
  test(`${address} is ${expected ? '' : 'not '}an address to send a code to`, () =>
    assert.equal(isLoopback(address), expected));

test('groups are read as people type them', () => {
  assert.deepEqual(parseGroups(' dba,engineers  dba '), { groups: ['dba', 'engineers'], fault: undefined });
  assert.match(parseGroups('DBA').fault ?? '', /“DBA” is not a group/);
});

test('a query keeps its text, and drops what it does not know', () => {
  assert.deepEqual(parseSearch('?state=12345678901234567890'), { state: '12345678901234567890' });
  assert.equal(stringifySearch({ box: 'mine', cursor: undefined, state: '' }), '?box=mine');
  assert.deepEqual(logSearch.parse({ order: 'sideways', grant: 'x', scope: 'all' }), {
    order: undefined,
    grant: undefined,
    scope: 'all',
  });
});

const entry = (
  kind: string,
  statement: string | undefined,
  facts: Record<string, unknown>,
  content: Record<string, unknown> | null = null,
) => ({
  id: `ent_${kind}`,
  at: '2026-03-03T12:00:00.000Z',
  kind,
  subject: statement === undefined ? {} : { statement },
  facts,
  content,
  transaction: null,
});

test('a statement is put together from its text and how each of its commands went', () => {
  const said = { text: { text: 'select 1; select $1' }, parameters: [null, { text: 'a' }, { hex: 'ff', type: 17 }] };
  const cut = { text: { text: 'drop', bytes: 9, sha256: 'x' }, error: 'no' };
  const [first, second, third, ...rest] = readStatements([
    entry('session.opened', undefined, {}),
    entry('statement.ended', '1', { command: 0, outcome: 'completed', tag: 'SELECT 1', rows: 1, durationMs: 2 }, said),
    entry('statement.denied', '2', { outcome: 'denied', sqlState: '42501' }, cut),
    entry('statement.copy_in', '4', {}, { data: 'secret' }),
    entry('statement.cancelled', undefined, { by: 'client' }),
    entry('statement.begun', '3', {}, { text: { text: 'select pg_sleep(60)' } }),
    entry('statement.ended', '1', { command: 1, outcome: 'failed', sqlState: '22012' }, { error: 'division by zero' }),
  ]);
  assert.equal(rest.length, 0);
  assert.equal(first?.text, 'select 1; select $1');
  assert.deepEqual(first?.parameters, ['null', 'a', '\\xff']);
  assert.deepEqual(
    first?.results.map(({ outcome, rows, message }) => [outcome, rows, message]),
    [
      ['completed', 1, undefined],
      ['failed', undefined, '22012: division by zero'],
    ],
  );
  assert.equal(second?.isCut, true);
  assert.deepEqual(
    second?.results.map(({ outcome, tone, message }) => [outcome, tone, message]),
    [['denied', 'bad', '42501: no']],
  );
  assert.deepEqual([third?.text, third?.results], ['select pg_sleep(60)', []]);
});

test('a statement whose text was erased still shows how it went', () => {
  const [only] = readStatements([entry('statement.ended', '7', { outcome: 'completed', rows: 3 })]);
  assert.equal(only?.text, undefined);
  assert.equal(only?.results[0]?.rows, 3);
});

test('a statement shows what became of its transaction, and what a rollback to a savepoint took back', () => {
  const transaction = { number: '3', state: 'committed' as const };
  const of = (statement: string, facts: Record<string, unknown> = {}) => ({
    ...entry('statement.ended', statement, { command: 0, outcome: 'completed', ...facts }),
    transaction,
  });
  const statements = readStatements([
    of('1'),
    of('2', { tag: 'SAVEPOINT' }),
    of('3'),
    of('4', { tag: 'ROLLBACK', undoes: { statement: 2, command: 0 } }),
    of('5'),
    { ...of('6'), transaction: { number: '4', state: 'open' as const } },
  ]);
  assert.deepEqual(
    statements.map(({ results }) => results[0]?.isTakenBack),
    [false, false, true, false, false, false],
  );
  assert.deepEqual(
    statements.map(({ results }) => results[0]?.transaction?.state),
    ['committed', 'committed', 'committed', 'committed', 'committed', 'open'],
  );
});

test('a statement shows what its `execute` ran', () => {
  const prepared = [{ name: 's', text: { text: 'select $1' } }];
  const [only] = readStatements([entry('statement.ended', '1', {}, { text: { text: 'execute s' }, prepared })]);
  assert.deepEqual(only?.prepared, ['select $1']);
});

test('what can’t be seen in a text is shown by its code point, and the rest is as it was', () => {
  const shown = (text: string) =>
    exactParts(text)
      .map((part) => (part.isUnseen ? `[${part.text}]` : part.text))
      .join('');
  assert.equal(shown('select\t1\n'), 'select\t1\n');
  assert.equal(shown('a\u202eb\u200bc\u00a0d\r'), 'a[U+202E]b[U+200B]c[U+00A0]d[U+000D]');
  assert.equal(shown('\u{e0041}é漢😀'), '[U+E0041]é漢😀');
  assert.equal(shown(''), '');
});

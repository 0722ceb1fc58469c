import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCopyPath } from './log-export.ts';
import { parseMoment } from './parse-values.ts';
import { parseTarget } from './pick-grant.ts';
import { plain, table, type Sink } from './screen.ts';
import { parseServerUrl } from './servers.ts';
import { left, relative, span } from './times.ts';

const minute = 60_000;
const hour = 60 * minute;

for (const [milliseconds, words] of [
  [0, '0 s'],
  [1, '1 s'],
  [59_000, '59 s'],
  [minute, '1 min'],
  [hour - 1000, '1 h'],
  [hour, '1 h'],
  [hour + 20 * minute, '1 h 20 min'],
  [24 * hour, '1 d'],
  [27 * hour, '1 d 3 h'],
  // A grant that was activated a moment ago for two hours: nobody wants to read 1 h 60 min.
  [2 * hour - 300, '2 h'],
] as const)
  test(`${milliseconds} ms are ${words}`, () => assert.equal(span(milliseconds), words));

test('what is past is rounded down, what is to come is rounded up', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  assert.equal(relative(now - 119_000, now), '1 min ago');
  assert.equal(relative(now + 119_000, now), 'in 2 min');
  assert.equal(relative(now, now), 'now');
  assert.equal(left('2026-11-22T12:00:00.000Z', now), 'over');
});

test('a time may be a distance, a clock, or exact', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  assert.equal(parseMoment('30m', now, 'future'), '2026-11-22T12:30:00.000Z');
  assert.equal(parseMoment('+30m', now, 'future'), '2026-11-22T12:30:00.000Z');
  assert.equal(parseMoment('1h', now, 'past'), '2026-11-22T11:00:00.000Z');
  assert.equal(parseMoment('2026-11-23T09:00:00Z', now, 'future'), '2026-11-23T09:00:00.000Z');
  assert.equal(parseMoment('2026-11-23T09:00:00+01:00', now, 'future'), '2026-11-23T08:00:00.000Z');
  const clock = (at: string) => new Date(parseMoment(at, now, 'future')).getTime() - now;
  for (const text of ['00:00', '11:59', '12:00', '23:59']) {
    assert.ok(clock(text) > 0 && clock(text) <= 24 * hour, text);
    assert.ok(Date.parse(parseMoment(text, now, 'past')) <= now, text);
  }
  for (const text of ['', 'tomorrow', '25:00', '12:60', '2026-13-01T00:00:00Z', '-30m', '0m'])
    assert.throws(() => parseMoment(text, now, 'future'), text);
});

test('a copy of the log has plain paths: nothing leads out of its folder', () => {
  for (const path of ['checkpoint', 'log.vkey', 'tile/entries/x001/234.p/17', 'content/000', 'checkpoints/12'])
    assert.ok(isCopyPath(path), path);
  for (const path of [
    '',
    '/etc/passwd',
    '../outside',
    'tile/../../outside',
    'tile//0',
    './checkpoint',
    '.ssh/keys',
    'tile/.',
    'a\\..\\b',
    'C:/x',
    'a\0b',
    'a\nb',
    `${'a/'.repeat(200)}b`,
  ])
    assert.ok(!isCopyPath(path), JSON.stringify(path));
});

test('text of others stays on its line and moves no cursor', () => {
  assert.equal(plain('a\nb\tc\r\nd'), 'a b c d');
  assert.equal(plain('\u001b[2Jgone\u001b]0;title\u0007'), 'gone');
  for (const hostile of ['\u0000', '\u0007', '\u0008', '\u007f', '\u009b', '\u202e', '\u2066', '\r'])
    assert.doesNotMatch(plain(`x${hostile}y`), new RegExp(hostile, 'u'), JSON.stringify(hostile));
  assert.equal(plain('für 10 € 日本'), 'für 10 € 日本');
});

test('a table is aligned, and its last column is cut to the terminal', () => {
  let written = '';
  const sink: Sink = { write: (text) => void (written += text), isTty: true, colours: false, columns: 30 };
  table(
    sink,
    ['ROLE', 'STATE', 'REASON'],
    [
      ['a', { text: 'active', colour: 'green' }, 'x'.repeat(100)],
      ['orders', 'x', 'short'],
    ],
  );
  const lines = written.trimEnd().split('\n');
  assert.equal(lines[0], 'ROLE    STATE   REASON');
  assert.equal(lines[2], 'orders  x       short');
  assert.equal(lines[1]?.length, 30);
  assert.ok(lines[1]?.endsWith('…'));
});

test('a server is an origin, encrypted unless it is this machine', () => {
  assert.equal(parseServerUrl('sally.example.com', 'x'), 'https://sally.example.com');
  assert.equal(parseServerUrl('https://sally.example.com/', 'x'), 'https://sally.example.com');
  assert.equal(parseServerUrl('http://localhost:7700', 'x'), 'http://localhost:7700');
  assert.equal(parseServerUrl('http://[::1]:7700', 'x'), 'http://[::1]:7700');
  for (const text of [
    'http://sally.example.com',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'https://user:secret@sally.example.com',
    'https://sally.example.com/path',
    'https://sally.example.com/?q',
    'ftp://sally.example.com',
    '',
  ])
    assert.throws(() => parseServerUrl(text, 'x'), text);
});

test('a target is a grant, a role, a resource or left out', () => {
  assert.equal(parseTarget(undefined).kind, 'any');
  assert.equal(parseTarget('orders').kind, 'resource');
  assert.equal(parseTarget('orders/support-read').kind, 'role');
  assert.equal(parseTarget(`grt_${'0'.repeat(26)}`).kind, 'grant');
  assert.throws(() => parseTarget('Orders'));
  assert.throws(() => parseTarget('orders/a/b'));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { after, hours, minutes, seconds, type Instant } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import {
  cookieNameFor,
  endedCookie,
  isFresh,
  readCookie,
  sameSite,
  sessionCookie,
  shouldNoteSeen,
  webSessionState,
} from './web-session.ts';

const start = 1_800_000_000_000 as Instant;
const session = { startedAt: start, lastSeenAt: start, provenAt: start };
const justBefore = (at: Instant) => (at - 1) as Instant;

test('a sign-in that is not used ends after an hour', () => {
  const end = after(start, hours(1));
  assert.deepEqual(webSessionState(session, justBefore(end)), { kind: 'live', expiresAt: end });
  assert.deepEqual(webSessionState(session, end), { kind: 'ended', because: 'idle' });
});

test('INVARIANT 9: a sign-in that is used all the time ends after 12 hours', () => {
  const end = after(start, hours(12));
  const used = { ...session, lastSeenAt: justBefore(end) };
  assert.deepEqual(webSessionState(used, justBefore(end)), { kind: 'live', expiresAt: end });
  assert.deepEqual(webSessionState(used, end), { kind: 'ended', because: 'too_old' });
});

test('a sign-in is fresh for five minutes', () => {
  assert.ok(isFresh(session, start));
  assert.ok(isFresh(session, justBefore(after(start, minutes(5)))));
  assert.ok(!isFresh(session, after(start, minutes(5))));
  assert.ok(!isFresh({ provenAt: after(start, 1 as never) }, start), 'not one from the future');
});

test('being seen is written down once a minute', () => {
  assert.ok(!shouldNoteSeen(session, after(start, seconds(59))));
  assert.ok(shouldNoteSeen(session, after(start, seconds(60))));
});

test('the cookie is for this host alone, hidden from scripts and other sites', () => {
  const token = new Secret('sly_ws_x');
  assert.equal(cookieNameFor('https://sally.example'), '__Host-sally');
  assert.equal(
    sessionCookie('__Host-sally', token),
    '__Host-sally=sly_ws_x; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200',
  );
  assert.equal(endedCookie('__Host-sally'), '__Host-sally=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0');
});

test('at http://localhost the cookie has no prefix, for not every browser takes Secure cookies there', () => {
  assert.equal(cookieNameFor('http://localhost:8080'), 'sally');
  assert.equal(sessionCookie('sally', new Secret('t')), 'sally=t; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200');
});

for (const [header, expected] of [
  ['__Host-sally=a', 'a'],
  ['theme=dark; __Host-sally=a; other=b', 'a'],
  ['  __Host-sally = a ', 'a'],
  ['__Host-sally=a=b', 'a=b'],
  ['__Host-sally=', undefined],
  ['__Host-sally', undefined],
  ['sally=a', undefined],
  ['x__Host-sally=a', undefined],
  ['__host-sally=a', undefined],
  ['__Host-sally=a; __Host-sally=b', undefined],
  ['__Host-sally=a; __Host-sally=a', undefined],
  ['', undefined],
  [undefined, undefined],
] as const)
  test(`of the Cookie header \`${header}\` the sign-in is ${expected === undefined ? 'not read' : `\`${expected}\``}`, () => {
    assert.equal(readCookie(header, '__Host-sally'), expected);
  });

test('whatever the Cookie header, reading it does not throw', () => {
  fc.assert(fc.property(fc.string(), (header) => void readCookie(header, 'sally')));
});

const ours = {
  method: 'POST',
  origin: 'https://sally.example',
  secFetchSite: 'same-origin',
  contentType: 'application/json',
  publicOrigin: 'https://sally.example',
} as const;

for (const [name, change, expected] of [
  ['our own page', {}, 'same_site'],
  ['our own page, with a charset', { contentType: 'application/json; charset=utf-8' }, 'same_site'],
  ['our own page, with no body', { contentType: undefined }, 'same_site'],
  ['an old browser that sends no Sec-Fetch-Site', { secFetchSite: undefined }, 'same_site'],
  ['a browser that sends no Origin', { origin: undefined }, 'same_site'],
  ['a read from anywhere', { method: 'GET', origin: 'https://evil.test', secFetchSite: 'cross-site' }, 'same_site'],
  ['another site', { origin: 'https://evil.test', secFetchSite: 'cross-site' }, 'other_origin'],
  ['another site that lies about Sec-Fetch-Site', { origin: 'https://evil.test' }, 'other_origin'],
  ['a sandboxed frame', { origin: 'null' }, 'other_origin'],
  ['http instead of https', { origin: 'http://sally.example' }, 'other_origin'],
  ['another port', { origin: 'https://sally.example:8443' }, 'other_origin'],
  ['a subdomain', { origin: 'https://a.sally.example' }, 'other_origin'],
  ['a longer name', { origin: 'https://sally.example.evil.test' }, 'other_origin'],
  ['a sibling, without Origin', { origin: undefined, secFetchSite: 'same-site' }, 'other_origin'],
  ['an address typed by hand', { origin: undefined, secFetchSite: 'none' }, 'other_origin'],
  ['neither header', { origin: undefined, secFetchSite: undefined }, 'origin_unknown'],
  ['a form', { contentType: 'application/x-www-form-urlencoded' }, 'not_json'],
  ['a form that hides JSON', { contentType: 'text/plain; application/json' }, 'not_json'],
  ['another JSON', { contentType: 'application/json-patch+json' }, 'not_json'],
  ['DELETE from another site', { method: 'DELETE', origin: 'https://evil.test' }, 'other_origin'],
  ['a method in lower case', { method: 'get', origin: 'https://evil.test' }, 'other_origin'],
] as const)
  test(`a request of ${name}: ${expected}`, () => {
    const outcome = sameSite({ ...ours, ...change });
    assert.equal(outcome.kind === 'refused' ? outcome.because : outcome.kind, expected);
  });

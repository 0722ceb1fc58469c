import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { PrincipalId } from '#core/ids.ts';
import { after, days, hours, type Instant } from '#core/instant.ts';
import { linkUrl, makeLink, replaceLink, useLink } from './one-time-link.ts';
import { parseToken, sameHash } from './tokens.ts';

const random = (length: number) => new Uint8Array(randomBytes(length));
const now = 1_800_000_000_000 as Instant;
const ada = 'usr_01k9000000000000000000adaa' as PrincipalId;
const enrolment = () => makeLink({ purpose: 'enrolment', principal: ada }, { now, random });
const by = (at: Instant, purpose: 'bootstrap' | 'enrolment' = 'enrolment') => ({ purpose, now: at });

test('a link is used once', () => {
  const { link } = enrolment();
  const first = useLink(link, by(now));
  assert.equal(first.kind, 'used');
  assert.equal(first.link.principal, ada);
  assert.deepEqual(useLink(first.link, by(now)), { kind: 'refused', because: 'already_used' });
});

test('a link works up to its end and not at it', () => {
  const { link } = enrolment();
  const end = after(now, hours(24));
  assert.equal(useLink(link, by((end - 1) as Instant)).kind, 'used');
  assert.deepEqual(useLink(link, by(end)), { kind: 'refused', because: 'expired' });
});

test('the bootstrap link lives for an hour and is nobody’s yet', () => {
  const { link } = makeLink({ purpose: 'bootstrap' }, { now, random });
  assert.equal(link.expiresAt, after(now, hours(1)));
  assert.equal(link.principal, null);
  assert.deepEqual(useLink(link, by(now, 'enrolment')), { kind: 'refused', because: 'other_purpose' });
  assert.equal(useLink(link, by(now, 'bootstrap')).kind, 'used');
});

test('a link that gave way to a newer one is refused', () => {
  const replaced = replaceLink(enrolment().link, now);
  assert.equal(replaced.state, 'replaced');
  assert.deepEqual(useLink(replaced, by(now)), { kind: 'refused', because: 'replaced' });
});

test('what was used or has run out is not replaced', () => {
  const { link } = enrolment();
  const used = useLink(link, by(now));
  assert.equal(used.kind, 'used');
  assert.equal(replaceLink(used.link, now), used.link);
  const expired = replaceLink(link, link.expiresAt);
  assert.equal(expired.state, 'expired');
  assert.deepEqual(useLink(expired, by(now)), { kind: 'refused', because: 'expired' });
});

test('the address carries the token in its fragment, and prints as a placeholder', () => {
  const { link, token } = enrolment();
  const url = linkUrl('https://sally.example', token);
  assert.equal(String(url), '[secret]');
  const { pathname, search, hash } = new URL(url.reveal());
  assert.deepEqual([pathname, search], ['/enrol', '']);
  const parsed = parseToken('link', hash.slice(1));
  assert.ok(parsed !== undefined && sameHash(parsed, link.tokenHash));
});

test('a lifetime of nothing, or without end, is refused', () => {
  for (const lifetime of [0, -1, days(8), Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(
      () => makeLink({ purpose: 'bootstrap' }, { now, random, lifetime: lifetime as ReturnType<typeof hours> }),
      TypeError,
    );
});

/**
 * One-time links: how somebody without a passkey gets their first. A link is bound to one purpose, lives for hours and
 * works once: `live → used | replaced | expired`. The token is in the fragment of the address, which browsers keep to
 * themselves, so that it is in no server log and no `Referer`.
 */
import type { LinkId, PrincipalId, Random } from '#core/ids.ts';
import { newId } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import { after, days, hours } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import { newToken, type TokenHash } from './tokens.ts';

/** `bootstrap`: the first administrator, who chooses a handle. `enrolment`: a principal that was invited or reset. */
export type LinkPurpose = 'bootstrap' | 'enrolment';

type Common = {
  readonly id: LinkId;
  readonly tokenHash: TokenHash;
  readonly createdAt: Instant;
  readonly expiresAt: Instant;
} & (
  | { readonly purpose: 'bootstrap'; readonly principal: null }
  | { readonly purpose: 'enrolment'; readonly principal: PrincipalId }
);

export type LiveLink = Common & { readonly state: 'live' };
export type UsedLink = Common & { readonly state: 'used'; readonly usedAt: Instant };
export type ReplacedLink = Common & { readonly state: 'replaced'; readonly replacedAt: Instant };
export type ExpiredLink = Common & { readonly state: 'expired' };
export type OneTimeLink = LiveLink | UsedLink | ReplacedLink | ExpiredLink;

/** A bootstrap link is worth the whole installation and is made again at each start until one was used: it lives shortest. */
export const bootstrapLifetime: Duration = hours(1);
export const enrolmentLifetime: Duration = hours(24);
export const maxLinkLifetime: Duration = days(7);

export type LinkFor =
  | { readonly purpose: 'bootstrap' }
  | { readonly purpose: 'enrolment'; readonly principal: PrincipalId };

/**
 * A new link and the token that only its holder gets to see. The caller replaces the live links for the same principal
 * (or the live bootstrap link) in the same transaction.
 * @throws TypeError when the lifetime isn't above zero and at most seven days
 */
export function makeLink(
  what: LinkFor,
  from: { readonly now: Instant; readonly random: Random; readonly lifetime?: Duration },
): { readonly link: LiveLink; readonly token: Secret<string> } {
  const lifetime = from.lifetime ?? (what.purpose === 'bootstrap' ? bootstrapLifetime : enrolmentLifetime);
  if (!(lifetime > 0 && lifetime <= maxLinkLifetime))
    throw new TypeError(`make a one-time link: a lifetime of \`${lifetime}\` ms is not within (0, ${maxLinkLifetime}]`);
  const { token, hash } = newToken('link', from.random);
  const times = { createdAt: from.now, expiresAt: after(from.now, lifetime) };
  const common = { state: 'live', id: newId('link', from), tokenHash: hash, ...times } as const;
  const link: LiveLink =
    what.purpose === 'bootstrap'
      ? { ...common, purpose: 'bootstrap', principal: null }
      : { ...common, purpose: 'enrolment', principal: what.principal };
  return { link, token };
}

export type UseLinkOutcome =
  | { readonly kind: 'used'; readonly link: UsedLink }
  | { readonly kind: 'refused'; readonly because: 'expired' | 'already_used' | 'replaced' | 'other_purpose' };

/** Uses the link up. The caller stores the result under the condition that the link is still `live`. */
export function useLink(
  link: OneTimeLink,
  by: { readonly purpose: LinkPurpose; readonly now: Instant },
): UseLinkOutcome {
  if (link.purpose !== by.purpose) return { kind: 'refused', because: 'other_purpose' };
  switch (link.state) {
    case 'live':
      return isLinkExpired(link, by.now)
        ? { kind: 'refused', because: 'expired' }
        : { kind: 'used', link: { ...link, state: 'used', usedAt: by.now } };
    case 'used':
      return { kind: 'refused', because: 'already_used' };
    case 'replaced':
      return { kind: 'refused', because: 'replaced' };
    case 'expired':
      return { kind: 'refused', because: 'expired' };
    default:
      return link satisfies never;
  }
}

/** A live link gives way to a newer one; any other stays as it is. */
export function replaceLink(link: OneTimeLink, now: Instant): OneTimeLink {
  if (link.state !== 'live') return link;
  return isLinkExpired(link, now) ? { ...link, state: 'expired' } : { ...link, state: 'replaced', replacedAt: now };
}

/** True from the instant `expiresAt` on. */
export function isLinkExpired(link: { readonly expiresAt: Instant }, now: Instant): boolean {
  return now >= link.expiresAt;
}

/** `https://sally.example/enrol#sly_ln_…`. `publicUrl` has no trailing slash. */
export function linkUrl(publicUrl: string, token: Secret<string>): Secret<string> {
  return new Secret(`${publicUrl}/enrol#${token.reveal()}`);
}

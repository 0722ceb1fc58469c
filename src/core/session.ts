/** A session: one connection of one client to one resource under exactly one grant. */
import type { Allow } from './decision.ts';
import { isLive, type Grant } from './grant.ts';
import type { CredentialId, GrantId, SessionId } from './ids.ts';
import type { Instant } from './instant.ts';
import type { PrincipalRef } from './principal.ts';
import type { Role } from './role.ts';

declare const authorized: unique symbol;

/** Permission as a value: opening a target takes one, and only `authorizeSession` makes it. */
export type AuthorizedSession = {
  readonly [authorized]: true;
  readonly id: SessionId;
  readonly grant: GrantId;
  readonly credential: CredentialId;
  readonly principal: PrincipalRef;
  readonly role: Role;
  readonly reason: string;
  /** INVARIANT 4: the session carries its own end, so expiry needs no message from anybody. */
  readonly endsAt: Instant;
  readonly policyVersion: string;
};

export type AuthorizeOutcome =
  | { readonly kind: 'authorized'; readonly session: AuthorizedSession }
  | { readonly kind: 'refused'; readonly because: 'grant_not_live' | 'not_yours' | 'other_role' };

/** Makes the one value that opens a target, from a live grant and the answer to "may this principal connect now". */
export function authorizeSession(
  from: {
    readonly id: SessionId;
    readonly grant: Grant;
    readonly credential: CredentialId;
    readonly principal: PrincipalRef;
    readonly role: Role;
    readonly reason: string;
    readonly decision: Allow;
  },
  now: Instant,
): AuthorizeOutcome {
  const { id, grant, credential, principal, role, reason, decision } = from;
  if (grant.principal !== principal.id) return { kind: 'refused', because: 'not_yours' };
  if (grant.role !== role.name) return { kind: 'refused', because: 'other_role' };
  if (!isLive(grant, now)) return { kind: 'refused', because: 'grant_not_live' };
  const session = {
    id,
    grant: grant.id,
    credential,
    principal,
    role,
    reason,
    endsAt: grant.endsAt,
    policyVersion: decision.version,
  };
  // The one place that may make this value: everything the type promises was checked above.
  return { kind: 'authorized', session: session as typeof session & Pick<AuthorizedSession, typeof authorized> };
}

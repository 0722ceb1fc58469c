/** A grant: what an approved request becomes. `approved → active → ended`; the clock starts at activation. */
import type { GrantId, PrincipalId, RequestId, RoleName } from './ids.ts';
import { after, hours, type Duration, type Instant } from './instant.ts';

type Given = {
  readonly id: GrantId;
  readonly request: RequestId;
  readonly principal: PrincipalId;
  readonly role: RoleName;
  readonly duration: Duration;
  readonly notBefore: Instant;
  /** An approved grant that isn't activated by then has expired. */
  readonly activateBy: Instant;
};

export type ApprovedGrant = Given & { readonly state: 'approved' };
export type ActiveGrant = Given & { readonly state: 'active'; readonly activatedAt: Instant; readonly endsAt: Instant };
export type GrantEnd = 'expired' | 'revoked' | 'completed' | 'handed_back';
export type EndedGrant = Given & {
  readonly state: 'ended';
  readonly how: GrantEnd;
  readonly endedAt: Instant;
  /** Nobody when the time ended it. */
  readonly endedBy: PrincipalId | undefined;
};

export type Grant = ApprovedGrant | ActiveGrant | EndedGrant;

/** How long after its start (`notBefore`) an approved grant waits for activation. */
export const activationWindow: Duration = hours(24);

export function createGrant(given: Omit<Given, 'activateBy'>): ApprovedGrant {
  return { ...given, state: 'approved', activateBy: after(given.notBefore, activationWindow) };
}

export type ActivateOutcome =
  | { readonly kind: 'activated'; readonly grant: ActiveGrant }
  | { readonly kind: 'refused'; readonly because: 'not_yours' | 'too_early' | 'expired' | 'already_active' | 'ended' };

/** Starts the clock. Only the principal the grant is for can do so. */
export function activate(grant: Grant, by: PrincipalId, now: Instant): ActivateOutcome {
  if (by !== grant.principal) return { kind: 'refused', because: 'not_yours' };
  switch (grant.state) {
    case 'active':
      return { kind: 'refused', because: 'already_active' };
    case 'ended':
      return { kind: 'refused', because: 'ended' };
    case 'approved':
      if (now < grant.notBefore) return { kind: 'refused', because: 'too_early' };
      if (now >= grant.activateBy) return { kind: 'refused', because: 'expired' };
      return {
        kind: 'activated',
        grant: { ...grant, state: 'active', activatedAt: now, endsAt: after(now, grant.duration) },
      };
    default:
      return grant satisfies never;
  }
}

export type EndOutcome =
  | { readonly kind: 'ended'; readonly grant: EndedGrant }
  | { readonly kind: 'refused'; readonly because: 'already_ended' | 'not_yet' };

/** Ends it for good. `expired` is only true once the time is over; a person may end it at any moment. */
export function end(
  grant: Grant,
  by: { readonly how: GrantEnd; readonly who: PrincipalId | undefined },
  now: Instant,
): EndOutcome {
  if (grant.state === 'ended') return { kind: 'refused', because: 'already_ended' };
  if (by.how === 'expired' && now < limitOf(grant)) return { kind: 'refused', because: 'not_yet' };
  const endedAt = by.how === 'expired' ? limitOf(grant) : now;
  const { id, request, principal, role, duration, notBefore, activateBy } = grant;
  return {
    kind: 'ended',
    grant: {
      id,
      request,
      principal,
      role,
      duration,
      notBefore,
      activateBy,
      state: 'ended',
      how: by.how,
      endedAt,
      endedBy: by.who,
    },
  };
}

/** When time alone ends it. */
export function limitOf(grant: ApprovedGrant | ActiveGrant): Instant {
  return grant.state === 'active' ? grant.endsAt : grant.activateBy;
}

/** INVARIANT 4: live is active and before its end, by the clock, whether or not anybody has written the end down yet. */
export function isLive(grant: Grant, now: Instant): grant is ActiveGrant {
  return grant.state === 'active' && now < grant.endsAt;
}

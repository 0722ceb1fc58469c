/** An access request and what may become of it. Each state holds only what exists in it. */
import type { GrantId, PrincipalId, RequestId, RoleName } from './ids.ts';
import { after, hours, type Duration, type Instant } from './instant.ts';

type Asked = {
  readonly id: RequestId;
  readonly requester: PrincipalId;
  /** Everybody the requester acts for, nearest first; empty for a person acting for themselves. */
  readonly actsFor: readonly PrincipalId[];
  readonly role: RoleName;
  readonly duration: Duration;
  readonly reason: string;
  readonly ticket: string | undefined;
  readonly startsAt: Instant | undefined;
  readonly filedAt: Instant;
  readonly expiresAt: Instant;
  readonly approvalsNeeded: number;
  /** Different people who approved so far. */
  readonly approvedBy: readonly PrincipalId[];
};

export type PendingRequest = Asked & { readonly state: 'pending' };
export type ApprovedRequest = Asked & {
  readonly state: 'approved';
  readonly grant: GrantId;
  readonly decidedAt: Instant;
};

export type AccessRequest =
  | PendingRequest
  | ApprovedRequest
  | (Asked & {
      readonly state: 'denied';
      readonly deniedBy: PrincipalId;
      readonly word: string;
      readonly decidedAt: Instant;
    })
  | (Asked & { readonly state: 'withdrawn'; readonly decidedAt: Instant })
  | (Asked & { readonly state: 'expired'; readonly decidedAt: Instant });

/** Why a person's decision on a request is refused. */
export type DecisionRefusal = 'own_request' | 'expired' | 'already_decided' | 'already_approved_by_you';

export type ApproveOutcome =
  | { readonly kind: 'approved'; readonly request: ApprovedRequest }
  /** Counted, but more people are needed. */
  | { readonly kind: 'counted'; readonly request: PendingRequest; readonly stillNeeded: number }
  | { readonly kind: 'refused'; readonly because: DecisionRefusal };

/** How long a pending request waits for an answer. */
export const requestTimeToLive: Duration = hours(1);

function mayDecide(request: AccessRequest, by: PrincipalId, now: Instant): DecisionRefusal | undefined {
  // INVARIANT 2: nobody decides on their own request, nor on one made in their name, whatever policy or rights say.
  if (by === request.requester || request.actsFor.includes(by)) return 'own_request';
  if (request.state !== 'pending') return 'already_decided';
  if (now >= request.expiresAt) return 'expired';
  return undefined;
}

/** Counts one person's approval; the last one needed turns the request into a grant with the given id. */
export function approve(
  request: AccessRequest,
  by: { readonly approver: PrincipalId; readonly grant: GrantId },
  now: Instant,
): ApproveOutcome {
  const refusal = mayDecide(request, by.approver, now);
  if (refusal !== undefined) return { kind: 'refused', because: refusal };
  if (request.state !== 'pending') return { kind: 'refused', because: 'already_decided' };
  // INVARIANT 2: approvals count people, so the same person counts once.
  if (request.approvedBy.includes(by.approver)) return { kind: 'refused', because: 'already_approved_by_you' };
  const approvedBy = [...request.approvedBy, by.approver];
  const stillNeeded = request.approvalsNeeded - approvedBy.length;
  if (stillNeeded > 0) return { kind: 'counted', request: { ...request, approvedBy }, stillNeeded };
  return { kind: 'approved', request: { ...request, approvedBy, state: 'approved', grant: by.grant, decidedAt: now } };
}

export type DenyOutcome =
  | { readonly kind: 'denied'; readonly request: AccessRequest & { readonly state: 'denied' } }
  | { readonly kind: 'refused'; readonly because: DecisionRefusal };

export function deny(
  request: AccessRequest,
  by: { readonly approver: PrincipalId; readonly word: string },
  now: Instant,
): DenyOutcome {
  const refusal = mayDecide(request, by.approver, now);
  if (refusal !== undefined) return { kind: 'refused', because: refusal };
  return {
    kind: 'denied',
    request: { ...request, state: 'denied', deniedBy: by.approver, word: by.word, decidedAt: now },
  };
}

export type WithdrawOutcome =
  | { readonly kind: 'withdrawn'; readonly request: AccessRequest & { readonly state: 'withdrawn' } }
  | { readonly kind: 'refused'; readonly because: 'not_yours' | 'already_decided' };

export function withdraw(request: AccessRequest, by: PrincipalId, now: Instant): WithdrawOutcome {
  if (by !== request.requester) return { kind: 'refused', because: 'not_yours' };
  if (request.state !== 'pending') return { kind: 'refused', because: 'already_decided' };
  return { kind: 'withdrawn', request: { ...request, state: 'withdrawn', decidedAt: now } };
}

/** The request as it is at `now`: a pending one whose time is over has expired at that moment. */
export function expire(request: AccessRequest, now: Instant): AccessRequest {
  if (request.state !== 'pending' || now < request.expiresAt) return request;
  return { ...request, state: 'expired', decidedAt: request.expiresAt };
}

export function expiryOf(filedAt: Instant): Instant {
  return after(filedAt, requestTimeToLive);
}

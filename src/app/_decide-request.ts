/** Who may decide on a request, asked the same way for approving, denying and showing the buttons. */
import type { Allow } from '#core/decision.ts';
import type { Principal } from '#core/principal.ts';
import type { AccessRequest, DecisionRefusal } from '#core/request.ts';
import { done, notFound, refused, type AppContext, type Outcome, type Refused } from './context.ts';

export function mayDecide(
  ctx: Pick<AppContext, 'policy' | 'clock'>,
  principal: Principal,
  request: AccessRequest | undefined,
  id: string,
): Outcome<{ readonly request: AccessRequest; readonly decision: Allow }> {
  if (request === undefined) return notFound('request', id);
  // INVARIANT 2: before any policy is asked, whatever it would say.
  if (principal.id === request.requester || request.actsFor.includes(principal.id)) return refusalOf('own_request', id);
  const decision = ctx.policy.decide({
    action: 'approve_request',
    principal,
    now: ctx.clock.now(),
    request: {
      id: request.id,
      requester: request.requester,
      actsFor: request.actsFor,
      role: request.role,
      duration: request.duration,
    },
  });
  if (decision.kind !== 'allow') return notFound('request', id);
  return done({ request, decision });
}

export function refusalOf(because: DecisionRefusal, id: string): Refused {
  switch (because) {
    case 'own_request':
      return refused(
        'own_request',
        `decide on request \`${id}\`: nobody decides on their own request`,
        'somebody else of the approvers has to',
      );
    case 'expired':
      return refused(
        'expired',
        `decide on request \`${id}\`: it waited too long and has expired`,
        'the requester can ask again',
      );
    case 'already_decided':
      return refused('already_decided', `decide on request \`${id}\`: it has been decided already`);
    case 'already_approved_by_you':
      return refused(
        'already_approved_by_you',
        `approve request \`${id}\`: you have approved it; it needs somebody else as well`,
      );
    default:
      return because satisfies never;
  }
}

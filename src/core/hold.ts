/**
 * A hold: a statement, or an act of administration, that waits for its cures. `waiting → cured → released`, or out of either
 * of the first two `denied`, `withdrawn`, `expired`, `ended`. Released is consumed by the one run that it was for; what was
 * obtained is input to the policy that judges that run, and never a pass.
 */
import type { Approvers, Cure, Demand } from './decision.ts';
import type { GrantId, HoldId, PrincipalId, SessionId } from './ids.ts';
import { after, between, type Duration, type Instant } from './instant.ts';

/** What is held: one run of one statement in one session, or one act with exactly this content. */
export type HeldSubject =
  | { readonly kind: 'statement'; readonly session: SessionId; readonly grant: GrantId; readonly digest: string }
  | { readonly kind: 'act'; readonly digest: string };

type Opened = {
  readonly id: HoldId;
  readonly requester: PrincipalId;
  /** Everybody the requester acts for, nearest first. */
  readonly actsFor: readonly PrincipalId[];
  readonly subject: HeldSubject;
  readonly demands: readonly Demand[];
  readonly openedAt: Instant;
  readonly expiresAt: Instant;
};

export type WithdrawnBecause = 'client_cancelled' | 'timed_out' | 'session_ended' | 'by_requester';

export type WaitingHold = Opened & { readonly state: 'waiting' };
export type CuredHold = Opened & { readonly state: 'cured' };
export type Hold =
  | WaitingHold
  | CuredHold
  | (Opened & { readonly state: 'released' | 'withdrawn' | 'expired'; readonly settledAt: Instant })
  | (Opened & {
      readonly state: 'denied';
      readonly deniedBy: PrincipalId;
      readonly word: string;
      readonly settledAt: Instant;
    })
  /** Its session or grant ended, or policy asks for something else by now. */
  | (Opened & { readonly state: 'ended'; readonly word: string; readonly settledAt: Instant });

export type HoldState = Hold['state'];
export type LiveHold = WaitingHold | CuredHold;

/** Who approved, as they are now: who is no longer in the group, or may not act any more, is left out by the caller. */
export type Approval = {
  readonly by: PrincipalId;
  readonly handle: string;
  readonly groups: readonly string[];
  readonly at: Instant;
  /** A condition of the approver: it counts no longer than that. */
  readonly validFor?: Duration;
  /** The rows that a preview touched were in what was signed. */
  readonly sawPreview: boolean;
};

/** What has been obtained for a hold so far. */
export type Obtained = {
  readonly proof?: { readonly at: Instant; readonly sawPreview: boolean };
  readonly approvals: readonly Approval[];
  readonly hasReason: boolean;
  readonly isActivated: boolean;
  readonly signedInAt?: Instant;
  /** Demands that a cover meets, as `demandKey` writes them. */
  readonly covered?: ReadonlySet<string>;
};

export const demandKey = ({ policy, cure }: Pick<Demand, 'policy'> & { readonly cure: { readonly kind: string } }) =>
  `${policy} ${cure.kind}`;

/** The demands that are not met at `now`. */
export function unmet(demands: readonly Demand[], obtained: Obtained, now: Instant): readonly Demand[] {
  return demands.filter((demand) => !isMet(demand, obtained, now));
}

function isMet(demand: Demand, obtained: Obtained, now: Instant): boolean {
  if (obtained.covered?.has(demandKey(demand)) === true) return true;
  const { cure } = demand;
  switch (cure.kind) {
    case 'proof':
      return obtained.proof !== undefined;
    case 'approval':
      return approvers(obtained.approvals, cure, now).length >= cure.count;
    case 'reason':
      return obtained.hasReason;
    case 'activation':
      return obtained.isActivated;
    case 'fresh_sign_in':
      return obtained.signedInAt !== undefined && between(obtained.signedInAt, now) <= cure.within;
    case 'preview': {
      if (cure.approvers === undefined) return obtained.proof?.sawPreview === true;
      const seen = obtained.approvals.filter((approval) => approval.sawPreview);
      return approvers(seen, cure.approvers, now).length >= cure.approvers.count;
    }
    default:
      return cure satisfies never;
  }
}

/** INVARIANT 2: people, each once, among those who are named. */
function approvers(approvals: readonly Approval[], named: Approvers, now: Instant): readonly PrincipalId[] {
  const people = new Set<PrincipalId>();
  for (const approval of approvals)
    if (isNamed(approval, named) && (approval.validFor === undefined || now < after(approval.at, approval.validFor)))
      people.add(approval.by);
  return [...people];
}

export function isNamed(
  person: { readonly handle: string; readonly groups: readonly string[] },
  { by }: Approvers,
): boolean {
  return by.some((one) => ('group' in one ? person.groups.includes(one.group) : person.handle === one.handle));
}

/** Whom a cure asks, where it asks others than the requester. */
export function approversOf(cure: Cure): Approvers | undefined {
  return cure.kind === 'approval' ? cure : cure.kind === 'preview' ? cure.approvers : undefined;
}

/** Must the requester's own passkey sign it? */
export function wantsProof(demands: readonly Demand[]): boolean {
  return demands.some(({ cure }) => cure.kind === 'proof' || (cure.kind === 'preview' && cure.approvers === undefined));
}

export function wantsPreview(demands: readonly Demand[]): boolean {
  return demands.some(({ cure }) => cure.kind === 'preview');
}

export type HoldRefusal =
  | 'own_hold'
  | 'not_yours'
  | 'not_asked'
  | 'expired'
  | 'already_settled'
  | 'already_cured'
  | 'already_given'
  | 'no_preview_yet';

type Step<S extends HoldState> =
  | { readonly kind: 'done'; readonly hold: Hold & { readonly state: S } }
  | { readonly kind: 'refused'; readonly because: HoldRefusal };

const refusal = (because: HoldRefusal) => ({ kind: 'refused', because }) as const;

export function isLiveHold(hold: Hold): hold is LiveHold {
  return hold.state === 'waiting' || hold.state === 'cured';
}

/** May this person sign for it as its requester? */
export function refuseProof(
  hold: Hold,
  by: PrincipalId,
  so: { readonly isProven: boolean; readonly hasPreview: boolean },
  now: Instant,
): HoldRefusal | undefined {
  if (by !== hold.requester) return 'not_yours';
  const late = refuseStep(hold, now);
  if (late !== undefined) return late;
  if (!wantsProof(hold.demands)) return 'not_asked';
  if (so.isProven) return 'already_given';
  return wantsPreview(hold.demands) && !so.hasPreview ? 'no_preview_yet' : undefined;
}

/** May this person approve it? */
export function refuseApproval(
  hold: Hold,
  by: { readonly id: PrincipalId; readonly handle: string; readonly groups: readonly string[] },
  so: { readonly hasApproved: boolean; readonly hasPreview: boolean },
  now: Instant,
): HoldRefusal | undefined {
  // INVARIANT 2: nobody approves what they ask for themselves, nor what is asked in their name.
  if (by.id === hold.requester || hold.actsFor.includes(by.id)) return 'own_hold';
  const asks = hold.demands.some(({ cure }) => {
    const named = approversOf(cure);
    return named !== undefined && isNamed(by, named);
  });
  if (!asks) return 'not_asked';
  const late = refuseStep(hold, now);
  if (late !== undefined) return late;
  if (so.hasApproved) return 'already_given';
  return wantsPreview(hold.demands) && !so.hasPreview ? 'no_preview_yet' : undefined;
}

function refuseStep(hold: Hold, now: Instant): HoldRefusal | undefined {
  if (hold.state === 'cured') return 'already_cured';
  if (hold.state !== 'waiting') return 'already_settled';
  return now >= hold.expiresAt ? 'expired' : undefined;
}

/** Nothing more is asked: it may run. */
export function cure(hold: Hold, obtained: Obtained, now: Instant): Step<'cured'> | { readonly kind: 'waits' } {
  const late = refuseStep(hold, now);
  if (late !== undefined) return refusal(late);
  if (unmet(hold.demands, obtained, now).length > 0) return { kind: 'waits' };
  return { kind: 'done', hold: { ...opened(hold), state: 'cured' } };
}

export type ReleaseRefusal = 'not_cured' | 'expired' | 'other_session' | 'other_content';

/** Consumes it, for exactly the run that it was for. Whether policy allows that run is asked before and beside this. */
export function release(
  hold: Hold,
  run: HeldSubject,
  now: Instant,
):
  | { readonly kind: 'done'; readonly hold: Hold & { readonly state: 'released' } }
  | { readonly kind: 'refused'; readonly because: ReleaseRefusal } {
  const refused = (because: ReleaseRefusal) => ({ kind: 'refused', because }) as const;
  // INVARIANT 5: this content, in this session, once.
  if (run.kind !== hold.subject.kind) return refused('other_content');
  if (run.kind === 'statement' && hold.subject.kind === 'statement' && run.session !== hold.subject.session)
    return refused('other_session');
  if (run.digest !== hold.subject.digest) return refused('other_content');
  if (hold.state !== 'cured') return refused('not_cured');
  if (now >= hold.expiresAt) return refused('expired');
  return { kind: 'done', hold: { ...opened(hold), state: 'released', settledAt: now } };
}

export function denyHold(
  hold: Hold,
  by: { readonly who: PrincipalId; readonly word: string },
  now: Instant,
): Step<'denied'> {
  if (by.who === hold.requester || hold.actsFor.includes(by.who)) return refusal('own_hold');
  if (!isLiveHold(hold)) return refusal('already_settled');
  if (now >= hold.expiresAt) return refusal('expired');
  return { kind: 'done', hold: { ...opened(hold), state: 'denied', deniedBy: by.who, word: by.word, settledAt: now } };
}

export function withdrawHold(hold: Hold, now: Instant): Step<'withdrawn'> {
  if (!isLiveHold(hold)) return refusal('already_settled');
  return { kind: 'done', hold: { ...opened(hold), state: 'withdrawn', settledAt: now } };
}

/** What it was for is gone: the session, the grant, or the policy that asked. */
export function endHold(hold: Hold, word: string, now: Instant): Step<'ended'> {
  if (!isLiveHold(hold)) return refusal('already_settled');
  return { kind: 'done', hold: { ...opened(hold), state: 'ended', word, settledAt: now } };
}

/** As it is at `now`: one whose time is over has expired at that moment. */
export function expireHold(hold: Hold, now: Instant): Hold {
  if (!isLiveHold(hold) || now < hold.expiresAt) return hold;
  return { ...opened(hold), state: 'expired', settledAt: hold.expiresAt };
}

function opened({ id, requester, actsFor, subject, demands, openedAt, expiresAt }: Hold): Opened {
  return { id, requester, actsFor, subject, demands, openedAt, expiresAt };
}

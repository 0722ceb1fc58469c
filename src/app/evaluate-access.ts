/**
 * Answers whether somebody may do something, for another system that asks (AuthZEN §6 and §7). An answer gives nothing: it
 * opens no session and is no input to a later decision; whoever acts on it is told so by what it does with us. Each answer
 * is in the log, with what was asked.
 */
import { parseId, type EntryId, type GrantId, type RoleName } from '#core/ids.ts';
import type { Cure } from '#core/decision.ts';
import { limitOf, type Grant } from '#core/grant.ts';
import { after, formatInstant, minutes, type Instant } from '#core/instant.ts';
import { canonicalJson, type Json } from '#core/jcs.ts';
import type { Principal } from '#core/principal.ts';
import { transaction } from '#store/database.ts';
import {
  findSubject,
  judgeAccess,
  type AskedAction,
  type AskedEntity,
  type Judged,
  type Properties,
} from './_access-question.ts';
import { mayReadAll } from './_reading.ts';
import { grantOf } from './_rows.ts';
import type { AppContext, Caller } from './context.ts';
import { writeEntries, type EntryDraft } from './write-entry.ts';

export type AccessAsk = {
  readonly subject: AskedEntity;
  readonly action: AskedAction;
  readonly resource: AskedEntity;
  readonly context?: Properties | undefined;
};

/** When to stop: at the end, at the first denial (or failure), at the first permit. */
export type Semantic = 'execute_all' | 'deny_on_first_deny' | 'permit_on_first_permit';

export type AccessAnswer =
  | { readonly kind: 'allowed'; readonly id: EntryId; readonly at: Instant; readonly approval?: ShownApproval }
  | {
      readonly kind: 'denied';
      readonly id: EntryId;
      readonly at: Instant;
      readonly reason: DenialReason;
      readonly cures: readonly Cure[];
      /** To be asked for by the caller, until then. */
      readonly requestable?: { readonly role: RoleName; readonly until: Instant };
      /** Given, and not activated yet. */
      readonly waiting?: GrantId;
      /** For those who may read everybody's decisions. */
      readonly because?: string;
      readonly policies?: readonly string[];
    }
  /** The caller may not ask about others. The same for somebody who doesn't exist. */
  | { readonly kind: 'not_yours' };

/** What an approval is called towards other systems: the grant that it became. */
export type ShownApproval = { readonly id: GrantId; readonly until: Instant };

export type DenialReason =
  | 'denied'
  | 'cure_needed'
  | 'approval_required'
  /** Of the access request profile, "Approval and Re-evaluation". */
  | 'grant_pending'
  | 'approval_expired'
  | 'out_of_scope'
  | 'approval_unverifiable';

/** How long a denial can be turned into a request. */
const requestableFor = minutes(10);

/** Asks in order; an ask that is `undefined` couldn't be read, and counts as denied. Answers those that were asked. */
export async function evaluateAccess(
  ctx: AppContext,
  caller: Caller,
  asks: readonly (AccessAsk | undefined)[],
  semantic: Semantic = 'execute_all',
): Promise<readonly (AccessAnswer | undefined)[]> {
  const now = ctx.clock.now();
  const readsAll = mayReadAll(ctx, caller.principal);
  const judged: (Evaluated | undefined)[] = [];
  for (const ask of asks) {
    const one = ask === undefined ? undefined : await evaluate(ctx, caller, ask, readsAll, now);
    judged.push(one);
    const isAllowed = one?.kind === 'judged' && one.judged.kind === 'allow';
    if (semantic === (isAllowed ? 'permit_on_first_permit' : 'deny_on_first_deny')) break;
  }
  const drafts = judged.flatMap((one) => (one?.kind === 'judged' ? [draftOf(ctx, caller, one)] : []));
  const ids = drafts.length === 0 ? [] : await transaction(ctx.db, (trx) => writeEntries(ctx, trx, drafts));
  let at = 0;
  return judged.map((one) => {
    if (one?.kind !== 'judged') return one;
    const id = ids[at];
    at += 1;
    if (id === undefined) throw new Error('evaluate access: an answer has no entry');
    return answerOf(one, id, readsAll, now);
  });
}

type Evaluated =
  | { readonly kind: 'not_yours' }
  | {
      readonly kind: 'judged';
      readonly ask: AccessAsk;
      readonly subject: Principal | undefined;
      readonly judged: Judged;
      readonly requestable: { readonly role: RoleName; readonly until: Instant } | undefined;
      /** The approval that came with the question, as it is here. */
      readonly approval: 'none' | 'unverifiable' | Grant;
    };

/** Whom the caller may ask about: themselves, and everybody if they may read everybody's decisions. */
export async function subjectFor(
  ctx: AppContext,
  caller: Caller,
  subject: Pick<AskedEntity, 'type' | 'id'>,
  readsAll: boolean,
): Promise<Principal | 'not_yours' | undefined> {
  const { principal } = caller;
  if (subject.type === principal.kind && (subject.id === principal.handle || subject.id === principal.id))
    return principal;
  // INVARIANT 14: before anybody is looked for.
  return readsAll ? await findSubject(ctx, subject) : 'not_yours';
}

async function evaluate(
  ctx: AppContext,
  caller: Caller,
  ask: AccessAsk,
  readsAll: boolean,
  now: Instant,
): Promise<Evaluated> {
  const subject = await subjectFor(ctx, caller, ask.subject, readsAll);
  if (subject === 'not_yours') return { kind: 'not_yours' };
  const judged: Judged =
    subject === undefined
      ? { kind: 'deny', policies: [], because: 'there is no such subject' }
      : await judgeAccess(ctx, {
          subject,
          action: ask.action,
          resource: ask.resource,
          address: addressOf(caller, subject, ask),
        });
  const isOwn = subject?.id === caller.principal.id;
  const requestable =
    judged.role !== undefined && isOwn ? { role: judged.role, until: after(now, requestableFor) } : undefined;
  return { kind: 'judged', ask, subject, judged, requestable, approval: await approvalOf(ctx, ask, subject) };
}

/** Where a connection would come from: as the question says, or from where the caller itself asks. */
export function addressOf(caller: Caller, subject: Principal, ask: Pick<AccessAsk, 'context'>): string {
  const given = ask.context?.['address'];
  if (typeof given === 'string') return given;
  return subject.id === caller.principal.id ? caller.address : '';
}

/** An approval is looked at as it stands now. It is never what allows: the grant that it became does that, or doesn't. */
async function approvalOf(
  ctx: AppContext,
  { context }: AccessAsk,
  subject: Principal | undefined,
): Promise<'none' | 'unverifiable' | Grant> {
  const approval = context?.['approval'];
  if (ctx.site.accessRequestProfile === undefined || approval === undefined) return 'none';
  const id =
    typeof approval === 'object' && approval !== null && 'id' in approval ? parseId('grant', approval.id) : undefined;
  if (id === undefined || subject === undefined) return 'unverifiable';
  const row = await ctx.db
    .selectFrom('access_grant')
    .selectAll()
    .where('id', '=', id)
    .where('principal', '=', subject.id)
    .executeTakeFirst();
  return row === undefined ? 'unverifiable' : grantOf(row);
}

function reasonOf({ judged, approval }: Extract<Evaluated, { kind: 'judged' }>, now: Instant): DenialReason {
  if (judged.kind === 'curable') return 'cure_needed';
  if (approval === 'unverifiable') return 'approval_unverifiable';
  if (approval !== 'none') {
    if (approval.state === 'ended' || now >= limitOf(approval)) return 'approval_expired';
    return approval.state === 'approved' ? 'grant_pending' : 'out_of_scope';
  }
  if (judged.grant?.state === 'approved') return 'grant_pending';
  return judged.role === undefined ? 'denied' : 'approval_required';
}

function answerOf(
  evaluated: Extract<Evaluated, { kind: 'judged' }>,
  id: EntryId,
  readsAll: boolean,
  now: Instant,
): AccessAnswer {
  const { judged, approval, requestable } = evaluated;
  if (judged.kind === 'allow') {
    const by = judged.grant;
    const isByIt = typeof approval === 'object' && by !== undefined && by.state !== 'ended' && by.id === approval.id;
    return { kind: 'allowed', id, at: now, ...(isByIt ? { approval: { id: by.id, until: limitOf(by) } } : {}) };
  }
  return {
    kind: 'denied',
    id,
    at: now,
    reason: reasonOf(evaluated, now),
    cures: judged.cures ?? [],
    ...(requestable === undefined ? {} : { requestable }),
    ...(judged.kind === 'deny' && judged.grant?.state === 'approved' ? { waiting: judged.grant.id } : {}),
    ...(readsAll ? { because: judged.because ?? '', policies: judged.policies } : {}),
  };
}

/** Who was asked about can read it as their own; so can whoever asked. */
function draftOf(
  ctx: AppContext,
  caller: Caller,
  { ask, subject, judged, requestable }: Extract<Evaluated, { kind: 'judged' }>,
): EntryDraft {
  return {
    kind: 'decision.evaluated',
    actor: caller.principal.id,
    subjects: {
      ...(subject === undefined ? {} : { principal: subject.id }),
      ...(judged.grant === undefined ? {} : { grant: judged.grant.id }),
    },
    public: {
      decision: judged.kind,
      policies: [...judged.policies],
      policyVersion: ctx.policy.version,
      ...(requestable === undefined
        ? {}
        : { requestable: requestable.role, requestableUntil: formatInstant(requestable.until) }),
    },
    content: {
      subject: bounded(ask.subject),
      action: bounded(ask.action),
      resource: bounded(ask.resource),
      ...(ask.context === undefined ? {} : { context: bounded(ask.context) }),
      address: caller.address,
    },
    ...(subject === undefined ? {} : { of: subject.id }),
  };
}

/** What the log keeps of what was asked: all of it, unless it is absurd. */
export function bounded(value: unknown): Json {
  try {
    const text = canonicalJson(value);
    return text.length > 8192 ? { tooLong: text.length } : (JSON.parse(text) as Json);
  } catch {
    // Half a character, or nested without end: nothing of ours is called that.
    return { unreadable: true };
  }
}

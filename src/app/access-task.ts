/**
 * A request that follows from a denied evaluation, and what becomes of it, in the words of AuthZEN's Access Request and
 * Approval Profile (draft 1): the denial was given here, the request is decided here, so the one is found by the other's
 * id, in the log. An approved task gives nothing by itself: the grant waits for its owner's passkey, and each later
 * evaluation is judged by what is so then.
 */
import { parseId, type EntryId, type RequestId } from '#core/ids.ts';
import { limitOf } from '#core/grant.ts';
import { after, between, hours, parseInstant, seconds, type Duration, type Instant } from '#core/instant.ts';
import { canonicalJson, type Json } from '#core/jcs.ts';
import { expire } from '#core/request.ts';
import { textHash } from '#log/challenge.ts';
import { parseEntry } from '#log/entry.ts';
import { bounded, type AccessAsk, type ShownApproval } from './evaluate-access.ts';
import { fileRequest, findRepeated } from './file-request.ts';
import { grantOf, readRequest } from './_rows.ts';
import type { AppContext, Caller } from './context.ts';
import { openOf } from './read-log.ts';
import { withdrawRequest } from './withdraw-request.ts';

export type TaskStatus = 'pending' | 'approved' | 'denied' | 'expired' | 'cancelled';

export type AccessTask = {
  readonly id: RequestId;
  readonly status: TaskStatus;
  /** Of a pending one: when nobody may decide it any more. */
  readonly expiresAt: Instant;
  readonly approvals: { readonly given: number; readonly needed: number };
  /** Of an approved one. */
  readonly approval?: ShownApproval & { readonly at: Instant };
};

export type TaskProblem =
  | 'not_requestable'
  | 'invalid_denial_binding'
  | 'expired_denial'
  | 'duplicate_request'
  | 'unknown_task'
  | 'invalid_task_state'
  /** Not of the profile's own kinds. */
  | 'forbidden'
  | 'invalid_input'
  | 'conflict';

export type TaskOutcome =
  | { readonly kind: 'task'; readonly task: AccessTask }
  | { readonly kind: 'problem'; readonly because: TaskProblem; readonly message: string };

const problem = (because: TaskProblem, message: string): TaskOutcome => ({ kind: 'problem', because, message });

export type Submission = Pick<AccessAsk, 'subject' | 'action' | 'resource'> & {
  readonly denial: {
    readonly evaluation: string;
    /** As it was echoed. */
    readonly template?: string | undefined;
  };
  readonly reason: string;
  readonly until: string | undefined;
  /** What the client calls this submission, and all of what it sent. */
  readonly repetition: { readonly key: string; readonly body: unknown } | undefined;
};

/** When nobody says how long. */
const usualDuration = hours(1);

export async function fileAccessTask(ctx: AppContext, caller: Caller, submission: Submission): Promise<TaskOutcome> {
  const now = ctx.clock.now();
  const { subject, action, resource, denial } = submission;
  const { principal } = caller;
  // Nobody asks in another's name: who approves must know whose word the reason is.
  if (subject.type !== principal.kind || (subject.id !== principal.handle && subject.id !== principal.id))
    return problem('forbidden', 'request access: you may ask for yourself only');

  const repetition = submission.repetition && {
    key: textHash(`${principal.id} ${submission.repetition.key}`),
    body: textHash(canonicalJson(submission.repetition.body)),
  };
  // A repetition is answered as the first was, also when the denial has run out meanwhile.
  const earlier = repetition && (await findRepeated(ctx.db, principal.id, repetition.key, now));
  if (earlier !== undefined && earlier.body === repetition?.body)
    return await readAccessTask(ctx, caller, earlier.request);
  if (earlier !== undefined)
    return problem('duplicate_request', 'request access: this key was used for another request');

  const found = await findDenial(ctx, caller, denial.evaluation);
  const unbound = problem('invalid_denial_binding', 'request access: the denial does not belong to this request');
  if (found === undefined) return unbound;
  for (const [name, given] of Object.entries({ subject, action, resource }))
    if (canonicalJson(found.asked[name]) !== canonicalJson(bounded(given))) return unbound;
  const { requestable } = found;
  if (requestable === undefined) return problem('not_requestable', 'request access: the denial was none to ask about');
  if (denial.template !== undefined && denial.template !== requestable.role) return unbound;
  if (now >= requestable.until) return problem('expired_denial', 'request access: the denial is too old; ask again');

  const role = ctx.policy.configuration?.resources
    .flatMap(({ roles }) => roles)
    .find(({ name }) => name === requestable.role);
  if (role === undefined) return problem('not_requestable', 'request access: the role is gone');
  const until = submission.until === undefined ? undefined : parseInstant(submission.until);
  if (submission.until !== undefined && (until === undefined || until <= now))
    return problem('invalid_input', 'request access: `requested_until` is not a time to come');
  const wanted = until === undefined ? usualDuration : wholeMinutes(between(now, until));
  const outcome = await fileRequest(ctx, caller, {
    role: role.name,
    duration: Math.min(wanted, role.maxDuration) as Duration,
    reason: submission.reason,
    ticket: undefined,
    startsAt: undefined,
    from: { evaluation: found.id, ...(repetition === undefined ? {} : { repetition }) },
  });
  if (outcome.kind === 'done') return await readAccessTask(ctx, caller, outcome.value);
  if (outcome.because === 'conflict') return problem('conflict', outcome.message);
  return problem('not_requestable', outcome.message);
}

function wholeMinutes(duration: Duration): Duration {
  return seconds(Math.max(1, Math.floor(duration / 60_000)) * 60);
}

/** The caller's own; those of others are not there. */
export async function readAccessTask(ctx: AppContext, caller: Caller, given: string): Promise<TaskOutcome> {
  const id = parseId('request', given);
  const found = id === undefined ? undefined : await readRequest(ctx.db, id);
  if (id === undefined || found?.requester !== caller.principal.id)
    return problem('unknown_task', 'there is no such task that you may see');
  const request = expire(found, ctx.clock.now());
  const task = {
    id,
    expiresAt: request.expiresAt,
    approvals: { given: request.approvedBy.length, needed: request.approvalsNeeded },
  };
  switch (request.state) {
    case 'pending':
    case 'denied':
    case 'expired':
      return { kind: 'task', task: { ...task, status: request.state } };
    case 'withdrawn':
      return { kind: 'task', task: { ...task, status: 'cancelled' } };
    case 'approved': {
      const row = await ctx.db
        .selectFrom('access_grant')
        .selectAll()
        .where('id', '=', request.grant)
        .executeTakeFirstOrThrow();
      const grant = grantOf(row);
      const until =
        grant.state === 'ended'
          ? grant.endedAt
          : grant.state === 'active'
            ? limitOf(grant)
            : // Activated at the last moment it would end then.
              after(limitOf(grant), grant.duration);
      return {
        kind: 'task',
        task: { ...task, status: 'approved', approval: { id: grant.id, at: request.decidedAt, until } },
      };
    }
    default:
      return request satisfies never;
  }
}

export async function cancelAccessTask(ctx: AppContext, caller: Caller, given: string): Promise<TaskOutcome> {
  const id = parseId('request', given);
  const outcome = id === undefined ? undefined : await withdrawRequest(ctx, caller, id);
  if (id === undefined || outcome === undefined || (outcome.kind === 'refused' && outcome.because === 'not_found'))
    return problem('unknown_task', 'there is no such task that you may see');
  if (outcome.kind === 'refused') return problem('invalid_task_state', 'the task is over');
  return await readAccessTask(ctx, caller, id);
}

/** What was asked and denied, as the log has it: of this caller, and of nobody else. */
async function findDenial(ctx: AppContext, caller: Caller, given: string) {
  const id: EntryId | undefined = parseId('entry', given);
  if (id === undefined) return undefined;
  const row = await ctx.db
    .selectFrom('log_entry')
    .innerJoin('log_content', 'log_content.entry', 'log_entry.id')
    .select(['log_entry.leaf', 'log_content.blob'])
    .where('log_entry.id', '=', id)
    .where('log_entry.kind', '=', 'decision.evaluated')
    .where('log_entry.actor', '=', caller.principal.id)
    .executeTakeFirst();
  const entry = row === undefined ? undefined : parseEntry(row.leaf);
  const content = row === undefined ? undefined : await openOf(ctx, id, row.blob);
  if (entry === undefined || content === undefined) return undefined;
  const { requestable: role, requestableUntil } = entry.public;
  const until = parseInstant(requestableUntil);
  return {
    id,
    asked: content as Readonly<Record<string, Json | undefined>>,
    requestable: typeof role === 'string' && until !== undefined ? { role, until } : undefined,
  };
}

/** Asks for a role. Nothing is given by asking: the request waits for the people whom policy lets approve it. */
import {
  newId,
  parseId,
  resourceOf,
  type DenialId,
  type EntryId,
  type PrincipalId,
  type RequestId,
  type RoleName,
} from '#core/ids.ts';
import { after, before, days, formatDuration, hours, minutes, type Duration, type Instant } from '#core/instant.ts';
import { expiryOf } from '#core/request.ts';
import { sql } from 'kysely';
import { parseEntry } from '#log/entry.ts';
import { recordQuestion } from '#policy/replay.ts';
import { at, transaction, type Db, type Transaction } from '#store/database.ts';
import { callerCircumstances } from './_circumstances.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { writeEntry } from './write-entry.ts';

export type Ask = {
  readonly role: RoleName;
  readonly duration: Duration;
  readonly reason: string;
  readonly ticket: string | undefined;
  readonly startsAt: Instant | undefined;
  /** The denied evaluation that it follows from (AuthZEN), and what tells a repetition from another request. */
  readonly from?: { readonly evaluation: EntryId; readonly repetition?: Repetition };
  /** The refused statement that it is about; with `once` for that statement only. */
  readonly denial?: DenialId | undefined;
  readonly once?: boolean | undefined;
};

export type Repetition = {
  /** Hash of the caller's key: the same key is the same request. */
  readonly key: string;
  /** Hash of what was sent with it. */
  readonly body: string;
};

/** More than this many requests of one person can't wait at once: a flood would hide the one that matters. */
const mostPending = 20;
/** A start further away is a plan, not a request. */
const latestStart = days(30);

export async function fileRequest(ctx: AppContext, caller: Caller, ask: Ask): Promise<Outcome<RequestId>> {
  const now = ctx.clock.now();
  const role = ctx.policy.configuration?.resources
    .flatMap((resource) => resource.roles)
    .find((r) => r.name === ask.role);
  const decision = ctx.policy.decide({
    ...(await callerCircumstances(ctx, ctx.db, caller)),
    action: 'request_role',
    principal: caller.principal,
    role: ask.role,
    duration: ask.duration,
    ...(ask.ticket === undefined ? {} : { ticket: ask.ticket }),
    ...(ask.startsAt === undefined ? {} : { startsAt: ask.startsAt }),
  });
  if (role === undefined || decision.kind !== 'allow') {
    // Who may ask for the role at all is told what is wrong with the question; nobody else learns that it exists.
    const known =
      role !== undefined &&
      ctx.policy.rolesFor(caller.principal, { now: ctx.clock.now() }).some((r) => r.name === role.name);
    if (!known) return notFound('role', ask.role);
    if (ask.duration > role.maxDuration)
      return refused(
        'forbidden',
        `\`${ask.role}\` is given for ${formatDuration(role.maxDuration)} at most; you asked for ${formatDuration(ask.duration)}`,
        `ask again with --for ${formatDuration(role.maxDuration)} or less`,
      );
    return refused(
      'forbidden',
      `policy refuses this request for \`${ask.role}\``,
      'ask an administrator which policy applies',
    );
  }
  if (ask.startsAt !== undefined && (ask.startsAt < now - minutes(1) || ask.startsAt > after(now, latestStart)))
    return refused('invalid_input', 'ask for access: the start is not within the next 30 days');
  // One's own denials only, looked up by (owner, id), and on the resource that it happened on.
  const denial =
    ask.denial === undefined
      ? undefined
      : await ctx.db
          .selectFrom('denial')
          .selectAll()
          .where('id', '=', ask.denial)
          .where('principal', '=', caller.principal.id)
          .executeTakeFirst();
  if (ask.denial !== undefined && denial === undefined) return notFound('denial', ask.denial);
  if (denial !== undefined && resourceOf(denial.role) !== role.resource)
    return refused('invalid_input', `ask for access: the statement was refused on \`${resourceOf(denial.role)}\``);
  if (ask.once === true && (denial === undefined || denial.digest === null))
    return refused(
      'invalid_input',
      'ask for access for one statement: it takes one that was refused and is known whole',
      'ask for the role without --once',
    );
  const id = newId('request', { now, random: ctx.random });
  return await transaction(ctx.db, async (trx) => {
    // One at a time for a person, or two at once would both see room for one more.
    const self = await trx
      .selectFrom('principal')
      .select('state')
      .where('id', '=', caller.principal.id)
      .forUpdate()
      .executeTakeFirst();
    if (self?.state !== 'active') return notFound('role', ask.role);
    const { from } = ask;
    if (from?.repetition !== undefined) {
      // Looked for again behind the lock: two at once would both be the first.
      const earlier = await findRepeated(trx, caller.principal.id, from.repetition.key, now);
      if (earlier !== undefined)
        return earlier.body === from.repetition.body
          ? done(earlier.request)
          : refused('conflict', 'ask for access: this key was used for another request');
    }
    const waiting = await trx
      .selectFrom('access_request')
      .select('id')
      .where('requester', '=', caller.principal.id)
      .where('state', '=', 'pending')
      .where('expires_at', '>', at(now))
      .execute();
    if (waiting.length >= mostPending)
      return refused(
        'conflict',
        `you have ${waiting.length} requests waiting already`,
        'withdraw one with `sally withdraw ID`',
      );
    const entry = await writeEntry(ctx, trx, {
      kind: 'request.filed',
      actor: caller.principal.id,
      subjects: {
        request: id,
        principal: caller.principal.id,
        role: ask.role,
        resource: role.resource,
        ...(from === undefined ? {} : { evaluation: from.evaluation }),
        ...(from?.repetition === undefined ? {} : { repetition: from.repetition.key }),
      },
      public: {
        role: ask.role,
        seconds: ask.duration / 1000,
        approvalsNeeded: role.approvers.count,
        ...(from?.repetition === undefined ? {} : { bodyHash: from.repetition.body }),
        ...(denial === undefined ? {} : { denial: denial.id, digest: denial.digest, once: ask.once === true }),
        policies: [...decision.policies],
        policyVersion: decision.version,
      },
      content: {
        requester: caller.principal.handle,
        reason: ask.reason,
        ...(ask.ticket === undefined ? {} : { ticket: ask.ticket }),
        ...(denial === undefined ? {} : { statement: denial.held.text }),
        address: caller.address,
        question: recordQuestion({
          now,
          principal: caller.principal,
          ...(ask.startsAt === undefined ? {} : { startsAt: ask.startsAt }),
          ...(ask.ticket === undefined ? {} : { ticket: ask.ticket }),
        }),
      },
    });
    await trx
      .insertInto('access_request')
      .values({
        id,
        requester: caller.principal.id,
        role: ask.role,
        duration_ms: ask.duration,
        reason: ask.reason,
        ticket: ask.ticket ?? null,
        starts_at: ask.startsAt === undefined ? null : at(ask.startsAt),
        filed_at: at(now),
        expires_at: at(expiryOf(now)),
        approvals_needed: role.approvers.count,
        denial: denial?.id ?? null,
        once: ask.once === true,
        state: 'pending',
        decided_at: null,
        denied_by: null,
        word: null,
        entry,
      })
      .execute();
    await notify(trx, { kind: 'request', request: id });
    return done(id);
  });
}

/** How long a key is remembered: longer than a request waits, and a day for retries that come late. */
const keyRemembered = hours(26);

/** The request that this person filed with that key. */
export async function findRepeated(
  db: Db | Transaction,
  principal: PrincipalId,
  key: string,
  now: Instant,
): Promise<{ readonly request: RequestId; readonly body: string } | undefined> {
  const row = await db
    .selectFrom('log_entry')
    .select('leaf')
    .where(sql<boolean>`subjects ? 'principal' and subjects ->> 'principal' = ${principal}`)
    .where('kind', '=', 'request.filed')
    .where(sql<boolean>`subjects ->> 'repetition' = ${key}`)
    .where('at', '>', before(now, keyRemembered))
    .executeTakeFirst();
  const entry = row === undefined ? undefined : parseEntry(row.leaf);
  const request = parseId('request', entry?.subjects['request']);
  const body = entry?.public['bodyHash'];
  return request === undefined || typeof body !== 'string' ? undefined : { request, body };
}

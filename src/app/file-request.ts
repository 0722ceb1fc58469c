/** Asks for a role. Nothing is given by asking: the request waits for the people whom policy lets approve it. */
import { newId, type RequestId, type RoleName } from '#core/ids.ts';
import { after, days, formatDuration, minutes, type Duration, type Instant } from '#core/instant.ts';
import { expiryOf } from '#core/request.ts';
import { at, transaction } from '#store/database.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { writeEntry } from './write-entry.ts';

export type Ask = {
  readonly role: RoleName;
  readonly duration: Duration;
  readonly reason: string;
  readonly ticket: string | undefined;
  readonly startsAt: Instant | undefined;
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
    action: 'request_role',
    principal: caller.principal,
    role: ask.role,
    duration: ask.duration,
    now,
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
      subjects: { request: id, principal: caller.principal.id, role: ask.role, resource: role.resource },
      public: {
        role: ask.role,
        seconds: ask.duration / 1000,
        approvalsNeeded: role.approvers.count,
        policies: [...decision.policies],
        policyVersion: decision.version,
      },
      content: {
        requester: caller.principal.handle,
        reason: ask.reason,
        ...(ask.ticket === undefined ? {} : { ticket: ask.ticket }),
        address: caller.address,
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

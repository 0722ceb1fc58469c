/** What policy is told besides who asks and for what: from where, with which key, how lately proven, under which grant. */
import type { CredentialId, PrincipalId, SessionId, TokenId } from '#core/ids.ts';
import { between, type Duration, type Instant } from '#core/instant.ts';
import type { ActiveGrant, Grant } from '#core/grant.ts';
import type { Principal } from '#core/principal.ts';
import type { Circumstances, Cured, GrantRef } from '#policy/question.ts';
import { sql } from 'kysely';
import type { Db, Transaction } from '#store/database.ts';
import { grantOf, principalOf } from './_rows.ts';
import type { AppContext, Caller } from './context.ts';

type Reader = Db | Transaction;

/** A session as its statements are judged. */
export type JudgedSession = {
  readonly id: SessionId;
  readonly isOpen: boolean;
  readonly grant: Grant;
  readonly principal: Principal;
  readonly circumstances: Circumstances;
  readonly grantRef: GrantRef;
  readonly onlyDigest: string | undefined;
  readonly usedAt: Instant | undefined;
  readonly clientAddress: string;
  readonly reason: string;
  readonly ticket: string | undefined;
};

/** A key is known when it was there before the sign-in that uses it; the first sign-in comes with the key. */
const atOnce = 1000 as Duration;

export async function readJudgedSession(db: Reader, id: SessionId, now: Instant): Promise<JudgedSession | undefined> {
  const row = await db
    .selectFrom('session')
    .innerJoin('access_grant', 'access_grant.id', 'session.access_grant')
    .innerJoin('access_request', 'access_request.id', 'access_grant.request')
    .innerJoin('principal', 'principal.id', 'access_grant.principal')
    .innerJoin('connection_credential', 'connection_credential.id', 'session.credential')
    .selectAll('access_grant')
    .select([
      'session.ended_at as session_ended_at',
      'session.client_address',
      'session.tls',
      'access_request.reason',
      'access_request.ticket',
      'access_request.acts_for',
      'principal.handle',
      'principal.name',
      'principal.kind',
      'principal.state as principal_state',
      'principal.groups',
      'connection_credential.issued_from',
      'connection_credential.jkt',
      'connection_credential.authenticator',
      sql<number>`(select count(*) from approval where approval.request = access_request.id)`.as('approvals'),
      sql<Instant | null>`(select max(used_at) from proof where object ? 'grant' and object ->> 'grant' = access_grant.id and state = 'used'
        and proof.principal = access_grant.principal)`.as('last_proof_at'),
      sql<Instant | null>`greatest(
        (select max(proven_at) from web_session w where w.principal = access_grant.principal and w.ended_at is null),
        (select max(proven_at) from machine_token m where m.principal = access_grant.principal and m.ended_at is null))`.as(
        'signed_in_at',
      ),
      sql<Instant | null>`coalesce(
        (select created_at from machine_token m where m.id = connection_credential.issued_from),
        (select created_at from web_session w where w.id = connection_credential.issued_from))`.as('sign_in_began_at'),
      sql<Instant | null>`coalesce(
        (select first_seen_at from device d where d.principal = access_grant.principal and d.jkt = connection_credential.jkt),
        (select created_at from authenticator a where a.id = connection_credential.authenticator))`.as('device_since'),
      sql<Instant | null>`(select min(created_at) from authenticator a where a.principal = access_grant.principal and a.revoked_at is null)`.as(
        'oldest_key_since',
      ),
    ])
    .where('session.id', '=', id)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const grant = grantOf(row);
  const { handle, name, kind, groups } = row;
  const age = (since: Instant | null): Duration | undefined =>
    since === null ? undefined : (Math.max(0, between(since, now)) as Duration);
  const deviceAge = age(row.device_since);
  const signInAge = age(row.signed_in_at);
  const oldest = age(row.oldest_key_since);
  const proofAge = age(row.last_proof_at);
  return {
    id,
    isOpen: row.session_ended_at === null,
    grant,
    principal: principalOf({ id: row.principal, handle, name, kind, state: row.principal_state, groups }),
    circumstances: {
      now,
      client: { address: row.client_address, tls: row.tls },
      ...(deviceAge === undefined
        ? {}
        : {
            device: {
              known:
                row.sign_in_began_at !== null &&
                row.device_since !== null &&
                between(row.device_since, row.sign_in_began_at) > atOnce,
              age: deviceAge,
            },
          }),
      ...(signInAge === undefined ? {} : { signIn: { method: 'passkey', age: signInAge } }),
      actsFor: row.acts_for,
      cured: { activation: grant.state === 'active', ...(proofAge === undefined ? {} : { proofAge }) } satisfies Cured,
      ...(oldest === undefined ? {} : { oldestAuthenticator: oldest }),
    },
    grantRef: grantRefOf(grant, {
      reason: row.reason,
      ticket: row.ticket ?? undefined,
      approvals: Number(row.approvals),
    }),
    onlyDigest: row.only_digest ?? undefined,
    usedAt: row.used_at ?? undefined,
    clientAddress: row.client_address,
    reason: row.reason,
    ticket: row.ticket ?? undefined,
  };
}

function grantRefOf(
  grant: Grant,
  asked: { readonly reason: string; readonly ticket: string | undefined; readonly approvals: number },
): GrantRef {
  const active = grant.state === 'active' ? (grant satisfies ActiveGrant) : undefined;
  return {
    id: grant.id,
    principal: grant.principal,
    role: grant.role,
    reason: asked.reason,
    ...(asked.ticket === undefined ? {} : { ticket: asked.ticket }),
    approvals: asked.approvals,
    ...(active === undefined ? {} : { activatedAt: active.activatedAt, endsAt: active.endsAt }),
  };
}

/** A grant as policy sees it when somebody activates it or connects. */
export async function readGrantRef(db: Reader, grant: Grant): Promise<GrantRef> {
  const row = await db
    .selectFrom('access_request')
    .select(['reason', 'ticket'])
    .select(sql<number>`(select count(*) from approval where approval.request = access_request.id)`.as('approvals'))
    .where('id', '=', grant.request)
    .executeTakeFirst();
  return grantRefOf(grant, {
    reason: row?.reason ?? '',
    ticket: row?.ticket ?? undefined,
    approvals: Number(row?.approvals ?? 0),
  });
}

/** Who connects with a credential: what is known is the sign-in that it was issued from. */
export async function credentialCircumstances(
  db: Reader,
  credential: CredentialId,
  principal: PrincipalId,
  now: Instant,
): Promise<Circumstances> {
  const row = await db
    .selectFrom('connection_credential')
    .select([
      sql<Instant | null>`greatest(
        (select max(proven_at) from web_session w where w.principal = ${principal} and w.ended_at is null),
        (select max(proven_at) from machine_token m where m.principal = ${principal} and m.ended_at is null))`.as(
        'signed_in_at',
      ),
      sql<Instant | null>`coalesce(
        (select created_at from machine_token m where m.id = connection_credential.issued_from),
        (select created_at from web_session w where w.id = connection_credential.issued_from))`.as('began_at'),
      sql<Instant | null>`coalesce(
        (select first_seen_at from device d where d.principal = ${principal} and d.jkt = connection_credential.jkt),
        (select created_at from authenticator a where a.id = connection_credential.authenticator))`.as('since'),
    ])
    .where('id', '=', credential)
    .executeTakeFirst();
  const age = (at: Instant): Duration => Math.max(0, between(at, now)) as Duration;
  return {
    now,
    cured: { activation: true },
    ...(row === undefined || row.since === null
      ? {}
      : {
          device: { known: row.began_at !== null && between(row.since, row.began_at) > atOnce, age: age(row.since) },
        }),
    ...(row === undefined || row.signed_in_at === null
      ? {}
      : { signIn: { method: 'passkey', age: age(row.signed_in_at) } }),
  };
}

/** What is known of who calls the API, from their sign-in; the key that signs is known only once it has. */
export async function callerCircumstances(
  ctx: Pick<AppContext, 'clock' | 'site'>,
  db: Reader,
  caller: Caller,
  cured: Cured = {},
): Promise<Circumstances> {
  const now = ctx.clock.now();
  const { principal, session, address } = caller;
  const key = await (session.kind === 'web'
    ? db
        .selectFrom('web_session')
        .leftJoin('authenticator', 'authenticator.id', 'web_session.authenticator')
        .select(['web_session.created_at as began_at', 'authenticator.created_at as since'])
        .where('web_session.id', '=', session.id as TokenId)
        .executeTakeFirst()
    : db
        .selectFrom('machine_token')
        .leftJoin('device', (join) =>
          join
            .onRef('device.jkt', '=', 'machine_token.dpop_jkt')
            .onRef('device.principal', '=', 'machine_token.principal'),
        )
        .select(['machine_token.created_at as began_at', 'device.first_seen_at as since'])
        .where('machine_token.id', '=', session.id as TokenId)
        .executeTakeFirst());
  const oldest = await oldestKey(db, principal.id);
  const since = key?.since ?? undefined;
  return {
    now,
    client: { address, tls: ctx.site.publicUrl.startsWith('https:') },
    ...(since === undefined || key === undefined
      ? {}
      : { device: { known: between(since, key.began_at) > atOnce, age: between(since, now) } }),
    signIn: { method: 'passkey', age: Math.max(0, between(session.provenAt, now)) as Duration },
    cured,
    ...(oldest === undefined ? {} : { oldestAuthenticator: between(oldest, now) }),
  };
}

async function oldestKey(db: Reader, principal: PrincipalId): Promise<Instant | undefined> {
  const row = await db
    .selectFrom('authenticator')
    .select('created_at')
    .where('principal', '=', principal)
    .where('revoked_at', 'is', null)
    .orderBy('created_at')
    .executeTakeFirst();
  return row?.created_at;
}

/** The way to a running access for tests, in one call a step: ask, approve, activate, connect. */
import type { CredentialId, GrantId, RequestId, RoleName } from '#core/ids.ts';
import { hours, type Duration } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { valueOf, type TestApp, type TestPerson } from './app.ts';
import { sql } from 'kysely';
import { fileRequest } from '#app/file-request.ts';
import { findCredential } from '#app/find-credential.ts';
import { issueCredential } from '#app/issue-credential.ts';
import { openSession, type SessionAnswer } from '#app/open-session.ts';

export const supportRead = 'orders/support-read' as RoleName;
export const fixOrders = 'orders/fix-orders' as RoleName;
export const gatewayId = 'gw_test';

export async function ask(
  app: TestApp,
  who: TestPerson,
  role: RoleName = supportRead,
  duration: Duration = hours(1),
): Promise<RequestId> {
  const caller = await app.caller(who);
  return valueOf(
    await fileRequest(app.ctx, caller, { role, duration, reason: 'INC-1', ticket: undefined, startsAt: undefined }),
  );
}

/** Asked for and approved; to be activated. */
export async function approved(app: TestApp, who: TestPerson, by: TestPerson, role?: RoleName): Promise<GrantId> {
  const request = await ask(app, who, role);
  await app.prove(by, { purpose: 'approve_request', request });
  return await grantOf(app, request);
}

export async function active(app: TestApp, who: TestPerson, by: TestPerson, role?: RoleName): Promise<GrantId> {
  const grant = await approved(app, who, by, role);
  await app.prove(who, { purpose: 'activate_grant', grant });
  return grant;
}

export async function grantOf(app: TestApp, request: RequestId): Promise<GrantId> {
  const row = await app.ctx.db
    .selectFrom('access_grant')
    .select('id')
    .where('request', '=', request)
    .executeTakeFirstOrThrow();
  return row.id;
}

export async function credentialFor(app: TestApp, who: TestPerson, grant: GrantId): Promise<CredentialId> {
  const { user } = valueOf(await issueCredential(app.ctx, await app.caller(who), grant));
  const found = await findCredential(app.ctx, user);
  if (found === undefined) throw new Error('the credential was not found');
  return found.credential;
}

export async function connect(app: TestApp, credential: CredentialId, database = 'orders'): Promise<SessionAnswer> {
  const client = { address: '127.0.0.1', port: 50_000, tls: true };
  return await openSession(app.ctx, { credential, client, database, gatewayId });
}

export async function session(app: TestApp, who: TestPerson, grant: GrantId): Promise<AuthorizedSession> {
  const answer = await connect(app, await credentialFor(app, who, grant));
  if (answer.kind === 'refused') throw new Error(`refused: ${answer.message}`);
  return answer.session;
}

export async function grantState(app: TestApp, grant: GrantId) {
  return await app.ctx.db
    .selectFrom('access_grant')
    .select(['state', 'how', 'ended_by', 'ended_at', 'activated_at', 'ends_at'])
    .where('id', '=', grant)
    .executeTakeFirstOrThrow();
}

/** Kinds of the entries about something, oldest first. */
export async function entriesOf(app: TestApp, subject: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const rows = await app.ctx.db
    .selectFrom('log_entry')
    .select('kind')
    .where(sql<boolean>`subjects @> ${JSON.stringify(subject)}::jsonb`)
    .orderBy('seq')
    .execute();
  return rows.map((row) => row.kind);
}

/** What came of acts that were done at once: how often each. */
export function tally(
  outcomes: readonly ({ readonly kind: 'done' } | { readonly kind: 'refused'; readonly because: string })[],
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const word = outcome.kind === 'done' ? 'done' : outcome.because;
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
}

/** As a grant that was asked for out of a denial, for that statement alone; null: for everything its role gives. */
export async function bindGrant(app: TestApp, grant: GrantId, digest: string | null): Promise<void> {
  await sql`alter table access_grant disable trigger user`.execute(app.ctx.db);
  await app.ctx.db.updateTable('access_grant').set({ only_digest: digest }).where('id', '=', grant).execute();
  await sql`alter table access_grant enable trigger user`.execute(app.ctx.db);
}

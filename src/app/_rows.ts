/** Rows of the store to the domain's values and back. */
import type { ActiveGrant, ApprovedGrant, EndedGrant, Grant } from '#core/grant.ts';
import type { GrantId, PrincipalId, RequestId } from '#core/ids.ts';
import type { Duration } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { AccessRequest } from '#core/request.ts';
import type { Selectable } from 'kysely';
import type { Db, Transaction } from '#store/database.ts';
import type { Database } from '#store/schema.ts';

type Reader = Db | Transaction;

/** A row that breaks what the database promises: a fault, never an outcome. */
function broken(what: string, id: string): Error {
  return new Error(`read ${what} \`${id}\`: its row contradicts its state`);
}

export function principalOf(
  row: Pick<Selectable<Database['principal']>, 'id' | 'handle' | 'name' | 'kind' | 'state' | 'groups'>,
): Principal {
  return { id: row.id, handle: row.handle, name: row.name, kind: row.kind, state: row.state, groups: row.groups };
}

export async function findPrincipal(db: Reader, id: PrincipalId): Promise<Principal | undefined> {
  const row = await db.selectFrom('principal').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : principalOf(row);
}

/**
 * As they are now, and until the transaction ends: who changes them (change-principal.ts) waits, and then sees what was
 * done here. Take it before the lock of a request or a grant, as that one does.
 */
export async function lockPrincipal(trx: Transaction, id: PrincipalId): Promise<Principal | undefined> {
  const row = await trx.selectFrom('principal').selectAll().where('id', '=', id).forKeyShare().executeTakeFirst();
  return row === undefined ? undefined : principalOf(row);
}

export function requestOf(
  row: Selectable<Database['access_request']>,
  approvedBy: readonly PrincipalId[],
  grant: GrantId | undefined,
): AccessRequest {
  const asked = {
    id: row.id,
    requester: row.requester,
    actsFor: row.acts_for,
    role: row.role,
    duration: row.duration_ms as Duration,
    reason: row.reason,
    ticket: row.ticket ?? undefined,
    startsAt: row.starts_at ?? undefined,
    filedAt: row.filed_at,
    expiresAt: row.expires_at,
    approvalsNeeded: row.approvals_needed,
    approvedBy,
  };
  if (row.state === 'pending') return { ...asked, state: 'pending' };
  if (row.decided_at === null) throw broken('request', row.id);
  const decidedAt = row.decided_at;
  switch (row.state) {
    case 'approved':
      if (grant === undefined) throw broken('request', row.id);
      return { ...asked, state: 'approved', grant, decidedAt };
    case 'denied':
      if (row.denied_by === null || row.word === null) throw broken('request', row.id);
      return { ...asked, state: 'denied', deniedBy: row.denied_by, word: row.word, decidedAt };
    case 'withdrawn':
    case 'expired':
      return { ...asked, state: row.state, decidedAt };
    default:
      return row.state satisfies never;
  }
}

/** The request, locked against other decisions until the transaction ends. */
export async function lockRequest(trx: Transaction, id: RequestId): Promise<AccessRequest | undefined> {
  const row = await trx.selectFrom('access_request').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  if (row === undefined) return undefined;
  const approvals = await trx
    .selectFrom('approval')
    .select('approver')
    .where('request', '=', id)
    .orderBy('at')
    .execute();
  const grant = await trx.selectFrom('access_grant').select('id').where('request', '=', id).executeTakeFirst();
  return requestOf(
    row,
    approvals.map((approval) => approval.approver),
    grant?.id,
  );
}

export function grantOf(row: Selectable<Database['access_grant']>): Grant {
  const given = {
    id: row.id,
    request: row.request,
    principal: row.principal,
    role: row.role,
    duration: row.duration_ms as Duration,
    notBefore: row.not_before,
    activateBy: row.activate_by,
  };
  switch (row.state) {
    case 'approved':
      return { ...given, state: 'approved' } satisfies ApprovedGrant;
    case 'active':
      if (row.activated_at === null || row.ends_at === null) throw broken('grant', row.id);
      return { ...given, state: 'active', activatedAt: row.activated_at, endsAt: row.ends_at } satisfies ActiveGrant;
    case 'ended':
      if (row.ended_at === null || row.how === null) throw broken('grant', row.id);
      return {
        ...given,
        state: 'ended',
        how: row.how,
        endedAt: row.ended_at,
        endedBy: row.ended_by ?? undefined,
      } satisfies EndedGrant;
    default:
      return row.state satisfies never;
  }
}

/** The grant, locked against other steps until the transaction ends. */
export async function lockGrant(trx: Transaction, id: GrantId): Promise<Grant | undefined> {
  const row = await trx.selectFrom('access_grant').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  return row === undefined ? undefined : grantOf(row);
}

/** The request as it stands, without a lock. */
export async function readRequest(db: Reader, id: RequestId): Promise<AccessRequest | undefined> {
  const row = await db.selectFrom('access_request').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) return undefined;
  const approvals = await db
    .selectFrom('approval')
    .select('approver')
    .where('request', '=', id)
    .orderBy('at')
    .execute();
  const grant = await db.selectFrom('access_grant').select('id').where('request', '=', id).executeTakeFirst();
  return requestOf(
    row,
    approvals.map((approval) => approval.approver),
    grant?.id,
  );
}

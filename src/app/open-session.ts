/** The one place where a connection becomes a session: judged, written down, and given the value that opens a target. */
import { newId, resourceOf, type CredentialId } from '#core/ids.ts';
import { authorizeSession, type AuthorizedSession } from '#core/session.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { credentialCircumstances, readGrantRef } from './_circumstances.ts';
import { grantOf, principalOf } from './_rows.ts';
import type { AppContext } from './context.ts';
import { writeEntry } from './write-entry.ts';

export type SessionAsk = {
  readonly credential: CredentialId;
  readonly client: {
    readonly address: string;
    readonly port: number;
    readonly applicationName?: string;
    readonly tls: boolean;
  };
  readonly database: string;
  readonly gatewayId: string;
};

export type SessionAnswer =
  | { readonly kind: 'opened'; readonly session: AuthorizedSession }
  | { readonly kind: 'refused'; readonly message: string; readonly hint?: string };

export async function openSession(ctx: AppContext, ask: SessionAsk): Promise<SessionAnswer> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const asked = await lockAsked(trx, ask.credential);
    if (asked === undefined) return { kind: 'refused', message: 'this login is not known' };
    const { credential, principal, grant, reason } = asked;
    const refuse = async (message: string, hint?: string): Promise<SessionAnswer> => {
      await writeEntry(ctx, trx, {
        kind: 'session.refused',
        actor: principal.id,
        subjects: { grant: grant.id, principal: principal.id, role: grant.role, credential: credential.id },
        public: { gateway: ask.gatewayId },
        content: { because: message, address: ask.client.address },
      });
      return { kind: 'refused', message, ...(hint === undefined ? {} : { hint }) };
    };
    const resource = ctx.policy.configuration?.resources.find((candidate) => candidate.name === resourceOf(grant.role));
    const role = resource?.roles.find((candidate) => candidate.name === grant.role);
    if (resource === undefined || role === undefined)
      return await refuse(
        `the role \`${grant.role}\` is no longer in the configuration`,
        'ask for another role; `sally ls` shows them',
      );
    if (ask.database !== resource.database)
      return await refuse(
        `the database of \`${resource.name}\` is \`${resource.database}\`, not the one you named`,
        `connect with dbname=${resource.database}`,
      );
    if (principal.state !== 'active') return await refuse('your account is suspended');
    const decision = ctx.policy.decide({
      ...(await credentialCircumstances(trx, credential.id, principal.id, now)),
      action: 'connect',
      principal,
      grant: await readGrantRef(trx, grant),
      client: { address: ask.client.address, tls: ask.client.tls },
    });
    if (decision.kind !== 'allow') return await refuse(`policy refuses a connection under \`${grant.role}\` now`);
    const id = newId('session', { now, random: ctx.random });
    const authorized = authorizeSession(
      {
        id,
        grant,
        credential: credential.id,
        principal: { id: principal.id, handle: principal.handle },
        role,
        reason,
        decision,
      },
      now,
    );
    if (authorized.kind === 'refused')
      return await refuse(
        `your access to \`${grant.role}\` has ended`,
        `ask again with \`sally request ${grant.role}\``,
      );
    const entry = await writeEntry(ctx, trx, {
      kind: 'session.opened',
      actor: principal.id,
      subjects: { session: id, grant: grant.id, principal: principal.id, role: grant.role, resource: resource.name },
      public: {
        gateway: ask.gatewayId,
        tls: ask.client.tls,
        policies: [...decision.policies],
        policyVersion: decision.version,
      },
      content: {
        user: credential.user_name,
        address: ask.client.address,
        port: ask.client.port,
        ...(ask.client.applicationName === undefined ? {} : { application: ask.client.applicationName }),
      },
    });
    await trx
      .insertInto('session')
      .values({
        id,
        access_grant: grant.id,
        credential: credential.id,
        principal: principal.id,
        role: grant.role,
        gateway: ask.gatewayId,
        client_address: ask.client.address,
        tls: ask.client.tls,
        application: ask.client.applicationName ?? null,
        opened_at: now,
        ended_at: null,
        how: null,
        word: null,
        entry,
      })
      .execute();
    return { kind: 'opened', session: authorized.session };
  });
}

/**
 * Everything that is judged, in one round trip, and as it is until the transaction ends: first the person's row is locked,
 * then that of the grant, as whoever changes them does it (lockPrincipal of _rows.ts says why). What changed while this
 * waited is seen: PostgreSQL reads a row that it has waited for anew.
 */
async function lockAsked(trx: Transaction, id: CredentialId) {
  const row = await trx
    .selectFrom('connection_credential')
    .innerJoin('access_grant', 'access_grant.id', 'connection_credential.access_grant')
    .innerJoin('principal', 'principal.id', 'access_grant.principal')
    .innerJoin('access_request', 'access_request.id', 'access_grant.request')
    .selectAll('access_grant')
    .select([
      'connection_credential.user_name',
      'access_request.reason',
      'principal.handle',
      'principal.name',
      'principal.kind',
      'principal.state as principal_state',
      'principal.groups',
    ])
    .where('connection_credential.id', '=', id)
    .forKeyShare('principal')
    .forUpdate('access_grant')
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { handle, name, kind, groups } = row;
  return {
    credential: { id, user_name: row.user_name },
    principal: principalOf({ id: row.principal, handle, name, kind, state: row.principal_state, groups }),
    grant: grantOf(row),
    reason: row.reason,
  };
}

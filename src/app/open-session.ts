/** The one place where a connection becomes a session: judged, written down, and given the value that opens a target. */
import { newId, resourceOf, type CredentialId, type RequestId } from '#core/ids.ts';
import { authorizeSession, type AuthorizedSession } from '#core/session.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { lockGrant, lockPrincipal } from './_rows.ts';
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
    const credential = await trx
      .selectFrom('connection_credential')
      .innerJoin('access_grant', 'access_grant.id', 'connection_credential.access_grant')
      .selectAll('connection_credential')
      .select('access_grant.principal')
      .where('connection_credential.id', '=', ask.credential)
      .executeTakeFirst();
    if (credential === undefined) return { kind: 'refused', message: 'this login is not known' };
    const principal = await lockPrincipal(trx, credential.principal);
    const grant = await lockGrant(trx, credential.access_grant);
    if (grant === undefined || principal === undefined)
      throw new Error(`open a session: credential \`${ask.credential}\` has no grant`);
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
      action: 'connect',
      principal,
      now,
      grant: { id: grant.id, principal: grant.principal, role: grant.role },
      client: { address: ask.client.address, tls: ask.client.tls },
    });
    if (decision.kind !== 'allow') return await refuse(`policy refuses a connection under \`${grant.role}\` now`);
    const id = newId('session', { now, random: ctx.random });
    const reason = await reasonOf(trx, grant.request);
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

async function reasonOf(trx: Transaction, request: RequestId): Promise<string> {
  const row = await trx.selectFrom('access_request').select('reason').where('id', '=', request).executeTakeFirst();
  return row?.reason ?? '';
}

/** Grants, their end, and the credentials to connect under them. Activating one is a proof (proofs.ts). */
import { endGrant } from '#app/end-grant.ts';
import { issueCredential } from '#app/issue-credential.ts';
import { readGrant, readGrants } from '#app/read-grants.ts';
import type { GrantId } from '#core/ids.ts';
import { formatInstant } from '#core/instant.ts';
import { map, type Handlers } from './handler.ts';
import { presentGrant, presentPage } from './present.ts';
import { readWhenChanged } from './waiters.ts';

// The contract's schemas have checked the form of ids; `as` says so to the compiler.
export const grantHandlers: Pick<Handlers, 'listGrants' | 'getGrant' | 'endGrant' | 'issueCredential'> = {
  listGrants: async ({ app, caller, query }) => {
    const { scope, state, cursor, limit } = query;
    const page = await readGrants(app, caller, {
      scope,
      limit,
      ...(state === undefined ? {} : { state }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { kind: 'done', value: presentPage(page, presentGrant) };
  },

  getGrant: async (call) => {
    const id = call.params.id as GrantId;
    const { waitSeconds, while: known } = call.query;
    const outcome = await readWhenChanged(call, {
      seconds: waitSeconds,
      read: async (caller) => await readGrant(call.app, caller, id),
      // Without a known state there is nothing that could be news.
      isOver: (grant) => known === undefined || grant.state !== known,
      concerns: (change) => (change.kind === 'grant' || change.kind === 'grant_ended') && change.grant === id,
    });
    return map(outcome, presentGrant);
  },

  endGrant: async ({ app, caller, params, body }) => {
    const outcome = await endGrant(app, caller, { grant: params.id as GrantId, word: body.word });
    return outcome.kind === 'refused' ? outcome : map(await readGrant(app, caller, outcome.value), presentGrant);
  },

  // INVARIANT 10: a credential's password leaves here, once, to the one it was made for.
  issueCredential: async ({ app, caller, params }) =>
    map(await issueCredential(app, caller, params.id as GrantId), (credential) => ({
      grant: credential.grant,
      user: credential.user,
      password: credential.password.reveal(),
      host: app.site.postgres.host,
      port: app.site.postgres.port,
      database: credential.database,
      sslmode: 'verify-full' as const,
      caCertificate: app.gatewayRoot(),
      expiresAt: formatInstant(credential.expiresAt),
    })),
};

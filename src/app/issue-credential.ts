/** A login name and password for the gateway. They belong to one grant, live no longer than it, and are shown once. */
import { newId, resourceOf, type AuthenticatorId, type GrantId, type Random, type TokenId } from '#core/ids.ts';
import { isLive } from '#core/grant.ts';
import type { Instant } from '#core/instant.ts';
import { encodeBase64Url } from '#core/base64.ts';
import { Secret } from '#core/secret.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { callerCircumstances, readGrantRef } from './_circumstances.ts';
import { lockGrant } from './_rows.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { writeEntry } from './write-entry.ts';

export type Credential = {
  readonly grant: GrantId;
  readonly user: string;
  readonly password: Secret<string>;
  readonly database: string;
  readonly expiresAt: Instant;
};

/** A person's pipelines may connect often; a flood of login names would be a leak. */
const mostPerGrant = 200;

export async function issueCredential(ctx: AppContext, caller: Caller, id: GrantId): Promise<Outcome<Credential>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const grant = await lockGrant(trx, id);
    if (grant === undefined || grant.principal !== caller.principal.id) return notFound('grant', id);
    if (grant.state === 'approved')
      return refused(
        'conflict',
        `connect under grant \`${id}\`: it is not active yet`,
        `activate it with \`sally activate ${id}\``,
      );
    if (!isLive(grant, now))
      return refused(
        'already_ended',
        `connect under grant \`${id}\`: it has ended`,
        `ask again with \`sally request ${grant.role}\``,
      );
    const decision = ctx.policy.decide({
      ...(await callerCircumstances(ctx, trx, caller, { activation: true })),
      action: 'connect',
      principal: caller.principal,
      grant: await readGrantRef(trx, grant),
      client: { address: caller.address, tls: true },
    });
    if (decision.kind !== 'allow') return refused('forbidden', `connect under grant \`${id}\`: policy refuses it now`);
    const name = resourceOf(grant.role);
    const resource = ctx.policy.configuration?.resources.find((candidate) => candidate.name === name);
    if (resource === undefined)
      return refused('conflict', `connect under grant \`${id}\`: \`${name}\` is no longer in the configuration`);
    const { count } = await trx
      .selectFrom('connection_credential')
      .select((select) => select.fn.countAll<number>().as('count'))
      .where('access_grant', '=', id)
      .executeTakeFirstOrThrow();
    if (count >= mostPerGrant)
      return refused(
        'conflict',
        `connect under grant \`${id}\`: ${count} connection secrets were issued for it already`,
        'use one of them again, or ask for a new grant',
      );
    const user = loginName(caller.principal.handle, ctx.random);
    const password = new Secret(encodeBase64Url(ctx.random(24)));
    const credential = newId('credential', { now, random: ctx.random });
    const entry = await writeEntry(ctx, trx, {
      kind: 'credential.issued',
      actor: caller.principal.id,
      subjects: { credential, grant: id, principal: grant.principal, role: grant.role },
      content: { user, address: caller.address },
    });
    await trx
      .insertInto('connection_credential')
      .values({
        id: credential,
        access_grant: id,
        user_name: user,
        verifier: ctx.scramVerifier(password),
        created_at: now,
        issued_from: caller.session.id as TokenId,
        ...(await keyBehind(trx, caller)),
        entry,
      })
      .execute();
    return done({ grant: id, user, password, database: resource.database, expiresAt: grant.endsAt });
  });
}

/** The key that the caller signed in with: what policy may know of the device behind a connection. */
async function keyBehind(
  trx: Transaction,
  { session }: Caller,
): Promise<{ readonly jkt: string | null; readonly authenticator: AuthenticatorId | null }> {
  const id = session.id as TokenId;
  if (session.kind === 'cli') {
    const row = await trx.selectFrom('machine_token').select('dpop_jkt').where('id', '=', id).executeTakeFirst();
    return { jkt: row?.dpop_jkt ?? null, authenticator: null };
  }
  const row = await trx.selectFrom('web_session').select('authenticator').where('id', '=', id).executeTakeFirst();
  return { jkt: null, authenticator: row?.authenticator ?? null };
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** `ada.7k3m9x2q`: says whose it is, and can't be guessed from it. */
function loginName(handle: string, random: Random): string {
  let name = `${handle}.`;
  for (const byte of random(8)) name += alphabet.charAt(byte & 31);
  return name;
}

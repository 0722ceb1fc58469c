/** Enrols a first passkey by a one-time link: look at the link, get options, answer with the new passkey. */
import { decodeBase64Url, encodeBase64Url } from '#core/base64.ts';
import { newId, type PrincipalId } from '#core/ids.ts';
import { after, type Instant } from '#core/instant.ts';
import { administrators, type Principal } from '#core/principal.ts';
import type { Secret } from '#core/secret.ts';
import { isLinkExpired, useLink, type OneTimeLink } from '#identity/one-time-link.ts';
import { ceremonyLifetime, registrationOptions, verifyRegistration } from '#identity/passkeys.ts';
import { parseToken } from '#identity/tokens.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { findLink } from './_links.ts';
import { findPrincipal } from './_rows.ts';
import { startWebSession } from './_web-sessions.ts';
import { done, refused, type AppContext, type Outcome, type Refused } from './context.ts';
import { writeEntry } from './write-entry.ts';

export type InspectedLink = {
  readonly kind: 'bootstrap' | 'enrolment';
  readonly principal: { readonly handle: string; readonly name: string } | undefined;
  readonly expiresAt: Instant;
};

export type Ceremony = { readonly ceremony: string; readonly options: unknown; readonly expiresAt: Instant };

export type SignedIn = { readonly principal: Principal; readonly token: Secret<string>; readonly sessionId: string };

/** INVARIANT 14: whatever is wrong with a link, the answer is the same. */
const badLink: Refused = refused(
  'not_found',
  'this link is not valid: it was used, replaced or has expired',
  'ask an administrator for a new one; the first administrator gets one at each start of the server',
);

export async function inspectLink(ctx: AppContext, token: string): Promise<Outcome<InspectedLink>> {
  const link = await liveLink(ctx, token);
  if (link === undefined) return badLink;
  const principal = link.principal === null ? undefined : await findPrincipal(ctx.db, link.principal);
  return done({
    kind: link.purpose,
    principal: principal === undefined ? undefined : { handle: principal.handle, name: principal.name },
    expiresAt: link.expiresAt,
  });
}

async function liveLink(ctx: AppContext, token: string): Promise<OneTimeLink | undefined> {
  const hash = parseToken('link', token);
  const link = hash === undefined ? undefined : await findLink(ctx.db, hash, false);
  return link?.state === 'live' && !isLinkExpired(link, ctx.clock.now()) ? link : undefined;
}

export async function startEnrolment(
  ctx: AppContext,
  ask: { readonly token: string; readonly handle: string | undefined; readonly name: string | undefined },
): Promise<Outcome<Ceremony>> {
  const link = await liveLink(ctx, ask.token);
  if (link === undefined) return badLink;
  const now = ctx.clock.now();
  const known = link.principal === null ? undefined : await findPrincipal(ctx.db, link.principal);
  const handle = known?.handle ?? ask.handle;
  if (handle === undefined) return refused('invalid_input', 'enrol the first administrator: choose a handle');
  if (known === undefined) {
    const taken = await ctx.db.selectFrom('principal').select('id').where('handle', '=', handle).executeTakeFirst();
    if (taken !== undefined)
      return refused('conflict', `enrol the first administrator: the handle \`${handle}\` is taken`);
  }
  const principal: { id: PrincipalId; handle: string; name: string } = known ?? {
    id: newId('principal', { now, random: ctx.random }),
    handle,
    name: ask.name ?? handle,
  };
  const existing = await ctx.db
    .selectFrom('authenticator')
    .select('credential_id')
    .where('principal', '=', principal.id)
    .where('revoked_at', 'is', null)
    .execute();
  const challenge = ctx.random(32);
  const ceremony = `cer_${encodeBase64Url(ctx.random(18))}`;
  const expiresAt = after(now, ceremonyLifetime);
  await ctx.db
    .insertInto('ceremony')
    .values({
      id: ceremony,
      kind: 'enrolment',
      challenge,
      link: link.id,
      principal: principal.id,
      handle: principal.handle,
      name: principal.name,
      expires_at: expiresAt,
      used_at: null,
    })
    .execute();
  const options = registrationOptions({
    rpId: ctx.site.rpId,
    rpName: ctx.site.rpName,
    principal,
    existing: existing.map((row) => ({ credentialId: encodeBase64Url(row.credential_id), transports: [] })),
    challenge,
  });
  return done({ ceremony, options, expiresAt });
}

export async function finishEnrolment(
  ctx: AppContext,
  ask: {
    readonly token: string;
    readonly ceremony: string;
    readonly response: unknown;
    readonly authenticatorName: string;
    readonly address: string;
  },
): Promise<Outcome<SignedIn>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const hash = parseToken('link', ask.token);
    const link = hash === undefined ? undefined : await findLink(trx, hash, true);
    const used = link === undefined ? undefined : useLink(link, { purpose: link.purpose, now });
    if (link === undefined || used?.kind !== 'used') return badLink;
    const ceremony = await takeCeremony(trx, ask.ceremony, 'enrolment', now);
    if (ceremony === undefined || ceremony.link !== link.id || ceremony.principal === null || ceremony.handle === null)
      return refused('proof_refused', 'enrol a passkey: this page is too old', 'open the link again');
    const outcome = await verifyRegistration({
      response: ask.response,
      challenge: ceremony.challenge,
      origins: [ctx.site.publicUrl],
      rpId: ctx.site.rpId,
    });
    if (outcome.kind === 'refused')
      return refused('proof_refused', `enrol a passkey: it was refused (${outcome.because.replaceAll('_', ' ')})`);
    const { authenticator } = outcome;
    const principal =
      link.principal === null
        ? await makeFirstAdministrator(ctx, trx, ceremony.principal, ceremony.handle, ceremony.name ?? ceremony.handle)
        : await findPrincipal(trx, link.principal);
    if (principal === undefined)
      return refused('conflict', `enrol a passkey: the handle \`${ceremony.handle}\` is taken`);
    if (principal.state === 'suspended') return badLink;
    const id = newId('authenticator', { now, random: ctx.random });
    const subjects = { principal: principal.id, authenticator: id, link: link.id };
    const entry = await writeEntry(ctx, trx, {
      kind: 'authenticator.enrolled',
      actor: principal.id,
      subjects,
      // What anybody needs to verify this passkey's signatures, years later.
      public: {
        credentialId: authenticator.credentialId,
        publicKey: encodeBase64Url(authenticator.publicKey),
        rpId: ctx.site.rpId,
        origins: [ctx.site.publicUrl],
        aaguid: authenticator.aaguid,
        backedUp: authenticator.backedUp,
      },
      content: { handle: principal.handle, authenticatorName: ask.authenticatorName, address: ask.address },
    });
    const credentialId = decodeBase64Url(authenticator.credentialId);
    if (credentialId === undefined) throw new Error('enrol a passkey: its credential id is no base64url');
    const inserted = await trx
      .insertInto('authenticator')
      .values({
        id,
        principal: principal.id,
        credential_id: credentialId,
        public_key: authenticator.publicKey,
        counter: authenticator.counter,
        transports: authenticator.transports,
        name: ask.authenticatorName,
        created_at: now,
        last_used_at: null,
        revoked_at: null,
        entry,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returning('id')
      .executeTakeFirst();
    if (inserted === undefined) throw new Error('enrol a passkey: it has been enrolled before');
    await trx.updateTable('one_time_link').set({ used_at: now }).where('id', '=', link.id).execute();
    await writeEntry(ctx, trx, {
      kind: 'link.used',
      actor: principal.id,
      subjects: { link: link.id, principal: principal.id },
    });
    if (principal.state === 'invited') {
      const changed = await writeEntry(ctx, trx, {
        kind: 'principal.changed',
        actor: principal.id,
        subjects: { principal: principal.id },
        public: { state: 'active' },
      });
      await trx
        .updateTable('principal')
        .set({ state: 'active', entry: changed })
        .where('id', '=', principal.id)
        .execute();
    }
    const session = await startWebSession(ctx, trx, { principal, authenticator: id, address: ask.address });
    return done({ principal: { ...principal, state: 'active' }, ...session });
  });
}

async function makeFirstAdministrator(
  ctx: AppContext,
  trx: Transaction,
  id: PrincipalId,
  handle: string,
  name: string,
): Promise<Principal | undefined> {
  const taken = await trx.selectFrom('principal').select('id').where('handle', '=', handle).executeTakeFirst();
  if (taken !== undefined) return undefined;
  const groups = [administrators];
  const entry = await writeEntry(ctx, trx, {
    kind: 'principal.invited',
    actor: 'system',
    of: id,
    subjects: { principal: id },
    public: { kind: 'user', groups, bootstrap: true },
    content: { handle, name },
  });
  await trx
    .insertInto('principal')
    .values({ id, handle, name, kind: 'user', state: 'invited', groups, created_at: ctx.clock.now(), entry })
    .execute();
  return { id, handle, name, kind: 'user', groups, state: 'invited' };
}

/** Uses a ceremony up, whatever comes of it: a challenge is answered once. */
export async function takeCeremony(trx: Transaction, id: string, kind: 'enrolment' | 'sign_in', now: Instant) {
  return await trx
    .updateTable('ceremony')
    .set({ used_at: now })
    .where('id', '=', id)
    .where('kind', '=', kind)
    .where('used_at', 'is', null)
    .where('expires_at', '>', now)
    .returningAll()
    .executeTakeFirst();
}

/** Signs in at the console with a passkey, without a user name: the passkey says whose it is. */
import { encodeBase64Url } from '#core/base64.ts';
import { after } from '#core/instant.ts';
import { ceremonyLifetime, signInOptions, verifySignIn } from '#identity/passkeys.ts';
import { transaction } from '#store/database.ts';
import { findAuthenticator } from './_authenticators.ts';
import { lockPrincipal } from './_rows.ts';
import { startWebSession } from './_web-sessions.ts';
import { done, refused, type AppContext, type Outcome, type Refused } from './context.ts';
import { takeCeremony, type Ceremony, type SignedIn } from './enrol.ts';
import { writeEntry } from './write-entry.ts';

export async function startSignIn(ctx: AppContext): Promise<Ceremony> {
  const now = ctx.clock.now();
  const challenge = ctx.random(32);
  const ceremony = `cer_${encodeBase64Url(ctx.random(18))}`;
  const expiresAt = after(now, ceremonyLifetime);
  await ctx.db
    .insertInto('ceremony')
    .values({
      id: ceremony,
      kind: 'sign_in',
      challenge,
      link: null,
      principal: null,
      handle: null,
      name: null,
      expires_at: expiresAt,
      used_at: null,
    })
    .execute();
  return { ceremony, options: signInOptions({ rpId: ctx.site.rpId, challenge }), expiresAt };
}

/** INVARIANT 14: unknown, revoked, suspended and wrong are told the same. */
const failed: Refused = refused(
  'sign_in_failed',
  'sign in: this passkey was not accepted',
  'use a passkey that you enrolled here, or ask an administrator for a new link',
);

export async function signIn(
  ctx: AppContext,
  ask: { readonly ceremony: string; readonly response: unknown; readonly address: string },
): Promise<Outcome<SignedIn>> {
  return await transaction(ctx.db, async (trx) => {
    const now = ctx.clock.now();
    const ceremony = await takeCeremony(trx, ask.ceremony, 'sign_in', now);
    if (ceremony === undefined) return failed;
    const outcome = await verifySignIn({
      response: ask.response,
      challenge: ceremony.challenge,
      origins: [ctx.site.publicUrl],
      rpId: ctx.site.rpId,
      find: async (credentialId) => await findAuthenticator(trx, credentialId),
    });
    const { authenticator } = outcome;
    // INVARIANT 4: held, so that a suspension comes before this sign-in or ends it.
    const principal = authenticator === undefined ? undefined : await lockPrincipal(trx, authenticator.principal);
    const limited = principal !== undefined && ctx.rates.take('sign_in_principal', principal.id).kind === 'limited';
    if (outcome.kind === 'refused' || authenticator === undefined || principal?.state !== 'active' || limited) {
      await writeEntry(ctx, trx, {
        kind: 'sign_in.failed',
        actor: 'stranger',
        subjects: principal === undefined ? {} : { principal: principal.id },
        public: {
          because: outcome.kind === 'refused' ? outcome.because : limited ? 'too_many_tries' : 'account_not_active',
        },
        ...(principal === undefined ? {} : { of: principal.id }),
        content: { address: ask.address },
      });
      return failed;
    }
    await trx
      .updateTable('authenticator')
      .set({ counter: outcome.newCounter, last_used_at: now })
      .where('id', '=', authenticator.id)
      .execute();
    const session = await startWebSession(ctx, trx, {
      principal,
      authenticator: authenticator.id,
      address: ask.address,
    });
    return done({ principal, ...session });
  });
}

/** Consents, at the console, to a sign-in of the command line tool on one machine. */
import { isFresh } from '#identity/web-session.ts';
import { issueCode, parseAuthorizationAsk, redirectWithCode, type AuthorizationField } from '#identity/oauth.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';

export async function authorizeCli(
  ctx: AppContext,
  caller: Caller,
  ask: Readonly<Record<AuthorizationField, unknown>>,
): Promise<Outcome<string>> {
  // INVARIANT 9: a token can't make further tokens; only a person at the console can.
  if (caller.session.kind !== 'web')
    return refused('forbidden', 'sign in the command line tool: this is done in the console');
  const now = ctx.clock.now();
  if (!isFresh(caller.session, now))
    return refused('fresh_sign_in_needed', 'sign in the command line tool: show your passkey again first');
  const parsed = parseAuthorizationAsk(ask);
  if (parsed.kind === 'refused')
    return refused(
      'invalid_input',
      `sign in the command line tool: \`${parsed.field}\` is not as it must be`,
      'start again with `sally login`',
    );
  const { code, stored } = issueCode(parsed.ask, { principal: caller.principal.id, now, random: ctx.random });
  await ctx.db
    .insertInto('authorization_code')
    .values({
      code_hash: stored.hash,
      principal: stored.principal,
      redirect_uri: stored.redirectUri,
      code_challenge: stored.codeChallenge,
      dpop_jkt: stored.dpopJkt,
      machine: stored.machine,
      proven_at: caller.session.provenAt,
      expires_at: stored.expiresAt,
      used_at: null,
    })
    .execute();
  return done(redirectWithCode(parsed.ask, code, ctx.site.publicUrl));
}

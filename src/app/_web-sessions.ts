/** Sign-ins at the console. */
import type { AuthenticatorId } from '#core/ids.ts';
import { newId } from '#core/ids.ts';
import type { Principal } from '#core/principal.ts';
import type { Secret } from '#core/secret.ts';
import { newToken } from '#identity/tokens.ts';
import type { Transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';
import { cureBySignIn } from './settle-hold.ts';
import { writeEntry } from './write-entry.ts';

export async function startWebSession(
  ctx: AppContext,
  trx: Transaction,
  from: { readonly principal: Principal; readonly authenticator: AuthenticatorId; readonly address: string },
): Promise<{ readonly token: Secret<string>; readonly sessionId: string }> {
  const now = ctx.clock.now();
  const { token, hash } = newToken('web_session', ctx.random);
  const id = newId('token', { now, random: ctx.random });
  await trx
    .insertInto('web_session')
    .values({
      id,
      token_hash: hash,
      principal: from.principal.id,
      created_at: now,
      last_seen_at: now,
      proven_at: now,
      ended_at: null,
      authenticator: from.authenticator,
    })
    .execute();
  await writeEntry(ctx, trx, {
    kind: 'sign_in.succeeded',
    actor: from.principal.id,
    subjects: { principal: from.principal.id, authenticator: from.authenticator, token: id },
    public: { at: 'console' },
    content: { handle: from.principal.handle, address: from.address },
  });
  await cureBySignIn(ctx, trx, from.principal.id);
  return { token, sessionId: id };
}

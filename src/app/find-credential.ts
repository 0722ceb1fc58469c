/** The SCRAM verifier of a gateway login name, while the grant it belongs to is live. */
import { isLive } from '#core/grant.ts';
import type { CredentialId } from '#core/ids.ts';
import { grantOf } from './_rows.ts';
import type { AppContext } from './context.ts';

export async function findCredential(
  ctx: Pick<AppContext, 'db' | 'clock'>,
  userName: string,
): Promise<{ readonly credential: CredentialId; readonly verifier: string } | undefined> {
  const row = await ctx.db
    .selectFrom('connection_credential')
    .innerJoin('access_grant', 'access_grant.id', 'connection_credential.access_grant')
    .selectAll('access_grant')
    .select(['connection_credential.id as credential', 'connection_credential.verifier'])
    .where('connection_credential.user_name', '=', userName)
    .executeTakeFirst();
  // A secret of an ended grant is told the same as one that never was (INVARIANT 14).
  if (row === undefined || !isLive(grantOf(row), ctx.clock.now())) return undefined;
  return { credential: row.credential, verifier: row.verifier };
}

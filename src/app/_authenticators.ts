/** Passkeys as the store has them. */
import type { AuthenticatorId, PrincipalId } from '#core/ids.ts';
import { decodeBase64Url, encodeBase64Url } from '#core/base64.ts';
import type { Db, Transaction } from '#store/database.ts';

export type StoredAuthenticator = {
  readonly id: AuthenticatorId;
  readonly principal: PrincipalId;
  /** base64url */
  readonly credentialId: string;
  readonly publicKey: Uint8Array;
  readonly counter: number;
  readonly transports: readonly string[];
};

/** A passkey that may still sign; of that person only, when one is given. */
export async function findAuthenticator(
  db: Db | Transaction,
  credentialId: string,
  principal?: PrincipalId,
): Promise<StoredAuthenticator | undefined> {
  const bytes = decodeBase64Url(credentialId);
  if (bytes === undefined) return undefined;
  let query = db
    .selectFrom('authenticator')
    .selectAll()
    .where('credential_id', '=', bytes)
    .where('revoked_at', 'is', null);
  if (principal !== undefined) query = query.where('principal', '=', principal);
  // Locked, so that of two assertions with one counter only one is accepted.
  const row = await query.forUpdate().executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    id: row.id,
    principal: row.principal,
    credentialId: encodeBase64Url(row.credential_id),
    publicKey: row.public_key,
    counter: row.counter,
    transports: row.transports,
  };
}

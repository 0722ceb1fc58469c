/** The OAuth token endpoint: a code for tokens, a refresh token for new ones, and giving them up (RFC 6749, 7009, 9449). */
import { newId, type PrincipalId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { verifyDpop } from '#identity/dpop.ts';
import {
  cliSignInEndsAt,
  issueTokens,
  judgeRefresh,
  oauthError,
  parseRevocation,
  parseTokenRequest,
  redeemCode,
  tokenAnswer,
  type OAuthError,
  type RedirectUri,
  type TokenRequest,
} from '#identity/oauth.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { findPrincipal, lockPrincipal } from './_rows.ts';
import { isFirstUse } from './authenticate.ts';
import type { AppContext } from './context.ts';
import { writeEntry } from './write-entry.ts';

export type TokenCall = {
  readonly contentType: string | undefined;
  readonly body: string;
  /** The `DPoP` header. */
  readonly proof: string | undefined;
  readonly url: string;
  readonly address: string;
};

export type TokenOutcome =
  | { readonly kind: 'answer'; readonly body: Readonly<Record<string, string | number>> }
  | { readonly kind: 'error'; readonly error: OAuthError };

const failed = (error: OAuthError): TokenOutcome => ({ kind: 'error', error });

export async function exchangeToken(ctx: AppContext, call: TokenCall): Promise<TokenOutcome> {
  const parsed = parseTokenRequest(call.contentType, call.body);
  if (parsed.kind === 'refused') return failed(parsed.error);
  const now = ctx.clock.now();
  const dpop =
    call.proof === undefined ? undefined : await verifyDpop({ proof: call.proof, method: 'POST', url: call.url, now });
  if (dpop?.kind !== 'verified' || !(await isFirstUse(ctx, dpop.replayKey, dpop.rememberUntil)))
    return failed(oauthError('invalid_dpop_proof'));
  return await transaction(ctx.db, async (trx) =>
    parsed.request.grant === 'authorization_code'
      ? await redeem(ctx, trx, parsed.request, dpop.jkt, call.address, now)
      : await refresh(ctx, trx, parsed.request, dpop.jkt, now),
  );
}

async function redeem(
  ctx: AppContext,
  trx: Transaction,
  request: TokenRequest & { readonly grant: 'authorization_code' },
  jkt: string,
  address: string,
  now: Instant,
): Promise<TokenOutcome> {
  const row = await trx
    .selectFrom('authorization_code')
    .selectAll()
    .where('code_hash', '=', request.code)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) return failed(oauthError('invalid_grant'));
  const outcome = redeemCode(
    {
      hash: request.code,
      principal: row.principal,
      // It was parsed when the code was issued.
      redirectUri: row.redirect_uri as RedirectUri,
      codeChallenge: row.code_challenge,
      dpopJkt: row.dpop_jkt,
      machine: row.machine,
      issuedAt: row.proven_at,
      expiresAt: row.expires_at,
      state: row.used_at === null ? 'issued' : 'redeemed',
    },
    { now, redirectUri: request.redirectUri, codeVerifier: request.codeVerifier, jkt },
  );
  if (outcome.kind === 'refused') {
    // Somebody has a copy of the code: what came of its first use ends (RFC 6749 §4.1.2).
    if (outcome.because === 'already_redeemed')
      await endTokens(ctx, trx, { principal: row.principal, jkt: row.dpop_jkt }, now);
    return failed(oauthError('invalid_grant'));
  }
  const principal = await lockPrincipal(trx, row.principal);
  if (principal?.state !== 'active') return failed(oauthError('invalid_grant'));
  await trx.updateTable('authorization_code').set({ used_at: now }).where('code_hash', '=', request.code).execute();
  await trx
    .insertInto('device')
    .values({ principal: principal.id, jkt, first_seen_at: now })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const pair = issueTokens({ signInAt: now, now, random: ctx.random });
  const id = newId('token', { now, random: ctx.random });
  await trx
    .insertInto('machine_token')
    .values({
      id,
      principal: principal.id,
      machine: row.machine,
      dpop_jkt: jkt,
      access_hash: pair.access.hash,
      access_expires_at: pair.accessExpiresAt,
      refresh_hash: pair.refresh.hash,
      previous_refresh_hash: null,
      created_at: now,
      proven_at: row.proven_at,
      ends_at: cliSignInEndsAt(now),
      ended_at: null,
    })
    .execute();
  await writeEntry(ctx, trx, {
    kind: 'token.issued',
    actor: principal.id,
    subjects: { principal: principal.id, token: id },
    public: { at: 'cli', jkt },
    content: { handle: principal.handle, machine: row.machine, address },
  });
  return { kind: 'answer', body: tokenAnswer(pair, now) };
}

async function refresh(
  ctx: AppContext,
  trx: Transaction,
  request: TokenRequest & { readonly grant: 'refresh_token' },
  jkt: string,
  now: Instant,
): Promise<TokenOutcome> {
  const row = await trx
    .selectFrom('machine_token')
    .selectAll()
    .where((where) =>
      where.or([
        where('refresh_hash', '=', request.refreshToken),
        where('previous_refresh_hash', '=', request.refreshToken),
      ]),
    )
    .where('ended_at', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) return failed(oauthError('invalid_grant'));
  const isPrevious = row.previous_refresh_hash !== null && sameBytes(row.previous_refresh_hash, request.refreshToken);
  const outcome = judgeRefresh(
    { signInAt: row.created_at, jkt: row.dpop_jkt, rotatedAt: isPrevious ? now : null },
    { now, jkt },
  );
  const principal = await findPrincipal(trx, row.principal);
  if (outcome.kind === 'refused' || principal?.state !== 'active') {
    if (outcome.kind === 'refused' && outcome.because === 'reused')
      await endTokens(ctx, trx, { principal: row.principal, jkt: row.dpop_jkt }, now);
    return failed(oauthError('invalid_grant'));
  }
  const pair = issueTokens({ signInAt: row.created_at, now, random: ctx.random });
  await trx
    .updateTable('machine_token')
    .set({
      access_hash: pair.access.hash,
      access_expires_at: pair.accessExpiresAt,
      refresh_hash: pair.refresh.hash,
      previous_refresh_hash: row.refresh_hash,
    })
    .where('id', '=', row.id)
    .execute();
  return { kind: 'answer', body: tokenAnswer(pair, now) };
}

async function endTokens(
  ctx: AppContext,
  trx: Transaction,
  of: { readonly principal: PrincipalId; readonly jkt: string },
  now: Instant,
): Promise<void> {
  const ended = await trx
    .updateTable('machine_token')
    .set({ ended_at: now })
    .where('principal', '=', of.principal)
    .where('dpop_jkt', '=', of.jkt)
    .where('ended_at', 'is', null)
    .returning('id')
    .execute();
  for (const { id } of ended)
    await writeEntry(ctx, trx, {
      kind: 'token.revoked',
      actor: 'system',
      about: [of.principal],
      subjects: { principal: of.principal, token: id },
      public: { because: 'reused' },
    });
}

/** RFC 7009: answers the same whether there was such a token or not. The secret itself is the right to end it. */
export async function revokeToken(
  ctx: AppContext,
  call: { readonly contentType: string | undefined; readonly body: string },
): Promise<TokenOutcome> {
  const parsed = parseRevocation(call.contentType, call.body);
  if (parsed.kind === 'refused') return failed(parsed.error);
  if (parsed.kind === 'valid') {
    const { token } = parsed;
    await transaction(ctx.db, async (trx) => {
      const row = await trx
        .updateTable('machine_token')
        .set({ ended_at: ctx.clock.now() })
        .where(token.kind === 'access' ? 'access_hash' : 'refresh_hash', '=', token.hash)
        .where('ended_at', 'is', null)
        .returning(['id', 'principal'])
        .executeTakeFirst();
      if (row !== undefined)
        await writeEntry(ctx, trx, {
          kind: 'token.revoked',
          actor: row.principal,
          subjects: { principal: row.principal, token: row.id },
          public: { because: 'signed_out' },
        });
    });
  }
  return { kind: 'answer', body: {} };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * How the CLI signs in: OAuth 2.0 authorization code (RFC 6749) with PKCE (RFC 7636), a loopback redirect (RFC 8252)
 * and tokens bound to a key of that machine (RFC 9449, dpop.ts). There is one client, `sally-cli`, and it is public.
 * This file parses what comes in, says what is wrong in the words of the RFCs, and knows the life of a code and of a
 * CLI sign-in; storing them is the caller's.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { decodeBase64Url } from '#core/base64.ts';
import type { PrincipalId, Random } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import { after, earliest, hours, minutes, seconds } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import { newToken, parseToken, type NewToken, type TokenHash } from './tokens.ts';

export const cliClientId = 'sally-cli';
/** RFC 6749 §4.1.2 wants ten minutes at most; the CLI waits for the code and uses it at once. */
export const codeLifetime: Duration = seconds(60);
export const accessTokenLifetime: Duration = minutes(15);
/** A whole CLI sign-in, however often it is refreshed. */
export const cliSignInLifetime: Duration = hours(12);

// --- Asking for authorization ---------------------------------------------------------------------------------------

declare const redirectBrand: unique symbol;
/** A loopback redirect address (RFC 8252 §7.3): `http://127.0.0.1:PORT/callback` or `http://[::1]:PORT/callback`. */
export type RedirectUri = string & { readonly [redirectBrand]: true };

/** `localhost` isn't taken: a name can be made to point elsewhere (RFC 8252 §8.3). One spelling each, port in decimal. */
export function parseRedirectUri(text: unknown): RedirectUri | undefined {
  if (typeof text !== 'string') return undefined;
  const match = /^http:\/\/(?:127\.0\.0\.1|\[::1\]):([1-9]\d{0,4})\/callback$/.exec(text);
  return match !== null && Number(match[1]) <= 65_535 ? (text as RedirectUri) : undefined;
}

export type AuthorizationAsk = {
  readonly redirectUri: RedirectUri;
  /** RFC 7636 §4.2, method S256. */
  readonly codeChallenge: string;
  readonly state: string;
  /** RFC 9449 §10: the thumbprint of the key that the tokens will be bound to. */
  readonly dpopJkt: string;
  /** What the machine calls itself. Shown to the one who consents; decides nothing. */
  readonly machine: string;
};

export type AuthorizationField =
  | 'redirectUri'
  | 'codeChallenge'
  | 'codeChallengeMethod'
  | 'state'
  | 'dpopJkt'
  | 'machine';
export type ParseAskOutcome =
  | { readonly kind: 'valid'; readonly ask: AuthorizationAsk }
  | { readonly kind: 'refused'; readonly field: AuthorizationField };

/** Nothing is ever redirected for a refused ask: the address to redirect to is part of what can't be trusted. */
export function parseAuthorizationAsk(input: Readonly<Record<AuthorizationField, unknown>>): ParseAskOutcome {
  const refused = (field: AuthorizationField): ParseAskOutcome => ({ kind: 'refused', field });
  const redirectUri = parseRedirectUri(input.redirectUri);
  if (redirectUri === undefined) return refused('redirectUri');
  if (!isSha256(input.codeChallenge)) return refused('codeChallenge');
  if (input.codeChallengeMethod !== 'S256') return refused('codeChallengeMethod');
  // Printable ASCII (RFC 6749 appendix A.5), bounded.
  if (typeof input.state !== 'string' || !/^[\x20-\x7e]{16,200}$/.test(input.state)) return refused('state');
  if (!isSha256(input.dpopJkt)) return refused('dpopJkt');
  const { machine } = input;
  if (typeof machine !== 'string' || machine.trim() === '' || machine.length > 200 || !machine.isWellFormed())
    return refused('machine');
  return {
    kind: 'valid',
    ask: { redirectUri, codeChallenge: input.codeChallenge, state: input.state, dpopJkt: input.dpopJkt, machine },
  };
}

/** Where the browser goes with the code: with `state`, and `iss` against mix-ups (RFC 9207). */
export function redirectWithCode(ask: AuthorizationAsk, code: Secret<string>, issuer: string): string {
  const query = new URLSearchParams({ code: code.reveal(), state: ask.state, iss: issuer });
  return `${ask.redirectUri}?${query.toString()}`;
}

/** SHA-256 in base64url, as PKCE challenges and JWK thumbprints are. */
function isSha256(value: unknown): value is string {
  return typeof value === 'string' && value.length === 43 && decodeBase64Url(value) !== undefined;
}

// --- PKCE -----------------------------------------------------------------------------------------------------------

/** RFC 7636 §4.1: 43 to 128 unreserved characters. */
const verifierForm = /^[A-Za-z0-9._~-]{43,128}$/;

/** RFC 7636 §4.6: whether BASE64URL(SHA-256(ASCII(verifier))) is the challenge. */
export function verifyPkce(verifier: string, challenge: string): boolean {
  if (!verifierForm.test(verifier)) return false;
  const expected = decodeBase64Url(challenge);
  const actual = createHash('sha256').update(verifier, 'ascii').digest();
  return expected !== undefined && expected.length === actual.length && timingSafeEqual(expected, actual);
}

// --- The code -------------------------------------------------------------------------------------------------------

export type AuthorizationCode = {
  readonly hash: TokenHash;
  readonly principal: PrincipalId;
  readonly redirectUri: RedirectUri;
  readonly codeChallenge: string;
  readonly dpopJkt: string;
  readonly machine: string;
  readonly issuedAt: Instant;
  readonly expiresAt: Instant;
  readonly state: 'issued' | 'redeemed';
};

/** A code for one who has consented just now. */
export function issueCode(
  ask: AuthorizationAsk,
  by: { readonly principal: PrincipalId; readonly now: Instant; readonly random: Random },
): { readonly code: Secret<string>; readonly stored: AuthorizationCode & { readonly state: 'issued' } } {
  const { token, hash } = newToken('code', by.random);
  const { redirectUri, codeChallenge, dpopJkt, machine } = ask;
  const times = { issuedAt: by.now, expiresAt: after(by.now, codeLifetime) };
  return {
    code: token,
    stored: { hash, principal: by.principal, redirectUri, codeChallenge, dpopJkt, machine, ...times, state: 'issued' },
  };
}

export type RedeemOutcome =
  | { readonly kind: 'redeemed'; readonly code: AuthorizationCode & { readonly state: 'redeemed' } }
  | {
      readonly kind: 'refused';
      /** `already_redeemed`: somebody has a copy; end the sign-in that came of it (RFC 6749 §4.1.2). */
      readonly because: 'expired' | 'already_redeemed' | 'other_redirect' | 'other_verifier' | 'other_key';
    };

/** Uses the code up. All refusals are `invalid_grant` to the outside. Store under the condition that it is still `issued`. */
export function redeemCode(
  code: AuthorizationCode,
  by: {
    readonly now: Instant;
    readonly redirectUri: string;
    readonly codeVerifier: string;
    /** Thumbprint of the key whose DPoP proof came with the token request. */
    readonly jkt: string;
  },
): RedeemOutcome {
  if (code.state === 'redeemed') return { kind: 'refused', because: 'already_redeemed' };
  if (by.now >= code.expiresAt) return { kind: 'refused', because: 'expired' };
  if (by.redirectUri !== code.redirectUri) return { kind: 'refused', because: 'other_redirect' };
  if (!verifyPkce(by.codeVerifier, code.codeChallenge)) return { kind: 'refused', because: 'other_verifier' };
  if (by.jkt !== code.dpopJkt) return { kind: 'refused', because: 'other_key' };
  return { kind: 'redeemed', code: { ...code, state: 'redeemed' } };
}

// --- The sign-in of a CLI -------------------------------------------------------------------------------------------

/** A pair of tokens; the refresh token changes with each use, so a stolen and then used one is noticed. */
export type TokenPair = {
  readonly access: NewToken;
  readonly refresh: NewToken;
  readonly accessExpiresAt: Instant;
};

/** New tokens within a sign-in that began at `signInAt`. They never outlive it (INVARIANT 9). */
export function issueTokens(by: {
  readonly signInAt: Instant;
  readonly now: Instant;
  readonly random: Random;
}): TokenPair {
  return {
    access: newToken('access', by.random),
    refresh: newToken('refresh', by.random),
    accessExpiresAt: earliest(after(by.now, accessTokenLifetime), cliSignInEndsAt(by.signInAt)),
  };
}

export function cliSignInEndsAt(signInAt: Instant): Instant {
  return after(signInAt, cliSignInLifetime);
}

export type RefreshOutcome =
  | { readonly kind: 'refreshed' }
  | {
      readonly kind: 'refused';
      /** `reused`: the token was exchanged before, so somebody has a copy: the caller ends the whole sign-in. */
      readonly because: 'sign_in_over' | 'reused' | 'other_key';
    };

/** Whether a refresh token may be exchanged. `rotatedAt` says when it was exchanged before, if it was. */
export function judgeRefresh(
  token: { readonly signInAt: Instant; readonly jkt: string; readonly rotatedAt: Instant | null },
  by: { readonly now: Instant; readonly jkt: string },
): RefreshOutcome {
  // The key first: one who lacks it must not be able to end somebody's sign-in by replaying an old token.
  if (by.jkt !== token.jkt) return { kind: 'refused', because: 'other_key' };
  if (token.rotatedAt !== null) return { kind: 'refused', because: 'reused' };
  if (by.now >= cliSignInEndsAt(token.signInAt)) return { kind: 'refused', because: 'sign_in_over' };
  return { kind: 'refreshed' };
}

// --- The token endpoint ---------------------------------------------------------------------------------------------

/** RFC 6749 §5.2, and `invalid_dpop_proof` of RFC 9449 §5. */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unsupported_grant_type'
  | 'invalid_dpop_proof';

export type OAuthError = {
  readonly status: 400 | 401;
  /** Answer with `Cache-Control: no-store`. */
  readonly body: { readonly error: OAuthErrorCode; readonly error_description: string };
};

const descriptions: Readonly<Record<OAuthErrorCode, string>> = {
  invalid_request: 'a parameter is missing, repeated or malformed',
  invalid_client: 'the client is not known',
  invalid_grant: 'the code or refresh token is not valid, or not for this client, address or key',
  unsupported_grant_type: 'only authorization_code and refresh_token are supported',
  invalid_dpop_proof: 'the DPoP proof is missing or not valid for this request',
};

/** The error as RFC 6749 §5.2 shapes it. `description` must not repeat what was sent. */
export function oauthError(error: OAuthErrorCode, description: string = descriptions[error]): OAuthError {
  return { status: error === 'invalid_client' ? 401 : 400, body: { error, error_description: description } };
}

/** RFC 6749 §5.1 with the token type of RFC 9449 §5. Answer with `Cache-Control: no-store`. */
export function tokenAnswer(pair: TokenPair, now: Instant): Readonly<Record<string, string | number>> {
  return {
    access_token: pair.access.token.reveal(),
    token_type: 'DPoP',
    expires_in: Math.max(0, Math.floor((pair.accessExpiresAt - now) / 1000)),
    refresh_token: pair.refresh.token.reveal(),
  };
}

export type TokenRequest =
  | {
      readonly grant: 'authorization_code';
      readonly code: TokenHash;
      readonly redirectUri: string;
      readonly codeVerifier: string;
    }
  | { readonly grant: 'refresh_token'; readonly refreshToken: TokenHash };

export type ParseTokenRequestOutcome =
  | { readonly kind: 'valid'; readonly request: TokenRequest }
  | { readonly kind: 'refused'; readonly error: OAuthError };

/** The form of a token request (RFC 6749 §4.1.3, §6). A code that can't be one of ours is `invalid_grant`, as an unknown one is. */
export function parseTokenRequest(contentType: string | undefined, body: string): ParseTokenRequestOutcome {
  const refused = (error: OAuthErrorCode): ParseTokenRequestOutcome => ({ kind: 'refused', error: oauthError(error) });
  const form = parseForm(contentType, body);
  if (form === undefined) return refused('invalid_request');
  const grant = form.get('grant_type');
  if (grant === undefined) return refused('invalid_request');
  if (grant !== 'authorization_code' && grant !== 'refresh_token') return refused('unsupported_grant_type');
  const client = form.get('client_id');
  if (client === undefined) return refused('invalid_request');
  if (client !== cliClientId) return refused('invalid_client');
  if (grant === 'refresh_token') {
    const given = form.get('refresh_token');
    if (given === undefined) return refused('invalid_request');
    const refreshToken = parseToken('refresh', given);
    if (refreshToken === undefined) return refused('invalid_grant');
    return { kind: 'valid', request: { grant, refreshToken } };
  }
  const given = form.get('code');
  const redirectUri = form.get('redirect_uri');
  const codeVerifier = form.get('code_verifier');
  if (given === undefined || redirectUri === undefined || codeVerifier === undefined) return refused('invalid_request');
  const code = parseToken('code', given);
  if (code === undefined) return refused('invalid_grant');
  return { kind: 'valid', request: { grant, code, redirectUri, codeVerifier } };
}

export type ParseRevocationOutcome =
  | { readonly kind: 'valid'; readonly token: { readonly kind: 'access' | 'refresh'; readonly hash: TokenHash } }
  /** Not a token of ours: RFC 7009 §2.2 answers 200 all the same. */
  | { readonly kind: 'unknown_token' }
  | { readonly kind: 'refused'; readonly error: OAuthError };

/** The form of a revocation (RFC 7009 §2.1). The prefix says which kind of token it is, so the hint isn't needed. */
export function parseRevocation(contentType: string | undefined, body: string): ParseRevocationOutcome {
  const given = parseForm(contentType, body)?.get('token');
  if (given === undefined) return { kind: 'refused', error: oauthError('invalid_request') };
  for (const kind of ['access', 'refresh'] as const) {
    const hash = parseToken(kind, given);
    if (hash !== undefined) return { kind: 'valid', token: { kind, hash } };
  }
  return { kind: 'unknown_token' };
}

/** RFC 6749 §3.2: no parameter twice; one without a value counts as left out; unknown ones are ignored. */
function parseForm(contentType: string | undefined, body: string): ReadonlyMap<string, string> | undefined {
  if (!/^application\/x-www-form-urlencoded(?:\s*;\s*charset="?utf-8"?)?$/i.test(contentType?.trim() ?? ''))
    return undefined;
  if (body.length > 8192) return undefined;
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (form.has(name)) return undefined;
    form.set(name, value);
  }
  for (const [name, value] of form) if (value === '') form.delete(name);
  return form;
}

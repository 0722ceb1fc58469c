import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PrincipalId } from '#core/ids.ts';
import { after, hours, minutes, seconds, type Instant } from '#core/instant.ts';
import { Secret } from '#core/secret.ts';
import {
  issueCode,
  issueTokens,
  judgeRefresh,
  oauthError,
  parseAuthorizationAsk,
  parseRedirectUri,
  parseRevocation,
  parseTokenRequest,
  redeemCode,
  redirectWithCode,
  tokenAnswer,
  verifyPkce,
} from './oauth.ts';
import { newToken, sameHash } from './tokens.ts';

const random = (length: number) => new Uint8Array(randomBytes(length));
const now = 1_800_000_000_000 as Instant;
const ada = 'usr_01k9000000000000000000adaa' as PrincipalId;
const form = 'application/x-www-form-urlencoded';

// RFC 7636, appendix B.
const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const challenge = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
const jkt = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I';

const goodAsk = {
  redirectUri: 'http://127.0.0.1:49152/callback',
  codeChallenge: challenge,
  codeChallengeMethod: 'S256',
  state: 'af0ifjsldkj-1234',
  dpopJkt: jkt,
  machine: 'ada’s laptop',
};

test('RFC 7636 appendix B: the verifier fits its challenge', () => {
  assert.ok(verifyPkce(verifier, challenge));
});

test('another verifier, a short one, a long one and another challenge don’t fit', () => {
  assert.ok(!verifyPkce(verifier.replace('d', 'e'), challenge));
  assert.ok(!verifyPkce(verifier, challenge.replace('E', 'F')));
  assert.ok(!verifyPkce(verifier, `${challenge}=`));
  assert.ok(!verifyPkce(verifier, ''));
  const sha = (text: string) => createHash('sha256').update(text).digest('base64url');
  for (const [text, fits] of [
    ['a'.repeat(42), false],
    ['a'.repeat(43), true],
    ['a'.repeat(128), true],
    ['a'.repeat(129), false],
    [`${'a'.repeat(42)} `, false],
    [`${'a'.repeat(42)}é`, false],
  ] as const)
    assert.equal(verifyPkce(text, sha(text)), fits, text);
});

for (const [uri, taken] of [
  ['http://127.0.0.1:1/callback', true],
  ['http://127.0.0.1:65535/callback', true],
  ['http://[::1]:49152/callback', true],
  ['http://127.0.0.1/callback', false],
  ['http://127.0.0.1:0/callback', false],
  ['http://127.0.0.1:65536/callback', false],
  ['http://127.0.0.1:080/callback', false],
  ['https://127.0.0.1:80/callback', false],
  ['http://localhost:49152/callback', false],
  ['http://127.0.0.2:49152/callback', false],
  ['http://127.1:49152/callback', false],
  ['http://2130706433:49152/callback', false],
  ['http://[0:0:0:0:0:0:0:1]:49152/callback', false],
  ['http://[::ffff:127.0.0.1]:49152/callback', false],
  ['http://127.0.0.1:49152/callback/', false],
  ['http://127.0.0.1:49152/Callback', false],
  ['http://127.0.0.1:49152/x/../callback', false],
  ['http://127.0.0.1:49152/callback?a=b', false],
  ['http://127.0.0.1:49152/callback#', false],
  ['http://a@127.0.0.1:49152/callback', false],
  ['http://127.0.0.1:49152@evil.test/callback', false],
  ['http://127.0.0.1.evil.test:1/callback', false],
  ['http://127.0.0.1:49152/callback\n', false],
  [' http://127.0.0.1:49152/callback', false],
  ['HTTP://127.0.0.1:49152/callback', false],
  ['javascript:alert(1)', false],
  [undefined, false],
] as const)
  test(`the redirect address \`${JSON.stringify(uri)}\` is ${taken ? 'taken' : 'refused'}`, () => {
    assert.equal(parseRedirectUri(uri) !== undefined, taken);
  });

test('an ask is taken when every field is right, and refused by the name of the first that isn’t', () => {
  assert.equal(parseAuthorizationAsk(goodAsk).kind, 'valid');
  for (const [field, value] of [
    ['redirectUri', 'http://localhost:1/callback'],
    ['codeChallenge', 'short'],
    ['codeChallenge', `${challenge.slice(0, -1)}N`], // stray low bits
    ['codeChallengeMethod', 'plain'],
    ['codeChallengeMethod', undefined],
    ['state', 'too short'],
    ['state', 'a'.repeat(201)],
    ['state', 'af0ifjsldkj-1234\n'],
    ['dpopJkt', undefined],
    ['machine', '  '],
    ['machine', '\ud800'],
  ] as const)
    assert.deepEqual(parseAuthorizationAsk({ ...goodAsk, [field]: value }), { kind: 'refused', field });
});

test('the browser is sent back with code, state and issuer (RFC 9207)', () => {
  const parsed = parseAuthorizationAsk({ ...goodAsk, state: 'a&b=c d#e?f 1234' });
  assert.equal(parsed.kind, 'valid');
  const url = new URL(redirectWithCode(parsed.ask, new Secret('sly_ac_x'), 'https://sally.example'));
  assert.equal(url.origin + url.pathname, goodAsk.redirectUri);
  assert.deepEqual(Object.fromEntries(url.searchParams), {
    code: 'sly_ac_x',
    state: 'a&b=c d#e?f 1234',
    iss: 'https://sally.example',
  });
});

function issued() {
  const parsed = parseAuthorizationAsk(goodAsk);
  assert.equal(parsed.kind, 'valid');
  return issueCode(parsed.ask, { principal: ada, now, random }).stored;
}
const redemption = { now, redirectUri: goodAsk.redirectUri, codeVerifier: verifier, jkt };

test('a code is redeemed once, within a minute, by who asked for it', () => {
  const outcome = redeemCode(issued(), redemption);
  assert.equal(outcome.kind, 'redeemed');
  assert.equal(outcome.code.principal, ada);
  assert.deepEqual(redeemCode(outcome.code, redemption), { kind: 'refused', because: 'already_redeemed' });
});

for (const [name, change, expected] of [
  ['after a minute', { now: after(now, seconds(60)) }, 'expired'],
  ['from another port', { redirectUri: 'http://127.0.0.1:49153/callback' }, 'other_redirect'],
  ['with another verifier', { codeVerifier: 'x'.repeat(43) }, 'other_verifier'],
  ['with the challenge as verifier', { codeVerifier: challenge }, 'other_verifier'],
  ['with another key', { jkt: challenge }, 'other_key'],
] as const)
  test(`a code is refused ${name}`, () => {
    assert.deepEqual(redeemCode(issued(), { ...redemption, ...change }), { kind: 'refused', because: expected });
  });

test('INVARIANT 9: an access token lives 15 minutes, and never longer than the sign-in', () => {
  assert.equal(issueTokens({ signInAt: now, now, random }).accessExpiresAt, after(now, minutes(15)));
  const late = after(now, (hours(12) - minutes(5)) as ReturnType<typeof minutes>);
  const pair = issueTokens({ signInAt: now, now: late, random });
  assert.equal(pair.accessExpiresAt, after(now, hours(12)));
  assert.equal(tokenAnswer(pair, late)['expires_in'], 300);
});

test('a token answer has the shape of RFC 6749 §5.1', () => {
  const pair = issueTokens({ signInAt: now, now, random });
  assert.deepEqual(tokenAnswer(pair, now), {
    access_token: pair.access.token.reveal(),
    token_type: 'DPoP',
    expires_in: 900,
    refresh_token: pair.refresh.token.reveal(),
  });
});

test('a refresh token is for its key, for one use, until the sign-in is over', () => {
  const token = { signInAt: now, jkt, rotatedAt: null };
  const because = (outcome: ReturnType<typeof judgeRefresh>) =>
    outcome.kind === 'refused' ? outcome.because : outcome.kind;
  assert.equal(because(judgeRefresh(token, { now, jkt })), 'refreshed');
  assert.equal(because(judgeRefresh({ ...token, rotatedAt: now }, { now, jkt })), 'reused');
  assert.equal(because(judgeRefresh(token, { now: after(now, hours(12)), jkt })), 'sign_in_over');
  assert.equal(because(judgeRefresh(token, { now, jkt: challenge })), 'other_key');
  assert.equal(
    because(judgeRefresh({ ...token, rotatedAt: now }, { now, jkt: challenge })),
    'other_key',
    'who lacks the key can’t end a sign-in by replaying an old token',
  );
});

const code = newToken('code', random);
const refresh = newToken('refresh', random);
const access = newToken('access', random);
const codeForm = {
  grant_type: 'authorization_code',
  client_id: 'sally-cli',
  code: code.token.reveal(),
  redirect_uri: goodAsk.redirectUri,
  code_verifier: verifier,
};
const encode = (fields: Readonly<Record<string, string>>) => new URLSearchParams(fields).toString();

test('a token request with a code is read', () => {
  const parsed = parseTokenRequest(form, encode(codeForm));
  assert.equal(parsed.kind, 'valid');
  assert.equal(parsed.request.grant, 'authorization_code');
  assert.ok(sameHash(parsed.request.code, code.hash));
  assert.equal(parsed.request.redirectUri, goodAsk.redirectUri);
});

test('a token request with a refresh token is read', () => {
  const parsed = parseTokenRequest(
    `${form}; charset=UTF-8`,
    encode({ grant_type: 'refresh_token', client_id: 'sally-cli', refresh_token: refresh.token.reveal(), scope: 'x' }),
  );
  assert.equal(parsed.kind, 'valid');
  assert.equal(parsed.request.grant, 'refresh_token');
  assert.ok(sameHash(parsed.request.refreshToken, refresh.hash));
});

for (const [name, contentType, body, expected] of [
  ['JSON', 'application/json', JSON.stringify(codeForm), 'invalid_request'],
  ['no content type', undefined, encode(codeForm), 'invalid_request'],
  ['nothing', form, '', 'invalid_request'],
  ['no client', form, encode({ ...codeForm, client_id: '' }), 'invalid_request'],
  ['another client', form, encode({ ...codeForm, client_id: 'evil' }), 'invalid_client'],
  ['another grant', form, encode({ ...codeForm, grant_type: 'password' }), 'unsupported_grant_type'],
  ['a parameter twice', form, `${encode(codeForm)}&code=x`, 'invalid_request'],
  ['no verifier', form, encode({ ...codeForm, code_verifier: '' }), 'invalid_request'],
  ['a code that can’t be one', form, encode({ ...codeForm, code: 'x' }), 'invalid_grant'],
  ['a refresh token as code', form, encode({ ...codeForm, code: refresh.token.reveal() }), 'invalid_grant'],
  ['too much', form, encode({ ...codeForm, x: 'x'.repeat(9000) }), 'invalid_request'],
] as const)
  test(`a token request with ${name} is ${expected}`, () => {
    const parsed = parseTokenRequest(contentType, body);
    assert.equal(parsed.kind, 'refused');
    assert.equal(parsed.error.body.error, expected);
  });

test('whatever the form holds, parsing answers and does not throw', () => {
  fc.assert(
    fc.property(fc.string(), (body) => {
      assert.equal(parseTokenRequest(form, body).kind, 'refused');
      assert.notEqual(parseRevocation(form, body).kind, 'valid');
    }),
  );
});

test('a revocation says which kind of token it is by the prefix', () => {
  for (const [kind, made] of [
    ['access', access],
    ['refresh', refresh],
  ] as const) {
    const parsed = parseRevocation(form, encode({ token: made.token.reveal(), token_type_hint: 'nonsense' }));
    assert.equal(parsed.kind, 'valid');
    assert.equal(parsed.token.kind, kind);
    assert.ok(sameHash(parsed.token.hash, made.hash));
  }
  assert.equal(parseRevocation(form, 'token=whatever').kind, 'unknown_token');
  assert.equal(parseRevocation(form, '').kind, 'refused');
});

test('errors have the shape of RFC 6749 §5.2 and repeat nothing that was sent', () => {
  assert.deepEqual(oauthError('invalid_grant'), {
    status: 400,
    body: {
      error: 'invalid_grant',
      error_description: 'the code or refresh token is not valid, or not for this client, address or key',
    },
  });
  assert.equal(oauthError('invalid_client').status, 401);
});

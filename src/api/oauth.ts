/** The OAuth endpoints of the CLI (RFC 6749, 7009, 9449) and what they say about themselves (RFC 8414). */
import type { Hono } from 'hono';
import type { HttpBindings } from '@hono/node-server';
import { exchangeToken, revokeToken, type TokenOutcome } from '#app/exchange-token.ts';
import { dpopAlgorithms } from '#identity/dpop.ts';
import { oauthError } from '#identity/oauth.ts';
import { addressKey } from '#identity/rate-limit.ts';
import { refuseForeignBrowsers } from './authenticate.ts';
import { RefusedRequest } from './errors.ts';
import { addressOf, answerTo, takeOne, type Api, type RequestContext } from './implement.ts';
import { decodeText, readBody } from './read-body.ts';

const mostBytes = 8192;

export function addOauth(hono: Hono<{ Bindings: HttpBindings }>, api: Api): void {
  const { app } = api;
  const { publicUrl } = app.site;

  hono.post('/oauth/token', (c) =>
    formEndpoint(api, c, (form) =>
      exchangeToken(app, {
        ...form,
        proof: c.req.header('dpop'),
        url: `${publicUrl}/oauth/token`,
        address: addressOf(api, c),
      }),
    ),
  );
  hono.post('/oauth/revoke', (c) => formEndpoint(api, c, (form) => revokeToken(app, form)));

  const metadata = JSON.stringify({
    issuer: publicUrl,
    authorization_endpoint: `${publicUrl}/authorize`,
    token_endpoint: `${publicUrl}/oauth/token`,
    revocation_endpoint: `${publicUrl}/oauth/revoke`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_methods_supported: ['none'],
    revocation_endpoint_auth_methods_supported: ['none'],
    code_challenge_methods_supported: ['S256'],
    // RFC 9207 and RFC 9449 §5.1.
    authorization_response_iss_parameter_supported: true,
    dpop_signing_alg_values_supported: dpopAlgorithms,
  });
  hono.get('/.well-known/oauth-authorization-server', (c) =>
    answerTo(api, c, 'oauth', {}, () =>
      Promise.resolve(new Response(metadata, { headers: { 'content-type': 'application/json' } })),
    ),
  );
}

function formEndpoint(
  api: Api,
  c: RequestContext,
  run: (form: { readonly contentType: string | undefined; readonly body: string }) => Promise<TokenOutcome>,
): Promise<Response> {
  return answerTo(api, c, 'oauth', {}, async () => {
    try {
      takeOne(api.app, 'token', addressKey(addressOf(api, c)));
      // The CLI is no browser; a page that posts here is up to something.
      refuseForeignBrowsers(c.req.raw, api.app.site.publicUrl);
      const body = decodeText(await readBody(c.req.raw, mostBytes));
      const outcome: TokenOutcome =
        body === undefined
          ? { kind: 'error', error: oauthError('invalid_request') }
          : await run({ contentType: c.req.header('content-type'), body });
      return outcome.kind === 'answer' ? json(200, outcome.body) : json(outcome.error.status, outcome.error.body);
    } catch (thrown) {
      if (!(thrown instanceof RefusedRequest)) throw thrown;
      // These errors have the shape of RFC 6749 §5.2, whatever is wrong.
      const { code, headers } = thrown.refusal;
      if (code !== 'too_large' && code !== 'cross_site' && code !== 'too_many_tries') throw thrown;
      const status = { too_large: 413, cross_site: 403, too_many_tries: 429 }[code];
      return json(status, { error: 'invalid_request', error_description: thrown.refusal.message }, headers);
    }
  });
}

function json(status: number, body: object, headers: Readonly<Record<string, string>> = {}): Response {
  // RFC 6749 §5.1: no-store, and for old caches the pragma as well.
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', pragma: 'no-cache', ...headers },
  });
}

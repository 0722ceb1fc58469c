/** Who calls: the console's cookie, or a token of the CLI with its DPoP proof. One way at a time; no falling back. */
import { authenticateCli, authenticateWeb } from '#app/authenticate.ts';
import type { AppContext, Caller } from '#app/context.ts';
import { dpopChallenge, parseAuthorization } from '#identity/dpop.ts';
import { cookieNameFor, readCookie, sameSite } from '#identity/web-session.ts';
import { refuse } from './errors.ts';

/** @throws RefusedRequest `not_signed_in`, `invalid_token` or `cross_site` */
export async function authenticate(
  app: AppContext,
  request: { readonly method: string; readonly path: string; readonly headers: Headers; readonly address: string },
): Promise<Caller> {
  const { headers, method, address } = request;
  const { publicUrl } = app.site;
  const authorization = parseAuthorization(headers.get('authorization') ?? undefined);
  if (authorization.kind === 'none') {
    const cookie = readCookie(headers.get('cookie') ?? undefined, cookieNameFor(publicUrl));
    const caller = cookie === undefined ? undefined : await authenticateWeb(app, { cookie, address });
    if (caller === undefined)
      throw refuse('not_signed_in', 'you are not signed in', {
        hint: 'sign in first',
        // RFC 9110 §11.6.1: a 401 names a way to authenticate.
        headers: { 'www-authenticate': dpopChallenge() },
      });
    refuseOtherSites(request, publicUrl);
    return caller;
  }
  const caller =
    authorization.kind === 'dpop'
      ? await authenticateCli(app, {
          token: authorization.token,
          proof: headers.get('dpop') ?? undefined,
          method,
          // What the client dialled, by our own account of it: a Host header is the client's to choose.
          url: publicUrl + request.path,
          address,
        })
      : undefined;
  if (caller === undefined)
    throw refuse('invalid_token', 'the token, or the proof that came with it, is not valid for this request', {
      headers: { 'www-authenticate': dpopChallenge('invalid_token') },
    });
  return caller;
}

/** A request that came with the cookie was made by our own pages, or is refused. */
function refuseOtherSites(request: { readonly method: string; readonly headers: Headers }, publicUrl: string): void {
  const { method, headers } = request;
  const secFetchSite = headers.get('sec-fetch-site') ?? undefined;
  const outcome = sameSite({
    method,
    origin: headers.get('origin') ?? undefined,
    secFetchSite,
    contentType: headers.get('content-type') ?? undefined,
    publicOrigin: publicUrl,
  });
  // Reads too, where the browser says who asks: a page on another port of localhost is the same site, and an export takes effort.
  const isForeignRead = secFetchSite === 'cross-site' || secFetchSite === 'same-site';
  if (outcome.kind === 'refused' || isForeignRead)
    throw refuse('cross_site', 'the request was not made by this console', {
      hint: `open ${publicUrl} and do it there`,
    });
}

/**
 * A stranger's POST changes something too: who is signed in. A browser says where it comes from, and it must be from here
 * (sign-in forgery, enrolment by another site); a client that is no browser says nothing, and has no cookies to protect.
 * @throws RefusedRequest `cross_site`
 */
export function refuseForeignBrowsers(
  request: { readonly method: string; readonly headers: Headers },
  publicUrl: string,
): void {
  const { headers } = request;
  if (headers.get('origin') === null && headers.get('sec-fetch-site') === null) return;
  refuseOtherSites(request, publicUrl);
}

/**
 * Sign-ins of the console. The cookie carries an opaque token; what it means is in the database, so a sign-out or a
 * suspension counts at once. Lifetimes are pure functions of three instants: when the sign-in began, when it was last
 * used, and when a passkey last proved who is there.
 */
import type { Duration, Instant } from '#core/instant.ts';
import { after, earliest, hours, minutes } from '#core/instant.ts';
import type { Secret } from '#core/secret.ts';

export const absoluteLifetime: Duration = hours(12);
export const idleLifetime: Duration = hours(1);
/** For how long a sign-in counts as "just proven", which consenting to a CLI sign-in asks for. */
export const freshness: Duration = minutes(5);
/** Being seen is written down no more often than this: a page that loads is one write, not twenty. */
const seenGranularity: Duration = minutes(1);

export type WebSession = {
  readonly startedAt: Instant;
  readonly lastSeenAt: Instant;
  /** When a passkey last proved who is there. */
  readonly provenAt: Instant;
};

export type WebSessionState =
  | { readonly kind: 'live'; readonly expiresAt: Instant }
  | { readonly kind: 'ended'; readonly because: 'too_old' | 'idle' };

/** Whether a sign-in still holds, and if so until when without further use. */
export function webSessionState(session: WebSession, now: Instant): WebSessionState {
  if (now >= endOf(session)) return { kind: 'ended', because: 'too_old' };
  const idleAt = after(session.lastSeenAt, idleLifetime);
  if (now >= idleAt) return { kind: 'ended', because: 'idle' };
  return { kind: 'live', expiresAt: earliest(idleAt, endOf(session)) };
}

/** The end that no use moves. */
export function endOf(session: Pick<WebSession, 'startedAt'>): Instant {
  return after(session.startedAt, absoluteLifetime);
}

/** Whether a passkey proved who is there within the last five minutes. A time ahead of the clock isn't fresh. */
export function isFresh(session: Pick<WebSession, 'provenAt'>, now: Instant): boolean {
  return now >= session.provenAt && now < after(session.provenAt, freshness);
}

/** Whether `lastSeenAt` is worth writing again. */
export function shouldNoteSeen(session: Pick<WebSession, 'lastSeenAt'>, now: Instant): boolean {
  return now >= after(session.lastSeenAt, seenGranularity);
}

// --- The cookie (RFC 6265bis) --------------------------------------------------------------------------------------

/**
 * `__Host-sally` (Secure, this host only, Path=/); for a console at `http://localhost`, where not every browser takes
 * Secure cookies, plain `sally`. `publicUrl` is the configured address, never something that a request says.
 */
export type CookieName = '__Host-sally' | 'sally';

export function cookieNameFor(publicUrl: string): CookieName {
  return publicUrl.startsWith('https://') ? '__Host-sally' : 'sally';
}

/** The `Set-Cookie` value of a sign-in. It ends with the sign-in at the latest; the server decides, the cookie only forgets. */
export function sessionCookie(name: CookieName, token: Secret<string>): string {
  return `${name}=${token.reveal()}; ${attributes(name)}; Max-Age=${absoluteLifetime / 1000}`;
}

/** The `Set-Cookie` value that takes the cookie away. */
export function endedCookie(name: CookieName): string {
  return `${name}=; ${attributes(name)}; Max-Age=0`;
}

function attributes(name: CookieName): string {
  return name === '__Host-sally' ? 'Path=/; Secure; HttpOnly; SameSite=Strict' : 'Path=/; HttpOnly; SameSite=Strict';
}

/**
 * The value of the cookie in a `Cookie` header. Undefined when it is absent or there twice: a second one was put there
 * by somebody else (a sibling host, another port of localhost), and which is which can't be told.
 */
export function readCookie(header: string | undefined, name: CookieName): string | undefined {
  if (header === undefined || header.length > 16_384) return undefined;
  let found: string | undefined;
  for (const part of header.split(';')) {
    const equals = part.indexOf('=');
    if (equals < 0 || part.slice(0, equals).trim() !== name) continue;
    if (found !== undefined) return undefined;
    found = part.slice(equals + 1).trim();
  }
  return found === '' ? undefined : found;
}

// --- Requests forged by other sites --------------------------------------------------------------------------------

export type SameSiteOutcome =
  | { readonly kind: 'same_site' }
  | { readonly kind: 'refused'; readonly because: 'other_origin' | 'origin_unknown' | 'not_json' };

/**
 * Whether a request that came with the cookie was made by our own pages. Reads (GET, HEAD) change nothing and pass.
 * Everything else must say where it comes from: `Origin` must be ours; without one, `Sec-Fetch-Site: same-origin` will
 * do, which pages can't set. A body must be JSON, which no form can send; no content type means no body.
 * A request that authenticates with a DPoP token carries no cookie and isn't asked.
 */
export function sameSite(request: {
  readonly method: string;
  readonly origin: string | undefined;
  readonly secFetchSite: string | undefined;
  readonly contentType: string | undefined;
  /** Scheme, host and port of the configured address, without a trailing slash. */
  readonly publicOrigin: string;
}): SameSiteOutcome {
  if (request.method === 'GET' || request.method === 'HEAD') return { kind: 'same_site' };
  if (request.origin !== undefined) {
    if (request.origin !== request.publicOrigin) return { kind: 'refused', because: 'other_origin' };
  } else if (request.secFetchSite !== 'same-origin')
    return { kind: 'refused', because: request.secFetchSite === undefined ? 'origin_unknown' : 'other_origin' };
  if (request.contentType !== undefined && !isJson(request.contentType))
    return { kind: 'refused', because: 'not_json' };
  return { kind: 'same_site' };
}

/** `application/json`, with or without `charset=utf-8`. */
function isJson(contentType: string): boolean {
  return /^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i.test(contentType.trim());
}

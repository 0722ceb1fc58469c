/** Headers that every answer carries, whatever it is, and the two content security policies. */

/**
 * The console's: its own files and nothing else, nothing inline, no form that posts, no frame around it, and no way for a
 * script to turn text into markup (Trusted Types without any policy).
 */
const consolePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** For what isn't a page: a browser that shows it all the same runs and loads nothing. */
const dataPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

const permissions = [
  'publickey-credentials-get=(self)',
  'publickey-credentials-create=(self)',
  'camera=()',
  'microphone=()',
  'geolocation=()',
  'payment=()',
  'usb=()',
  'serial=()',
  'hid=()',
  'display-capture=()',
  'browsing-topics=()',
].join(', ');

/** @param isHttps of the public address: what a proxy in front speaks with us doesn't count */
export function setSecurityHeaders(headers: Headers, kind: 'page' | 'data', isHttps: boolean): void {
  headers.set('content-security-policy', kind === 'page' ? consolePolicy : dataPolicy);
  headers.set('x-content-type-options', 'nosniff');
  headers.set('referrer-policy', 'no-referrer');
  headers.set('cross-origin-opener-policy', 'same-origin');
  headers.set('cross-origin-resource-policy', 'same-origin');
  headers.set('permissions-policy', permissions);
  headers.set('x-frame-options', 'DENY');
  if (isHttps) headers.set('strict-transport-security', 'max-age=31536000');
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store');
}

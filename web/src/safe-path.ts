/**
 * Where to go after the sign-in: a path of this very origin, or home. `to` comes with a link that anybody may have
 * written, and must not lead elsewhere.
 */
export function safePath(to: string | undefined, origin: string): string {
  if (to === undefined || !to.startsWith('/') || !URL.canParse(to, origin)) return '/';
  const url = new URL(to, origin);
  if (url.origin !== origin || url.pathname === '/sign-in') return '/';
  return `${url.pathname}${url.search}${url.hash}`;
}

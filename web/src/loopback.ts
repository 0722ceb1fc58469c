/** RFC 8252, section 7.3: a loopback address of this machine, any port. Nothing else may get a code from here. */
export function isLoopback(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname, pathname, username, password } = new URL(address);
  return (
    protocol === 'http:' &&
    (hostname === '127.0.0.1' || hostname === '[::1]') &&
    pathname === '/callback' &&
    username === '' &&
    password === ''
  );
}

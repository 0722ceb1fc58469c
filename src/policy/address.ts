/** Hosts, addresses and networks as a configuration writes them. */
export type Address = { readonly host: string; readonly port: number };

/** `host:port` or `[::1]:port`. */
export function parseAddress(text: string, lowestPort: 0 | 1): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/@\s]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const host = match[1] ?? match[2] ?? '';
  const port = Number(match[3]);
  if (port < lowestPort || port > 65_535 || (match[1] === undefined && !isHost(host))) return undefined;
  return { host, port };
}

export function isHost(text: string): boolean {
  return text.length <= 253 && /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*$/.test(text);
}

/** An address or a network in CIDR form. */
export function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  if (rest.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return false;
  const v4 = address.split('.');
  if (v4.length === 4 && v4.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255))
    return bits === undefined || Number(bits) <= 32;
  const halves = address.split('::');
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (halves.length > 2 || !address.includes(':') || !groups.every((part) => /^[0-9A-Fa-f]{1,4}$/.test(part)))
    return false;
  if (halves.length === 2 ? groups.length > 7 : groups.length !== 8) return false;
  return bits === undefined || Number(bits) <= 128;
}

/** Of this machine, spelled so that it can't be anything else. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/**
 * Where a request comes from. What a socket says is true; what `X-Forwarded-For` says is true only as far as proxies that
 * the configuration names have written it: read from the right, the first address that isn't one of them is the client.
 */
import { BlockList, isIP } from 'node:net';

export type ClientAddress = (socketAddress: string | undefined, forwardedFor: string | undefined) => string;

/** @param networks addresses and CIDR networks, as config.ts has checked them */
export function createClientAddress(networks: readonly string[]): ClientAddress {
  const trusted = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) trusted.addAddress(address, family);
    else trusted.addSubnet(address, Number(bits), family);
  }
  const isTrusted = (address: string) => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  return (socketAddress, forwardedFor) => {
    let address = plain(socketAddress ?? '') ?? 'unknown';
    if (networks.length === 0 || forwardedFor === undefined || address === 'unknown') return address;
    for (const entry of forwardedFor.split(',').toReversed()) {
      if (!isTrusted(address)) return address;
      const named = plain(entry.trim());
      // What a trusted proxy wrote down is no address: the proxy is the last that is known.
      if (named === undefined) return address;
      address = named;
    }
    return address;
  };
}

/** The address without zone, port and brackets, and an IPv4 address that came over an IPv6 socket as what it is. */
function plain(text: string): string | undefined {
  const bare = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  const address = (bare.split('%')[0] ?? '').toLowerCase();
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/.exec(address)?.[1] ?? address;
  return isIP(mapped) === 0 ? undefined : mapped;
}

/** Of this machine. */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^127(?:\.\d{1,3}){3}$/.test(address);
}

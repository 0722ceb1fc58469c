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

/** The names of the networks that an address is in. Networks are as `isNetwork` accepts them; an IPv4 address is in IPv4 networks only. */
export function networkFinder(
  networks: Readonly<Record<string, readonly string[]>>,
): (address: string) => readonly string[] {
  const all = Object.entries(networks).map(([name, blocks]) => ({ name, blocks: blocks.map(parseBlock) }));
  return (text) => {
    const address = parseBlock(text);
    if (address === undefined) return [];
    const isIn = (block: Block | undefined) =>
      block?.bits === address.bits &&
      address.value >> BigInt(block.bits - block.length) === block.value >> BigInt(block.bits - block.length);
    return all.filter(({ blocks }) => blocks.some(isIn)).map(({ name }) => name);
  };
}

type Block = { readonly bits: 32 | 128; readonly value: bigint; readonly length: number };

function parseBlock(text: string): Block | undefined {
  if (!isNetwork(text)) return undefined;
  const [address = '', length] = text.split('/');
  const bits = address.includes(':') ? 128 : 32;
  const whole = (groups: readonly number[], size: number) =>
    groups.reduce((value, group) => (value << BigInt(size)) | BigInt(group), 0n);
  if (bits === 32)
    return {
      bits,
      value: whole(address.split('.').map(Number), 8),
      length: length === undefined ? bits : Number(length),
    };
  const groupsOf = (half: string) => (half === '' ? [] : half.split(':').map((group) => Number.parseInt(group, 16)));
  const [head = '', tail] = address.split('::');
  const before = groupsOf(head);
  const after = groupsOf(tail ?? '');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return {
    bits,
    value: whole([...before, ...zeros, ...after], 16),
    length: length === undefined ? bits : Number(length),
  };
}

/**
 * Who is at the door of this listener and has not proven anything yet, the longest waiting first. When there is no room the
 * newcomer takes the place of whoever has waited longest from the same network: to sign in takes a moment, to say nothing
 * takes all the time one is given, so a crowd of the silent pushes out itself and not those who share its address.
 */
export type Waiting = {
  /** Call what is returned once somebody has proven who they are, or has gone. */
  readonly add: (network: string, evict: () => void) => () => void;
  /** Makes room: for this network by its own, otherwise by whom there is most of. False: nobody is waiting. */
  readonly evictFor: (network: string) => boolean;
};

export function createWaiting(): Waiting {
  const byNetwork = new Map<string, Set<() => void>>();
  const evictOldest = (network: string): boolean => {
    const [oldest] = byNetwork.get(network) ?? [];
    oldest?.();
    return oldest !== undefined;
  };
  return {
    add(network, evict) {
      const evictOne = () => {
        remove();
        evict();
      };
      const remove = () => {
        const others = byNetwork.get(network);
        others?.delete(evictOne);
        if (others?.size === 0) byNetwork.delete(network);
      };
      const others = byNetwork.get(network);
      if (others === undefined) byNetwork.set(network, new Set([evictOne]));
      else others.add(evictOne);
      return remove;
    },
    evictFor(network) {
      if (evictOldest(network)) return true;
      let largest = '';
      let size = 0;
      for (const [other, each] of byNetwork) {
        if (each.size <= size) continue;
        largest = other;
        size = each.size;
      }
      return evictOldest(largest);
    },
  };
}

/**
 * What caps count by: an IPv4 address, of IPv6 the first 64 bits, since whoever has one address there has 2^64 (RFC 6177).
 * Takes what Node says of a socket's peer.
 */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const all = [...front, ...Array.from({ length: zeros }, () => '0'), ...back];
  return `${all
    .slice(0, 4)
    .map((part) => Number.parseInt(part, 16).toString(16))
    .join(':')}::/64`;
}

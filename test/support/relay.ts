/** A wire that breaks on command: stands between a part and the server that it talks to. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Cleanup } from './postgres.ts';

export type Relay = {
  readonly port: number;
  /** Where new connections go: a TCP port, or a Unix socket. */
  to: number | string;
  /** New connections are refused, as of a server that is down. */
  readonly refuse: () => Promise<void>;
  /** Nothing gets through any more, in either direction; new connections are taken, and nobody answers. */
  readonly silence: () => void;
  /** Each chunk waits for so long. */
  delayMs: number;
  readonly restore: () => Promise<void>;
  /** Ends what is open, as a crash does. */
  readonly cut: () => void;
};

export async function openRelay(t: Cleanup, to: number | string): Promise<Relay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let isSilent = false;
  const server = createServer({ allowHalfOpen: true }, (here) => {
    const there =
      typeof self.to === 'number'
        ? connect({ port: self.to, host: '127.0.0.1', allowHalfOpen: true })
        : connect({ path: self.to, allowHalfOpen: true });
    const pair = [here, there] as const;
    pairs.add(pair);
    for (const [from, into] of [pair, [there, here] as const]) {
      from.setNoDelay(true);
      from.on('error', () => into.destroy());
      from.on('data', (chunk: Buffer) => {
        const pass = () => {
          if (!into.destroyed && into.writable) into.write(chunk);
        };
        if (self.delayMs > 0) setTimeout(pass, self.delayMs);
        else pass();
      });
      from.on('end', () => setTimeout(() => into.end(), self.delayMs));
      from.on('close', () => {
        into.destroy();
        pairs.delete(pair);
      });
      if (isSilent) from.pause();
    }
  });
  const listen = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const cut = (): void => {
    for (const [here, there] of pairs) {
      here.destroy();
      there.destroy();
    }
  };
  const self: Relay = {
    port,
    to,
    delayMs: 0,
    cut,
    async refuse() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      cut();
      await closed;
    },
    silence() {
      isSilent = true;
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    async restore() {
      isSilent = false;
      self.delayMs = 0;
      for (const pair of pairs) for (const socket of pair) socket.resume();
      if (!server.listening) await listen(port);
    },
  };
  t.after(async () => {
    await self.refuse();
  });
  return self;
}

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { after, suite, test } from 'node:test';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { testCertificates } from '#test/support/postgres.ts';
import { Endpoint } from './endpoint.ts';

const { ca, certFile, keyFile } = await testCertificates({ after });
const key = readFileSync(keyFile);
const cert = readFileSync(certFile);

type Variant = {
  readonly name: string;
  readonly accept: (socket: Socket) => Promise<Endpoint>;
  readonly dial: (port: number) => Promise<Socket>;
};

async function dialPlain(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

async function dialTls(port: number): Promise<Socket> {
  const socket = connectTls({ socket: await dialPlain(port), ca, servername: 'localhost' });
  await once(socket, 'secureConnect');
  return socket;
}

async function acceptTls(socket: Socket): Promise<TLSSocket> {
  const secure = new TLSSocket(socket, { isServer: true, key, cert });
  await once(secure, 'secure');
  return secure.pause();
}

const variants: readonly Variant[] = [
  { name: 'plain', accept: (socket) => Promise.resolve(Endpoint.adopt(socket)), dial: dialPlain },
  {
    name: 'a plain stream',
    accept: (socket) => Promise.resolve(Endpoint.stream(withoutBuffers(socket))),
    dial: dialPlain,
  },
  { name: 'TLS', accept: async (socket) => Endpoint.stream(await acceptTls(socket)), dial: dialTls },
  {
    name: 'TLS as a stream',
    accept: async (socket) => Endpoint.stream(withoutBuffers(await acceptTls(socket))),
    dial: dialTls,
  },
];

/** As with a Node whose sockets have other insides. */
function withoutBuffers<T extends Socket>(socket: T): T {
  const { _handle: handle } = socket as unknown as { readonly _handle: object };
  Object.defineProperty(handle, 'useUserBuffer', { value: undefined });
  return socket;
}

async function pair({ accept, dial }: Variant): Promise<{ readonly endpoint: Endpoint; readonly peer: Socket }> {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection').then(([socket]) => accept(socket as Socket));
  const peer = await dial((server.address() as AddressInfo).port);
  const endpoint = await accepted;
  server.close();
  return { endpoint, peer };
}

for (const variant of variants)
  suite(`an endpoint: ${variant.name}`, () => {
    test('hands out everything in order, nothing while it is paused, and the end after it', async () => {
      const { endpoint, peer } = await pair(variant);
      const sent = randomBytes(6 << 20);
      const got = createHash('sha256');
      let count = 0;
      let isPaused = true;
      let turn = 0;
      const closed = new Promise<void>((resolve) => {
        endpoint.handle({
          chunk: (chunk, length) => {
            assert.equal(isPaused, false, 'a chunk came while nobody wanted one');
            got.update(chunk.subarray(0, length));
            count += length;
            turn += 1;
            // Now and then enough is enough, for a turn of the loop or some.
            if (turn % 3 > 0) return true;
            isPaused = true;
            const goOn = () => {
              isPaused = false;
              endpoint.resume();
            };
            if (turn % 2 === 0) setImmediate(goOn);
            else setTimeout(goOn, 1);
            return false;
          },
          closed: () => resolve(),
          drained: () => {},
        });
        isPaused = false;
      });
      for (let at = 0, size = 1; at < sent.length; at += size, size = 1 + ((size * 7919) % 50_000))
        peer.write(sent.subarray(at, at + size));
      peer.end();
      await closed;
      assert.equal(count, sent.length);
      assert.equal(got.digest('hex'), createHash('sha256').update(sent).digest('hex'));
      endpoint.destroy();
      peer.destroy();
    });

    test('sends slices of the chunks of another, which reads on meanwhile, to a peer that is slow', async () => {
      const from = await pair(variant);
      const to = await pair(variant);
      const sent = randomBytes(6 << 20);
      let mostHeld = 0;
      let drained = 0;
      from.endpoint.handle({
        chunk: (chunk, length) => {
          const half = length >> 1;
          to.endpoint.write(chunk.subarray(0, half));
          to.endpoint.write(chunk.subarray(half, length));
          from.endpoint.lendTo(to.endpoint);
          mostHeld = Math.max(mostHeld, to.endpoint.socket.writableLength);
          return !to.endpoint.isCongested;
        },
        closed: () => to.endpoint.finish(5000),
        drained: () => {},
      });
      to.endpoint.handle({
        chunk: () => true,
        closed: () => {},
        drained: () => {
          drained += 1;
          from.endpoint.resume();
        },
      });
      const got = createHash('sha256');
      let count = 0;
      to.peer.on('data', (chunk: Buffer) => {
        got.update(chunk);
        count += chunk.length;
        if (count % 3 > 0) return;
        to.peer.pause();
        setTimeout(() => to.peer.resume(), 2);
      });
      from.peer.end(sent);
      await once(to.peer, 'end');
      assert.equal(count, sent.length);
      assert.equal(got.digest('hex'), createHash('sha256').update(sent).digest('hex'));
      assert.ok(drained > 0, 'it was never congested');
      assert.ok(mostHeld < 1 << 20, `${mostHeld} bytes were held`);
      for (const { endpoint, peer } of [from, to]) {
        endpoint.destroy();
        peer.destroy();
      }
    });
  });

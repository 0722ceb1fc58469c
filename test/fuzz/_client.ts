/** A client on the bare protocol: it logs in properly, and then sends exactly the bytes it is given. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { backend, decodeAuthentication } from '#wire/postgres/backend.ts';
import { frameLengthAt, headerLength, MessageReader } from '#wire/postgres/bytes.ts';
import { encodeSaslInitialResponse, encodeSaslResponse } from '#wire/postgres/frontend.ts';
import { createScramClient, deriveScramKeys, type ScramClientKeys } from '#wire/postgres/scram.ts';
import { encodeStartup } from '#wire/postgres/startup.ts';
import type { Login } from '../support/gateway-process.ts';

export type Frame = { readonly type: string; readonly body: Buffer };

/** Splits a stream into frames; what is left over is none, or only a part of one. */
export function framesOf(bytes: Buffer): { readonly frames: readonly Frame[]; readonly left: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  while (bytes.length - at >= headerLength) {
    const length = frameLengthAt(bytes, at);
    if (bytes.length - at < length) break;
    frames.push({
      type: String.fromCharCode(bytes[at] ?? 0),
      body: bytes.subarray(at + headerLength, at + length),
    });
    at += length;
  }
  return { frames, left: bytes.subarray(at) };
}

export class Client {
  readonly socket: Socket;
  #received: Buffer[] = [];
  #wake: () => void = () => {};
  isClosed = false;
  readonly closed: Promise<void>;

  constructor(port: number, options: { readonly from?: string; readonly over?: Socket } = {}) {
    const { from, over } = options;
    const address = { port, host: '127.0.0.1', allowHalfOpen: true };
    this.socket = over ?? connect({ ...address, ...(from === undefined ? {} : { localAddress: from }) });
    this.socket.setNoDelay(true);
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#wake();
    });
    this.socket.on('end', () => this.socket.end());
    this.closed = new Promise((resolve) =>
      this.socket.once('close', () => {
        this.isClosed = true;
        this.#wake();
        resolve();
      }),
    );
  }

  /** The same on a connection that is there already, such as one that is encrypted by now. */
  static over(socket: Socket): Client {
    return new Client(0, { over: socket });
  }

  /** Everything since the last call. */
  take(): Buffer {
    const all = Buffer.concat(this.#received);
    this.#received = [];
    return all;
  }

  /** Waits for the next bytes, or the end. */
  more(): Promise<void> {
    if (this.isClosed || this.#received.length > 0) return Promise.resolve();
    return new Promise((resolve) => (this.#wake = resolve));
  }

  write(bytes: Buffer): void {
    if (!this.isClosed && this.socket.writable) this.socket.write(bytes);
  }
}

/** The expensive step of SCRAM is done once for each login. */
const derived = new Map<string, Promise<ScramClientKeys>>();
function keysFor(login: Login): (salt: Buffer, iterations: number) => Promise<ScramClientKeys> {
  return (salt, iterations) => {
    const key = `${login.user} ${login.password} ${salt.toString('base64')} ${iterations}`;
    const known = derived.get(key) ?? deriveScramKeys(login.password, salt, iterations);
    derived.set(key, known);
    return known;
  };
}

/** Resolves with what came behind the first ReadyForQuery, or with why there was none. */
export async function signIn(
  client: Client,
  login: Login,
  options: { readonly name: string; readonly database: string; readonly minor?: number },
): Promise<{ readonly greeting: readonly Frame[]; readonly behind: Buffer } | string> {
  const { name, database, minor = 0 } = options;
  client.write(
    encodeStartup(
      minor,
      new Map([
        ['user', login.user],
        ['database', database],
        ['application_name', name],
      ]),
    ),
  );
  const scram = createScramClient({
    offered: ['SCRAM-SHA-256'],
    binding: undefined,
    nonce: randomBytes(18).toString('base64'),
    keys: keysFor(login),
  });
  const greeting: Frame[] = [];
  let buffer: Buffer = Buffer.alloc(0);
  for (;;) {
    buffer = Buffer.concat([buffer, client.take()]);
    const { frames, left } = framesOf(buffer);
    for (const [i, frame] of frames.entries()) {
      greeting.push(frame);
      const type = frame.type.charCodeAt(0);
      if (type === backend.errorResponse) return `the client was not let in: ${frame.body.toString('latin1')}`;
      if (type === backend.readyForQuery) {
        const behind = frames.slice(i + 1).map(({ type: t, body }) => {
          const header = Buffer.alloc(headerLength);
          header.write(t);
          header.writeUInt32BE(body.length + 4, 1);
          return Buffer.concat([header, body]);
        });
        return { greeting, behind: Buffer.concat([...behind, left]) };
      }
      if (type !== backend.authentication) continue;
      const request = decodeAuthentication(new MessageReader(frame.body));
      if (request.kind === 'sasl') client.write(encodeSaslInitialResponse(scram.mechanism, scram.first()));
      else if (request.kind === 'sasl_continue') client.write(encodeSaslResponse(await scram.final(request.data)));
      else if (request.kind === 'sasl_final') scram.verify(request.data);
    }
    buffer = left;
    if (client.isClosed) return 'the client was not let in: the connection was closed';
    await client.more();
  }
}

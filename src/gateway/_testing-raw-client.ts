/** A client on the bare protocol for tests: gathers what the server sends, and sends exactly the bytes it is given. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { backend, decodeAuthentication, decodeBackendKeyData, decodeParameterStatus } from '#wire/postgres/backend.ts';
import { frameLengthAt, headerLength, MessageReader } from '#wire/postgres/bytes.ts';
import { encodeSaslInitialResponse, encodeSaslResponse } from '#wire/postgres/frontend.ts';
import { createScramClient, deriveScramKeys } from '#wire/postgres/scram.ts';
import { encodeStartup } from '#wire/postgres/startup.ts';

export type RawFrame = { readonly type: string; readonly body: Buffer };

export type RawClient = {
  readonly socket: Socket;
  /** All that came up to the first ReadyForQuery, or up to the end when the login failed. */
  readonly greeting: readonly RawFrame[];
  readonly parameters: ReadonlyMap<string, string>;
  readonly key: { readonly processId: number; readonly secretKey: Buffer } | undefined;
  readonly send: (...messages: readonly Buffer[]) => void;
  /** The next frame; undefined when the connection is closed. */
  readonly next: () => Promise<RawFrame | undefined>;
  /** Frames up to and with the first of this type; all that come when there is none. */
  readonly until: (type: string) => Promise<RawFrame[]>;
  /** Frames until the connection is closed. */
  readonly rest: () => Promise<RawFrame[]>;
};

export async function rawClient(options: {
  /** A connected socket, or where to connect to. */
  readonly to: Socket | { readonly host?: string; readonly port: number };
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly minor?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  /** Of the server's certificate. */
  readonly binding?: Buffer | undefined;
}): Promise<RawClient> {
  const socket = 'write' in options.to ? options.to : connect({ host: '127.0.0.1', ...options.to });
  socket.setNoDelay(true);
  const chunks: Buffer[] = [];
  let have = 0;
  let wake: () => void = () => {};
  let isClosed = false;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    have += chunk.length;
    wake();
  });
  socket.on('close', () => {
    isClosed = true;
    wake();
  });
  socket.on('error', () => {});
  /** Joins what has come when enough of it is there. */
  const gathered = (atLeast: number): Buffer | undefined => {
    if (have < atLeast) return undefined;
    if (chunks.length > 1) chunks.splice(0, chunks.length, Buffer.concat(chunks));
    return chunks[0];
  };
  const next = async (): Promise<RawFrame | undefined> => {
    for (let wanted = headerLength; ;) {
      const buffer = gathered(wanted);
      if (buffer !== undefined) {
        const length = frameLengthAt(buffer, 0);
        if (buffer.length >= length) {
          const frame = { type: String.fromCharCode(buffer[0] ?? 0), body: Buffer.from(buffer.subarray(5, length)) };
          chunks.splice(0, 1, buffer.subarray(length));
          have -= length;
          return frame;
        }
        wanted = length;
        continue;
      }
      if (isClosed) return undefined;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  const until = async (type: string): Promise<RawFrame[]> => {
    const frames: RawFrame[] = [];
    for (let frame = await next(); frame !== undefined; frame = await next()) {
      frames.push(frame);
      if (frame.type === type) break;
    }
    return frames;
  };
  const { user, database, binding } = options;
  const parameters = new Map(Object.entries({ user, database, ...options.parameters }));
  socket.write(encodeStartup(options.minor ?? 0, parameters));
  const greeting: RawFrame[] = [];
  let scram: ReturnType<typeof createScramClient> | undefined;
  for (let frame = await next(); frame !== undefined; frame = await next()) {
    greeting.push(frame);
    if (frame.type === 'Z') break;
    if (frame.type !== String.fromCharCode(backend.authentication)) continue;
    const request = decodeAuthentication(new MessageReader(frame.body));
    if (request.kind === 'sasl') {
      scram = createScramClient({
        offered: request.mechanisms,
        binding,
        nonce: randomBytes(18).toString('base64'),
        keys: (salt, iterations) => deriveScramKeys(options.password, salt, iterations),
      });
      socket.write(encodeSaslInitialResponse(scram.mechanism, scram.first()));
    } else if (request.kind === 'sasl_continue' && scram !== undefined)
      socket.write(encodeSaslResponse(await scram.final(request.data)));
    else if (request.kind === 'sasl_final') scram?.verify(request.data);
  }
  const of = (type: string) =>
    greeting.filter((frame) => frame.type === type).map(({ body }) => new MessageReader(body));
  const [key] = of('K');
  return {
    socket,
    greeting,
    parameters: new Map(of('S').map((body) => Object.values(decodeParameterStatus(body)) as [string, string])),
    key: key === undefined ? undefined : decodeBackendKeyData(key),
    send: (...messages) => void socket.write(Buffer.concat(messages)),
    next,
    until,
    rest: () => until(''),
  };
}

/** A connection on which nothing has been said yet. */
export const dialled = (port: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => {});
  });

/** Everything up to the end of the connection. */
export const whatComes = (socket: Socket): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });

/**
 * A PostgreSQL client that costs as little as it can: bytes go out as they are given, and an answer is over when it ends
 * in ReadyForQuery. Errors are looked for by hopping over the headers of the first part of an answer.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { randomBytes } from 'node:crypto';
import { frameLengthAt, headerLength, MessageReader } from '#wire/postgres/bytes.ts';
import { decodeAuthentication, decodeErrorFields } from '#wire/postgres/backend.ts';
import { encodeSaslInitialResponse, encodeSaslResponse, encodeTerminate } from '#wire/postgres/frontend.ts';
import { createScramClient, deriveScramKeys, type ScramClient, type ScramClientKeys } from '#wire/postgres/scram.ts';
import { encodeSslRequest, encodeStartup } from '#wire/postgres/startup.ts';

export type Address = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly tls: boolean;
};

const ready = 0x5a;
const error = 0x45;

/** Deriving keys takes milliseconds, and one client may open thousands of connections with one password. */
const derived = new Map<string, Promise<ScramClientKeys>>();

export class BenchClient {
  readonly #socket: Socket;
  /** Called when the answer to what was sent is complete. */
  onReady: () => void = () => {};
  onFailure: (failure: Error) => void = (failure) => {
    throw failure;
  };
  onClose: () => void = () => {};
  /** Bytes received so far. */
  received = 0;
  #isFirst = true;
  #tail: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.removeAllListeners('data');
    socket.removeAllListeners('close');
    socket.removeAllListeners('error');
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (failure) => this.onFailure(failure));
    socket.on('close', () => this.onClose());
  }

  static async open(address: Address): Promise<BenchClient> {
    const socket = await dial(address);
    try {
      await signIn(socket, address);
    } catch (failure) {
      socket.destroy();
      throw failure;
    }
    return new BenchClient(socket);
  }

  #take(chunk: Buffer): void {
    const { length } = chunk;
    this.received += length;
    if (this.#isFirst) this.#lookForErrors(chunk);
    // Type, four bytes of length (5), status: the last message of every answer.
    let end = chunk;
    if (length < 6) {
      end = Buffer.concat([this.#tail, chunk]);
      this.#tail = end.subarray(-6);
    } else this.#tail = chunk.subarray(length - 6);
    const at = end.length - 6;
    if (at >= 0 && end[at] === ready && end[at + 4] === 5 && end[at + 1] === 0 && end[at + 2] === 0) {
      this.#isFirst = true;
      this.onReady();
    } else this.#isFirst = false;
  }

  #lookForErrors(chunk: Buffer): void {
    for (let at = 0; at + headerLength <= chunk.length && at < 4096;) {
      const length = frameLengthAt(chunk, at);
      if (chunk[at] === error) {
        const body = at + length <= chunk.length ? chunk.subarray(at + headerLength, at + length) : Buffer.alloc(0);
        const fields = body.length === 0 ? undefined : decodeErrorFields(new MessageReader(body, 0, body.length));
        this.onFailure(new Error(`the server says: ${fields?.get('M') ?? 'an error'} (${fields?.get('C') ?? '?'})`));
        return;
      }
      at += length;
    }
  }

  send(bytes: Buffer): boolean {
    return this.#socket.write(bytes);
  }

  /** Resolves when what was sent is out. */
  drained(): Promise<void> {
    return this.#socket.writableNeedDrain
      ? new Promise((resolve) => this.#socket.once('drain', resolve))
      : Promise.resolve();
  }

  /** Sends and waits for the end of the answer. */
  run(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onReady = resolve;
      this.onFailure = reject;
      this.onClose = () => reject(new Error('the connection was closed'));
      this.send(bytes);
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  close(): void {
    this.onClose = () => {};
    this.onFailure = () => {};
    this.#socket.end(encodeTerminate());
    this.#socket.destroySoon();
  }
}

function dial({ host, port, tls }: Address): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const raw = connectTcp({ host, port, noDelay: true });
    raw.once('error', reject);
    raw.once('connect', () => {
      if (!tls) return resolve(raw);
      raw.write(encodeSslRequest());
      raw.once('data', (answer: Buffer) => {
        if (answer.toString('latin1') !== 'S') return reject(new Error('the server has no TLS'));
        // The certificate is of an authority made for the occasion; verifying it costs the client alone.
        const secure = connectTls({ socket: raw, rejectUnauthorized: false });
        secure.once('error', reject);
        secure.once('secureConnect', () => resolve(secure));
      });
    });
  });
}

function signIn(socket: Socket, { user, database, password }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    let pending: Buffer = Buffer.alloc(0);
    let scram: ScramClient | undefined;
    const authentication = async (body: MessageReader) => {
      const request = decodeAuthentication(body);
      switch (request.kind) {
        case 'sasl':
          scram = createScramClient({
            offered: request.mechanisms.filter((name) => !name.endsWith('-PLUS')),
            binding: undefined,
            nonce: randomBytes(18).toString('base64'),
            keys: (salt, iterations) => {
              const key = `${salt.toString('hex')} ${iterations} ${password}`;
              const known = derived.get(key) ?? deriveScramKeys(password, salt, iterations);
              derived.set(key, known);
              return known;
            },
          });
          socket.write(encodeSaslInitialResponse(scram.mechanism, scram.first()));
          return;
        case 'sasl_continue':
          if (scram === undefined) throw new Error('sasl out of turn');
          socket.write(encodeSaslResponse(await scram.final(request.data)));
          return;
        case 'sasl_final':
          return scram?.verify(request.data);
        case 'ok':
          return;
        default:
          throw new Error(`the server asks for an authentication that isn't SCRAM`);
      }
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection was closed during sign-in')));
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= headerLength) {
        const length = frameLengthAt(pending, 0);
        if (pending.length < length) return;
        const body = new MessageReader(pending, headerLength, length);
        const type = pending[0] ?? 0;
        pending = pending.subarray(length);
        if (type === 0x52) authentication(body).catch(reject);
        else if (type === error) {
          const fields = decodeErrorFields(body);
          return reject(new Error(`sign-in of \`${user}\`: ${fields.get('M') ?? ''} (${fields.get('C') ?? ''})`));
        } else if (type === ready) return resolve();
      }
    });
    socket.write(
      encodeStartup(
        0,
        new Map([
          ['user', user],
          ['database', database],
          ['application_name', 'bench'],
        ]),
      ),
    );
  });
}

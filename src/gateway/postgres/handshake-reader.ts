/** Reads the few messages of a login from a socket, whole, in order, and no more than a little. */
import type { Socket } from 'node:net';
import { frameLengthAt, headerLength, MessageReader, ownCopy, ProtocolViolation } from '#wire/postgres/bytes.ts';
import { startupLengthAt } from '#wire/postgres/startup.ts';

/** Larger than any login needs: a start-up packet has 10,000 bytes at most. */
const maxBuffered = 16_384;

export class HandshakeReader {
  readonly #socket: Socket;
  #buffer: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    socket.on('error', this.#fail);
    signal.addEventListener('abort', () => this.#fail(new Error('handshake took too long')), { once: true });
    if (signal.aborted) this.#fail(new Error('handshake took too long'));
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    if (this.#buffer.length > maxBuffered) this.#socket.pause();
    this.#wake?.();
  };

  // Nobody's fault: strangers come and go, and must not fill the operator's log with it.
  readonly #onEnd = (): void => this.#fail(new ProtocolViolation('client closed the connection'));

  readonly #fail = (error: Error): void => {
    this.#failure ??= error;
    this.#wake?.();
  };

  async #until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#buffer.length > maxBuffered) throw new ProtocolViolation('too much was sent during login');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #cut(length: number): Buffer {
    const taken = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    if (this.#buffer.length <= maxBuffered && this.#socket.isPaused()) this.#socket.resume();
    return taken;
  }

  /** The first byte, which stays. */
  peek(): Promise<number> {
    return this.#until(() => this.#buffer[0]);
  }

  startupPacket(): Promise<Buffer> {
    return this.#until(() => {
      const length = startupLengthAt(this.#buffer, 0, this.#buffer.length);
      return length === undefined || this.#buffer.length < length ? undefined : this.#cut(length);
    });
  }

  async message(): Promise<{ readonly type: number; readonly body: MessageReader }> {
    const frame = await this.#until(() => {
      if (this.#buffer.length < headerLength) return undefined;
      const length = frameLengthAt(this.#buffer, 0);
      if (length > 8192) throw new ProtocolViolation('message is too long for a login');
      return this.#buffer.length < length ? undefined : this.#cut(length);
    });
    return { type: frame[0] ?? 0, body: new MessageReader(frame, headerLength, frame.length) };
  }

  /** Lets go of the socket, paused; what had come already is returned. */
  detach(): Buffer {
    this.#socket.pause();
    this.#socket.removeListener('data', this.#onData);
    this.#socket.removeListener('end', this.#onEnd);
    this.#socket.removeListener('close', this.#onEnd);
    this.#socket.removeListener('error', this.#fail);
    if (this.#failure !== undefined) throw this.#failure;
    const left = ownCopy(this.#buffer);
    this.#buffer = left;
    return left;
  }
}

/**
 * One end of a proxied connection: a socket that is read into a buffer of its own and handed out without a copy.
 *
 * Plain sockets are read through `onread` with one static buffer per socket, which saves about a fifth of the cost of a
 * statement over `data` events (docs of `net.connect`). For an accepted socket that needs the undocumented `handle` option
 * of `net.Socket`, and for TLS over a socket that was plain before the fields in which Node keeps `onread`; where these aren't
 * there, the ordinary stream is used, behind the same interface. The buffer is small, so that an idle session costs little,
 * and a large one takes its place as long as reads fill it.
 *
 * Who gets a chunk may write slices of it to another endpoint at once. When that write is still pending at the end of the
 * call, the buffer is lent to it (`lendTo`) and a free one takes its place, so that nobody ever reads into bytes that
 * are still to be sent.
 */
import { connect, Socket, type NetConnectOpts, type OnReadOpts } from 'node:net';

/** Until a read fills it: many sessions are idle for days. */
const tinyBytes = 1024;
const smallBytes = 4096;
const largeBytes = 65_536;
/** With more large buffers in use than this, each goes back as soon as a read doesn't fill it. */
const maxLarge = 512;
/** While more than this waits to be sent, the other side isn't read. */
const highWater = 262_144;
const maxFreeBytes = 4 << 20;

export type EndpointHandler = {
  /** `chunk[0..length)` is valid during the call. False: don't read on until `resume`. */
  readonly chunk: (chunk: Buffer, length: number) => boolean;
  /** The peer has ended, or the socket failed or was destroyed: nothing more will come. Called once. */
  readonly closed: (error: Error | undefined) => void;
  /** The peer sends no more, and may still read: told instead of `closed`, which follows, where the socket can be half open. */
  readonly ended?: () => void;
  /** What was written has been taken by the kernel, after `isCongested` was true. */
  readonly drained: () => void;
};

/** So many that end are read on in each turn of the loop: when thousands are cut, their peers end all at once. */
const endingPerTurn = 16;
const ending: Endpoint[] = [];
let endingAt = 0;

function readWhatEnds(): void {
  const until = Math.min(endingAt + endingPerTurn, ending.length);
  for (; endingAt < until; endingAt += 1) ending[endingAt]?.resume();
  if (endingAt < ending.length) return void setImmediate(readWhatEnds);
  ending.length = 0;
  endingAt = 0;
}

const freeTiny: Buffer[] = [];
const nothing = Buffer.alloc(0);

const freeSmall: Buffer[] = [];
const freeLarge: Buffer[] = [];
const freeOf = (bytes: number) => (bytes === largeBytes ? freeLarge : bytes === smallBytes ? freeSmall : freeTiny);
let largeInUse = 0;

function takeFree(bytes: number): Buffer {
  if (bytes === largeBytes) largeInUse += 1;
  return freeOf(bytes).pop() ?? Buffer.allocUnsafeSlow(bytes);
}

/** Nobody refers to it any more; `isUnused` false: the kernel may, so it is left to the collector. */
function giveBack(buffer: Buffer, isUnused = true): void {
  if (buffer.length === largeBytes) largeInUse -= 1;
  const free = freeOf(buffer.length);
  if (isUnused && free.length * buffer.length < maxFreeBytes) free.push(buffer);
}

export class Endpoint {
  #socket: Socket;
  #buffer: Buffer | undefined;
  #handler: EndpointHandler | undefined;
  /** Buffers of others that a pending write of ours still refers to. */
  #borrowed: Buffer[] = [];
  #early: Buffer[] = [];
  #atEnd: (() => void) | undefined;
  #wasCongested = false;
  #isClosed = false;
  #isPaused = false;
  /** The chunk that is handed out is in our buffer. What came early is in one of its own. */
  #isReading = false;
  /** Reads are large. */
  #isBusy = false;
  /** What a buffer has when they aren't. */
  #least = tinyBytes;
  /** What the kernel takes at once is sent by the end of the call. Of TLS nothing is. */
  #isPlain = false;
  /** `#onWritten` will be called. */
  #isAwaited = false;

  private constructor() {
    this.#socket = undefined as unknown as Socket;
  }

  /** Wraps a stream: TLS, or a plain socket where the quick way isn't to be had. It must be paused, or new. */
  static stream(socket: Socket): Endpoint {
    const endpoint = new Endpoint();
    endpoint.#socket = socket;
    if (!endpoint.#quicken(socket))
      socket.on('data', (chunk: Buffer) => {
        if (!endpoint.#take(chunk, chunk.length)) endpoint.pause();
      });
    endpoint.#watch();
    return endpoint;
  }

  /** Has a socket that exists read into our buffers, as if `onread` had been asked for when it was made. */
  #quicken(socket: Socket): boolean {
    const { _handle: handle } = socket as unknown as {
      readonly _handle: { readonly useUserBuffer?: (buffer: Buffer) => void } | null;
    };
    const fields = Object.getOwnPropertySymbols(socket);
    const [buffer, next, callback] = ['kBuffer', 'kBufferGen', 'kBufferCb'].map((name) =>
      fields.find((field) => field.description === name),
    );
    if (buffer === undefined || next === undefined || callback === undefined) return false;
    if (typeof handle?.useUserBuffer !== 'function') return false;
    while (socket.readableLength > 0) this.#early.push(socket.read() as Buffer);
    const first = this.#nextBuffer() as Buffer;
    handle.useUserBuffer(first);
    Object.assign(socket, { [buffer]: first, [next]: () => this.#nextBuffer(), [callback]: this.#onRead });
    // Stops the handle, which a stream that is only paused lets read on.
    this.pause();
    return true;
  }

  /** Takes over an accepted, paused socket with nothing left to read; the given socket object must not be used again. */
  static adopt(socket: Socket): Endpoint {
    type WithHandle = { _handle: (object & { useUserBuffer?: unknown; readStop?: () => void }) | null };
    const inner = socket as unknown as WithHandle;
    const handle = inner._handle;
    if (handle === null || typeof handle.useUserBuffer !== 'function' || socket.readableLength > 0)
      return Endpoint.stream(socket);
    handle.readStop?.();
    inner._handle = null;
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.destroy();
    const endpoint = new Endpoint();
    // `handle` is missing from the declarations.
    const { allowHalfOpen } = socket;
    const options = {
      handle,
      readable: true,
      writable: true,
      pauseOnCreate: true,
      allowHalfOpen,
      ...endpoint.#quick(),
    };
    endpoint.#socket = new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
    endpoint.#watch();
    return endpoint;
  }

  /** Dials; reading starts at once. The handler may be set later: what comes before is kept. */
  static dial(address: NetConnectOpts, whenConnected: () => void): Endpoint {
    const endpoint = new Endpoint();
    endpoint.#socket = connect({ ...address, ...endpoint.#quick() }, whenConnected);
    endpoint.#watch();
    return endpoint;
  }

  /** Options of a plain socket that is read without a copy. */
  #quick(): { onread: OnReadOpts } {
    this.#isPlain = true;
    // Undefined, which the declarations don't know: the same buffer again.
    return { onread: { buffer: () => this.#nextBuffer() as Buffer, callback: this.#onRead } };
  }

  readonly #onRead = (bytes: number, buffer: Uint8Array): boolean => {
    if (bytes === tinyBytes && bytes === buffer.length) this.#least = smallBytes;
    else if (bytes === buffer.length) this.#isBusy = true;
    else if (bytes <= smallBytes || largeInUse > maxLarge) this.#isBusy = false;
    // TLS hands out all that it has decrypted, whoever has had enough.
    if (this.#isPaused && !this.#isPlain) return this.#keepEarly(buffer as Buffer, bytes);
    this.#isReading = true;
    const goOn = this.#take(buffer as Buffer, bytes);
    this.#isReading = false;
    if (goOn) return true;
    this.#isPaused = true;
    // Or the end would be told before what came ahead of it.
    if (!this.#isPlain) this.#socket.pause();
    return false;
  };

  #nextBuffer(): Buffer | undefined {
    const buffer = this.#buffer;
    const bytes = this.#isBusy ? largeBytes : this.#least;
    if (buffer !== undefined) {
      if (buffer.length === bytes) return undefined;
      giveBack(buffer);
    }
    this.#buffer = takeFree(bytes);
    return this.#buffer;
  }

  #take(chunk: Buffer, length: number): boolean {
    if (this.#handler !== undefined) return this.#handler.chunk(chunk, length);
    this.#keepEarly(chunk, length);
    // Nobody listens yet: only a little is kept.
    return this.#early.length < 4;
  }

  #keepEarly(chunk: Buffer, length: number): false {
    this.#early.push(Buffer.from(chunk.subarray(0, length)));
    return false;
  }

  #watch(): void {
    const socket = this.#socket;
    socket.setNoDelay(true);
    let failure: Error | undefined;
    const close = () => {
      if (this.#isClosed || (failure === undefined && this.#waitsForEarly(close))) return;
      this.#isClosed = true;
      for (const buffer of this.#borrowed) giveBack(buffer, false);
      this.#borrowed = [];
      if (this.#buffer !== undefined) giveBack(this.#buffer);
      this.#buffer = undefined;
      this.#handler?.closed(failure);
    };
    socket.on('error', (error) => (failure = error));
    const end = () => {
      if (!socket.allowHalfOpen || this.#handler?.ended === undefined) close();
      else if (!this.#waitsForEarly(end)) this.#handler.ended();
    };
    socket.on('end', end);
    socket.on('close', close);
  }

  /** What came before the end is handed out before it is told, by `resume`. */
  #waitsForEarly(then: () => void): boolean {
    if (this.#early.length === 0 || this.#handler === undefined) return false;
    this.#atEnd = then;
    return true;
  }

  get socket(): Socket {
    return this.#socket;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sets who gets the bytes from now on, those that came early first, and starts to read. */
  handle(handler: EndpointHandler): void {
    this.#handler = handler;
    this.resume();
    if (this.#isClosed) handler.closed(undefined);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    while (this.#early.length > 0 && this.#handler !== undefined && (this.#isClosed || !this.#isPaused)) {
      const chunk = this.#early.shift();
      if (chunk !== undefined && !this.#handler.chunk(chunk, chunk.length)) this.#isPaused = true;
    }
    if (this.#isPaused) return;
    const atEnd = this.#atEnd;
    this.#atEnd = undefined;
    atEnd?.();
    if (!this.#isClosed) this.#socket.resume();
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  readonly #onWritten = (): void => {
    this.#isAwaited = false;
    if (this.#socket.writableLength > 0) {
      if (this.#isPlain) this.#await();
      return;
    }
    if (this.#borrowed.length > 0) {
      for (const buffer of this.#borrowed) giveBack(buffer);
      this.#borrowed = [];
    }
    if (this.#wasCongested) {
      this.#wasCongested = false;
      this.#handler?.drained();
    }
  };

  /** The bytes must stay as they are until they are sent: see `lendTo`. */
  write(bytes: Buffer): void {
    if (this.#isClosed || !this.#socket.writable) return;
    if (!this.#isPlain) return void this.#socket.write(bytes, this.#onWritten);
    this.#socket.write(bytes);
    if (this.#socket.writableLength > 0) this.#await();
  }

  /** Something waits to be sent: asks to be told when it has been. For each write, which is mostly done at once, it costs more. */
  #await(): void {
    if (this.#isAwaited || this.#isClosed || !this.#socket.writable) return;
    this.#isAwaited = true;
    this.#socket.write(nothing, this.#onWritten);
  }

  /** Whether too much waits to be sent; if so, `drained` will be called. */
  get isCongested(): boolean {
    if (this.#socket.writableLength < highWater) return false;
    this.#wasCongested = true;
    return true;
  }

  /** After slices of this endpoint's current chunk were written to `other`: makes sure that they stay as they are. */
  lendTo(other: Endpoint): void {
    if (!this.#isReading || this.#buffer === undefined || other.#socket.writableLength === 0) return;
    if (other.#isClosed) giveBack(this.#buffer, false);
    else other.#borrowed.push(this.#buffer);
    this.#buffer = undefined;
  }

  /** Sends what is pending and closes; destroys when the peer doesn't take it in time. Nothing more is handed out. */
  finish(graceMs: number): void {
    if (this.#socket.destroyed) return;
    const timer = setTimeout(() => this.#socket.destroy(), graceMs);
    timer.unref();
    this.#socket.once('close', () => clearTimeout(timer));
    this.#socket.end();
    // What still comes is read and dropped: closing with unread bytes would reset the connection, and take our last words
    // with it.
    this.#handler = { chunk: () => true, closed: () => {}, drained: () => {} };
    if (this.#isClosed) return;
    this.pause();
    if (ending.push(this) === 1) setImmediate(readWhatEnds);
  }

  /** Sends these as the last bytes and closes, without waiting for the peer, unless they can't be sent at once. */
  leave(bytes: Buffer, graceMs: number): void {
    this.write(bytes);
    if (this.#isPlain && this.#socket.writableLength === 0) this.#socket.destroy();
    else this.finish(graceMs);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/**
 * PostgreSQL's protocol, version 3 (docs: "Frontend/Backend Protocol"), as pure functions from bytes to messages and back:
 * no sockets here. Everything read comes from somebody who may be hostile, on either side: each length is checked before
 * it is trusted, a message must be used up exactly, text must be UTF-8, and what isn't known is refused.
 *
 * This file is the ground the codecs stand on: a bounded reader, a writer, and the layout of a frame.
 */

/** The peer broke the protocol. The gateway answers with FATAL 08P01 and closes. */
export class ProtocolViolation extends Error {
  readonly code = 'protocol_violation';
  constructor(message: string) {
    super(message);
    this.name = 'ProtocolViolation';
  }
}

/** Type byte and length word. The length counts itself but not the type byte. */
export const headerLength = 5;

/** Total bytes of the frame whose header starts at `at`, type byte included. At least five bytes must be there. */
export function frameLengthAt(buffer: Buffer, at: number): number {
  const length = buffer.readUInt32BE(at + 1);
  // The largest message PostgreSQL itself makes or takes is 1 GiB - 1 (MaxAllocSize).
  if (length < 4 || length > 0x3fff_ffff) throw new ProtocolViolation(`message length ${length} is out of range`);
  return length + 1;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Up to this it is quicker to look at the bytes here than to call the decoder. */
const shortText = 256;

/** Strict: a sequence that is not UTF-8 is a violation, since judged and executed text would differ. */
export function decodeUtf8(bytes: Uint8Array): string {
  if (bytes instanceof Buffer && bytes.length <= shortText) {
    let at = 0;
    while (at < bytes.length && (bytes[at] ?? 128) < 128) at += 1;
    if (at === bytes.length) return bytes.toString('latin1');
  }
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw Object.assign(new ProtocolViolation('text is not valid UTF-8'), { cause });
  }
}

/** Reads one message body, between `start` and `end` of a buffer that it neither copies nor keeps. */
export class MessageReader {
  readonly #buffer: Buffer;
  readonly #end: number;
  #at: number;

  constructor(buffer: Buffer, start = 0, end = buffer.length) {
    if (start < 0 || end > buffer.length || start > end) throw new RangeError('reader outside of its buffer');
    this.#buffer = buffer;
    this.#at = start;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  get offset(): number {
    return this.#at;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#end - at) throw new ProtocolViolation('message is shorter than it says');
    this.#at = at + bytes;
    return at;
  }

  uint8(): number {
    return this.#buffer.readUInt8(this.#take(1));
  }

  int16(): number {
    return this.#buffer.readInt16BE(this.#take(2));
  }

  /** Counts are unsigned on the wire since PostgreSQL 14 (up to 65,535 parameters). */
  uint16(): number {
    return this.#buffer.readUInt16BE(this.#take(2));
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#take(4));
  }

  uint32(): number {
    return this.#buffer.readUInt32BE(this.#take(4));
  }

  /** A view, valid as long as the buffer is. */
  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.#buffer.subarray(at, at + length);
  }

  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  #upToNul(): Buffer {
    const at = this.#at;
    const nul = this.#buffer.indexOf(0, at);
    if (nul < 0 || nul >= this.#end) throw new ProtocolViolation('text is not terminated');
    this.#at = nul + 1;
    return this.#buffer.subarray(at, nul);
  }

  /** Text up to a NUL, which must come before the end. */
  cstring(): string {
    const start = this.#at;
    const end = Math.min(this.#end, start + shortText);
    for (let at = start; at < end; at += 1) {
      const byte = this.#buffer[at] ?? 128;
      if (byte === 0) {
        this.#at = at + 1;
        return at === start ? '' : this.#buffer.toString('latin1', start, at);
      }
      if (byte > 127) break;
    }
    return decodeUtf8(this.#upToNul());
  }

  /** The same for words that are shown and never judged: what isn't UTF-8 becomes U+FFFD. */
  lossyString(): string {
    return this.#upToNul().toString('utf8');
  }

  /** Whether a whole text is there, `skip` bytes from here. */
  hasString(skip: number): boolean {
    const nul = this.#buffer.indexOf(0, this.#at + skip);
    return nul >= 0 && nul < this.#end;
  }

  /** Nothing may be left: bytes behind a message's last field could mean something else to another reader. */
  end(): void {
    if (this.#at !== this.#end) throw new ProtocolViolation(`${this.remaining} bytes behind the end of the message`);
  }
}

/** Builds one or more messages. */
export class MessageWriter {
  #buffer: Buffer;
  #length = 0;
  #start = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  #room(bytes: number): number {
    const at = this.#length;
    if (at + bytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, at + bytes));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#length = at + bytes;
    return at;
  }

  /** Starts a message; its length is filled in by `finish`. */
  begin(type: string): this {
    this.uint8(type.charCodeAt(0));
    return this.beginUntyped();
  }

  /** Start-up packets have no type byte. */
  beginUntyped(): this {
    this.#start = this.#room(4);
    return this;
  }

  finish(): this {
    this.#buffer.writeUInt32BE(this.#length - this.#start, this.#start);
    return this;
  }

  uint8(value: number): this {
    const at = this.#room(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  int16(value: number): this {
    const at = this.#room(2);
    this.#buffer.writeInt16BE(value, at);
    return this;
  }

  uint16(value: number): this {
    const at = this.#room(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.#room(4);
    this.#buffer.writeInt32BE(value, at);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  cstring(value: string): this {
    if (value.includes('\0')) throw new RangeError('text with a NUL can not be sent');
    const size = Buffer.byteLength(value);
    const at = this.#room(size + 1);
    this.#buffer.write(value, at, size, 'utf8');
    this.#buffer[at + size] = 0;
    return this;
  }

  toBuffer(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }
}

/**
 * A copy in memory of its own, for what is kept for long: a few bytes of Node's pool, or a view of a chunk, keep all of it.
 */
export function ownCopy(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

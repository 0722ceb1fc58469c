/**
 * The first packet of a connection, before messages have types: a start-up, a request for encryption, or a cancel
 * (docs: "Message Formats", StartupMessage, SSLRequest, GSSENCRequest, CancelRequest; version 3.2 since PostgreSQL 18).
 */
import { MessageReader, MessageWriter, ProtocolViolation } from './bytes.ts';

/** PostgreSQL's own limit (MAX_STARTUP_PACKET_LENGTH). */
export const maxStartupLength = 10_000;

const sslRequestCode = 80_877_103;
const gssEncRequestCode = 80_877_104;
const cancelRequestCode = 80_877_102;

export type StartupPacket =
  | { readonly kind: 'ssl_request' }
  | { readonly kind: 'gssenc_request' }
  | { readonly kind: 'cancel_request'; readonly processId: number; readonly secretKey: Buffer }
  | {
      readonly kind: 'startup';
      readonly major: number;
      readonly minor: number;
      /** In the order given; a name given twice is refused. */
      readonly parameters: ReadonlyMap<string, string>;
    };

/** Total bytes of the packet that starts at `at`, or undefined when the length word isn't complete. */
export function startupLengthAt(buffer: Buffer, at: number, end: number): number | undefined {
  if (end - at < 4) return undefined;
  const length = buffer.readUInt32BE(at);
  if (length < 8 || length > maxStartupLength) throw new ProtocolViolation('invalid length of startup packet');
  return length;
}

/** Reads a whole packet, its length word included. */
export function decodeStartupPacket(packet: Buffer): StartupPacket {
  const reader = new MessageReader(packet);
  if (reader.uint32() !== packet.length) throw new ProtocolViolation('invalid length of startup packet');
  const code = reader.uint32();
  switch (code) {
    case sslRequestCode:
      reader.end();
      return { kind: 'ssl_request' };
    case gssEncRequestCode:
      reader.end();
      return { kind: 'gssenc_request' };
    case cancelRequestCode: {
      const processId = reader.int32();
      const secretKey = Buffer.from(reader.rest());
      // Four bytes in protocol 3.0, 4 to 256 in 3.2.
      if (secretKey.length < 4 || secretKey.length > 256) throw new ProtocolViolation('invalid length of cancel key');
      return { kind: 'cancel_request', processId, secretKey };
    }
    default: {
      const parameters = new Map<string, string>();
      for (;;) {
        const name = reader.cstring();
        if (name === '') break;
        if (parameters.has(name)) throw new ProtocolViolation('start-up parameter given twice');
        parameters.set(name, reader.cstring());
      }
      reader.end();
      return { kind: 'startup', major: code >>> 16, minor: code & 0xffff, parameters };
    }
  }
}

export function encodeSslRequest(): Buffer {
  return new MessageWriter(8).beginUntyped().int32(sslRequestCode).finish().toBuffer();
}

export function encodeGssEncRequest(): Buffer {
  return new MessageWriter(8).beginUntyped().int32(gssEncRequestCode).finish().toBuffer();
}

export function encodeCancelRequest(processId: number, secretKey: Uint8Array): Buffer {
  return new MessageWriter(272)
    .beginUntyped()
    .int32(cancelRequestCode)
    .int32(processId)
    .bytes(secretKey)
    .finish()
    .toBuffer();
}

export function encodeStartup(minor: number, parameters: ReadonlyMap<string, string>): Buffer {
  const writer = new MessageWriter().beginUntyped().int32((3 << 16) | minor);
  for (const [name, value] of parameters) writer.cstring(name).cstring(value);
  return writer.cstring('').finish().toBuffer();
}

/** What a client sends after the start-up packet: read when we are the server, made when we are the client of a target. */
import { headerLength, MessageReader, MessageWriter, ProtocolViolation } from './bytes.ts';

/** Message types as their byte, for comparisons in place. */
export const frontend = {
  bind: 0x42,
  close: 0x43,
  describe: 0x44,
  execute: 0x45,
  functionCall: 0x46,
  flush: 0x48,
  parse: 0x50,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58,
  copyDone: 0x63,
  copyData: 0x64,
  copyFail: 0x66,
  /** PasswordMessage, SASLInitialResponse, SASLResponse share it; the state says which. */
  authentication: 0x70,
} as const;

export type ParseMessage = {
  readonly statement: string;
  readonly text: string;
  /** Type oids the client states; 0 leaves it to the server. */
  readonly parameterTypes: readonly number[];
};

/** Each decoder takes the body, without type and length. */
export function decodeQuery(body: MessageReader): string {
  const text = body.cstring();
  body.end();
  return text;
}

export function decodeParse(body: MessageReader): ParseMessage {
  const statement = body.cstring();
  const text = body.cstring();
  const count = body.uint16();
  const parameterTypes: number[] = [];
  for (let i = 0; i < count; i += 1) parameterTypes.push(body.uint32());
  body.end();
  return { statement, text, parameterTypes };
}

export type BindMessage = {
  readonly portal: string;
  readonly statement: string;
  /** 0 text, 1 binary, as the client says; none: all text; one: for all. */
  readonly formats: readonly number[];
  /** How many parameters it says it has. */
  readonly parameterCount: number;
  /** Views into the buffer; `null` is SQL's null. */
  readonly values: readonly (Buffer | null)[];
};

/**
 * A Bind message. With `prefix` only the first part of a large message is there: as many values as are complete are
 * returned, and the last one may be cut; nothing else is relaxed. Formats that don't fit are for the server to refuse: it
 * answers with an error, and runs nothing.
 */
export function decodeBind(body: MessageReader, options: { readonly prefix: boolean }): BindMessage {
  const portal = body.cstring();
  const statement = body.cstring();
  const formatCount = body.uint16();
  const formats: number[] = [];
  for (let i = 0; i < formatCount; i += 1) {
    formats.push(body.int16());
  }
  const parameterCount = body.uint16();
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < parameterCount; i += 1) {
    if (options.prefix && body.remaining < 4) return { portal, statement, formats, parameterCount, values };
    const length = body.int32();
    if (length < -1) throw new ProtocolViolation('negative length of a parameter');
    if (options.prefix && length > body.remaining) {
      values.push(body.rest());
      return { portal, statement, formats, parameterCount, values };
    }
    values.push(length === -1 ? null : body.bytes(length));
  }
  if (options.prefix) return { portal, statement, formats, parameterCount, values };
  const resultFormats = body.uint16();
  body.bytes(resultFormats * 2);
  body.end();
  return { portal, statement, formats, parameterCount, values };
}

export type FunctionCallMessage = {
  readonly function: number;
  /** As in Bind. */
  readonly formats: readonly number[];
  readonly values: readonly (Buffer | null)[];
};

/** The "fast path" (docs: "Function Call"): a function by its oid. */
export function decodeFunctionCall(body: MessageReader): FunctionCallMessage {
  const oid = body.uint32();
  const formats: number[] = [];
  const formatCount = body.uint16();
  for (let i = 0; i < formatCount; i += 1) {
    const format = body.int16();
    if (format !== 0 && format !== 1) throw new ProtocolViolation(`unknown format code ${format}`);
    formats.push(format);
  }
  const count = body.uint16();
  if (formatCount > 1 && formatCount !== count)
    throw new ProtocolViolation('function call has another number of formats than of arguments');
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < count; i += 1) {
    const length = body.int32();
    if (length < -1) throw new ProtocolViolation('negative length of an argument');
    values.push(length === -1 ? null : body.bytes(length));
  }
  body.int16();
  body.end();
  return { function: oid, formats, values };
}

export type ExecuteMessage = { readonly portal: string; readonly maxRows: number };

export function decodeExecute(body: MessageReader): ExecuteMessage {
  const portal = body.cstring();
  const maxRows = body.int32();
  body.end();
  return { portal, maxRows };
}

export type Target = { readonly on: 'statement' | 'portal'; readonly name: string };

/** Describe and Close have the same shape. */
export function decodeTarget(body: MessageReader): Target {
  const kind = body.uint8();
  if (kind !== 0x53 && kind !== 0x50) throw new ProtocolViolation('neither a statement nor a portal');
  const name = body.cstring();
  body.end();
  return { on: kind === 0x53 ? 'statement' : 'portal', name };
}

export function decodeSaslInitialResponse(body: MessageReader): { mechanism: string; response: Buffer | undefined } {
  const mechanism = body.cstring();
  const length = body.int32();
  if (length < -1) throw new ProtocolViolation('negative length of a SASL response');
  const response = length === -1 ? undefined : body.bytes(length);
  body.end();
  return { mechanism, response };
}

export function encodeQuery(text: string): Buffer {
  return new MessageWriter(text.length + 16).begin('Q').cstring(text).finish().toBuffer();
}

export function encodeParse(message: ParseMessage): Buffer {
  const writer = new MessageWriter(message.text.length + 64)
    .begin('P')
    .cstring(message.statement)
    .cstring(message.text);
  writer.uint16(message.parameterTypes.length);
  for (const type of message.parameterTypes) writer.int32(type | 0);
  return writer.finish().toBuffer();
}

/** Values in text format; results in text format. */
export function encodeBind(message: {
  readonly portal: string;
  readonly statement: string;
  readonly values: readonly (string | null)[];
}): Buffer {
  const writer = new MessageWriter().begin('B').cstring(message.portal).cstring(message.statement);
  writer.uint16(0).uint16(message.values.length);
  for (const value of message.values) writeValue(writer, value);
  return writer.uint16(0).finish().toBuffer();
}

export function encodeExecute(message: ExecuteMessage): Buffer {
  return new MessageWriter(32).begin('E').cstring(message.portal).int32(message.maxRows).finish().toBuffer();
}

/** Values in text format, and the result. */
export function encodeFunctionCall(message: {
  readonly function: number;
  readonly values: readonly (string | null)[];
}): Buffer {
  const writer = new MessageWriter()
    .begin('F')
    .int32(message.function | 0)
    .uint16(0)
    .uint16(message.values.length);
  for (const value of message.values) writeValue(writer, value);
  return writer.uint16(0).finish().toBuffer();
}

function writeValue(writer: MessageWriter, value: string | null): void {
  if (value === null) return void writer.int32(-1);
  const bytes = Buffer.from(value);
  writer.int32(bytes.length).bytes(bytes);
}

export function encodeTarget(type: 'D' | 'C', target: Target): Buffer {
  return new MessageWriter(32)
    .begin(type)
    .uint8(target.on === 'statement' ? 0x53 : 0x50)
    .cstring(target.name)
    .finish()
    .toBuffer();
}

const bare = (type: string): Buffer => new MessageWriter(headerLength).begin(type).finish().toBuffer();

export const encodeSync = (): Buffer => bare('S');
export const encodeFlush = (): Buffer => bare('H');
export const encodeTerminate = (): Buffer => bare('X');
export const encodeCopyDone = (): Buffer => bare('c');

export function encodeCopyData(data: Uint8Array): Buffer {
  return new MessageWriter(data.length + headerLength).begin('d').bytes(data).finish().toBuffer();
}

export function encodeCopyFail(reason: string): Buffer {
  return new MessageWriter().begin('f').cstring(reason).finish().toBuffer();
}

/** PasswordMessage: the password itself, or its MD5 form. */
export function encodePassword(password: string): Buffer {
  return new MessageWriter().begin('p').cstring(password).finish().toBuffer();
}

export function encodeSaslInitialResponse(mechanism: string, response: Uint8Array): Buffer {
  return new MessageWriter().begin('p').cstring(mechanism).int32(response.length).bytes(response).finish().toBuffer();
}

export function encodeSaslResponse(response: Uint8Array): Buffer {
  return new MessageWriter().begin('p').bytes(response).finish().toBuffer();
}

/** What a server sends: made when we are the server, read when we are the client of a target or count its rows. */
import { MessageReader, MessageWriter, ownCopy, ProtocolViolation } from './bytes.ts';

/** Message types as their byte, for comparisons in place. */
export const backend = {
  authentication: 0x52,
  backendKeyData: 0x4b,
  bindComplete: 0x32,
  closeComplete: 0x33,
  commandComplete: 0x43,
  copyBothResponse: 0x57,
  copyData: 0x64,
  copyDone: 0x63,
  copyInResponse: 0x47,
  copyOutResponse: 0x48,
  dataRow: 0x44,
  emptyQueryResponse: 0x49,
  errorResponse: 0x45,
  functionCallResponse: 0x56,
  negotiateProtocolVersion: 0x76,
  noData: 0x6e,
  noticeResponse: 0x4e,
  notificationResponse: 0x41,
  parameterDescription: 0x74,
  parameterStatus: 0x53,
  parseComplete: 0x31,
  portalSuspended: 0x73,
  readyForQuery: 0x5a,
  rowDescription: 0x54,
} as const;

/** Idle, in a transaction, in a failed transaction. */
export type TransactionStatus = 'I' | 'T' | 'E';

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl_continue'; readonly data: Buffer }
  | { readonly kind: 'sasl_final'; readonly data: Buffer }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  /** Kerberos, GSSAPI, SSPI and what there may be later: never answered. */
  | { readonly kind: 'other'; readonly code: number };

export function decodeAuthentication(body: MessageReader): AuthenticationRequest {
  const code = body.uint32();
  switch (code) {
    case 0:
      body.end();
      return { kind: 'ok' };
    case 3:
      body.end();
      return { kind: 'cleartext' };
    case 5: {
      const salt = Buffer.from(body.bytes(4));
      body.end();
      return { kind: 'md5', salt };
    }
    case 10: {
      const mechanisms: string[] = [];
      for (let name = body.cstring(); name !== ''; name = body.cstring()) mechanisms.push(name);
      body.end();
      return { kind: 'sasl', mechanisms };
    }
    case 11:
      return { kind: 'sasl_continue', data: Buffer.from(body.rest()) };
    case 12:
      return { kind: 'sasl_final', data: Buffer.from(body.rest()) };
    default:
      return { kind: 'other', code };
  }
}

export const encodeAuthenticationOk = (): Buffer => new MessageWriter(16).begin('R').int32(0).finish().toBuffer();

export function encodeAuthenticationSasl(mechanisms: readonly string[]): Buffer {
  const writer = new MessageWriter().begin('R').int32(10);
  for (const mechanism of mechanisms) writer.cstring(mechanism);
  return writer.cstring('').finish().toBuffer();
}

export function encodeAuthenticationSaslContinue(data: Uint8Array): Buffer {
  return new MessageWriter().begin('R').int32(11).bytes(data).finish().toBuffer();
}

export function encodeAuthenticationSaslFinal(data: Uint8Array): Buffer {
  return new MessageWriter().begin('R').int32(12).bytes(data).finish().toBuffer();
}

export function encodeNegotiateProtocolVersion(newestMinor: number, unknownOptions: readonly string[]): Buffer {
  const writer = new MessageWriter()
    .begin('v')
    .int32((3 << 16) | newestMinor)
    .int32(unknownOptions.length);
  for (const option of unknownOptions) writer.cstring(option);
  return writer.finish().toBuffer();
}

/** The newest version of protocol 3 that the server speaks, and the options of ours that it doesn't know. */
export function decodeNegotiateProtocolVersion(body: MessageReader): {
  readonly major: number;
  readonly minor: number;
  readonly unknownOptions: readonly string[];
} {
  const version = body.uint32();
  const count = body.uint32();
  const unknownOptions: string[] = [];
  for (let i = 0; i < count; i += 1) unknownOptions.push(body.cstring());
  body.end();
  return { major: version >>> 16, minor: version & 0xffff, unknownOptions };
}

export function encodeParameterStatus(name: string, value: string): Buffer {
  return new MessageWriter().begin('S').cstring(name).cstring(value).finish().toBuffer();
}

export function decodeParameterStatus(body: MessageReader): { readonly name: string; readonly value: string } {
  const name = body.lossyString();
  const value = body.lossyString();
  body.end();
  return { name, value };
}

/** NotificationResponse: what `notify` of another session, or of this one, has sent. */
export function decodeNotification(body: MessageReader): {
  readonly processId: number;
  readonly channel: string;
  readonly payload: string;
} {
  const processId = body.int32();
  const channel = body.cstring();
  const payload = body.cstring();
  body.end();
  return { processId, channel, payload };
}

export function encodeBackendKeyData(processId: number, secretKey: Uint8Array): Buffer {
  return new MessageWriter().begin('K').int32(processId).bytes(secretKey).finish().toBuffer();
}

export function decodeBackendKeyData(body: MessageReader): { readonly processId: number; readonly secretKey: Buffer } {
  const processId = body.int32();
  const secretKey = ownCopy(body.rest());
  if (secretKey.length < 4 || secretKey.length > 256) throw new ProtocolViolation('invalid length of cancel key');
  return { processId, secretKey };
}

export function encodeReadyForQuery(status: TransactionStatus): Buffer {
  return new MessageWriter(8).begin('Z').uint8(status.charCodeAt(0)).finish().toBuffer();
}

export function decodeReadyForQuery(body: MessageReader): TransactionStatus {
  const status = body.uint8();
  body.end();
  switch (status) {
    case 0x49:
      return 'I';
    case 0x54:
      return 'T';
    case 0x45:
      return 'E';
    default:
      throw new ProtocolViolation('unknown transaction status');
  }
}

/** `SELECT 5`, `INSERT 0 1`, `COPY 7`, `BEGIN`: the tag and the number of rows it tells, 0 when it tells none. */
export function decodeCommandComplete(body: MessageReader): { readonly tag: string; readonly rows: number } {
  const tag = body.cstring();
  body.end();
  return { tag, rows: rowsOf(tag) };
}

/** The number behind the last space, up to 15 digits. */
function rowsOf(tag: string): number {
  let rows = 0;
  let unit = 1;
  let at = tag.length - 1;
  for (; at >= 0; at -= 1) {
    const digit = tag.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) break;
    rows += digit * unit;
    unit *= 10;
  }
  const isNumber = at < tag.length - 1 && tag.length - 1 - at <= 15 && (at < 0 || tag[at] === ' ');
  return isNumber ? rows : 0;
}

export function encodeCommandComplete(tag: string): Buffer {
  return new MessageWriter(tag.length + 8).begin('C').cstring(tag).finish().toBuffer();
}

export type ErrorFields = {
  readonly severity: 'ERROR' | 'FATAL' | 'PANIC' | 'WARNING' | 'NOTICE' | 'DEBUG' | 'INFO' | 'LOG';
  readonly sqlState: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** In characters, from 1. */
  readonly position?: number;
};

/** Others have a word in what we say (who denies, who ends a session), and psql shows it as it comes. */
const movesTheCursor = /[^\P{Cc}\n\t]|\p{Bidi_Control}/gu;

/** ErrorResponse or NoticeResponse (docs: "Error and Notice Message Fields"). */
function encodeFields(type: 'E' | 'N', fields: ErrorFields): Buffer {
  const clean = (text: string) => text.replaceAll('\0', '').replace(movesTheCursor, '\ufffd');
  const writer = new MessageWriter().begin(type);
  const field = (code: string, value: string) => writer.uint8(code.charCodeAt(0)).cstring(clean(value));
  field('S', fields.severity);
  field('V', fields.severity);
  field('C', fields.sqlState);
  field('M', fields.message);
  if (fields.detail !== undefined) field('D', fields.detail);
  if (fields.hint !== undefined) field('H', fields.hint);
  if (fields.position !== undefined) field('P', String(fields.position));
  return writer.uint8(0).finish().toBuffer();
}

export const encodeErrorResponse = (fields: ErrorFields): Buffer => encodeFields('E', fields);
export const encodeNoticeResponse = (fields: ErrorFields): Buffer => encodeFields('N', fields);

/**
 * Every field by its code; unknown codes are kept, as the protocol asks. The text is for records and never judged, and before
 * the login it comes in the server's own encoding: what isn't UTF-8 is replaced. With `prefix` only the beginning of a long
 * message is there, and the field that is cut is left out.
 */
export function decodeErrorFields(
  body: MessageReader,
  options: { readonly prefix: boolean } = { prefix: false },
): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (;;) {
    if (options.prefix && !body.hasString(1)) return fields;
    const code = body.uint8();
    if (code === 0) break;
    fields.set(String.fromCharCode(code), body.lossyString());
  }
  body.end();
  return fields;
}

export type ColumnDescription = { readonly name: string; readonly type: number; readonly format: number };

export function decodeRowDescription(body: MessageReader): readonly ColumnDescription[] {
  const count = body.uint16();
  const columns: ColumnDescription[] = [];
  for (let i = 0; i < count; i += 1) {
    const name = body.cstring();
    body.bytes(6); // table oid and attribute number
    const type = body.uint32();
    body.bytes(6); // type size and modifier
    columns.push({ name, type, format: body.uint16() });
  }
  body.end();
  return columns;
}

export function encodeRowDescription(columns: readonly { readonly name: string; readonly type: number }[]): Buffer {
  const writer = new MessageWriter().begin('T').uint16(columns.length);
  for (const { name, type } of columns) writer.cstring(name).int32(0).int16(0).int32(type).int16(-1).int32(-1).int16(0);
  return writer.finish().toBuffer();
}

/** Views into the buffer. */
export function decodeDataRow(body: MessageReader): readonly (Buffer | null)[] {
  const count = body.uint16();
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < count; i += 1) {
    const length = body.int32();
    if (length < -1) throw new ProtocolViolation('negative length of a value');
    values.push(length === -1 ? null : body.bytes(length));
  }
  body.end();
  return values;
}

export function encodeDataRow(values: readonly (string | null)[]): Buffer {
  const writer = new MessageWriter().begin('D').uint16(values.length);
  for (const value of values) {
    if (value === null) writer.int32(-1);
    else {
      const bytes = Buffer.from(value);
      writer.int32(bytes.length).bytes(bytes);
    }
  }
  return writer.finish().toBuffer();
}

/** Type oids the server found for a prepared statement's parameters. */
export function decodeParameterDescription(body: MessageReader): readonly number[] {
  const count = body.uint16();
  const types: number[] = [];
  for (let i = 0; i < count; i += 1) types.push(body.uint32());
  body.end();
  return types;
}

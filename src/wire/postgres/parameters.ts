/**
 * A bound parameter as text, for the record. Text format is as it is; binary format is read as PostgreSQL's send functions
 * write it (src/backend/utils/adt, `*_send`) and written as its output functions would: ISO dates, UTC, bytea in hex. What
 * isn't known or doesn't fit stays hex: the record shows every byte that was bound, in one form or the other.
 */
import { hardwareText, networkText } from './_value-networks.ts';
import { floatText, moneyText, numericText } from './_value-numbers.ts';
import { dateText, intervalText, timestampText, timeText, timeWithZoneText } from './_value-times.ts';
import { decodeUtf8 } from './bytes.ts';

export type ParameterText = { readonly text: string } | { readonly hex: string };

/** What a type that somebody defined is made of; the catalogue of a target says. */
export type TypeShape =
  /** As this type of PostgreSQL's own: the base of a domain. */
  | { readonly kind: 'base'; readonly oid: number }
  | { readonly kind: 'enum' }
  | { readonly kind: 'array'; readonly elementOid: number; readonly element: TypeShape }
  | { readonly kind: 'range' | 'multirange'; readonly of: TypeShape };

/** Type oids of pg_type.dat; they never change. */
export const oids = {
  bool: 16,
  bytea: 17,
  char: 18,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  regproc: 24,
  text: 25,
  oid: 26,
  tid: 27,
  xid: 28,
  cid: 29,
  json: 114,
  xml: 142,
  point: 600,
  lseg: 601,
  path: 602,
  box: 603,
  polygon: 604,
  line: 628,
  cidr: 650,
  float4: 700,
  float8: 701,
  unknown: 705,
  circle: 718,
  macaddr8: 774,
  money: 790,
  macaddr: 829,
  inet: 869,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  interval: 1186,
  timetz: 1266,
  bit: 1560,
  varbit: 1562,
  numeric: 1700,
  refcursor: 1790,
  regprocedure: 2202,
  regoper: 2203,
  regoperator: 2204,
  regclass: 2205,
  regtype: 2206,
  uuid: 2950,
  pgLsn: 3220,
  regconfig: 3734,
  regdictionary: 3769,
  jsonb: 3802,
  jsonpath: 4072,
  regnamespace: 4089,
  regrole: 4096,
  regcollation: 4191,
  xid8: 5069,
} as const;

const arrayElements: ReadonlyMap<number, number> = new Map([
  [143, oids.xml],
  [199, oids.json],
  [629, oids.line],
  [651, oids.cidr],
  [719, oids.circle],
  [775, oids.macaddr8],
  [791, oids.money],
  [1000, oids.bool],
  [1001, oids.bytea],
  [1002, oids.char],
  [1003, oids.name],
  [1005, oids.int2],
  [1007, oids.int4],
  [1008, oids.regproc],
  [1009, oids.text],
  [1010, oids.tid],
  [1011, oids.xid],
  [1012, oids.cid],
  [1014, oids.bpchar],
  [1015, oids.varchar],
  [1016, oids.int8],
  [1017, oids.point],
  [1018, oids.lseg],
  [1019, oids.path],
  [1020, oids.box],
  [1021, oids.float4],
  [1022, oids.float8],
  [1027, oids.polygon],
  [1028, oids.oid],
  [1040, oids.macaddr],
  [1041, oids.inet],
  [1115, oids.timestamp],
  [1182, oids.date],
  [1183, oids.time],
  [1185, oids.timestamptz],
  [1187, oids.interval],
  [1231, oids.numeric],
  [1270, oids.timetz],
  [1561, oids.bit],
  [1563, oids.varbit],
  [2201, oids.refcursor],
  [2207, oids.regprocedure],
  [2208, oids.regoper],
  [2209, oids.regoperator],
  [2210, oids.regclass],
  [2211, oids.regtype],
  [2951, oids.uuid],
  [3221, oids.pgLsn],
  [3807, oids.jsonb],
  [4073, oids.jsonpath],
  // Ranges and multiranges.
  [3905, 3904],
  [3907, 3906],
  [3909, 3908],
  [3911, 3910],
  [3913, 3912],
  [3927, 3926],
  [6150, 4451],
  [6151, 4532],
  [6152, 4533],
  [6153, 4534],
  [6155, 4535],
  [6157, 4536],
]);

const ranges: ReadonlyMap<number, number> = new Map([
  [3904, oids.int4],
  [3906, oids.numeric],
  [3908, oids.timestamp],
  [3910, oids.timestamptz],
  [3912, oids.date],
  [3926, oids.int8],
]);

const multiranges: ReadonlyMap<number, number> = new Map([
  [4451, 3904],
  [4532, 3906],
  [4533, 3908],
  [4534, 3910],
  [4535, 3912],
  [4536, 3926],
]);

/** `format` 0 is text, 1 binary; `type` 0 is unknown. `shape`: of a type that isn't PostgreSQL's own. Never throws. */
export function parameterText(value: Buffer, format: number, type: number, shape?: TypeShape): ParameterText {
  try {
    const text = format === 0 ? decodeUtf8(value) : shapedText(value, shape ?? { kind: 'base', oid: type });
    if (text !== undefined) return { text };
  } catch {
    // Not of the shape that its type says: every byte is shown instead.
  }
  return { hex: value.toString('hex') };
}

function shapedText(value: Buffer, shape: TypeShape): string | undefined {
  switch (shape.kind) {
    case 'enum':
      return decodeUtf8(value);
    case 'array':
      return arrayText(value, shape.elementOid, (bytes) => shapedText(bytes, shape.element));
    case 'range':
      return rangeText(value, (bytes) => shapedText(bytes, shape.of));
    case 'multirange':
      return multirangeText(value, (bytes) => shapedText(bytes, shape.of));
    case 'base':
      return binaryText(value, shape.oid);
    default:
      return shape satisfies never;
  }
}

function binaryText(value: Buffer, type: number): string | undefined {
  const sized = (bytes: number) => value.length === bytes;
  switch (type) {
    case oids.bool:
      return sized(1) && (value[0] === 0 || value[0] === 1) ? (value[0] === 1 ? 't' : 'f') : undefined;
    case oids.int2:
      return sized(2) ? String(value.readInt16BE()) : undefined;
    case oids.int4:
      return sized(4) ? String(value.readInt32BE()) : undefined;
    case oids.oid:
    case oids.xid:
    case oids.cid:
    case oids.regproc:
    case oids.regprocedure:
    case oids.regoper:
    case oids.regoperator:
    case oids.regclass:
    case oids.regtype:
    case oids.regconfig:
    case oids.regdictionary:
    case oids.regnamespace:
    case oids.regrole:
    case oids.regcollation:
      return sized(4) ? String(value.readUInt32BE()) : undefined;
    case oids.int8:
      return sized(8) ? String(value.readBigInt64BE()) : undefined;
    case oids.xid8:
      return sized(8) ? String(value.readBigUInt64BE()) : undefined;
    case oids.money:
      return sized(8) ? moneyText(value.readBigInt64BE()) : undefined;
    case oids.pgLsn:
      return sized(8) ? lsnText(value) : undefined;
    case oids.tid:
      return sized(6) ? `(${value.readUInt32BE()},${value.readUInt16BE(4)})` : undefined;
    case oids.float4:
      return sized(4) ? floatText(value.readFloatBE(), 'single') : undefined;
    case oids.float8:
      return sized(8) ? floatText(value.readDoubleBE(), 'double') : undefined;
    case oids.numeric:
      return numericText(value);
    case oids.char:
      // A byte of any value, so it need not be text.
      return sized(1) && (value[0] ?? 0x80) < 0x80 ? value.toString('latin1').replace('\0', '') : undefined;
    case oids.text:
    case oids.varchar:
    case oids.bpchar:
    case oids.name:
    case oids.unknown:
    case oids.json:
    case oids.xml:
    case oids.refcursor:
      return decodeUtf8(value);
    case oids.jsonb:
    case oids.jsonpath:
      return value[0] === 1 ? decodeUtf8(value.subarray(1)) : undefined;
    case oids.bytea:
      return `\\x${value.toString('hex')}`;
    case oids.bit:
    case oids.varbit:
      return bitsText(value);
    case oids.uuid:
      return sized(16)
        ? value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
        : undefined;
    case oids.date:
      return sized(4) ? dateText(value.readInt32BE()) : undefined;
    case oids.time:
      return sized(8) ? timeText(value.readBigInt64BE()) : undefined;
    case oids.timetz:
      return sized(12) ? timeWithZoneText(value.readBigInt64BE(), value.readInt32BE(8)) : undefined;
    case oids.timestamp:
      return sized(8) ? timestampText(value.readBigInt64BE(), '') : undefined;
    case oids.timestamptz:
      return sized(8) ? timestampText(value.readBigInt64BE(), '+00') : undefined;
    case oids.interval:
      return sized(16) ? intervalText(value.readBigInt64BE(), value.readInt32BE(8), value.readInt32BE(12)) : undefined;
    case oids.inet:
    case oids.cidr:
      return networkText(value);
    case oids.macaddr:
      return sized(6) ? hardwareText(value) : undefined;
    case oids.macaddr8:
      return sized(8) ? hardwareText(value) : undefined;
    case oids.point:
      return sized(16) ? pointText(value, 0) : undefined;
    case oids.line:
      return sized(24) ? `{${[0, 8, 16].map((at) => doubleAt(value, at)).join(',')}}` : undefined;
    case oids.lseg:
      return sized(32) ? `[${pointText(value, 0)},${pointText(value, 16)}]` : undefined;
    case oids.box:
      return sized(32) ? `${pointText(value, 0)},${pointText(value, 16)}` : undefined;
    case oids.circle:
      return sized(24) ? `<${pointText(value, 0)},${doubleAt(value, 16)}>` : undefined;
    case oids.path: {
      const points = pointsText(value, 1);
      return points === undefined ? undefined : value[0] === 1 ? `(${points})` : `[${points}]`;
    }
    case oids.polygon: {
      const points = pointsText(value, 0);
      return points === undefined ? undefined : `(${points})`;
    }
    default:
      return compositeText(value, type);
  }
}

function compositeText(value: Buffer, type: number): string | undefined {
  const element = arrayElements.get(type);
  if (element !== undefined)
    return arrayText(value, element, (bytes) => binaryText(bytes, element), element === oids.box ? ';' : ',');
  const range = ranges.get(type);
  if (range !== undefined) return rangeText(value, (bytes) => binaryText(bytes, range));
  const multirange = multiranges.get(type);
  return multirange === undefined ? undefined : multirangeText(value, (bytes) => binaryText(bytes, multirange));
}

function lsnText(value: Buffer): string {
  return [value.readUInt32BE(0), value.readUInt32BE(4)].map((half) => half.toString(16).toUpperCase()).join('/');
}

function bitsText(value: Buffer): string | undefined {
  const count = value.readInt32BE(0);
  if (count < 0 || value.length !== 4 + Math.ceil(count / 8)) return undefined;
  return Array.from(value.subarray(4), (byte) => byte.toString(2).padStart(8, '0'))
    .join('')
    .slice(0, count);
}

const doubleAt = (value: Buffer, at: number): string => floatText(value.readDoubleBE(at), 'double');
const pointText = (value: Buffer, at: number): string => `(${doubleAt(value, at)},${doubleAt(value, at + 8)})`;

function pointsText(value: Buffer, at: number): string | undefined {
  const count = value.readInt32BE(at);
  if (count < 0 || value.length !== at + 4 + 16 * count) return undefined;
  return Array.from({ length: count }, (_, i) => pointText(value, at + 4 + 16 * i)).join(',');
}

type Read = (bytes: Buffer) => string | undefined;

/** The part behind its length; undefined when it isn't all there. */
function partAt(value: Buffer, at: number): Buffer | undefined {
  const length = value.readInt32BE(at);
  return length < 0 || at + 4 + length > value.length ? undefined : value.subarray(at + 4, at + 4 + length);
}

/** Dimensions, has it nulls, type of the elements; size and lower bound of each dimension; the elements (array_send). */
function arrayText(value: Buffer, expected: number, read: Read, delimiter = ','): string | undefined {
  if (value.length < 12 || value.readUInt32BE(8) !== expected) return undefined;
  const dimensions = value.readInt32BE(0);
  if (dimensions === 0) return value.length === 12 ? '{}' : undefined;
  if (dimensions < 0 || dimensions > 6 || value.length < 12 + 8 * dimensions) return undefined;
  const sizes = Array.from({ length: dimensions }, (_, i) => value.readInt32BE(12 + 8 * i));
  const lower = sizes.map((_, i) => value.readInt32BE(16 + 8 * i));
  if (sizes.some((size) => size <= 0)) return undefined;
  let at = 12 + 8 * dimensions;
  const elements = (dimension: number): string | undefined => {
    const parts: string[] = [];
    const isInnermost = dimension === dimensions - 1;
    for (let i = 0; i < (sizes[dimension] ?? 0); i += 1) {
      const text = isInnermost ? element() : elements(dimension + 1);
      if (text === undefined) return undefined;
      parts.push(text);
    }
    return `{${parts.join(delimiter)}}`;
  };
  const element = (): string | undefined => {
    if (value.readInt32BE(at) === -1) {
      at += 4;
      return 'NULL';
    }
    const part = partAt(value, at);
    const text = part === undefined ? undefined : read(part);
    if (part === undefined || text === undefined) return undefined;
    at += 4 + part.length;
    return quoteElement(text, delimiter);
  };
  const text = elements(0);
  if (text === undefined || at !== value.length) return undefined;
  // Bounds are written when they aren't the usual ones.
  if (lower.every((bound) => bound === 1)) return text;
  return `${sizes.map((size, i) => `[${lower[i]}:${(lower[i] ?? 1) + size - 1}]`).join('')}=${text}`;
}

function quoteElement(text: string, delimiter: string): string {
  const isPlain =
    text !== '' && !/[ \t\n\r\v\f{}"\\]/.test(text) && !text.includes(delimiter) && text.toUpperCase() !== 'NULL';
  return isPlain ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

const isEmpty = 1;
const includesLower = 2;
const includesUpper = 4;
const hasNoLower = 8;
const hasNoUpper = 16;

/** Flags, and the bounds that there are (range_send). */
function rangeText(value: Buffer, read: Read): string | undefined {
  const flags = value[0] ?? 0;
  if ((flags & isEmpty) !== 0) return value.length === 1 ? 'empty' : undefined;
  let at = 1;
  const bounds: string[] = [];
  for (const isMissing of [flags & hasNoLower, flags & hasNoUpper]) {
    const part = isMissing === 0 ? partAt(value, at) : undefined;
    if (isMissing === 0 && part === undefined) return undefined;
    const text = part === undefined ? '' : read(part);
    if (text === undefined) return undefined;
    bounds.push(part === undefined ? '' : quoteBound(text));
    at += part === undefined ? 0 : 4 + part.length;
  }
  if (at !== value.length) return undefined;
  return `${(flags & includesLower) === 0 ? '(' : '['}${bounds.join(',')}${(flags & includesUpper) === 0 ? ')' : ']'}`;
}

function quoteBound(text: string): string {
  return text !== '' && !/[ \t\n\r\v\f()[\],"\\]/.test(text) ? text : `"${text.replace(/["\\]/g, '$&$&')}"`;
}

function multirangeText(value: Buffer, read: Read): string | undefined {
  const count = value.readInt32BE(0);
  let at = 4;
  const parts: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const part = partAt(value, at);
    const text = part === undefined ? undefined : read(part);
    if (part === undefined || text === undefined) return undefined;
    parts.push(text);
    at += 4 + part.length;
  }
  return at === value.length ? `{${parts.join(',')}}` : undefined;
}

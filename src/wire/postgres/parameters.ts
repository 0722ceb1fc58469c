/**
 * A bound parameter as text, for the record. Text format is as it is; for binary format the common types are read as
 * PostgreSQL's send functions write them (src/backend/utils/adt, `*_send`). What isn't known or doesn't fit stays hex:
 * the record shows every byte that was bound, in one form or the other.
 */
import { decodeUtf8 } from './bytes.ts';

export type ParameterText = { readonly text: string } | { readonly hex: string };

/** Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from. */
const epochDays = 10_957;
const microsPerDay = 86_400_000_000n;

/** Type oids of pg_type.dat; they never change. */
export const oids = {
  bool: 16,
  bytea: 17,
  char: 18,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  json: 114,
  float4: 700,
  float8: 701,
  unknown: 705,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const;

const arrayElements: ReadonlyMap<number, number> = new Map([
  [1000, oids.bool],
  [1001, oids.bytea],
  [1005, oids.int2],
  [1007, oids.int4],
  [1009, oids.text],
  [1014, oids.bpchar],
  [1015, oids.varchar],
  [1016, oids.int8],
  [1021, oids.float4],
  [1022, oids.float8],
  [1028, oids.oid],
  [1115, oids.timestamp],
  [1182, oids.date],
  [1185, oids.timestamptz],
  [1231, oids.numeric],
  [2951, oids.uuid],
  [199, oids.json],
  [3807, oids.jsonb],
]);

/** `format` 0 is text, 1 binary; `type` 0 is unknown. Never throws. */
export function parameterText(value: Buffer, format: number, type: number): ParameterText {
  try {
    const text = format === 0 ? decodeUtf8(value) : binaryText(value, type);
    if (text !== undefined) return { text };
  } catch {
    // Not of the shape that its type says: every byte is shown instead.
  }
  return { hex: value.toString('hex') };
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
      return sized(4) ? String(value.readUInt32BE()) : undefined;
    case oids.int8:
      return sized(8) ? String(value.readBigInt64BE()) : undefined;
    case oids.float4:
      return sized(4) ? floatText(value.readFloatBE(), 'single') : undefined;
    case oids.float8:
      return sized(8) ? floatText(value.readDoubleBE(), 'double') : undefined;
    case oids.text:
    case oids.varchar:
    case oids.bpchar:
    case oids.name:
    case oids.unknown:
    case oids.json:
      return decodeUtf8(value);
    case oids.jsonb:
      return value[0] === 1 ? decodeUtf8(value.subarray(1)) : undefined;
    case oids.bytea:
      return `\\x${value.toString('hex')}`;
    case oids.uuid:
      return sized(16)
        ? value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
        : undefined;
    case oids.date:
      return sized(4) ? dateText(value.readInt32BE()) : undefined;
    case oids.time:
      return sized(8) ? timeText(value.readBigInt64BE()) : undefined;
    case oids.timestamp:
      return sized(8) ? timestampText(value.readBigInt64BE()) : undefined;
    case oids.timestamptz: {
      const text = sized(8) ? timestampText(value.readBigInt64BE()) : undefined;
      return text === undefined || text.endsWith('infinity') ? text : `${text}+00`;
    }
    case oids.numeric:
      return numericText(value);
    default: {
      const element = arrayElements.get(type);
      return element === undefined ? undefined : arrayText(value, element);
    }
  }
}

/** The shortest text that reads back as the same number. */
function floatText(value: number, precision: 'single' | 'double'): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  if (Object.is(value, -0)) return '-0';
  if (precision === 'single')
    for (let digits = 1; digits < 9; digits += 1) {
      const text = Number(value.toPrecision(digits));
      if (Math.fround(text) === value) return String(text);
    }
  return String(precision === 'single' ? Number(value.toPrecision(9)) : value);
}

function dateText(days: number): string | undefined {
  if (days === 0x7fffffff) return 'infinity';
  if (days === -0x80000000) return '-infinity';
  // Civil date from days (proleptic Gregorian), valid for the years that PostgreSQL prints without "BC".
  const z = days + epochDays + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  if (year < 1) return undefined;
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  return `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
}

function timeText(micros: bigint): string | undefined {
  if (micros < 0n || micros > microsPerDay) return undefined;
  const seconds = Number(micros / 1_000_000n);
  const pad = (n: number) => String(n).padStart(2, '0');
  const whole = `${pad(Math.floor(seconds / 3600))}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  const fraction = String(micros % 1_000_000n)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return fraction === '' ? whole : `${whole}.${fraction}`;
}

function timestampText(micros: bigint): string | undefined {
  if (micros === 0x7fffffffffffffffn) return 'infinity';
  if (micros === -0x8000000000000000n) return '-infinity';
  const inDay = ((micros % microsPerDay) + microsPerDay) % microsPerDay;
  const date = dateText(Number((micros - inDay) / microsPerDay));
  return date === undefined ? undefined : `${date} ${timeText(inDay)}`;
}

/** Base 10,000 digits, weight of the first, sign, display scale (numeric_send). */
function numericText(value: Buffer): string | undefined {
  if (value.length < 8) return undefined;
  const count = value.readUInt16BE(0);
  const weight = value.readInt16BE(2);
  const sign = value.readUInt16BE(4);
  const scale = value.readUInt16BE(6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if ((sign !== 0 && sign !== 0x4000) || value.length !== 8 + 2 * count) return undefined;
  const digitAt = (power: number) => {
    const i = weight - power;
    return i >= 0 && i < count ? value.readUInt16BE(8 + 2 * i) : 0;
  };
  let whole = '';
  for (let power = weight; power >= 0; power -= 1) whole += String(digitAt(power)).padStart(4, '0');
  whole = whole.replace(/^0+(?=\d)/, '') || '0';
  let fraction = '';
  for (let power = -1; fraction.length < scale; power -= 1) fraction += String(digitAt(power)).padStart(4, '0');
  fraction = fraction.slice(0, scale);
  return `${sign === 0x4000 ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

/** One-dimensional arrays (array_send); others stay hex. */
function arrayText(value: Buffer, expected: number): string | undefined {
  if (value.length < 12 || value.readUInt32BE(8) !== expected) return undefined;
  const dimensions = value.readInt32BE(0);
  if (dimensions === 0) return value.length === 12 ? '{}' : undefined;
  if (dimensions !== 1 || value.length < 20 || value.readInt32BE(16) !== 1) return undefined;
  const count = value.readInt32BE(12);
  let at = 20;
  const parts: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const length = value.readInt32BE(at);
    at += 4;
    if (length === -1) {
      parts.push('NULL');
      continue;
    }
    if (length < 0 || at + length > value.length) return undefined;
    const text = binaryText(value.subarray(at, at + length), expected);
    if (text === undefined) return undefined;
    parts.push(quoteElement(text));
    at += length;
  }
  return at === value.length ? `{${parts.join(',')}}` : undefined;
}

function quoteElement(text: string): string {
  const isPlain = text !== '' && !/[\s{},"\\]/.test(text) && text.toUpperCase() !== 'NULL';
  return isPlain ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

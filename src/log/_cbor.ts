/**
 * The part of CBOR (RFC 8949) that authenticators write, in CTAP2's canonical form: definite lengths, shortest integers,
 * no tags, no floats, no duplicate keys. Everything else is refused.
 */
export type Cbor = number | string | boolean | null | Uint8Array | readonly Cbor[] | ReadonlyMap<number | string, Cbor>;

const maxDepth = 8;

/** The one item that the bytes are, or undefined when they are anything else, or more. */
export function readCbor(bytes: Uint8Array): Cbor | undefined {
  const reader: Reader = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0 };
  try {
    const item = readItem(reader, 0);
    return reader.at === bytes.length ? item : undefined;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

type Reader = { readonly bytes: Uint8Array; readonly view: DataView; at: number };

/** Stays inside this file. */
class Malformed extends Error {}

function readItem(reader: Reader, depth: number): Cbor {
  if (depth > maxDepth) throw new Malformed();
  const initial = take(reader, 1)[0] ?? 0;
  const major = initial >> 5;
  if (major === 7) {
    if (initial === 0xf4) return false;
    if (initial === 0xf5) return true;
    if (initial === 0xf6) return null;
    throw new Malformed();
  }
  const argument = readArgument(reader, initial & 31);
  switch (major) {
    case 0:
      return argument;
    case 1:
      return -1 - argument;
    case 2:
      return take(reader, argument).slice();
    case 3:
      return readText(take(reader, argument));
    case 4: {
      // Each element takes a byte at least, so a length beyond the end is refused before anything is made of it.
      if (argument > reader.bytes.length - reader.at) throw new Malformed();
      const items: Cbor[] = [];
      for (let i = 0; i < argument; i += 1) items.push(readItem(reader, depth + 1));
      return items;
    }
    case 5: {
      if (argument > reader.bytes.length - reader.at) throw new Malformed();
      const map = new Map<number | string, Cbor>();
      for (let i = 0; i < argument; i += 1) {
        const key = readItem(reader, depth + 1);
        if ((typeof key !== 'number' && typeof key !== 'string') || map.has(key)) throw new Malformed();
        map.set(key, readItem(reader, depth + 1));
      }
      return map;
    }
    default:
      throw new Malformed();
  }
}

function readArgument(reader: Reader, info: number): number {
  if (info < 24) return info;
  if (info > 26) throw new Malformed(); // eight-byte arguments have no use here; 28 to 31 are reserved or indefinite
  const length = 1 << (info - 24);
  const at = reader.at;
  take(reader, length);
  const value =
    length === 1 ? reader.view.getUint8(at) : length === 2 ? reader.view.getUint16(at) : reader.view.getUint32(at);
  if (value < [24, 0x100, 0x10000][info - 24]!) throw new Malformed(); // info is 24, 25 or 26
  return value;
}

function take(reader: Reader, length: number): Uint8Array {
  if (length > reader.bytes.length - reader.at) throw new Malformed();
  reader.at += length;
  return reader.bytes.subarray(reader.at - length, reader.at);
}

function readText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Malformed();
  }
}

/** What a client may send, as data: a case of the fuzzer is kept as JSON, made smaller and played again. */
import {
  encodeBind,
  encodeCopyData,
  encodeCopyDone,
  encodeCopyFail,
  encodeExecute,
  encodeFlush,
  encodeFunctionCall,
  encodeParse,
  encodeQuery,
  encodeSync,
  encodeTarget,
  encodeTerminate,
} from '#wire/postgres/frontend.ts';

export type Message =
  | { readonly send: 'query'; readonly text: string }
  | { readonly send: 'parse'; readonly name: string; readonly text: string; readonly types?: readonly number[] }
  | {
      readonly send: 'bind';
      readonly portal: string;
      readonly name: string;
      /** A number: as many times the same letter. */
      readonly values: readonly (string | number | null)[];
    }
  | { readonly send: 'describe' | 'close'; readonly on: 'statement' | 'portal'; readonly name: string }
  | { readonly send: 'execute'; readonly portal: string; readonly rows: number }
  /** A function by its oid, with values in text. */
  | { readonly send: 'call'; readonly oid: number; readonly values: readonly (string | null)[] }
  | { readonly send: 'sync' | 'flush' | 'copy_done' | 'copy_fail' | 'terminate' }
  | { readonly send: 'copy_data'; readonly data: string }
  /** Anything, framed or not. */
  | { readonly send: 'bytes'; readonly hex: string }
  /** A header that promises this length, and nothing behind it. */
  | { readonly send: 'header'; readonly type: number; readonly length: number };

export function encode(message: Message): Buffer {
  switch (message.send) {
    case 'query':
      return encodeQuery(message.text);
    case 'parse':
      return encodeParse({ statement: message.name, text: message.text, parameterTypes: message.types ?? [] });
    case 'bind':
      return encodeBind({
        portal: message.portal,
        statement: message.name,
        values: message.values.map((value) => (typeof value === 'number' ? 'z'.repeat(value) : value)),
      });
    case 'describe':
    case 'close':
      return encodeTarget(message.send === 'describe' ? 'D' : 'C', { on: message.on, name: message.name });
    case 'execute':
      return encodeExecute({ portal: message.portal, maxRows: message.rows });
    case 'call':
      return encodeFunctionCall({ function: message.oid, values: message.values });
    case 'sync':
      return encodeSync();
    case 'flush':
      return encodeFlush();
    case 'copy_done':
      return encodeCopyDone();
    case 'copy_fail':
      return encodeCopyFail('enough');
    case 'terminate':
      return encodeTerminate();
    case 'copy_data':
      return encodeCopyData(Buffer.from(message.data));
    case 'bytes':
      return Buffer.from(message.hex, 'hex');
    case 'header': {
      const bytes = Buffer.alloc(5);
      bytes[0] = message.type;
      bytes.writeUInt32BE(message.length, 1);
      return bytes;
    }
    default:
      return message satisfies never;
  }
}

/** What happens to a stream of bytes on its way. `at` is a share of the whole, in millionths, so that it fits any stream. */
export type Mutation =
  | { readonly do: 'flip'; readonly at: number; readonly bits: number }
  | { readonly do: 'insert'; readonly at: number; readonly hex: string }
  | { readonly do: 'remove' | 'repeat'; readonly at: number; readonly count: number }
  | { readonly do: 'cut'; readonly at: number };

export function mutate(bytes: Buffer, mutations: readonly Mutation[]): Buffer {
  let out = Buffer.from(bytes);
  for (const mutation of mutations) {
    if (out.length === 0) return out;
    const at = Math.floor((mutation.at / 1_000_000) * out.length);
    const before = out.subarray(0, at);
    switch (mutation.do) {
      case 'flip':
        out[at] = (out[at] ?? 0) ^ mutation.bits;
        break;
      case 'insert':
        out = Buffer.concat([before, Buffer.from(mutation.hex, 'hex'), out.subarray(at)]);
        break;
      case 'remove':
        out = Buffer.concat([before, out.subarray(at + mutation.count)]);
        break;
      case 'repeat':
        out = Buffer.concat([out.subarray(0, at + mutation.count), out.subarray(at)]);
        break;
      case 'cut':
        out = before;
        break;
      default:
        mutation satisfies never;
    }
  }
  return out;
}

/** The stream in pieces; cuts are in millionths as well. */
export function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const out: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts].toSorted((a, b) => a - b)) {
    const to = Math.floor((cut / 1_000_000) * bytes.length);
    if (to > at) out.push(bytes.subarray(at, to));
    at = Math.max(at, to);
  }
  if (at < bytes.length) out.push(bytes.subarray(at));
  return out;
}

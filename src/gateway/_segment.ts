/**
 * The journal's file format, version 1. A segment is text, one line each: first a header, then one record per line,
 *
 *     {"journal":1,"first":101,"previous":"<hash of record 100, or 64 zeros>"}
 *     <hash> {"number":101,"at":…,"event":{…}}
 *
 * where hash is the SHA-256 in hex of the previous hash (its hex text) followed by the record's JSON. A line counts only
 * with its line feed, so a torn write is seen.
 */
import { hash } from 'node:crypto';
import type { JournalRecord } from './records.ts';

export const noHash = '0'.repeat(64);
/** Before a line's JSON: the hash and a space. */
export const lineHead = 65;

export const chain = (previous: string, json: string): string => hash('sha256', previous + json, 'hex');

/**
 * The same for JSON that stands at `[at, end)` of a buffer, in front of which its line's head is still free: nothing is put
 * together only to be hashed.
 */
export function chainAt(buffer: Buffer, at: number, end: number, previous: string): string {
  buffer.write(previous, at - previous.length, 'latin1');
  return hash('sha256', buffer.subarray(at - previous.length, end), 'hex');
}

export const headerLine = (first: number, previous: string): string =>
  `${JSON.stringify({ journal: 1, first, previous })}\n`;

export const segmentName = (first: number): string => `${String(first).padStart(16, '0')}.journal`;
export const isSegmentName = (name: string): boolean => /^\d{16}\.journal$/.test(name);

export type Scan = {
  /** Of the record after the last good one. */
  readonly next: number;
  readonly hash: string;
  /** Bytes up to the end of the last good line. */
  readonly goodBytes: number;
};

/** Walks a whole segment. Undefined when even its header is not what it must be. */
export function scanSegment(
  bytes: Buffer,
  expected: { readonly first: number; readonly previous: string | undefined },
): Scan | undefined {
  let at = bytes.indexOf(10) + 1;
  const header = at === 0 ? undefined : parseHeader(bytes.toString('utf8', 0, at - 1));
  if (header === undefined || header.first !== expected.first) return undefined;
  if (expected.previous !== undefined && header.previous !== expected.previous) return undefined;
  let { first: next, previous: at_hash } = header;
  for (;;) {
    const end = bytes.indexOf(10, at);
    if (end < 0) break;
    const json = bytes.toString('utf8', at + lineHead, end);
    const hashText = bytes.toString('latin1', at, at + lineHead - 1);
    if (chain(at_hash, json) !== hashText || !json.startsWith(`{"number":${next},`)) break;
    at_hash = hashText;
    next += 1;
    at = end + 1;
  }
  return { next, hash: at_hash, goodBytes: at };
}

function parseHeader(line: string): { readonly first: number; readonly previous: string } | undefined {
  const match = /^\{"journal":1,"first":([1-9]\d{0,15}),"previous":"([0-9a-f]{64})"\}$/.exec(line);
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { first: Number(match[1]), previous: match[2] };
}

/** Whole lines of a segment, without its header, as they stand in the file. */
export type JournalLines = {
  /** The number of the first of them. */
  readonly first: number;
  readonly bytes: Uint8Array;
};

/** The records in lines whose chain has been verified, or which this very process has written. */
export function recordsOf({ bytes }: JournalLines): JournalRecord[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: JournalRecord[] = [];
  let at = 0;
  for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, at)) {
    records.push(JSON.parse(text.toString('utf8', at + lineHead, end)) as JournalRecord);
    at = end + 1;
  }
  return records;
}

/**
 * The journal: the gateway's local append-only file. What happens in a session is written here before the target sees
 * it (INVARIANT 6), numbered and chained, and shipped from here to the control plane, which puts it into the log.
 *
 * `append` numbers a record and puts it into a buffer. Before the bytes it is about are forwarded the buffer must have been
 * written by `flush`. Records that nobody waits for go along with the next write, or with the one at the end of the event
 * loop's turn (`flushSoon`), or before the next fdatasync. `fdatasync` follows for groups of writes; whoever wants to wait for
 * it (`strict`) asks `whenDurable`. Only durable records are shipped: a number that the control plane has must never be
 * given again after a power cut.
 *
 * When a write fails the journal is `failed`: nothing is forwarded, sessions are cut and refused, and the write is tried
 * again each second. A failed fdatasync is final until restart, since the kernel may have dropped what it could not write.
 * When too much waits to be shipped it is `full`: statements wait until there is room.
 */
import { performance } from 'node:perf_hooks';
import type { Clock } from '#core/instant.ts';
import {
  chainAt,
  headerLine,
  isSegmentName,
  lineHead,
  noHash,
  recordsOf,
  scanSegment,
  segmentName,
  type JournalLines,
} from './_segment.ts';
import type { JournalDisk, JournalFile } from './journal-disk.ts';
import type { GatewayEvent, JournalRecord } from './records.ts';

export type JournalOptions = {
  readonly disk: JournalDisk;
  readonly clock: Clock;
  /** A new segment after this many bytes. */
  readonly segmentBytes?: number;
  /** `full` when more than this waits to be shipped. */
  readonly maxUnshippedBytes?: number;
  /** Records that can't be written now, such as the ends of sessions being cut, are kept up to this many bytes. */
  readonly maxBufferedBytes?: number;
  /**
   * From a record to its fdatasync when nobody waits for it, in milliseconds; in a stream of records ten times as long from
   * one to the next, since each costs as much as a dozen statements, most of it in what writes meanwhile.
   */
  readonly syncEveryMs?: number;
  readonly onFailure?: (error: unknown) => void;
};

type Segment = {
  readonly name: string;
  readonly first: number;
  readonly file: JournalFile;
  bytes: number;
  durable: number;
};
export type JournalState = 'open' | 'full' | 'failed';

/** How much is gathered before it is written all the same. */
const maxGathered = 262_144;

export class JournalCorrupt extends Error {
  readonly code = 'journal_corrupt';
  readonly hint =
    'move the folder `journal` of the data directory aside and keep it: it is evidence. The next start begins a new one; what isn’t in the log yet stays in the old one';
}

export class Journal {
  readonly #options: Required<Omit<JournalOptions, 'onFailure'>>;
  readonly #onFailure: (error: unknown) => void;
  readonly #segments: Segment[] = [];
  #next = 1;
  #hash = noHash;
  #at = -1;
  #atJson = '';
  /** Lines that are not in the file yet: the first `#end` bytes. */
  #buffer = Buffer.allocUnsafeSlow(maxGathered + 16_384);
  #end = 0;
  #written = 0;
  #writtenHash = noHash;
  #durable = 0;
  #unshippedBytes = 0;
  #shipAt = { number: 1, segment: 0, offset: 0 };
  /** Ends of the lines from `#shipAt` on, as far as they have been looked for. */
  #shipEnds: readonly number[] = [];
  #failed: 'no' | 'write' | 'for_good' = 'no';
  #isFull = false;
  #syncing: Promise<void> | undefined;
  #syncTimer: NodeJS.Timeout | undefined;
  #syncedAt = -Infinity;
  #retryTimer: NodeJS.Timeout | undefined;
  #isFlushing = false;
  #waiters: { readonly number: number; readonly wake: () => void }[] = [];
  #onWritable: (() => void)[] = [];
  #onDurable: () => void = () => {};
  #closed = false;

  /** Recovers what is on the disk: a torn tail is cut (and kept aside), the chain is verified. Throws `JournalCorrupt`. */
  constructor(options: JournalOptions) {
    const { onFailure, ...rest } = options;
    this.#options = {
      segmentBytes: 16 << 20,
      maxUnshippedBytes: 1 << 30,
      maxBufferedBytes: 16 << 20,
      syncEveryMs: 5,
      ...rest,
    };
    this.#onFailure = onFailure ?? (() => {});
    this.#recover();
  }

  get state(): JournalState {
    if (this.#failed !== 'no') return 'failed';
    return this.#isFull ? 'full' : 'open';
  }

  /** Number of the last record, written or not. */
  get lastNumber(): number {
    return this.#next - 1;
  }

  get durableNumber(): number {
    return this.#durable;
  }

  get unshippedBytes(): number {
    return this.#unshippedBytes;
  }

  /** Numbers the event and buffers it. Its number, or 0 when there is no room left for what can't be written. */
  append(event: GatewayEvent): number {
    // The end of a session is kept whatever else there is no room for: they are no more than there are sessions.
    return this.appendJson(JSON.stringify(event), event.kind === 'session.ended');
  }

  /** The same for an event that is JSON already. */
  appendJson(event: string, isKept = false): number {
    if (this.#end > maxGathered && !this.flush() && this.#end > this.#options.maxBufferedBytes && !isKept) return 0;
    const number = this.#next;
    const now = this.#options.clock.now();
    if (now !== this.#at) {
      // Thousands have the same: to write out a number of that size takes longer than all the rest here.
      this.#at = now;
      this.#atJson = `,"at":${now},"event":`;
    }
    const json = `{"number":${number}${this.#atJson}${event}}`;
    // A UTF-16 unit becomes three bytes at most.
    const buffer = this.#room(lineHead + 1 + json.length * 3);
    const at = this.#end + lineHead;
    const end = at + buffer.write(json, at, 'utf8');
    this.#hash = chainAt(buffer, at, end, this.#hash);
    buffer.write(this.#hash, this.#end, 'latin1');
    buffer[at - 1] = 32;
    buffer[end] = 10;
    this.#end = end + 1;
    this.#next = number + 1;
    this.#scheduleSync();
    return number;
  }

  #room(bytes: number): Buffer {
    const wanted = this.#end + bytes;
    if (wanted > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(wanted, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, this.#end);
      this.#buffer = larger;
    }
    return this.#buffer;
  }

  /** True: every record appended so far is in the file, so what they are about may be forwarded. */
  flush(): boolean {
    if (this.#failed !== 'no') return false;
    return this.#end === 0 || (!this.#closed && this.#write());
  }

  /** One write for all that is appended in this turn of the event loop, when that is over. */
  flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      this.flush();
    });
  }

  #write(): boolean {
    try {
      let segment = this.#current();
      if (segment.bytes > this.#options.segmentBytes) segment = this.#rotate();
      const bytes = this.#buffer.subarray(0, this.#end);
      for (let at = 0; at < bytes.length;) at += segment.file.append(bytes, at, bytes.length - at);
      segment.bytes += this.#end;
      this.#unshippedBytes += this.#end;
      this.#end = 0;
      // A burst, or what was kept while the disk was full.
      if (this.#buffer.length > 4 * maxGathered) this.#buffer = Buffer.allocUnsafeSlow(maxGathered + 16_384);
      this.#written = this.#next - 1;
      this.#writtenHash = this.#hash;
    } catch (error) {
      this.#fail('write', error);
      return false;
    }
    if (this.#unshippedBytes > this.#options.maxUnshippedBytes) this.#isFull = true;
    this.#scheduleSync();
    return true;
  }

  #current(): Segment {
    const segment = this.#segments.at(-1);
    if (segment === undefined) throw new JournalCorrupt('journal has no segment');
    return segment;
  }

  /** The old segment is durable before the new one exists, so that only the last can ever be torn. */
  #rotate(): Segment {
    const old = this.#current();
    old.file.syncNow();
    old.durable = old.bytes;
    // The chain goes on from the last record of the old segment, not from what is still in the buffer.
    return this.#create(this.#written + 1, this.#writtenHash);
  }

  #create(first: number, previous: string): Segment {
    const name = segmentName(first);
    const file = this.#options.disk.open(name);
    try {
      const header = Buffer.from(headerLine(first, previous));
      // A header half written before a failure must not stay.
      file.truncate(0);
      for (let at = 0; at < header.length;) at += file.append(header, at, header.length - at);
      file.syncNow();
      this.#options.disk.syncNames();
      const segment = { name, first, file, bytes: header.length, durable: header.length };
      this.#segments.push(segment);
      return segment;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #fail(how: 'write' | 'for_good', error: unknown): void {
    const isNew = this.#failed === 'no';
    if (this.#failed !== 'for_good') this.#failed = how;
    if (isNew) this.#onFailure(error);
    if (this.#failed === 'write' && !this.#closed) {
      clearTimeout(this.#retryTimer);
      this.#retryTimer = setTimeout(() => this.retry(), 1000).unref();
    }
  }

  /** After a failed write: takes away what was half written and tries again. */
  retry(): boolean {
    if (this.#failed !== 'write') return this.#failed === 'no';
    try {
      const segment = this.#current();
      segment.file.truncate(segment.bytes);
    } catch (error) {
      this.#fail('write', error);
      return false;
    }
    this.#failed = 'no';
    if (this.#end > 0 && !this.#write()) return false;
    this.#wakeWriters();
    return true;
  }

  /** Calls back when that record would survive a power cut. Never, when the disk fails: the session is cut then. */
  whenDurable(number: number, then: () => void): void {
    if (number <= this.#durable) return then();
    this.#waiters.push({ number, wake: then });
    this.#startSync();
  }

  /** Calls back once, when the journal takes records again. */
  whenWritable(then: () => void): void {
    if (this.state === 'open') return then();
    this.#onWritable.push(then);
  }

  #wakeWriters(): void {
    if (this.state !== 'open') return;
    const waiting = this.#onWritable;
    this.#onWritable = [];
    for (const then of waiting) then();
  }

  #scheduleSync(): void {
    if (this.#syncing !== undefined || this.#syncTimer !== undefined || this.#closed) return;
    if (this.#waiters.length > 0) return this.#startSync();
    const { syncEveryMs } = this.#options;
    const sinceLast = performance.now() - this.#syncedAt;
    this.#syncTimer = setTimeout(this.#startSync, Math.max(syncEveryMs, 10 * syncEveryMs - sinceLast));
  }

  readonly #startSync = (): void => {
    clearTimeout(this.#syncTimer);
    this.#syncTimer = undefined;
    if (this.#syncing !== undefined || this.#failed === 'for_good') return;
    if (this.#end > 0) this.flush();
    if (this.#written === this.#durable) return;
    this.#syncedAt = performance.now();
    const segment = this.#current();
    const number = this.#written;
    const { bytes } = segment;
    this.#syncing = segment.file.sync().then(
      () => {
        this.#syncing = undefined;
        segment.durable = Math.max(segment.durable, bytes);
        this.#durable = number;
        this.#onDurable();
        const ready = this.#waiters.filter((w) => w.number <= number);
        this.#waiters = this.#waiters.filter((w) => w.number > number);
        for (const { wake } of ready) wake();
        if (this.#written > this.#durable || this.#end > 0) this.#scheduleSync();
      },
      (error: unknown) => {
        this.#syncing = undefined;
        this.#fail('for_good', error);
      },
    );
  };

  #recover(): void {
    const { disk } = this.#options;
    const names = disk.list().filter(isSegmentName).toSorted();
    let previous: string | undefined;
    for (const [i, name] of names.entries()) {
      const isLast = i === names.length - 1;
      const file = disk.open(name);
      const size = file.size();
      const bytes = file.read(0, size);
      const first = Number(name.slice(0, 16));
      const scan = scanSegment(bytes, { first: i === 0 ? first : this.#next, previous });
      if (scan === undefined || (i > 0 && first !== this.#next)) {
        file.close();
        // A segment's name is made just before its header: without a header nothing was in it.
        if (isLast && bytes.indexOf(10) < 0) {
          disk.remove(name);
          if (i === 0) this.#next = first;
          break;
        }
        throw new JournalCorrupt(`journal segment \`${name}\` does not continue the one before it`);
      }
      if (scan.goodBytes < size) {
        if (!isLast) throw new JournalCorrupt(`journal segment \`${name}\` is broken at byte ${scan.goodBytes}`);
        this.#keepTorn(name, bytes.subarray(scan.goodBytes));
        file.truncate(scan.goodBytes);
      }
      file.syncNow();
      this.#segments.push({ name, first, file, bytes: scan.goodBytes, durable: scan.goodBytes });
      this.#unshippedBytes += scan.goodBytes;
      this.#next = scan.next;
      this.#hash = scan.hash;
      previous = scan.hash;
    }
    this.#written = this.#durable = this.#next - 1;
    this.#writtenHash = this.#hash;
    if (this.#segments.length === 0) this.#create(this.#next, this.#hash);
    this.#shipAt = { number: this.#segments[0]?.first ?? 1, segment: 0, offset: 0 };
  }

  #keepTorn(name: string, tail: Buffer): void {
    const torn = this.#options.disk.open(`${name}.torn`);
    try {
      for (let at = 0; at < tail.length;) at += torn.append(tail, at, tail.length - at);
    } finally {
      torn.close();
    }
  }

  /**
   * The next durable records that have not been shipped, as they stand in the file, up to about `maxBytes`; at least one
   * when there is one. Undefined: none.
   */
  unshippedLines(maxBytes = 256 << 10): JournalLines | undefined {
    const { bytes, offset, ends } = this.#unshippedLines(maxBytes);
    const last = ends.at(-1);
    if (last === undefined) return undefined;
    const from = this.#shipAt.offset === 0 ? bytes.indexOf(10) + 1 : 0;
    return { first: this.#shipAt.number, bytes: bytes.subarray(from, last - offset) };
  }

  /** The same as records. */
  unshipped(maxBytes?: number): readonly JournalRecord[] {
    const lines = this.unshippedLines(maxBytes);
    return lines === undefined ? [] : recordsOf(lines);
  }

  /** `ends`: where in the segment the lines end; `offset`: where in the segment `bytes` begin. */
  #unshippedLines(maxBytes: number): {
    readonly bytes: Buffer;
    readonly offset: number;
    readonly ends: readonly number[];
  } {
    for (;;) {
      const segment = this.#segments[this.#shipAt.segment];
      if (segment === undefined) return { bytes: Buffer.alloc(0), offset: 0, ends: [] };
      const { offset } = this.#shipAt;
      for (let size = maxBytes; ; size *= 4) {
        const want = Math.min(size, segment.durable - offset);
        if (want <= 0) break;
        const bytes = segment.file.read(offset, want);
        const ends: number[] = [];
        const at = offset === 0 ? bytes.indexOf(10) + 1 : 0;
        for (let end = bytes.indexOf(10, at); end >= 0; end = bytes.indexOf(10, end + 1)) ends.push(offset + end + 1);
        this.#shipEnds = ends;
        if (ends.length > 0) return { bytes, offset, ends };
        if (want === segment.durable - offset) break;
      }
      if (this.#shipAt.segment + 1 >= this.#segments.length) return { bytes: Buffer.alloc(0), offset: 0, ends: [] };
      this.#shipAt = { number: this.#shipAt.number, segment: this.#shipAt.segment + 1, offset: 0 };
    }
  }

  /** The control plane has stored everything up to this number: moves on, and removes segments that aren't needed. */
  shipped(upTo: number): void {
    while (this.#shipAt.number <= upTo) {
      // Usually what was handed out just now. Numbers have no gaps, so lines are counted and not read again.
      if (this.#shipEnds.length === 0 && this.#unshippedLines(256 << 10).ends.length === 0) break;
      const { number } = this.#shipAt;
      const count = Math.min(this.#shipEnds.length, upTo - number + 1);
      this.#shipAt = { ...this.#shipAt, number: number + count, offset: this.#shipEnds[count - 1] ?? 0 };
      this.#shipEnds = this.#shipEnds.slice(count);
    }
    while (this.#shipAt.segment > 0) {
      const old = this.#segments.shift();
      if (old === undefined) break;
      this.#shipAt = { ...this.#shipAt, segment: this.#shipAt.segment - 1 };
      old.file.close();
      this.#options.disk.remove(old.name);
    }
    this.#unshippedBytes = this.#segments.reduce((sum, s) => sum + s.bytes, 0) - this.#shipAt.offset;
    if (this.#isFull && this.#unshippedBytes < this.#options.maxUnshippedBytes * 0.9) {
      this.#isFull = false;
      this.#wakeWriters();
    }
  }

  /** One listener: the shipper. */
  onDurable(listener: () => void): void {
    this.#onDurable = listener;
  }

  /** Writes and syncs what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    clearTimeout(this.#syncTimer);
    clearTimeout(this.#retryTimer);
    while (this.#failed === 'no' && this.#written > this.#durable) {
      this.#startSync();
      await this.#syncing;
    }
    for (const { file } of this.#segments) file.close();
  }
}

/**
 * What one session sends to its target, in order. INVARIANT 6: bytes with a record wait here until the journal has written
 * it, which it does once for all sessions at the end of the event loop's turn; what comes behind them waits as well.
 *
 * The bytes are views into the buffer that the client was read into, so that buffer is kept here meanwhile.
 */
import type { Waiting } from '../journal.ts';
import type { Link } from './link.ts';

/** More than this isn't gathered: the journal is asked to write at once. */
const maxGathered = 131_072;

export class Outbox implements Waiting {
  readonly #link: Link;
  #parts: Buffer[] = [];
  #bytes = 0;
  #lent: Buffer[] = [];
  #isWaiting = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Bytes that need no record, or whose record is in the file. */
  send(bytes: Buffer): void {
    if (this.#isWaiting) this.#add(bytes);
    else if (!this.#link.isMarked) this.#link.target.write(bytes);
  }

  /** Bytes whose record has been appended to the journal, and may not have been written yet. */
  sendRecorded(bytes: Buffer): void {
    if (!this.#isWaiting) {
      this.#isWaiting = true;
      this.#link.journal.afterWrite(this);
    }
    this.#add(bytes);
  }

  #add(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
  }

  /** The chunk that was just looked through is about to be read over: keeps what still waits as it is. */
  chunkEnds(): void {
    const { client, target } = this.#link;
    if (!this.#isWaiting) return client.lendTo(target);
    const buffer = client.takeBuffer();
    if (buffer !== undefined) this.#lent.push(buffer);
    if (this.#bytes > maxGathered) this.#link.journal.writeNow();
  }

  written(ok: boolean): void {
    const parts = this.#parts;
    const lent = this.#lent;
    const link = this.#link;
    this.#isWaiting = false;
    this.#parts = [];
    this.#lent = [];
    this.#bytes = 0;
    // INVARIANT 4: who was marked meanwhile sends nothing more.
    if (ok && !link.isMarked) for (const bytes of parts) link.target.write(bytes);
    for (const buffer of lent) link.target.keep(buffer);
    if (!ok) link.end('journal_failed');
  }
}

/**
 * From the client to the target. Frames are found in place; a run of allowed messages is forwarded as one slice of the chunk
 * it came in. What is not decided yet, a statement that was never seen or the rest of a message, is copied and held;
 * nothing is read from that client meanwhile, and nobody else notices. What is decided about a message is
 * `client-messages.ts`'s.
 */
import { frameLengthAt, headerLength, ProtocolViolation } from '#wire/postgres/bytes.ts';
import { encodeFlush, frontend } from '#wire/postgres/frontend.ts';
import { ClientMessages, hold, leave, pass, replace, stop } from './client-messages.ts';
import type { Link } from './link.ts';

/** A client that is held is read on up to this much. */
export const maxHeldBytes = 1 << 20;

/** Bytes `[run, at)` are decided but not forwarded, `[at, end)` are not decided. The buffer is our own. */
type Held = { readonly buffer: Buffer; run: number; at: number; readonly end: number };

export class ClientSide {
  readonly #link: Link;
  readonly #messages: ClientMessages;
  /** The beginning of a message whose rest has not come. */
  #carry: Buffer = Buffer.alloc(0);
  #carried = 0;
  readonly #held: Held[] = [];
  #isHolding = false;
  #waitsForDisk = false;
  #isDraining = false;
  #hasEnded = false;

  constructor(link: Link) {
    this.#link = link;
    this.#messages = new ClientMessages(link, this, this.#resume);
  }

  /** Bytes that need no record, or whose record is in the file. */
  send(bytes: Buffer): void {
    // INVARIANT 4: who is marked sends nothing more.
    if (!this.#link.isMarked) this.#link.target.write(bytes);
  }

  /** The first thing that the target is asked in a session: how names resolve. */
  start(): void {
    this.#messages.askNames();
    this.#messages.waitsForAnswer = false;
  }

  get heldBytes(): number {
    return this.#held.reduce((sum, { end, run }) => sum + end - run, 0);
  }

  get isHolding(): boolean {
    return this.#isHolding;
  }

  /** While people are waited for the client is read, up to a bound: so its end is noticed at once. */
  get #readsOn(): boolean {
    return this.#messages.isHeld && this.heldBytes < maxHeldBytes;
  }

  get isHeld(): boolean {
    return this.#isHolding && this.#messages.isHeld;
  }

  /** The session is over. */
  abandon(): void {
    this.#messages.abandon();
  }

  /** A chunk from the client; false: read no more until this side resumes the client. */
  chunk(chunk: Buffer, length: number): boolean {
    const link = this.#link;
    if (link.isMarked) return false;
    link.bytesIn += length;
    try {
      if (this.#isHolding || this.#held.length > 0 || this.#carried > 0)
        this.#queue(Buffer.from(chunk.subarray(0, length)));
      else this.#process(chunk, 0, 0, length, false);
      this.#drain();
    } catch (error) {
      this.#violation(error);
    }
    link.client.lendTo(link.target);
    return (!this.#isHolding || this.#readsOn) && !link.isMarked && !link.target.isCongested;
  }

  /** The client sends no more. What it has sent is still done, in order, as the server itself would (`printf … | nc`). */
  ended(): void {
    this.#hasEnded = true;
    this.#leaveWhenDone();
  }

  #leaveWhenDone(): void {
    if (!this.#hasEnded || this.#isHolding || this.#held.length > 0 || this.#link.isMarked) return;
    // The target waits for the rest of a message, and takes no good-bye before it.
    if (this.#messages.streaming > 0) this.#link.end('client_closed');
    else this.#link.leave();
  }

  /** The target has answered something; perhaps that is what was waited for. */
  answered(): void {
    if (this.#messages.waitsForAnswer) this.#resume();
  }

  /** The client has cancelled: see `ClientMessages.giveUp`. */
  giveUp(): boolean {
    return this.#isHolding && !this.#waitsForDisk && this.#messages.giveUp();
  }

  readonly #resume = (): void => {
    if (!this.#isHolding || this.#waitsForDisk || this.#link.isMarked) return;
    this.#isHolding = false;
    this.#messages.waitsForAnswer = false;
    try {
      this.#drain();
    } catch (error) {
      this.#violation(error);
    }
    if (!this.#isHolding && !this.#link.isMarked && !this.#link.target.isCongested) this.#link.client.resume();
  };

  #violation(error: unknown): void {
    if (!(error instanceof ProtocolViolation)) return this.#link.failed(error);
    this.#link.end('protocol_violation', `sallyport: protocol violation: ${error.message}`);
  }

  #queue(buffer: Buffer): void {
    this.#held.push({ buffer, run: 0, at: 0, end: buffer.length });
  }

  /** Works through what is held, in order, until it has to hold again. */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      while (!this.#isHolding && !this.#link.isMarked) {
        const part = this.#held.shift();
        if (part === undefined) break;
        const { buffer, run, at, end } = part;
        if (run < at) {
          // Decided, recorded, and now durable.
          this.send(buffer.subarray(run, at));
          if (at < end) this.#held.unshift({ buffer, run: at, at, end });
        } else if (this.#carried > 0) this.#complete(buffer, at, end);
        else this.#process(buffer, at, at, end, true);
      }
    } finally {
      this.#isDraining = false;
    }
    this.#leaveWhenDone();
  }

  /** Adds bytes to the message that was begun, as many as it lacks. */
  #complete(buffer: Buffer, from: number, end: number): void {
    let at = from;
    if (this.#carried < headerLength) at += this.#carryOn(buffer, at, Math.min(end, at + headerLength - this.#carried));
    if (this.#carried >= headerLength) {
      const wanted = this.#wantedWhole(this.#carry[0] ?? 0, frameLengthAt(this.#carry, 0));
      at += this.#carryOn(buffer, at, Math.min(end, at + Math.max(0, wanted - this.#carried)));
      if (this.#carried >= wanted) {
        const message = this.#carry.subarray(0, this.#carried);
        this.#carry = Buffer.alloc(0);
        this.#carried = 0;
        if (at < end) this.#held.unshift({ buffer, run: at, at, end });
        this.#process(message, 0, 0, message.length, true);
        return;
      }
    }
    if (at < end) this.#held.unshift({ buffer, run: at, at, end });
  }

  #carryOn(buffer: Buffer, from: number, to: number): number {
    const count = to - from;
    if (this.#carried + count > this.#carry.length) {
      // Grows with what has come, not with what the header promises.
      const larger = Buffer.allocUnsafe(Math.max(1024, this.#carry.length * 2, this.#carried + count));
      this.#carry.copy(larger, 0, 0, this.#carried);
      this.#carry = larger;
    }
    buffer.copy(this.#carry, this.#carried, from, to);
    this.#carried += count;
    return count;
  }

  /** How many bytes of a message must be there before it can be decided. */
  #wantedWhole(type: number, length: number): number {
    switch (type) {
      case frontend.query:
      case frontend.parse:
      case frontend.functionCall:
        // Of one that is refused for its length the head is enough.
        return length > this.#link.limits.maxStatementBytes ? headerLength : length;
      case frontend.bind:
        return Math.min(length, this.#link.limits.maxWholeBindBytes);
      case frontend.copyData:
        return headerLength;
      default:
        if (length > 65_536) throw new ProtocolViolation('message is too long');
        return length;
    }
  }

  /** The loop. `isOwn`: the buffer isn't the socket's, so it may be kept. */
  #process(buffer: Buffer, from: number, start: number, end: number, isOwn: boolean): void {
    const link = this.#link;
    let run = from;
    let at = start;
    while (at < end) {
      if (this.#messages.streaming > 0 || this.#messages.discarding > 0) {
        const count = Math.min(this.#messages.streaming + this.#messages.discarding, end - at);
        if (this.#messages.discarding > 0) {
          this.#forward(buffer, run, at);
          this.#messages.discarding -= count;
          run = at + count;
        } else this.#messages.stream(buffer, at, count);
        at += count;
        continue;
      }
      if (end - at < headerLength) break;
      const type = buffer[at] ?? 0;
      const length = frameLengthAt(buffer, at);
      const available = Math.min(length, end - at);
      if (available < this.#wantedWhole(type, length)) break;
      const step = this.#messages.decide(type, buffer, at, at + available, length);
      if (step === hold) {
        // Hot path left: what is decided goes on, the rest is kept until there is an answer.
        this.#isHolding = true;
        if (this.#forward(buffer, run, at)) {
          run = at;
          // In the extended protocol the server keeps its answer until it is asked for it.
          if (this.#messages.needsFlush) this.send(encodeFlush());
          this.#messages.needsFlush = false;
        }
        this.#keep(buffer, run, at, end, isOwn);
        return;
      }
      this.#messages.isGivenUp = false;
      if (step === stop) return;
      if (step === leave) {
        // What came before the good-bye goes first.
        if (this.#forward(buffer, run, at)) link.leave();
        else this.#keep(buffer, run, at, end, isOwn);
        return;
      }
      if (step === pass) {
        at += available;
        continue;
      }
      const waits = this.#mustWait();
      if (waits) {
        // A replaced message behind others that wait for the disk: the order must stay.
        const parts = [buffer.subarray(run, at), step === replace ? this.#messages.replacement : Buffer.alloc(0)];
        const decided = Buffer.concat(parts);
        this.#held.unshift({
          buffer: Buffer.from(buffer.subarray(at + available, end)),
          run: 0,
          at: 0,
          end: end - at - available,
        });
        if (decided.length > 0)
          this.#held.unshift({ buffer: decided, run: 0, at: decided.length, end: decided.length });
        this.#waitForDisk();
        return;
      }
      this.#forward(buffer, run, at);
      if (step === replace) this.#send(this.#messages.replacement);
      at += available;
      run = at;
    }
    if (this.#forward(buffer, run, at)) {
      if (at < end) this.#carryOn(buffer, at, end);
    } else this.#keep(buffer, run, at, end, isOwn);
  }

  #keep(buffer: Buffer, run: number, at: number, end: number, isOwn: boolean): void {
    if (run === end) return;
    if (isOwn) this.#held.unshift({ buffer, run, at, end });
    else this.#held.unshift({ buffer: Buffer.from(buffer.subarray(run, end)), run: 0, at: at - run, end: end - run });
  }

  /** In strict mode: is there a record that the disk doesn't have yet? */
  #mustWait(): boolean {
    return this.#link.strict && this.#messages.hasRecords;
  }

  #waitForDisk(): void {
    const { journal } = this.#link;
    this.#isHolding = true;
    this.#waitsForDisk = true;
    this.#messages.hasRecords = false;
    if (!journal.flush()) return this.#link.end('journal_failed');
    journal.whenDurable(journal.lastNumber, () =>
      setImmediate(() => {
        this.#waitsForDisk = false;
        this.#resume();
      }),
    );
  }

  /** Forwards `[from, to)`. False when it must be kept: it waits for the disk, or the session has ended. */
  #forward(buffer: Buffer, from: number, to: number): boolean {
    if (from === to) return true;
    if (this.#link.isMarked) return false;
    if (this.#mustWait()) {
      this.#waitForDisk();
      return false;
    }
    this.#send(buffer.subarray(from, to));
    return true;
  }

  /** INVARIANT 6: the records of everything decided so far are in the journal's file before a byte of it is forwarded. */
  #send(bytes: Buffer): void {
    if (this.#messages.hasRecords && !this.#link.journal.flush()) return this.#link.end('journal_failed');
    this.#messages.hasRecords = false;
    this.send(bytes);
  }
}

/**
 * What a name stands for on the server: prepared statements, portals. A client may send many messages before the first
 * answer, so an entry is made when its message is forwarded, and settled when the server has confirmed it.
 *
 * INVARIANT 7: an entry that isn't settled may be used only in the part of the pipeline it was made in (up to the next
 * Sync). There the server skips the use when the making has failed; behind the Sync it would run whatever had the name
 * before. An entry without a value says that the server may know the name, and we don't know for what: nothing may use it.
 */
export type LedgerEntry<T> = {
  readonly name: string;
  value: T | undefined;
  readonly segment: number;
  /** What the name stands for when this comes to nothing. Only one step back is kept. */
  before: LedgerEntry<T> | undefined;
  isSettled: boolean;
};

const maxNames = 10_000;

export class Ledger<T> {
  readonly #entries = new Map<string, LedgerEntry<T>>();
  /** The one without a name comes and goes with every statement of most drivers; a map would grow and shrink each time. */
  #unnamed: LedgerEntry<T> | undefined;

  get(name: string): LedgerEntry<T> | undefined {
    return name === '' ? this.#unnamed : this.#entries.get(name);
  }

  get isFull(): boolean {
    return this.size >= maxNames;
  }

  #put(name: string, entry: LedgerEntry<T> | undefined): void {
    if (name === '') this.#unnamed = entry;
    else if (entry === undefined) this.#entries.delete(name);
    else this.#entries.set(name, entry);
  }

  *#all(): Iterable<LedgerEntry<T>> {
    if (this.#unnamed !== undefined) yield this.#unnamed;
    yield* this.#entries.values();
  }

  /** The message that gives the name its meaning is forwarded. */
  set(name: string, value: T | undefined, segment: number): LedgerEntry<T> {
    const before = this.get(name);
    // Or a chain would grow with each use of the unnamed statement.
    if (before !== undefined) before.before = undefined;
    const entry: LedgerEntry<T> = { name, value, segment, before, isSettled: false };
    this.#put(name, entry);
    return entry;
  }

  /** The server has done it. */
  settle(entry: LedgerEntry<T>, value = entry.value): void {
    const isKnown = !entry.isSettled && this.#isIn(entry);
    // Whoever still has hold of it can undo it no more.
    entry.isSettled = true;
    if (!isKnown) return;
    entry.value = value;
    entry.before = undefined;
  }

  /** The server has not done it, and the name means what it meant before. */
  revert(entry: LedgerEntry<T>): void {
    this.#becomes(entry, entry.before);
  }

  /** The server has closed it. */
  gone(entry: LedgerEntry<T>): void {
    this.#becomes(entry, undefined);
  }

  /** In its place, which is one step back when something else is on its way already. */
  #becomes(entry: LedgerEntry<T>, next: LedgerEntry<T> | undefined): void {
    if (entry.isSettled) return;
    const current = this.get(entry.name);
    if (current === entry) this.#put(entry.name, next);
    else if (current?.before === entry) current.before = next;
  }

  #isIn(entry: LedgerEntry<T>): boolean {
    const current = this.get(entry.name);
    return current === entry || current?.before === entry;
  }

  /** The name is gone on the server. */
  remove(name: string): void {
    this.#put(name, undefined);
  }

  /** All that the server had confirmed is gone; what is on its way to it stays. */
  clearSettled(): void {
    if (this.#unnamed?.isSettled === true) this.#unnamed = undefined;
    if (this.#entries.size === 0) return;
    for (const entry of this.#entries.values()) if (entry.isSettled) this.#entries.delete(entry.name);
  }

  clear(): void {
    this.#unnamed = undefined;
    this.#entries.clear();
  }

  get hasUnsettled(): boolean {
    for (const { isSettled } of this.#all()) if (!isSettled) return true;
    return false;
  }

  get size(): number {
    return this.#entries.size + (this.#unnamed === undefined ? 0 : 1);
  }

  *values(): Iterable<T> {
    for (const { value } of this.#all()) if (value !== undefined) yield value;
  }

  *settled(): Iterable<readonly [string, T]> {
    for (const { name, value, isSettled } of this.#all())
      if (value !== undefined && isSettled) yield [name, value] as const;
  }
}

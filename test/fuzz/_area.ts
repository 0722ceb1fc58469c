import type fc from 'fast-check';
import type { Bench } from './_bench.ts';

/** One kind of attack. A case survives JSON. */
export type Area<Case> = {
  readonly name: string;
  readonly cases: fc.Arbitrary<Case>;
  /** How many at once. */
  readonly abreast: number;
  /** What is wrong, or undefined. */
  readonly play: (one: Case, bench: Bench) => Promise<string | undefined>;
  /** Simpler cases that may show the same. */
  readonly smaller: (one: Case) => Iterable<Case>;
};

/** A list without each of its parts in turn: halves first, then single items. */
export function* shorter<T>(list: readonly T[]): Iterable<readonly T[]> {
  for (let size = Math.ceil(list.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let at = 0; at < list.length; at += size) yield [...list.slice(0, at), ...list.slice(at + size)];
}

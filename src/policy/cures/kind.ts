/** What a kind of cure has to say for itself. Adding one is a file beside this, a line in `../cures.ts`, and a page in docs/cures/. */
import type { Cure, CureKind } from '#core/decision.ts';
import type { Circumstances, Cured } from '../question.ts';
import type { Words } from './words.ts';

export type KindOfCure<K extends CureKind = CureKind> = {
  readonly kind: K;
  /** How the annotation may read, for those who got it wrong. */
  readonly forms: readonly string[];
  /** What it changes in the context: a policy that looks at none of these is never lifted by it. */
  readonly sets: readonly string[];
  /** Reads what follows the kind's own word. Throws `CureFault` (`words.ts`) where it isn't understood. */
  readonly parse: (words: Words) => Extract<Cure, { kind: K }>;
  /** What it asks for, in words that follow "needs": `your passkey`. */
  readonly describe: (cure: Extract<Cure, { kind: K }>) => string;
  /** The context as it would be with this cure obtained. */
  readonly assume: (cure: Extract<Cure, { kind: K }>, from: Circumstances) => Cured;
  /** Is it obtained already, by what the circumstances say? */
  readonly isMet?: (cure: Extract<Cure, { kind: K }>, from: Circumstances) => boolean;
};

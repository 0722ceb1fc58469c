/** The parts, in the order in which they are run. */
import type { Part } from './parts/part.ts';
import { statements } from './parts/statements.ts';

export const parts: readonly Part[] = [statements];

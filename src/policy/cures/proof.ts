/** `proof`, `proof over tables for 10m`: the principal's own passkey signs what is to be done. docs/cures/proof.md. */
import { days, type Duration } from '#core/instant.ts';
import type { KindOfCure } from './kind.ts';
import { coverInWords, readCover } from './words.ts';

/** Where nobody says how old the principal's keys are: older than any policy asks for. */
const old = days(36_500);

export const proof: KindOfCure<'proof'> = {
  kind: 'proof',
  forms: ['proof', 'proof over statement for 10m', 'proof over tables for 10m', 'proof over grant for 10m'],
  sets: ['proof'],
  parse: (words) => ({ kind: 'proof', ...readCover(words) }),
  describe: ({ cover }) => `your passkey${coverInWords(cover)}`,
  assume: (_, { cured, oldestAuthenticator = old }) => ({
    ...cured,
    proof: true,
    proofAge: 0 as Duration,
    authenticatorAge: cured?.authenticatorAge ?? oldestAuthenticator,
  }),
};

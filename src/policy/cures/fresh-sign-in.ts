/** `fresh_sign_in within 5m`: the principal signed in no longer ago than that. docs/cures/fresh_sign_in.md. */
import { formatDuration, hours } from '#core/instant.ts';
import type { KindOfCure } from './kind.ts';
import { readDuration } from './words.ts';

export const freshSignIn: KindOfCure<'fresh_sign_in'> = {
  kind: 'fresh_sign_in',
  forms: ['fresh_sign_in within 5m'],
  sets: ['sign_in'],
  parse: (words) => {
    if (!words.takes('within')) words.fail('how fresh is missing', 'for example `fresh_sign_in within 5m`');
    return { kind: 'fresh_sign_in', within: readDuration(words, hours(24)) };
  },
  describe: ({ within }) => `a sign-in within the last ${formatDuration(within)}`,
  assume: (_, { cured }) => ({ ...cured, freshSignIn: true }),
  isMet: ({ within }, { signIn }) => signIn?.age !== undefined && signIn.age <= within,
};

/** `activation`: the grant is activated anew, with a passkey. docs/cures/activation.md. */
import type { KindOfCure } from './kind.ts';

export const activation: KindOfCure<'activation'> = {
  kind: 'activation',
  forms: ['activation'],
  sets: ['activation'],
  parse: () => ({ kind: 'activation' }),
  describe: () => 'an activation of the grant',
  assume: (_, { cured }) => ({ ...cured, activation: true }),
};

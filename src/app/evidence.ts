/** What a used proof hands to the act it allows. Only use-proof.ts makes it, after the assertion was verified. */
import type { Json } from '#core/jcs.ts';
import type { ActSupport } from './_administer.ts';
import type { ProofObject, ProofPurpose } from '#core/proof.ts';

/** A verified proof on its way into the log. */
export type Evidence<P extends ProofPurpose = ProofPurpose> = {
  readonly object: ProofObject<P>;
  /** `{ proof: … }`: object and raw assertion, for the entry of the act. */
  readonly content: { readonly [name: string]: Json };
  /** Of an act of administration: what others have signed for it, and how old the key is that signed this. */
  readonly support?: ActSupport;
};

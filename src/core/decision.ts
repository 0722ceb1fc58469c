/** The three answers of the one deciding function, and what may turn the third into the first. */

export type Cure =
  | { readonly kind: 'proof' }
  | { readonly kind: 'approval'; readonly groups: readonly string[]; readonly count: number }
  | { readonly kind: 'reason' }
  | { readonly kind: 'activation' }
  | { readonly kind: 'fresh_sign_in' };

type Explained = {
  /** The `@id`s of the policies that determined the answer. */
  readonly policies: readonly string[];
  /** The policy version that answered. */
  readonly version: string;
};

declare const allowed: unique symbol;

/** Only `decide()` makes it (`src/policy`); code that acts takes it as an argument, so skipping the question does not compile. */
export type Allow = Explained & { readonly kind: 'allow'; readonly [allowed]: true };
export type Deny = Explained & { readonly kind: 'deny'; readonly because: string };
export type CurableDenial = Explained & {
  readonly kind: 'curable';
  readonly cures: readonly Cure[];
  readonly because: string;
};

export type Decision = Allow | Deny | CurableDenial;

/**
 * How far an answer about a statement may be used again for the same needs and context, under the same grant, policy
 * version and groups: for all sessions of the grant, for the one session, or not at all.
 */
export type VariesWith = 'nothing' | 'session' | 'moment';

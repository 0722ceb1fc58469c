/** The three answers of the one deciding function, and what may turn the third into the first. */
import type { Duration } from './instant.ts';

/**
 * What one proof or approval goes on covering for a while. `statement`: the same text with the same parameters. `tables`:
 * the same actions on the same objects. `grant`: whatever the same policy would hold, from the same client address.
 */
export type Cover = { readonly over: 'statement' | 'tables' | 'grant'; readonly lasts: Duration };

/** Who may approve: the members of a group, or one person by handle. */
export type Approver = { readonly group: string } | { readonly handle: string };

/** `count` different people out of them; never empty, never zero. */
export type Approvers = { readonly by: readonly Approver[]; readonly count: number };

export type Cure =
  /** The principal's own passkey over this content. */
  | { readonly kind: 'proof'; readonly cover?: Cover }
  | ({ readonly kind: 'approval'; readonly cover?: Cover } & Approvers)
  /** Why, for this one statement. */
  | { readonly kind: 'reason' }
  | { readonly kind: 'activation' }
  /** The passkey was shown at a sign-in no longer ago. */
  | { readonly kind: 'fresh_sign_in'; readonly within: Duration }
  /** It runs in a transaction, somebody sees what it touched, and says that it stays: the principal, or these people. */
  | { readonly kind: 'preview'; readonly approvers?: Approvers };

export type CureKind = Cure['kind'];

/** A cure and the policy that asks for it. Equal cures of two policies are two demands: each may be covered by itself. */
export type Demand = { readonly policy: string; readonly cure: Cure };

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
  /** All of them are needed; each once. */
  readonly cures: readonly Cure[];
  /** The same, by the policies that ask for them. */
  readonly demands: readonly Demand[];
  readonly because: string;
};

export type Decision = Allow | Deny | CurableDenial;

/**
 * How far an answer about a statement may be used again for the same needs and context, under the same grant, policy
 * version and groups: for all sessions of the grant, for the one session, or not at all.
 */
export type VariesWith = 'nothing' | 'session' | 'moment';

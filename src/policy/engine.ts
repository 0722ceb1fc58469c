/**
 * The policy engine as its users see it: load a policy set, ask questions. `decide.ts` makes one.
 *
 * Everything is closed by default (INVARIANT 1): nothing loaded, an unknown role, an error in a policy while it is
 * evaluated, a fault in the evaluator, a question too large to ask: each is a denial.
 */
import type { Allow, CurableDenial, Decision, Deny, VariesWith } from '#core/decision.ts';
import type { ResourceName, RoleName } from '#core/ids.ts';
import type { Principal } from '#core/principal.ts';
import type { Configuration, Role } from '#core/role.ts';
import type { Need } from '#sql/needs.ts';
import type { Circumstances, Question, StatementQuestion } from './question.ts';

/** One file of Cedar text. The name is what faults and the ids in the log call it by. */
export type PolicyFile = { readonly name: string; readonly text: string };

export type PolicySet = {
  /** The defaults that come with the program (`policies/*.cedar`); only these may use ids that begin with `default:`. */
  readonly shipped: readonly PolicyFile[];
  readonly configuration: Configuration;
};

/** Lines and columns count from 1; columns in UTF-16 code units, as editors do. */
export type PolicyFault = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  readonly help?: string;
};

export type CheckOutcome =
  | { readonly kind: 'sound'; readonly version: string; readonly warnings: readonly PolicyFault[] }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export type LoadOutcome =
  | { readonly kind: 'loaded'; readonly version: string; readonly warnings: readonly PolicyFault[] }
  /** Nothing changed: what was loaded before still answers. */
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

/** A statement's answer also says how far it may be used again, and which needs stood in the way. */
export type StatementAnswer = (Allow | ((Deny | CurableDenial) & { readonly missing: readonly Need[] })) & {
  readonly variesWith: VariesWith;
  /** A policy that has a say looks at `estimated_rows`, and none was given: find it out and ask again. */
  readonly wantsEstimate: boolean;
};

export type Decide = {
  (question: StatementQuestion): StatementAnswer;
  (question: Question): Decision;
};

/** INVARIANT 13: what nobody could approve, reach or administer any more under a policy set. */
export type Lockout = {
  /** `cure`: a policy asks for the approval of more people than there are. */
  readonly what: 'role' | 'resource' | 'cure' | 'administration';
  /** The role, the resource, the policy's id, or what can't be administered (`principals`, `configuration`). */
  readonly name: string;
  readonly message: string;
  readonly help: string;
};

export type LintOutcome =
  | { readonly kind: 'linted'; readonly findings: readonly PolicyFault[] }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

/** Another set to ask, beside the one in use. */
export type CandidateOutcome =
  | { readonly kind: 'ready'; readonly version: string; readonly decide: Decide }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export type PolicyEngine = {
  /** Sixteen hex digits over all policy texts, the schema and the roles; `none` before the first load. */
  readonly version: string;
  /** The configuration that answers now. */
  readonly configuration: Configuration | undefined;
  readonly load: (set: PolicySet) => LoadOutcome;
  /** As `load`, without taking it into use. */
  readonly check: (set: PolicySet) => CheckOutcome;
  readonly decide: Decide;
  /**
   * Roles on that resource that this principal may request and that would give all of these needs: the narrowest first, at
   * most `limit` (3).
   */
  readonly rolesThatGive: (
    ask: Circumstances & {
      readonly principal: Principal;
      readonly resource: ResourceName;
      readonly needs: readonly Need[];
      readonly context: StatementQuestion['context'];
      readonly limit?: number;
    },
  ) => readonly RoleName[];
  /** The roles this principal may request, in the order of the configuration. */
  readonly rolesFor: (principal: Principal, circumstances: Circumstances) => readonly Role[];
  /**
   * Who could no longer be reached under this set, given everybody there is. A set with faults in itself answers as if
   * nobody could do anything.
   */
  readonly lockouts: (set: PolicySet, people: readonly Principal[]) => readonly Lockout[];
  /** What is sound and yet hardly meant: policies that can't matter, cures that can't help, roles that nobody can have. */
  readonly lint: (set: PolicySet) => LintOutcome;
  /** To ask a set without taking it into use. One at a time: the answers of an earlier candidate end with the next. */
  readonly decideBy: (set: PolicySet) => CandidateOutcome;
};

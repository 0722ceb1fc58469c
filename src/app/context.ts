/**
 * The use cases: what a person, a gateway or a timer can make happen, one file each. Each takes the context below (made
 * once, in main.ts), judges through the one policy engine, and commits a change together with its log entry.
 */
import type { Instant, Clock } from '#core/instant.ts';
import type { Random } from '#core/ids.ts';
import type { Principal } from '#core/principal.ts';
import type { Secret } from '#core/secret.ts';
import type { PolicyEngine, PolicyFile } from '#policy/engine.ts';
import type { Db } from '#store/database.ts';
import type { KeyRing } from '#identity/sealing.ts';
import type { RateLimits } from '#identity/rate-limit.ts';
import type { NoteSigner } from '#log/note.ts';
import type { Changes } from './changes.ts';
import type { ContentKeys } from './content-keys.ts';

/** Waits that a test can end at once. */
export type Timers = {
  /** Resolves after `ms`, or when the signal is aborted, whichever is first. Never rejects. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
};

/** Versions of AuthZEN's Access Request and Approval Profile. */
export type AccessRequestProfile = 'draft-1';

export type AppContext = {
  readonly db: Db;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly policy: PolicyEngine;
  /** The policies that come with the program. */
  readonly shipped: readonly PolicyFile[];
  readonly changes: Changes;
  readonly keyRing: KeyRing;
  readonly rates: RateLimits;
  readonly contentKeys: ContentKeys;
  readonly site: {
    /** `https://sally.example.com`, no slash at the end; also the one origin that passkeys are accepted from. */
    readonly publicUrl: string;
    readonly rpId: string;
    readonly rpName: string;
    /** Whether denials can be turned into requests by AuthZEN's profile for that, and which version of it is spoken. */
    readonly accessRequestProfile?: AccessRequestProfile;
    /** Where clients reach the PostgreSQL gateway. */
    readonly postgres: { readonly host: string; readonly port: number };
  };
  /** Signs checkpoints and copies of the log. */
  readonly logSigner: NoteSigner;
  /** PEM of the root that the gateway's certificate chains to. */
  readonly gatewayRoot: () => string;
  /** A password as SCRAM-SHA-256 keeps it, in PostgreSQL's text form. */
  readonly scramVerifier: (password: Secret<string>) => string;
};

/** Who calls, as authentication found out. */
export type Caller = {
  readonly principal: Principal;
  readonly session: {
    readonly kind: 'web' | 'cli';
    readonly id: string;
    readonly expiresAt: Instant;
    /** When a passkey was last used in this sign-in. */
    readonly provenAt: Instant;
  };
  readonly address: string;
};

/** Why something was refused, in the words of the API's error codes. */
export type RefusalCode =
  | 'invalid_input'
  | 'not_found'
  | 'forbidden'
  | 'own_request'
  | 'approval_needed'
  | 'proof_refused'
  | 'already_decided'
  | 'already_approved_by_you'
  | 'already_ended'
  | 'already_active'
  | 'conflict'
  | 'expired'
  | 'too_early'
  | 'configuration_refused'
  | 'fresh_sign_in_needed'
  | 'sign_in_failed'
  | 'invalid_token'
  | 'too_many_tries';

export type Refused = {
  readonly kind: 'refused';
  readonly because: RefusalCode;
  readonly message: string;
  readonly hint?: string;
  /** Of `approval_needed`: where it waits. */
  readonly hold?: { readonly id: string; readonly url: string };
};
export type Outcome<T> = { readonly kind: 'done'; readonly value: T } | Refused;

export const done = <T>(value: T): { readonly kind: 'done'; readonly value: T } => ({ kind: 'done', value });
export const refused = (because: RefusalCode, message: string, hint?: string): Refused => ({
  kind: 'refused',
  because,
  message,
  ...(hint === undefined ? {} : { hint }),
});

/** INVARIANT 14: hidden and missing get the same answer. */
export const notFound = (what: string, name: string): Refused =>
  refused('not_found', `there is no ${what} \`${name}\` that you may see`);

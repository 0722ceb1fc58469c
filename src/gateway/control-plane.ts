/**
 * What the gateway needs from the control plane, and all that it knows of it. The gateway moves bytes and never sees the
 * database, the policies or the use cases: in one process this is an object of functions, between processes a client of
 * the internal API. An interface belongs to its caller, so it lives here; `src/main.ts` supplies the implementation.
 *
 * Every function may throw (the control plane can be away): the gateway then denies, holds or retries, and never allows.
 */
import type { Cure, VariesWith } from '#core/decision.ts';
import type {
  CoverId,
  CredentialId,
  GrantId,
  HoldId,
  PrincipalId,
  ResourceName,
  RoleName,
  SessionId,
} from '#core/ids.ts';
import type { HoldState } from '#core/hold.ts';
import type { Duration, Instant } from '#core/instant.ts';
import type { Secret } from '#core/secret.ts';
import type { Authentication, Role } from '#core/role.ts';
import type { AuthorizedSession } from '#core/session.ts';
import type { JournalRecord, Protocol, RecordedParameter } from './records.ts';
import type { Need, StatementClass } from '#sql/needs.ts';

export type ControlPlane = {
  /**
   * Who may log in under this user name: the SCRAM verifier in PostgreSQL's text form, or undefined. The gateway answers
   * both in the same way (INVARIANT 14), with a mock exchange for the unknown.
   */
  readonly findCredential: (userName: string) => Promise<FoundCredential | undefined>;

  /**
   * Judges a connection whose secret has been proven. When opened, the session row and its log entry are committed. Only
   * now does the client exist for the record; a refusal has been logged by the control plane as well.
   */
  readonly openSession: (ask: OpenSessionAsk) => Promise<OpenSessionAnswer>;

  /**
   * Judges what one statement needs. All needs must be allowed. The gateway caches the answer per (policy version,
   * grant, needs and context), so it must be a function of these.
   */
  readonly decide: (ask: DecideAsk) => Promise<StatementDecision>;

  /**
   * Holds a statement whose denial is curable: it waits for what policy asks for. Opened for this session, text and
   * parameters alone; the client is shown `words` and `url`. Answers refused where there are too many, or where policy
   * has changed its mind meanwhile.
   */
  readonly hold: (ask: HoldAsk) => Promise<HoldAnswer>;

  /** Nobody waits for it any more. One that is settled stays as it is. */
  readonly withdrawHold: (hold: HoldId, because: WithdrawnBecause) => Promise<void>;

  /** How these stand: the poll behind `hold_settled`. What isn't known is left out. */
  readonly holdStates: (ids: readonly HoldId[]) => Promise<readonly HoldStanding[]>;

  /** What a held statement has touched, in its transaction that isn't over: what a person then signs for. */
  readonly reportPreview: (hold: HoldId, preview: HoldPreview) => Promise<void>;

  /**
   * Stores journal records exactly once per (gateway, number): records at or below what is stored already are ignored,
   * a gap is a fault. Answers the highest number stored, which need not be the last of the batch.
   */
  readonly ship: (gatewayId: string, batch: readonly JournalRecord[]) => Promise<{ readonly storedUpTo: number }>;

  /**
   * Live changes, and at least every five seconds a `heartbeat`. A gateway that has heard nothing for its grace (15 s)
   * cuts its sessions. `on` never throws and returns at once.
   */
  readonly subscribe: (on: (change: GatewayChange) => void) => Disposable;

  /**
   * Of the given sessions those that may go on, with their deadlines as they are now; who is missing is cut. Asked after
   * a lost connection and from time to time (the poll behind the push). A session that the control plane holds to be
   * ended never comes back.
   */
  readonly liveSessions: (ids: readonly SessionId[]) => Promise<readonly LiveSession[]>;

  /**
   * Ends, in the record, sessions that went down with what held them: those of the gateway that were opened before then, or
   * the ones named; `except` are alive. Asked when the journal they wrote to has been taken in. Answers how many.
   */
  readonly endOrphans: (
    gatewayId: string,
    which:
      | { readonly openedBefore: Instant; readonly except?: readonly SessionId[] }
      | { readonly sessions: readonly SessionId[] },
  ) => Promise<number>;

  /** How to reach a registered resource as its administrator. Undefined: not registered, nothing is dialled (INVARIANT 11). */
  readonly resourceTarget: (resource: ResourceName) => Promise<TargetAccess | undefined>;

  /** Every registered PostgreSQL resource, for the reconciliation of logins. */
  readonly postgresResources: () => Promise<readonly ResourceName[]>;

  /** Of the given grants those that are known, and whether they are over for good. */
  readonly knownGrants: (ids: readonly GrantId[]) => Promise<readonly { grant: GrantId; isOver: boolean }[]>;

  /** Every role that is declared, on any resource; undefined while no configuration is in force. */
  readonly declaredRoles: () => Promise<readonly RoleName[] | undefined>;
};

export type FoundCredential = {
  readonly credential: CredentialId;
  /** `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` */
  readonly verifier: string;
};

export type OpenSessionAsk = {
  readonly credential: CredentialId;
  readonly client: {
    readonly address: string;
    readonly port: number;
    readonly applicationName?: string;
    readonly tls: boolean;
  };
  /** As the client named it; must be the database of the resource. */
  readonly database: string;
  readonly gatewayId: string;
};

export type OpenSessionAnswer =
  /** The session's `role` is what provisioning makes the target say; its `policyVersion` holds until a `policy_changed`. */
  | { readonly kind: 'opened'; readonly session: AuthorizedSession }
  | { readonly kind: 'refused'; readonly message: string; readonly hint?: string };

export type DecideAsk = {
  readonly session: SessionId;
  readonly needs: readonly Need[];
  readonly context: {
    readonly statementClass: StatementClass;
    /** The command tag, as in `UPDATE`. */
    readonly tag: string;
    /** Has every `update` and `delete` in it a `where`? Undefined without any. */
    readonly hasWhere: boolean | undefined;
    /** How many statements came in the same string. */
    readonly statementCount: number;
    /** Qualified names of the functions it calls by name. */
    readonly functions: readonly string[];
  };
  /**
   * SHA-256 in hex over the protocol's own bytes of text and parameters (docs/proof-format.md). Without it nothing that is
   * bound to one statement is found: no hold, no cover of a statement, no grant for one statement.
   */
  readonly digest?: string;
  /** The hold that this very run waited for, once it is cured. It is consumed by the answer `allow`. */
  readonly hold?: HoldId;
  /** Given after an answer with `wantsEstimate`. */
  readonly estimatedRows?: number;
  /**
   * A question for `parse`, which runs nothing: what would be let through by a cover or a grant for one statement is
   * answered `curable` and neither used nor counted; the run itself asks again, with its digest.
   */
  readonly isRehearsal?: true;
};

export type StatementDecision =
  | {
      readonly kind: 'allow';
      readonly policyVersion: string;
      readonly policies: readonly string[];
      /** How far it may be used again. Missing: `nothing`, so for all sessions of the grant. */
      readonly variesWith?: VariesWith;
      /** Of the hold that this answer has consumed: it is for exactly one run. */
      readonly hold?: HoldId;
      /** It is allowed since this was obtained before, and this use has been counted. */
      readonly cover?: CoverId;
      /** An approver's condition: it runs in a transaction and is taken back when it has touched more. */
      readonly rowsAtMost?: number;
      /** What its preview touched is what was signed for: another number of rows is taken back. */
      readonly preview?: { readonly rows: number };
      /** Ask again with the planner's estimate: policy hangs on it. Nothing is allowed by this answer. */
      readonly wantsEstimate?: true;
    }
  | {
      readonly kind: 'deny';
      readonly policyVersion: string;
      readonly policies: readonly string[];
      /** The needs that nothing permits; empty when the control plane says nothing (a plain denial). */
      readonly missing: readonly Need[];
      /** Roles the principal may request that would give what is missing, the narrowest first. */
      readonly roles: readonly RoleName[];
      /** Completes "… is …" where a policy forbids it rather than none permitting it. */
      readonly because?: string;
      /** Replaces the gateway's own wording. */
      readonly message?: string;
      readonly hint?: string;
      readonly variesWith?: VariesWith;
      readonly wantsEstimate?: true;
    }
  | {
      /** Denied, but proof, approval or reason would turn it into an allow: it is held. */
      readonly kind: 'curable';
      readonly policyVersion: string;
      readonly policies: readonly string[];
      readonly missing: readonly Need[];
      readonly cures: readonly Cure[];
      /** What is wanted, as in `your passkey and an approval by dba`. */
      readonly title?: string;
      readonly variesWith?: VariesWith;
      readonly wantsEstimate?: true;
    };

/** As the control plane needs it to hold a statement; the policy is asked again. */
export type HoldAsk = DecideAsk & {
  readonly digest: string;
  /** Whole: what is longer than 64 KiB with its parameters isn't held. */
  readonly text: string;
  readonly parameters: readonly RecordedParameter[];
  readonly protocol: Protocol;
  /** Locks are held while it waits, so it waits for less long. */
  readonly inTransaction: boolean;
  /** It waits no longer than this. */
  readonly maxSeconds: number;
};

export type HoldAnswer =
  | {
      readonly kind: 'held';
      readonly hold: HoldId;
      /** Short enough for a phone. */
      readonly url: string;
      readonly expiresAt: Instant;
      /** What is wanted, as in `your passkey and an approval by dba`. */
      readonly words: string;
      /** It runs in a transaction first, and what it touches is reported. */
      readonly wantsPreview: boolean;
      /** Nothing more is asked, by what is there already. */
      readonly isCured?: boolean;
    }
  | { readonly kind: 'refused'; readonly message: string; readonly hint?: string };

export type WithdrawnBecause = 'client_cancelled' | 'timed_out' | 'session_ended';

export type HoldStanding = {
  readonly hold: HoldId;
  readonly state: HoldState;
  /** For the person: who denied it and with which word, or what ended it. While it waits: what is wanted still. */
  readonly message?: string;
};

export type HoldPreview = {
  /** Rows touched, all of them. */
  readonly rows: number;
  /** The command tag, as in `DELETE 3`. */
  readonly tag: string;
  /** A sample, as text: what the rows were and what they are; of an insert only the second, of a delete only the first. */
  readonly columns: readonly string[];
  readonly before: readonly (readonly (string | null)[])[];
  readonly after: readonly (readonly (string | null)[])[];
  /** What else is to be known: triggers, sequences, why there is no sample. */
  readonly notes?: readonly string[];
};

export type EndReason =
  | 'expired'
  | 'revoked'
  | 'completed'
  | 'handed_back'
  | 'suspended'
  /** The role has stricter limits by now than the session began with. */
  | 'role_changed'
  | 'control_plane_lost'
  | 'gateway_stopped'
  | 'journal_failed'
  | 'client_closed'
  | 'target_closed'
  | 'protocol_violation'
  /** The gateway, or the part of it that held the session, died. Nobody was told. */
  | 'gateway_died'
  /** A fault of the gateway's own. */
  | 'fault';

export type GatewayChange =
  | { readonly kind: 'heartbeat'; readonly at: Instant }
  | {
      readonly kind: 'grant_ended';
      readonly grant: GrantId;
      readonly reason: EndReason;
      /** For the person, for example who revoked it. */
      readonly message?: string;
    }
  | { readonly kind: 'grant_extended'; readonly grant: GrantId; readonly deadline: Instant }
  | { readonly kind: 'principal_suspended'; readonly principal: PrincipalId; readonly message?: string }
  | {
      readonly kind: 'session_ended';
      readonly session: SessionId;
      readonly reason: EndReason;
      readonly message?: string;
    }
  /** A hold is cured, or will never be; whoever waits asks `decide` again, or refuses. */
  | {
      readonly kind: 'hold_settled';
      readonly hold: HoldId;
      readonly session: SessionId;
      /** `ended` stands for everything else: withdrawn, expired, its session or grant is over. */
      readonly outcome: 'cured' | 'denied' | 'ended';
      readonly message?: string;
    }
  /** One of several cures has come: `message` is what is wanted still, as in `an approval by dba`. */
  | { readonly kind: 'hold_progress'; readonly hold: HoldId; readonly session: SessionId; readonly message: string }
  /** Answers may be others from now on, and sessions may have to end: policies, roles or resources have changed. */
  | { readonly kind: 'policy_changed'; readonly policyVersion: string }
  /** The same for one principal's sessions: they are in other groups. */
  | { readonly kind: 'principal_changed'; readonly principal: PrincipalId }
  | { readonly kind: 'resource_changed'; readonly resource: ResourceName }
  /** Changes may have been lost on the way: everything is looked at afresh. */
  | { readonly kind: 'missed' };

export type LiveSession = {
  readonly session: SessionId;
  readonly deadline: Instant;
  /** As it is declared now: what the target gives the session follows. */
  readonly role: Role;
};

/** Only ever made from a registered resource; a client can't influence any field of it. */
export type TargetAccess = TargetRoute & {
  /** A role with `createrole`, the granted privileges with grant option, and membership in `pg_signal_backend`. */
  readonly admin: { readonly user: string; readonly password: Secret<string> };
};

/** Where a session's connection goes: what an engine needs of a target, without what makes logins there. */
export type TargetRoute = {
  readonly resource: ResourceName;
  /** Which installation this is: letters and digits, in the name of all that is made on the target. */
  readonly installation: string;
  readonly address: { readonly host: string; readonly port: number } | { readonly socketPath: string };
  readonly database: string;
  readonly tls:
    | {
        readonly mode: 'verify-full';
        /** PEM of the certificates to trust, the server's own among them if it is to be pinned; absent: the system's. */
        readonly ca?: string;
        /** The name in the certificate when it isn't the host. */
        readonly serverName?: string;
        /** TLS from the first byte, with ALPN. */
        readonly direct?: true;
        /** PEM, for a target that demands one: of logins and administrator alike. */
        readonly certificate?: { readonly chain: string; readonly key: Secret<string> };
      }
    /** Allowed for a Unix socket or a loopback address only; anything else is refused. */
    | { readonly mode: 'disable' };
  /** The weakest way in which it may ask who we are; absent: `scram-sha-256`. */
  readonly authentication?: Authentication;
  readonly connectTimeout: Duration;
};

/**
 * What the gateway writes down. A record is one JSON object; the journal numbers and chains them, the control plane turns
 * each into one log entry, exactly once per (gateway, number). Bound parameters and statement texts are personal content:
 * the log encrypts them.
 */
import type { CoverId, DenialId, GrantId, HoldId, PrincipalId, ResourceName, RoleName, SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { EndReason } from './control-plane.ts';

export type JournalRecord = {
  /** 1, 2, 3, … per gateway, without gaps. */
  readonly number: number;
  readonly at: Instant;
  readonly event: GatewayEvent;
};

/** Which session a record is about; every record of a session carries it so that it stands alone. */
export type SessionRef = {
  readonly session: SessionId;
  readonly grant: GrantId;
  readonly principal: PrincipalId;
  readonly resource: ResourceName;
  readonly role: RoleName;
};

/** A long value is cut for the record, and what was cut is still bound to it by size and hash of the whole. */
export type RecordedText =
  | { readonly text: string }
  | { readonly text: string; readonly bytes: number; readonly sha256: string };

/** A bound parameter: `null`, its text form, or hex when its binary form is of a type we don't read. */
export type RecordedParameter =
  | null
  | RecordedText
  | { readonly hex: string; readonly type: number; readonly bytes?: number; readonly sha256?: string };

/** How it came: as a query, as an execution of a portal, or as the protocol's own call of a function. */
export type Protocol = 'simple' | 'extended' | 'function';

/** One command of a statement. */
export type CommandRef = { readonly statement: number; readonly command: number };

/** `unknown`: the connection ended before the server had said. */
export type TransactionOutcome = 'committed' | 'rolled_back' | 'unknown';

/** The transaction that a command ran in. */
export type RecordedTransaction = {
  /** 1, 2, 3, … within the session, in the order in which they began. */
  readonly number: number;
  /** `open`: a `transaction.ended` follows. A command that ends its transaction says how. */
  readonly state: 'open' | TransactionOutcome;
  /**
   * `rollback to savepoint`: what ran in this transaction after that command, the `savepoint`, is taken back. Null when it
   * isn't known any more which one it was.
   */
  readonly undoes?: CommandRef | null;
};

export type GatewayEvent =
  /** One execution of one message is about to be forwarded; nothing of it has left the gateway yet. */
  | {
      readonly kind: 'statement.begun';
      readonly on: SessionRef;
      /** Number within the session; `statement.ended` refers to it. */
      readonly statement: number;
      readonly protocol: Protocol;
      readonly text: RecordedText;
      readonly parameters?: readonly RecordedParameter[];
      /** For `execute`: what was prepared under the name, which may have come by a message that is no execution. */
      readonly prepared?: readonly { readonly name: string; readonly text: RecordedText }[];
      /** What let it through, where it was more than the role: then with the digest that was signed for. */
      readonly hold?: HoldId;
      readonly cover?: CoverId;
      readonly digest?: string;
      /** Determining policies and the version they are of. */
      readonly policyVersion: string;
      readonly policies: readonly string[];
    }
  /** The beginning of what a client sends for COPY, as it arrives and before it is forwarded; the rest by its hash. */
  | {
      readonly kind: 'statement.copy_in';
      readonly on: SessionRef;
      readonly statement: number;
      readonly command: number;
      /** Base64: any encoding and the binary format go through here. */
      readonly data: string;
    }
  /** One per command of the string, or per execution of a portal. */
  | {
      readonly kind: 'statement.ended';
      readonly on: SessionRef;
      readonly statement: number;
      /** 0, 1, … for the commands in one simple query string. */
      readonly command: number;
      readonly outcome:
        | { readonly kind: 'completed'; readonly tag: string; readonly rows: number }
        /** A portal that stopped at its row limit; more may follow under another statement number. */
        | { readonly kind: 'suspended'; readonly rows: number }
        | { readonly kind: 'failed'; readonly sqlState: string; readonly message: string }
        /** Skipped by the server after an earlier error in the pipeline, or unknown since the connection ended. */
        | { readonly kind: 'skipped' }
        | { readonly kind: 'cut' };
      readonly durationMs: number;
      /** Bytes of data the server sent for it (DataRow, CopyData) and the client sent (CopyData). */
      readonly bytesOut: number;
      readonly bytesIn: number;
      /** COPY from the client: rows can't be seen, the content's hash can. */
      readonly copyInSha256?: string;
      /** Missing when it was skipped, so that it ran in none. */
      readonly transaction?: RecordedTransaction;
    }
  /** The end of a transaction of which some command was recorded as `open`. */
  | {
      readonly kind: 'transaction.ended';
      readonly on: SessionRef;
      readonly transaction: number;
      readonly outcome: TransactionOutcome;
    }
  | {
      readonly kind: 'statement.denied';
      readonly on: SessionRef;
      readonly statement: number;
      readonly protocol: Protocol;
      readonly text: RecordedText;
      readonly parameters?: readonly RecordedParameter[];
      readonly sqlState: string;
      readonly message: string;
      /** Under this id a request can refer to it; with the digest of what was denied, where it is known whole. */
      readonly denial?: DenialId;
      readonly digest?: string;
      /** Roles that would have given it, the narrowest first. */
      readonly roles?: readonly RoleName[];
      /** The hold that it waited for in vain. */
      readonly hold?: HoldId;
      readonly policyVersion: string;
      readonly policies: readonly string[];
    }
  | { readonly kind: 'statement.cancelled'; readonly on: SessionRef; readonly by: 'client' | 'gateway' }
  | {
      readonly kind: 'session.ended';
      readonly on: SessionRef;
      readonly reason: EndReason;
      readonly message?: string;
      readonly statements: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
      /** How many notifications of channels it listened to it was sent; missing when none. */
      readonly notifications?: number;
    }
  /** Something on a target needs a person: a login that can't be dropped, a role that can't be made what it says. */
  | { readonly kind: 'target.alarm'; readonly resource: ResourceName; readonly what: string; readonly detail: string }
  | {
      readonly kind: 'target.login_created';
      readonly resource: ResourceName;
      readonly grant: GrantId;
      readonly login: string;
    }
  | {
      readonly kind: 'target.login_dropped';
      readonly resource: ResourceName;
      readonly login: string;
      readonly because: 'ended' | 'reconciled';
    };

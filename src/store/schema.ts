/** The tables as Kysely sees them. src/store/migrations/ is the truth; this is its shape with our types in it. */
import type { Generated, GeneratedAlways } from 'kysely';
import type {
  ApprovalId,
  AuthenticatorId,
  CoverId,
  CredentialId,
  DenialId,
  EntryId,
  GrantId,
  HoldId,
  LinkId,
  PlanId,
  PrincipalId,
  ProofId,
  RequestId,
  RoleName,
  SessionId,
  TokenId,
} from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Demand } from '#core/decision.ts';
import type { GrantEnd } from '#core/grant.ts';
import type { HoldState } from '#core/hold.ts';
import type { Json } from '#core/jcs.ts';
import type { PrincipalKind } from '#core/principal.ts';
import type { ProofObject, ProofPurpose } from '#core/proof.ts';

type LogEntryTable = {
  seq: GeneratedAlways<number>;
  id: EntryId;
  at: Instant;
  kind: string;
  actor: string;
  subjects: Readonly<Record<string, string>>;
  leaf: Uint8Array;
  about: readonly string[];
};

type PrincipalTable = {
  id: PrincipalId;
  handle: string;
  name: string;
  kind: PrincipalKind;
  state: 'invited' | 'active' | 'suspended';
  groups: readonly string[];
  created_at: Instant;
  entry: EntryId;
};

type AuthenticatorTable = {
  id: AuthenticatorId;
  principal: PrincipalId;
  credential_id: Uint8Array;
  public_key: Uint8Array;
  counter: number;
  transports: readonly string[];
  name: string;
  created_at: Instant;
  last_used_at: Instant | null;
  revoked_at: Instant | null;
  entry: EntryId;
};

type OneTimeLinkTable = {
  id: LinkId;
  token_hash: Uint8Array;
  kind: 'bootstrap' | 'enrolment';
  principal: PrincipalId | null;
  created_at: Instant;
  expires_at: Instant;
  used_at: Instant | null;
  revoked_at: Instant | null;
  entry: EntryId;
};

type CeremonyTable = {
  id: string;
  kind: 'enrolment' | 'sign_in';
  challenge: Uint8Array;
  link: LinkId | null;
  principal: PrincipalId | null;
  handle: string | null;
  name: string | null;
  expires_at: Instant;
  used_at: Instant | null;
};

type WebSessionTable = {
  id: TokenId;
  token_hash: Uint8Array;
  principal: PrincipalId;
  created_at: Instant;
  last_seen_at: Instant;
  proven_at: Instant;
  ended_at: Instant | null;
  /** The passkey that it began with. */
  authenticator: Generated<AuthenticatorId | null>;
};

type AuthorizationCodeTable = {
  code_hash: Uint8Array;
  principal: PrincipalId;
  redirect_uri: string;
  code_challenge: string;
  dpop_jkt: string;
  machine: string;
  proven_at: Instant;
  expires_at: Instant;
  used_at: Instant | null;
};

type MachineTokenTable = {
  id: TokenId;
  principal: PrincipalId;
  machine: string;
  dpop_jkt: string;
  access_hash: Uint8Array;
  access_expires_at: Instant;
  refresh_hash: Uint8Array;
  previous_refresh_hash: Uint8Array | null;
  created_at: Instant;
  proven_at: Instant;
  ends_at: Instant;
  ended_at: Instant | null;
};

type ProofTable = {
  id: ProofId;
  purpose: ProofPurpose;
  principal: PrincipalId;
  object: ProofObject;
  state: Generated<'offered' | 'used'>;
  created_at: Instant;
  expires_at: Instant;
  used_at: Instant | null;
  authenticator: AuthenticatorId | null;
  assertion: unknown;
  /** Of an act that somebody else had to approve: the hold that it waits under. */
  hold: Generated<HoldId | null>;
};

export type StoredFiles = {
  readonly file: string;
  readonly text: string;
  readonly policies: readonly { readonly name: string; readonly text: string }[];
};

type ConfigurationTable = {
  version: string;
  number: GeneratedAlways<number>;
  hash: string;
  files: StoredFiles;
  applied_at: Instant;
  applied_by: PrincipalId | null;
  proof: ProofId | null;
  entry: EntryId;
};

type PlanTable = {
  id: PlanId;
  principal: PrincipalId;
  files: StoredFiles;
  hash: string;
  base_version: string | null;
  changes: unknown;
  created_at: Instant;
  expires_at: Instant;
  applied_at: Instant | null;
};

type AccessRequestTable = {
  id: RequestId;
  requester: PrincipalId;
  acts_for: Generated<readonly PrincipalId[]>;
  role: RoleName;
  duration_ms: number;
  reason: string;
  ticket: string | null;
  starts_at: Instant | null;
  filed_at: Instant;
  expires_at: Instant;
  approvals_needed: number;
  state: 'pending' | 'approved' | 'denied' | 'withdrawn' | 'expired';
  decided_at: Instant | null;
  denied_by: PrincipalId | null;
  word: string | null;
  /** The refused statement that it is about; with `once` for that statement only. */
  denial: Generated<DenialId | null>;
  once: Generated<boolean>;
  entry: EntryId;
};

type ApprovalTable = {
  id: ApprovalId;
  request: RequestId;
  approver: PrincipalId;
  proof: ProofId;
  at: Instant;
  entry: EntryId;
};

type AccessGrantTable = {
  id: GrantId;
  request: RequestId;
  principal: PrincipalId;
  role: RoleName;
  duration_ms: number;
  not_before: Instant;
  activate_by: Instant;
  state: 'approved' | 'active' | 'ended';
  activated_at: Instant | null;
  ends_at: Instant | null;
  ended_at: Instant | null;
  how: GrantEnd | null;
  ended_by: PrincipalId | null;
  proof: ProofId | null;
  /** Of a grant for one statement: which, and when it was let through. */
  only_digest: Generated<string | null>;
  used_at: Generated<Instant | null>;
  entry: EntryId;
};

type ConnectionCredentialTable = {
  id: CredentialId;
  access_grant: GrantId;
  user_name: string;
  verifier: string;
  created_at: Instant;
  /** The sign-in that it was issued from, and the key behind that: a machine's or a passkey. */
  issued_from: Generated<TokenId | null>;
  jkt: Generated<string | null>;
  authenticator: Generated<AuthenticatorId | null>;
  entry: EntryId;
};

type SessionTable = {
  id: SessionId;
  access_grant: GrantId;
  credential: CredentialId;
  principal: PrincipalId;
  role: RoleName;
  gateway: string;
  client_address: string;
  tls: Generated<boolean>;
  application: string | null;
  opened_at: Instant;
  ended_at: Instant | null;
  how: string | null;
  word: string | null;
  statements: Generated<number>;
  entry: EntryId;
};

/** What is held, as it is shown and signed. */
export type StoredHeld =
  | {
      readonly kind: 'statement';
      readonly text: string;
      readonly parameters: readonly string[];
      /** In words. */
      readonly needs: readonly string[];
      readonly tables: readonly string[];
      readonly functions: readonly string[];
      /** Demands that a cover met when it was held, as `demandKey` writes them. */
      readonly covered: readonly string[];
      /** What a signature would go on covering, in words. */
      readonly covers: readonly string[];
      /** Everything that the policy is asked again with. */
      readonly question: Json;
      readonly inTransaction: boolean;
    }
  /** An act of administration: what was asked for, what its proof will say, and that in words. */
  | {
      readonly kind: 'act';
      readonly purpose: ProofPurpose;
      /** The canonical JSON of what was asked for, and of what its proof will say. */
      readonly ask: string;
      readonly canonical: string;
      readonly words: readonly string[];
    };

export type StoredPreview = {
  readonly rows: number;
  readonly tag: string;
  readonly columns: readonly string[];
  readonly before: readonly (readonly (string | null)[])[];
  readonly after: readonly (readonly (string | null)[])[];
  /** Of the canonical JSON of the rest. */
  readonly sha256: string;
};

type HoldTable = {
  id: HoldId;
  subject: 'statement' | 'act';
  state: HoldState;
  requester: PrincipalId;
  acts_for: Generated<readonly PrincipalId[]>;
  access_grant: GrantId | null;
  session: SessionId | null;
  role: RoleName | null;
  client_address: string | null;
  digest: string;
  held: StoredHeld;
  demands: readonly Demand[];
  asked_by: readonly string[];
  policy_version: string;
  preview: StoredPreview | null;
  reason: string | null;
  opened_at: Instant;
  expires_at: Instant;
  settled_at: Instant | null;
  settled_by: PrincipalId | null;
  word: string | null;
  entry: EntryId;
};

type HoldSignatureTable = {
  hold: HoldId;
  principal: PrincipalId;
  kind: 'proof' | 'approval';
  proof: ProofId;
  rows_at_most: number | null;
  valid_ms: number | null;
  saw_preview: boolean;
  at: Instant;
  entry: EntryId;
};

type CoverTable = {
  id: CoverId;
  access_grant: GrantId;
  hold: HoldId;
  policy: string;
  policy_version: string;
  kind: 'proof' | 'approval';
  reach: 'statement' | 'tables' | 'grant';
  scope: string;
  client_address: string;
  created_at: Instant;
  expires_at: Instant;
  uses: Generated<number>;
  ended_at: Instant | null;
  ended_by: PrincipalId | null;
  word: string | null;
  entry: EntryId;
};

type DenialTable = {
  id: DenialId;
  session: SessionId;
  access_grant: GrantId;
  principal: PrincipalId;
  role: RoleName;
  digest: string | null;
  held: { readonly text: string; readonly parameters: readonly string[]; readonly roles: readonly RoleName[] };
  at: Instant;
  entry: EntryId;
};

export type Database = {
  log_entry: LogEntryTable;
  content_key: {
    id: string;
    principal: PrincipalId | null;
    wrapped: Uint8Array | null;
    created_at: Instant;
    destroyed_at: Instant | null;
  };
  log_content: { entry: EntryId; key: string; blob: Uint8Array };
  log_place: { leaf_index: number; seq: number };
  log_waiting: { seq: number };
  log_tile: { path: string; bytes: Uint8Array };
  log_checkpoint: { size: number; note: string; at: Instant };
  principal: PrincipalTable;
  authenticator: AuthenticatorTable;
  one_time_link: OneTimeLinkTable;
  ceremony: CeremonyTable;
  web_session: WebSessionTable;
  authorization_code: AuthorizationCodeTable;
  machine_token: MachineTokenTable;
  seen_once: { what: string; expires_at: Instant };
  proof: ProofTable;
  configuration: ConfigurationTable;
  plan: PlanTable;
  access_request: AccessRequestTable;
  approval: ApprovalTable;
  access_grant: AccessGrantTable;
  connection_credential: ConnectionCredentialTable;
  session: SessionTable;
  hold: HoldTable;
  hold_signature: HoldSignatureTable;
  cover: CoverTable;
  denial: DenialTable;
  device: { principal: PrincipalId; jkt: string; first_seen_at: Instant };
  gateway_journal: { gateway: string; stored_up_to: number };
  sealed_setting: { name: string; sealed: Uint8Array };
};

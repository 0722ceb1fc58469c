/**
 * What a passkey signs. A proof object says in full what somebody is about to do; its hash is the WebAuthn challenge
 * (log/challenge.ts), the page shows `describeProof` of it, and object and assertion are kept as evidence. A proof is
 * offered once, for minutes, and used at most once: `offered → used | expired`.
 *
 * The fields are data (`shapes` below), so that what is parsed, what is shown and what is signed can't drift apart.
 * docs/proof-format.md is the description for those who write a client or a verifier of their own.
 */
import { encodeBase64Url } from './base64.ts';
import type {
  AuthenticatorId,
  GrantId,
  HoldId,
  LinkId,
  PlanId,
  PrincipalId,
  ProofId,
  Random,
  RequestId,
  ResourceName,
  RoleName,
  SessionId,
} from './ids.ts';
import { newId, parseId, parseResourceName, parseRoleName } from './ids.ts';
import type { Duration, Instant } from './instant.ts';
import type { PrincipalRef } from './principal.ts';
import { after, formatDuration, formatInstant, minutes, parseInstant, seconds } from './instant.ts';

/** RFC 3339 in UTC with milliseconds, as `formatInstant` writes it. */
export type Timestamp = string;

export type ApproveRequest = {
  readonly purpose: 'approve_request';
  readonly request: RequestId;
  readonly requester: PrincipalRef;
  readonly role: RoleName;
  readonly resource: ResourceName;
  readonly durationSeconds: number;
  readonly startsAt?: Timestamp;
  /** The running grant whose end this request moves, for an extension. */
  readonly extends?: GrantId;
  /** What the role gives, a line each, as the configuration words it. */
  readonly permissions?: readonly string[];
  readonly reason: string;
  /** SHA-256 of the reason in UTF-8, lower-case hex: it stays checkable after the reason itself was erased. */
  readonly reasonHash: string;
  readonly ticket?: string;
  /** A request out of a denial: the statement that was denied, and what its run is held against. */
  readonly statement?: { readonly text: string; readonly digest: string };
  /** Only that statement, one run of it. */
  readonly once?: true;
  readonly approvalsNeeded: number;
};

export type ActivateGrant = {
  readonly purpose: 'activate_grant';
  readonly grant: GrantId;
  readonly request: RequestId;
  readonly role: RoleName;
  readonly resource: ResourceName;
  readonly notBefore: Timestamp;
  /** When access ends if it is activated at `createdAt`. */
  readonly endsAt: Timestamp;
  readonly activationSeconds: number;
};

export type EnrolAuthenticator = {
  readonly purpose: 'enrol_authenticator';
  /** Whose authenticator it will be. */
  readonly subject: PrincipalRef;
  readonly authenticatorName?: string;
  readonly link?: LinkId;
};

export type InvitePrincipal = {
  readonly purpose: 'invite_principal';
  readonly subject: PrincipalRef;
  readonly kind: 'user' | 'service' | 'agent';
  readonly displayName?: string;
  readonly groups: readonly string[];
};

export type ChangeConfiguration = {
  readonly purpose: 'change_configuration';
  readonly plan: PlanId;
  /** SHA-256 of the configuration that will be in force, lower-case hex. */
  readonly configurationHash: string;
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
  readonly summary: readonly string[];
};

export type ChangePrincipal = {
  readonly purpose: 'change_principal';
  readonly subject: PrincipalRef;
  readonly statusBefore: 'active' | 'suspended';
  readonly statusAfter: 'active' | 'suspended';
  readonly groupsBefore: readonly string[];
  readonly groupsAfter: readonly string[];
};

export type ResetAuthenticators = {
  readonly purpose: 'reset_authenticators';
  readonly subject: PrincipalRef;
  /** The authenticators that stop working. */
  readonly authenticators: readonly AuthenticatorId[];
  readonly reason: string;
};

/** A further passkey for oneself; it is enrolled by the one-time link that this makes. */
export type AddAuthenticator = {
  readonly purpose: 'add_authenticator';
  readonly subject: PrincipalRef;
  readonly link: LinkId;
  /** The passkeys that the account has, and keeps. */
  readonly authenticators: readonly AuthenticatorId[];
};

export type RemoveAuthenticator = {
  readonly purpose: 'remove_authenticator';
  readonly subject: PrincipalRef;
  readonly authenticator: AuthenticatorId;
  readonly authenticatorName: string;
  /** How many passkeys the account has left afterwards. */
  readonly left: number;
};

/** A held statement, as its run is bound to it. */
type HeldStatement = {
  readonly hold: HoldId;
  readonly subject: 'statement';
  readonly grant: GrantId;
  readonly session: SessionId;
  readonly role: RoleName;
  readonly resource: ResourceName;
  /** Exactly as it came, whole. */
  readonly text: string;
  /** Bound parameters as they are shown, one each. */
  readonly parameters?: readonly string[];
  /** SHA-256 over the protocol's own bytes of text and parameters: what the run is held against (docs/proof-format.md). */
  readonly digest: string;
  /** What it does, one each, as in `update on public.orders (status)`. */
  readonly needs: readonly string[];
  /** The policies that ask for this. */
  readonly askedBy: readonly string[];
  /** What else this signature will let through for a while, one each; none without. */
  readonly covers?: readonly string[];
  /** Of a preview: how many rows the run has touched, and the SHA-256 of the canonical JSON of the sample that was shown. */
  readonly previewRows?: number;
  readonly previewSha256?: string;
};

export type DoAction = HeldStatement & { readonly purpose: 'do_action' };

export type ApproveAction = HeldStatement & {
  readonly purpose: 'approve_action';
  readonly requester: PrincipalRef;
  /** Whom the requester acts for, nearest first. */
  readonly actsFor?: readonly string[];
  /** SHA-256 of the reason of the grant in UTF-8. */
  readonly reasonHash: string;
  readonly ticket?: string;
  /** The reason given for this very statement. */
  readonly statementReason?: string;
  /** Conditions of the approver: it may touch so many rows, and run within so many seconds. */
  readonly rowsAtMost?: number;
  readonly validSeconds?: number;
};

/** A second person's part in an act of administration. */
export type ApproveAct = {
  readonly purpose: 'approve_act';
  readonly hold: HoldId;
  readonly requester: PrincipalRef;
  /** The act in words, a line each. */
  readonly words: readonly string[];
  /** The canonical JSON of what the requester is going to sign: the members of its purpose. */
  readonly act: string;
  /** SHA-256 of `act` in UTF-8. */
  readonly actHash: string;
  readonly askedBy: readonly string[];
};

/** What is specific to a purpose. */
export type ProofContent =
  | ApproveRequest
  | ActivateGrant
  | EnrolAuthenticator
  | InvitePrincipal
  | ChangeConfiguration
  | ChangePrincipal
  | ResetAuthenticators
  | AddAuthenticator
  | RemoveAuthenticator
  | DoAction
  | ApproveAction
  | ApproveAct;

export type ProofPurpose = ProofContent['purpose'];
export type ProofContentOf<P extends ProofPurpose> = Extract<ProofContent, { readonly purpose: P }>;

/** What every proof object says. */
export type ProofCommon = {
  readonly v: 1;
  readonly id: ProofId;
  /** Who signs. */
  readonly principal: PrincipalRef;
  readonly policyVersion: string;
  /** 32 random bytes, base64url. */
  readonly nonce: string;
  readonly createdAt: Timestamp;
  readonly expiresAt: Timestamp;
};

/** The canonical object: exactly this, as JCS, is hashed into the challenge. */
export type ProofObject<P extends ProofPurpose = ProofPurpose> = P extends ProofPurpose
  ? ProofCommon & ProofContentOf<P>
  : never;

/** What is specific to the act: the object without what every proof object says. */
export function contentOf(object: ProofObject): ProofContent {
  const common = new Set<string>(['v', ...commonFields.map(({ name }) => name)]);
  return Object.fromEntries(Object.entries(object).filter(([name]) => !common.has(name))) as unknown as ProofContent;
}

export type OfferedProof<P extends ProofPurpose = ProofPurpose> = {
  readonly state: 'offered';
  readonly object: ProofObject<P>;
};
export type UsedProof<P extends ProofPurpose = ProofPurpose> = {
  readonly state: 'used';
  readonly object: ProofObject<P>;
  readonly usedAt: Instant;
};
export type ExpiredProof<P extends ProofPurpose = ProofPurpose> = {
  readonly state: 'expired';
  readonly object: ProofObject<P>;
};
export type Proof<P extends ProofPurpose = ProofPurpose> = OfferedProof<P> | UsedProof<P> | ExpiredProof<P>;

/** Nobody needs longer to read one page, and a stolen offer is worth nothing after it. */
export const maxProofLifetime: Duration = minutes(5);

/**
 * A new offer of the given content. Text is taken exactly as it is given: put it into NFC where it enters the system,
 * never here, or the signed text would differ from the stored one.
 * @throws TypeError when the lifetime is not above zero and at most five minutes, or the content isn't well-formed
 */
export function offerProof<P extends ProofPurpose>(
  content: ProofContentOf<P>,
  from: {
    readonly principal: PrincipalRef;
    readonly policyVersion: string;
    readonly now: Instant;
    readonly random: Random;
    readonly lifetime?: Duration;
  },
): OfferedProof<P> {
  const lifetime = from.lifetime ?? maxProofLifetime;
  if (!(lifetime > 0 && lifetime <= maxProofLifetime))
    throw new TypeError(`offer a proof: a lifetime of \`${lifetime}\` ms is not within (0, ${maxProofLifetime}]`);
  const given: Record<string, unknown> = {
    ...content,
    v: 1,
    id: newId('proof', from),
    principal: { id: from.principal.id, handle: from.principal.handle },
    policyVersion: from.policyVersion,
    nonce: encodeBase64Url(from.random(32)),
    createdAt: formatInstant(from.now),
    expiresAt: formatInstant(after(from.now, lifetime)),
  };
  // An absent optional field and one that is undefined mean the same to a caller; JSON knows only the first.
  const object = parseProofObject(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));
  if (object === undefined)
    throw new TypeError(`offer a proof: the content of \`${content.purpose}\` is not well-formed`);
  return { state: 'offered', object: object as ProofObject<P> };
}

export type UseProofOutcome<P extends ProofPurpose> =
  | { readonly kind: 'used'; readonly proof: UsedProof<P> }
  | { readonly kind: 'refused'; readonly because: 'expired' | 'already_used' | 'other_purpose' | 'other_principal' };

/**
 * Uses an offered proof up, for one purpose and by one principal. The caller has verified the assertion over the
 * challenge of `proof.object` first, and stores the result under the condition that the proof is still `offered`.
 */
export function useProof<P extends ProofPurpose>(
  proof: Proof,
  now: Instant,
  by: { readonly purpose: P; readonly principal: PrincipalId },
): UseProofOutcome<P> {
  // INVARIANT 5: a proof is for this content, purpose and principal, once.
  if (!isFor(proof, by.purpose)) return { kind: 'refused', because: 'other_purpose' };
  if (proof.object.principal.id !== by.principal) return { kind: 'refused', because: 'other_principal' };
  switch (proof.state) {
    case 'offered':
      return isProofExpired(proof, now)
        ? { kind: 'refused', because: 'expired' }
        : { kind: 'used', proof: { state: 'used', object: proof.object, usedAt: now } };
    case 'used':
      return { kind: 'refused', because: 'already_used' };
    case 'expired':
      return { kind: 'refused', because: 'expired' };
    default:
      return proof satisfies never;
  }
}

/** An offer whose time is over becomes `expired`; anything else stays as it is. */
export function expireProof<P extends ProofPurpose>(proof: Proof<P>, now: Instant): Proof<P> {
  return proof.state === 'offered' && isProofExpired(proof, now) ? { state: 'expired', object: proof.object } : proof;
}

/** True from the instant `expiresAt` on. */
export function isProofExpired(proof: { readonly object: ProofObject }, now: Instant): boolean {
  const expiresAt = parseInstant(proof.object.expiresAt);
  return expiresAt === undefined || now >= expiresAt;
}

function isFor<P extends ProofPurpose>(proof: Proof, purpose: P): proof is Proof<P> {
  return proof.object.purpose === purpose;
}

// --- The fields, as data -------------------------------------------------------------------------------------------

type FieldKind =
  | 'text'
  | 'lines'
  | 'principal'
  | 'instant'
  | 'seconds'
  | 'count'
  | 'hash'
  | 'nonce'
  | 'role'
  | 'resource'
  | 'request'
  | 'grant'
  | 'proof'
  | 'plan'
  | 'link'
  | 'hold'
  | 'session'
  | 'sql'
  | 'statement'
  | 'yes'
  | 'statementSubject'
  | 'authenticator'
  | 'authenticators'
  | 'status'
  | 'principalKind';

type Field<Name extends PropertyKey> = {
  readonly name: Name;
  readonly label: string;
  readonly kind: FieldKind;
  readonly optional?: true;
  /** Needed to verify, not to decide: a page may fold these away, but shows them. */
  readonly technical?: true;
};

type NamesOf<P extends ProofPurpose> = Exclude<keyof ProofContentOf<P>, 'purpose'>;

const heldStatementFields: readonly Field<Exclude<keyof DoAction, 'purpose'>>[] = [
  { name: 'text', label: 'Statement', kind: 'sql' },
  { name: 'parameters', label: 'Parameters', kind: 'lines', optional: true },
  { name: 'role', label: 'Role', kind: 'role' },
  { name: 'resource', label: 'Resource', kind: 'resource' },
  { name: 'needs', label: 'It does', kind: 'lines' },
  { name: 'previewRows', label: 'Rows it has touched', kind: 'count', optional: true },
  { name: 'covers', label: 'This covers as well', kind: 'lines', optional: true },
  { name: 'askedBy', label: 'Asked for by policy', kind: 'lines' },
  { name: 'subject', label: 'What is held', kind: 'statementSubject', technical: true },
  { name: 'hold', label: 'Hold', kind: 'hold', technical: true },
  { name: 'grant', label: 'Grant', kind: 'grant', technical: true },
  { name: 'session', label: 'Session', kind: 'session', technical: true },
  { name: 'digest', label: 'SHA-256 of text and parameters', kind: 'hash', technical: true },
  { name: 'previewSha256', label: 'SHA-256 of the rows shown', kind: 'hash', optional: true, technical: true },
];

/** In the order in which they are shown. */
export const proofShapes: { readonly [P in ProofPurpose]: { title: string; fields: readonly Field<NamesOf<P>>[] } } = {
  approve_request: {
    title: 'Approve a request for access',
    fields: [
      { name: 'requester', label: 'For', kind: 'principal' },
      { name: 'role', label: 'Role', kind: 'role' },
      { name: 'resource', label: 'Resource', kind: 'resource' },
      { name: 'durationSeconds', label: 'For how long', kind: 'seconds' },
      { name: 'startsAt', label: 'Not before', kind: 'instant', optional: true },
      { name: 'extends', label: 'Extends grant', kind: 'grant', optional: true },
      { name: 'permissions', label: 'The role gives', kind: 'lines', optional: true },
      { name: 'reason', label: 'Reason', kind: 'text' },
      { name: 'ticket', label: 'Ticket', kind: 'text', optional: true },
      { name: 'statement', label: 'For the statement', kind: 'statement', optional: true },
      { name: 'once', label: 'This statement only, once', kind: 'yes', optional: true },
      { name: 'approvalsNeeded', label: 'Approvals needed', kind: 'count' },
      { name: 'request', label: 'Request', kind: 'request', technical: true },
      { name: 'reasonHash', label: 'SHA-256 of the reason', kind: 'hash', technical: true },
    ],
  },
  activate_grant: {
    title: 'Activate a grant',
    fields: [
      { name: 'role', label: 'Role', kind: 'role' },
      { name: 'resource', label: 'Resource', kind: 'resource' },
      { name: 'activationSeconds', label: 'For how long', kind: 'seconds' },
      { name: 'endsAt', label: 'Ends', kind: 'instant' },
      { name: 'notBefore', label: 'Not before', kind: 'instant' },
      { name: 'grant', label: 'Grant', kind: 'grant', technical: true },
      { name: 'request', label: 'Request', kind: 'request', technical: true },
    ],
  },
  enrol_authenticator: {
    title: 'Let somebody enrol a passkey',
    fields: [
      { name: 'subject', label: 'Whose passkey', kind: 'principal' },
      { name: 'authenticatorName', label: 'Name of the passkey', kind: 'text', optional: true },
      { name: 'link', label: 'Enrolment link', kind: 'link', optional: true, technical: true },
    ],
  },
  invite_principal: {
    title: 'Invite somebody',
    fields: [
      { name: 'subject', label: 'Who', kind: 'principal' },
      { name: 'displayName', label: 'Name', kind: 'text', optional: true },
      { name: 'kind', label: 'Kind', kind: 'principalKind' },
      { name: 'groups', label: 'Groups', kind: 'lines' },
    ],
  },
  change_configuration: {
    title: 'Change the configuration',
    fields: [
      { name: 'added', label: 'Added', kind: 'count' },
      { name: 'changed', label: 'Changed', kind: 'count' },
      { name: 'removed', label: 'Removed', kind: 'count' },
      { name: 'summary', label: 'Changes', kind: 'lines' },
      { name: 'plan', label: 'Plan', kind: 'plan', technical: true },
      { name: 'configurationHash', label: 'SHA-256 of the configuration', kind: 'hash', technical: true },
    ],
  },
  change_principal: {
    title: 'Change an account',
    fields: [
      { name: 'subject', label: 'Whose account', kind: 'principal' },
      { name: 'statusBefore', label: 'Status now', kind: 'status' },
      { name: 'statusAfter', label: 'Status then', kind: 'status' },
      { name: 'groupsBefore', label: 'Groups now', kind: 'lines' },
      { name: 'groupsAfter', label: 'Groups then', kind: 'lines' },
    ],
  },
  reset_authenticators: {
    title: 'Remove somebody’s passkeys',
    fields: [
      { name: 'subject', label: 'Whose passkeys', kind: 'principal' },
      { name: 'authenticators', label: 'Passkeys that stop working', kind: 'authenticators' },
      { name: 'reason', label: 'Reason', kind: 'text' },
    ],
  },
  add_authenticator: {
    title: 'Add a passkey to your account',
    fields: [
      { name: 'subject', label: 'Whose account', kind: 'principal' },
      { name: 'authenticators', label: 'Passkeys it has', kind: 'authenticators' },
      { name: 'link', label: 'Enrolment link', kind: 'link', technical: true },
    ],
  },
  remove_authenticator: {
    title: 'Remove a passkey',
    fields: [
      { name: 'subject', label: 'Whose account', kind: 'principal' },
      { name: 'authenticatorName', label: 'Passkey', kind: 'text' },
      { name: 'left', label: 'Passkeys left', kind: 'count' },
      { name: 'authenticator', label: 'Passkey id', kind: 'authenticator', technical: true },
    ],
  },
  do_action: {
    title: 'Run a statement',
    fields: heldStatementFields,
  },
  approve_action: {
    title: 'Let somebody run a statement',
    fields: [
      { name: 'requester', label: 'Who', kind: 'principal' },
      { name: 'actsFor', label: 'Acting for', kind: 'lines', optional: true },
      ...heldStatementFields,
      { name: 'statementReason', label: 'Reason for it', kind: 'text', optional: true },
      { name: 'ticket', label: 'Ticket', kind: 'text', optional: true },
      { name: 'rowsAtMost', label: 'At most so many rows', kind: 'count', optional: true },
      { name: 'validSeconds', label: 'Valid for', kind: 'seconds', optional: true },
      { name: 'reasonHash', label: 'SHA-256 of the grant’s reason', kind: 'hash', technical: true },
    ],
  },
  approve_act: {
    title: 'Approve an act of administration',
    fields: [
      { name: 'requester', label: 'Who asks', kind: 'principal' },
      { name: 'words', label: 'The act', kind: 'lines' },
      { name: 'askedBy', label: 'Asked for by policy', kind: 'lines' },
      { name: 'act', label: 'What they will sign', kind: 'text', technical: true },
      { name: 'actHash', label: 'SHA-256 of it', kind: 'hash', technical: true },
      { name: 'hold', label: 'Hold', kind: 'hold', technical: true },
    ],
  },
};

const commonFields: readonly Field<keyof ProofCommon>[] = [
  { name: 'principal', label: 'Signed by', kind: 'principal' },
  { name: 'expiresAt', label: 'To be signed before', kind: 'instant' },
  { name: 'createdAt', label: 'Offered at', kind: 'instant', technical: true },
  { name: 'policyVersion', label: 'Policy version', kind: 'text', technical: true },
  { name: 'id', label: 'Proof', kind: 'proof', technical: true },
  { name: 'nonce', label: 'Nonce', kind: 'nonce', technical: true },
];

/** The object, or undefined when it is not exactly one of the known shapes: no field missing, none that we don't know. */
export function parseProofObject(value: unknown): ProofObject | undefined {
  if (!isRecord(value) || value['v'] !== 1) return undefined;
  const purpose = value['purpose'];
  if (typeof purpose !== 'string' || !Object.hasOwn(proofShapes, purpose)) return undefined;
  const names = new Set<string>(['v', 'purpose']);
  for (const field of [...commonFields, ...proofShapes[purpose as ProofPurpose].fields]) {
    const name: string = field.name;
    names.add(name);
    if (!Object.hasOwn(value, name)) {
      if (field.optional !== true) return undefined;
    } else if (!isWellFormed(field.kind, value[name])) return undefined;
  }
  if (Object.keys(value).some((name) => !names.has(name))) return undefined;
  const object = value as ProofObject;
  const createdAt = parseInstant(object.createdAt);
  const expiresAt = parseInstant(object.expiresAt);
  if (createdAt === undefined || expiresAt === undefined) return undefined;
  return expiresAt > createdAt && expiresAt - createdAt <= maxProofLifetime ? object : undefined;
}

export type ProofLine = { readonly label: string; readonly value: string; readonly technical: boolean };

/**
 * The whole object in words, in the order to show it: what is signed is what is seen. Characters that would reorder
 * or hide text are written as `[U+202E]`, since a reason is written by the one who wants it approved. Values may hold
 * line feeds.
 */
export function describeProof(object: ProofObject): readonly ProofLine[] {
  const lines: ProofLine[] = [{ label: 'What', value: proofShapes[object.purpose].title, technical: false }];
  const values = object as unknown as Readonly<Record<string, unknown>>;
  for (const field of [...proofShapes[object.purpose].fields, ...commonFields]) {
    const value = values[field.name];
    if (value === undefined) continue;
    lines.push({
      label: field.label,
      value: visible(inWords(field.kind, value), field.kind === 'sql' || field.kind === 'statement'),
      technical: field.technical === true,
    });
  }
  return lines;
}

function inWords(kind: FieldKind, value: unknown): string {
  if (kind === 'principal') {
    const { id, handle } = value as PrincipalRef;
    return `${handle} (${id})`;
  }
  if (kind === 'seconds') return formatDuration(seconds(value as number));
  if (kind === 'statement') return (value as { readonly text: string }).text;
  if (kind === 'yes') return 'yes';
  // One line each: a parameter with a line feed in it must not look like two.
  if (Array.isArray(value))
    return value.length === 0 ? 'none' : value.map((line) => String(line).replaceAll('\n', '[U+000A]')).join('\n');
  return String(value);
}

// Control and format characters (bidirectional ones among them), line and paragraph separators, what renders as nothing.
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** A statement is often indented by tabs, which hide nothing in it. */
function visible(text: string, keepsTabs: boolean): string {
  return text.replace(invisible, (found) => {
    if (found === '\n' || (keepsTabs && found === '\t')) return found;
    const point = found.codePointAt(0) ?? 0;
    return `[U+${point.toString(16).toUpperCase().padStart(4, '0')}]`;
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWellFormed(kind: FieldKind, value: unknown): boolean {
  switch (kind) {
    case 'text':
    case 'sql':
      return isText(value);
    case 'statement':
      return (
        isRecord(value) &&
        Object.keys(value).length === 2 &&
        isText(value['text']) &&
        isWellFormed('hash', value['digest'])
      );
    case 'yes':
      return value === true;
    case 'statementSubject':
      return value === 'statement';
    case 'lines':
      return Array.isArray(value) && value.every(isText);
    case 'authenticators':
      return Array.isArray(value) && value.every((id) => parseId('authenticator', id) !== undefined);
    case 'principal':
      return (
        isRecord(value) &&
        Object.keys(value).length === 2 &&
        parseId('principal', value['id']) !== undefined &&
        isText(value['handle'])
      );
    case 'instant': {
      const instant = typeof value === 'string' ? parseInstant(value) : undefined;
      return instant !== undefined && formatInstant(instant) === value;
    }
    case 'seconds':
      return Number.isSafeInteger(value) && (value as number) > 0;
    case 'count':
      return Number.isSafeInteger(value) && (value as number) >= 0;
    case 'hash':
      return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
    case 'nonce':
      // 32 bytes are 43 characters, the last of which carries four bits.
      return typeof value === 'string' && /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(value);
    case 'role':
      return parseRoleName(value) !== undefined;
    case 'resource':
      return parseResourceName(value) !== undefined;
    case 'request':
    case 'grant':
    case 'proof':
    case 'plan':
    case 'link':
    case 'hold':
    case 'session':
    case 'authenticator':
      return parseId(kind, value) !== undefined;
    case 'status':
      return value === 'active' || value === 'suspended';
    case 'principalKind':
      return value === 'user' || value === 'service' || value === 'agent';
    default:
      return kind satisfies never;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed();
}

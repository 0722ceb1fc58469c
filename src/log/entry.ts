/**
 * Log entries: what a leaf of the transparency log says. An entry names things by id and never holds anything personal;
 * handles, reasons, statements, addresses and proofs are in the entry's *content*, a sealed blob beside the tree
 * (content.ts) to which the leaf commits by hash. A leaf is the canonical JSON of its entry, one spelling, below 64 KiB.
 */
import type { EntryId, PrincipalId, Random } from '#core/ids.ts';
import { newId, parseId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import { formatInstant, parseInstant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import { canonicalJson, parseCanonicalJsonBytes } from '#core/jcs.ts';
import type { ProofPurpose } from '#core/proof.ts';

type KindFacts = {
  /** What happened, for lists. */
  readonly title: string;
  /** The purposes of a proof that the entry's content may carry as `proof`. */
  readonly proof?: readonly ProofPurpose[];
  /** The entry is worthless without its proof. */
  readonly proofRequired?: true;
};

/** Every kind of entry there is. A verifier refuses a kind that it doesn't know. */
export const entryKinds = {
  'system.started': { title: 'started' },
  'system.stopped': { title: 'stopped' },
  'principal.invited': { title: 'invited', proof: ['invite_principal'] },
  'principal.changed': { title: 'account changed', proof: ['change_principal'] },
  'link.issued': {
    title: 'one-time link issued',
    proof: ['invite_principal', 'enrol_authenticator', 'add_authenticator', 'reset_authenticators'],
  },
  'link.used': { title: 'one-time link used' },
  'authenticator.enrolled': { title: 'passkey enrolled', proof: ['enrol_authenticator', 'add_authenticator'] },
  'authenticator.removed': { title: 'passkey removed', proof: ['remove_authenticator'] },
  'authenticators.reset': { title: 'passkeys reset', proof: ['reset_authenticators'] },
  'sign_in.succeeded': { title: 'signed in' },
  'sign_in.failed': { title: 'sign-in failed' },
  sign_out: { title: 'signed out' },
  'token.issued': { title: 'token issued' },
  'token.revoked': { title: 'token revoked' },
  'request.filed': { title: 'request filed' },
  'request.withdrawn': { title: 'request withdrawn' },
  'request.denied': { title: 'request denied' },
  'request.expired': { title: 'request expired' },
  // One entry for each approval; `grant.created` follows the one that was enough.
  'request.approved': { title: 'request approved', proof: ['approve_request'], proofRequired: true },
  'grant.created': { title: 'grant created' },
  'grant.activated': { title: 'grant activated', proof: ['activate_grant'], proofRequired: true },
  // Of a grant for one statement: it was let through.
  'grant.used': { title: 'grant used for its statement' },
  'grant.extended': { title: 'grant extended' },
  'grant.ended': { title: 'grant ended' },
  'credential.issued': { title: 'connection secret issued' },
  'login.created': { title: 'database login created' },
  'login.dropped': { title: 'database login dropped' },
  'login.drop_failed': { title: 'database login could not be dropped' },
  'session.opened': { title: 'session opened' },
  'session.refused': { title: 'session refused' },
  'session.ended': { title: 'session ended' },
  // Written before it reaches the target; `statement.ended` with the same session and number says how it went.
  'statement.begun': { title: 'statement' },
  'statement.copy_in': { title: 'data copied in' },
  'statement.ended': { title: 'statement ended' },
  // Of a transaction in which commands were recorded before its end was known.
  'transaction.ended': { title: 'transaction ended' },
  'statement.denied': { title: 'statement denied' },
  // A question to policy as it was asked, once for each that differs; statements name the policies that answered.
  'statement.judged': { title: 'statement judged' },
  // A statement, or an act of administration, that waits for what policy asks for. Each step of it is an entry.
  'hold.opened': { title: 'held' },
  'hold.previewed': { title: 'held statement previewed' },
  'hold.reasoned': { title: 'reason given for what is held' },
  'hold.proven': { title: 'held statement proven', proof: ['do_action'], proofRequired: true },
  'hold.approved': { title: 'what is held approved', proof: ['approve_action', 'approve_act'], proofRequired: true },
  // By a sign-in, which is an entry of its own.
  'hold.cured': { title: 'nothing more is asked of what is held' },
  'hold.released': { title: 'released' },
  'hold.denied': { title: 'what was held denied' },
  'hold.withdrawn': { title: 'what was held withdrawn' },
  'hold.expired': { title: 'what was held expired' },
  'hold.ended': { title: 'what was held ended' },
  'cover.created': { title: 'covered for a while' },
  'cover.ended': { title: 'no longer covered' },
  'statement.cancelled': { title: 'statement cancelled' },
  'decision.denied': { title: 'denied' },
  // Somebody asked what is allowed, for themselves or as one who may read everybody's decisions.
  'decision.evaluated': { title: 'what is allowed was asked' },
  'decision.searched': { title: 'what is allowed was searched' },
  'configuration.applied': { title: 'configuration applied', proof: ['change_configuration'] },
  'policy.changed': { title: 'policy changed', proof: ['change_configuration'] },
  'target.alarm': { title: 'a target needs attention' },
  'gateway.recovered': { title: 'gateway recovered its journal' },
  'log.read': { title: 'log read' },
  'log.exported': { title: 'log exported' },
  'recording.read': { title: 'recording read' },
  'content.erased': { title: 'personal content erased' },
} as const satisfies Readonly<Record<string, KindFacts>>;

export type EntryKind = keyof typeof entryKinds;
/** Who did it: a principal, Sallyport itself, or somebody we don't know. */
export type Actor = PrincipalId | 'system' | 'stranger';
/** Where an entry commits to its sealed content: the SHA-256 of the blob. */
export type ContentHash = `sha256:${string}`;

export type Entry = {
  readonly v: 1;
  readonly id: EntryId;
  /** RFC 3339, UTC, milliseconds. */
  readonly at: string;
  readonly kind: EntryKind;
  readonly actor: Actor;
  /** What it is about, by id: `request`, `grant`, `session`, `principal`, `proof`, `resource`, … */
  readonly subjects: Readonly<Record<string, string>>;
  /** Facts that are nobody's personal data: outcomes, counts, hashes, public keys, versions. */
  readonly public: Readonly<Record<string, Json>>;
  readonly content?: ContentHash;
};

/** A leaf is length-prefixed with 16 bits in its bundle. */
export const maxLeafBytes = 65_535;

export class EntryError extends Error {
  readonly code = 'log.entry_refused';
  constructor(what: string, options?: ErrorOptions) {
    super(`write a log entry: ${what}`, options);
  }
}

/** A new id for an entry: its content is sealed under this id before the entry is made. */
export function newEntryId(from: { readonly now: Instant; readonly random: Random }): EntryId {
  return newId('entry', from);
}

/** An entry from its parts. Throws nothing; `encodeEntry` refuses what isn't well-formed. */
export function makeEntry(
  parts: {
    readonly kind: EntryKind;
    readonly actor: Actor;
    readonly subjects?: Readonly<Record<string, string>>;
    readonly public?: Readonly<Record<string, Json>>;
    readonly content?: ContentHash;
  },
  from: { readonly id: EntryId; readonly now: Instant },
): Entry {
  return {
    v: 1,
    id: from.id,
    at: formatInstant(from.now),
    kind: parts.kind,
    actor: parts.actor,
    subjects: parts.subjects ?? {},
    public: parts.public ?? {},
    ...(parts.content === undefined ? {} : { content: parts.content }),
  };
}

/**
 * The leaf: the canonical JSON of the entry.
 * @throws EntryError when it is not well-formed or longer than 65,535 bytes (put what is long into the content)
 */
export function encodeEntry(entry: Entry): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(entryText(entry));
}

/** The leaf as text. @throws EntryError as `encodeEntry` */
export function entryText(entry: Entry): string {
  let text: string;
  try {
    text = canonicalJson(entry);
  } catch (cause) {
    throw new EntryError(`\`${entry.id}\` has no canonical form`, { cause });
  }
  // A UTF-16 unit becomes three bytes at most: short texts need no count.
  const bytes = text.length * 3 <= maxLeafBytes ? 0 : new TextEncoder().encode(text).length;
  if (bytes > maxLeafBytes) throw new EntryError(`\`${entry.id}\` has ${bytes} bytes, more than ${maxLeafBytes}`);
  // What has a canonical form is read back from it as it is, so the entry itself can be looked at.
  if (!isWellFormed(entry)) throw new EntryError(`\`${entry.id}\` of kind \`${entry.kind}\` is not well-formed`);
  return text;
}

/** The entry of a leaf, or undefined when the bytes are not exactly what `encodeEntry` writes. */
export function parseEntry(leaf: Uint8Array): Entry | undefined {
  if (leaf.length > maxLeafBytes) return undefined;
  const value: unknown = parseCanonicalJsonBytes(leaf);
  return isEntry(value) ? value : undefined;
}

/** What is known of a kind, under one type for all of them. */
export function factsOf(kind: EntryKind): KindFacts {
  return entryKinds[kind];
}

const members = new Set(['v', 'id', 'at', 'kind', 'actor', 'subjects', 'public', 'content']);

const isEntry = (value: unknown): value is Entry => isWellFormed(value);

function isWellFormed(value: unknown): boolean {
  if (!isRecord(value) || value['v'] !== 1) return false;
  if (Object.keys(value).some((name) => !members.has(name))) return false;
  const { id, at, kind, actor, subjects, public: facts, content } = value;
  if (parseId('entry', id) === undefined) return false;
  const instant = typeof at === 'string' ? parseInstant(at) : undefined;
  if (instant === undefined || formatInstant(instant) !== at) return false;
  if (typeof kind !== 'string' || !Object.hasOwn(entryKinds, kind)) return false;
  if (actor !== 'system' && actor !== 'stranger' && parseId('principal', actor) === undefined) return false;
  if (!isRecord(subjects) || !Object.values(subjects).every((name) => typeof name === 'string')) return false;
  if (!isRecord(facts)) return false;
  return !Object.hasOwn(value, 'content') || (typeof content === 'string' && /^sha256:[0-9a-f]{64}$/.test(content));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

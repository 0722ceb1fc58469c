/**
 * Proofs as the log keeps them, and their verification years later: from the entry, its opened content and the public
 * keys that the log itself has enrolled before. Nothing here trusts the database or the server that wrote the log.
 */
import { decodeBase64Url, encodeBase64Url } from '#core/base64.ts';
import type { AuthenticatorId, PrincipalId } from '#core/ids.ts';
import { parseId } from '#core/ids.ts';
import { parseInstant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import type { ProofObject } from '#core/proof.ts';
import { parseProofObject } from '#core/proof.ts';
import { proofChallenge, textHash } from './challenge.ts';
import type { Entry } from './entry.ts';
import { factsOf } from './entry.ts';
import type { PasskeyPublicKey } from './webauthn-assertion.ts';
import { parseCosePublicKey, verifyAssertion } from './webauthn-assertion.ts';

/** An assertion as JSON keeps it: each part base64url. */
export type StoredAssertion = {
  readonly credentialId: string;
  readonly authenticatorData: string;
  readonly clientDataJSON: string;
  readonly signature: string;
};

/** The member `proof` of the content of an entry that a person's passkey has brought about. */
export type ProofEvidence = { readonly object: ProofObject; readonly assertion: StoredAssertion };

/** The evidence in the content of an entry, or undefined when there is none or it isn't well-formed. */
export function parseProofEvidence(value: unknown): ProofEvidence | undefined {
  const { object, assertion, ...rest } = recordOf(value) ?? {};
  const { credentialId, authenticatorData, clientDataJSON, signature, ...more } = recordOf(assertion) ?? {};
  const parsed = parseProofObject(object);
  if (parsed === undefined || Object.keys(rest).length > 0 || Object.keys(more).length > 0) return undefined;
  for (const part of [credentialId, authenticatorData, clientDataJSON, signature])
    if (typeof part !== 'string' || decodeBase64Url(part) === undefined) return undefined;
  return { object: parsed, assertion: assertion as StoredAssertion };
}

/** A key that the log has enrolled. */
export type EnrolledKey = {
  readonly principal: PrincipalId;
  readonly authenticator: AuthenticatorId;
  readonly publicKey: PasskeyPublicKey;
  readonly rpId: string;
  readonly origins: readonly string[];
};

/** The key of an `authenticator.enrolled` entry, or undefined when the entry doesn't hold one. */
export function enrolledKey(entry: Entry): { readonly credentialId: string; readonly key: EnrolledKey } | undefined {
  const { credentialId, publicKey, rpId, origins } = entry.public;
  const principal = parseId('principal', entry.subjects['principal']);
  const authenticator = parseId('authenticator', entry.subjects['authenticator']);
  const parsed = typeof publicKey === 'string' ? parsePublicKey(publicKey) : undefined;
  if (principal === undefined || authenticator === undefined || parsed === undefined) return undefined;
  if (typeof credentialId !== 'string' || typeof rpId !== 'string' || !isTextList(origins)) return undefined;
  return { credentialId, key: { principal, authenticator, publicKey: parsed, rpId, origins } };
}

function parsePublicKey(text: string): PasskeyPublicKey | undefined {
  const cose = decodeBase64Url(text);
  return cose === undefined ? undefined : parseCosePublicKey(cose);
}

/** What has been seen of keys and proofs, up to some entry of the log. */
export type ProofCheck = {
  /**
   * Takes the next entry of the log, in order, with its content where that can be read. Answers what is wrong with it,
   * in words, and whether a proof in it was verified.
   */
  readonly take: (entry: Entry, content: Json | undefined) => { readonly faults: string[]; readonly verified: boolean };
};

/**
 * Follows a log from its first entry and checks every proof in it: over this content, by a key that this log enrolled
 * for this principal before and hasn't removed, within its time, once, the counter going up.
 */
export function startProofCheck(): ProofCheck {
  const keys = new Map<string, { readonly key: EnrolledKey; counter: number }>();
  const used = new Set<string>();
  /** Origins that `system.started` declared, per relying party. */
  const origins = new Map<string, Set<string>>();

  /** What is held: over what a signature has to be, and who must not be its approver. */
  const holds = new Map<string, FollowedHold>();

  const check = (entry: Entry, evidence: ProofEvidence): string | undefined => {
    const { object, assertion } = evidence;
    if (object.id !== entry.subjects['proof'])
      return `the entry doesn't name the proof \`${object.id}\` as its subject`;
    if (object.principal.id !== entry.actor) return 'the proof is of another principal than the entry';
    if (!(factsOf(entry.kind).proof ?? []).includes(object.purpose))
      return `a proof to \`${object.purpose}\` doesn't carry \`${entry.kind}\``;
    const subjects = subjectsOf(object);
    for (const [name, id] of Object.entries(subjects)) {
      if (id !== entry.subjects[name]) return `the proof is for another ${name} than the entry`;
    }
    for (const name of ['role', 'resource'] as const) {
      const named = entry.subjects[name];
      if (name in object && named !== undefined && named !== (object as { readonly [n in typeof name]?: string })[name])
        return `the proof is for another ${name} than the entry`;
    }
    if ('reason' in object && 'reasonHash' in object && textHash(object.reason) !== object.reasonHash)
      return 'the reason in the proof is not the one that was hashed';
    if ('actHash' in object && textHash(object.act) !== object.actHash)
      return 'the act in the proof is not the one that was hashed';
    // INVARIANT 2: nobody approves their own, whatever the server thought of it.
    if ('requester' in object && object.requester.id === object.principal.id) return 'who approved is who asked';
    if (object.purpose === 'do_action' || object.purpose === 'approve_action' || object.purpose === 'approve_act') {
      const held = holds.get(object.hold);
      if (held === undefined) return 'nothing was held under the id in the proof';
      const digest = object.purpose === 'approve_act' ? object.actHash : object.digest;
      if (held.digest !== digest) return 'the proof is over something else than was held';
      // INVARIANT 2: also years later.
      const isOwn = object.principal.id === held.requester;
      if (isOwn !== (object.purpose === 'do_action'))
        return isOwn ? 'somebody has approved what they asked for themselves' : 'somebody else has proven it';
    }
    const [at, from, until] = [entry.at, object.createdAt, object.expiresAt].map(parseInstant);
    if (at === undefined || from === undefined || until === undefined || at < from || at >= until)
      return `the proof was not valid at ${entry.at}`;
    const known = keys.get(assertion.credentialId);
    if (known === undefined) return 'the passkey of the proof is not enrolled at this point of the log';
    const { key } = known;
    if (key.principal !== object.principal.id) return 'the passkey of the proof belongs to another principal';
    const outcome = verifyAssertion(
      {
        authenticatorData: bytesOf(assertion.authenticatorData),
        clientDataJSON: bytesOf(assertion.clientDataJSON),
        signature: bytesOf(assertion.signature),
      },
      {
        challenge: proofChallenge(object),
        rpId: key.rpId,
        origins: [...key.origins, ...(origins.get(key.rpId) ?? [])],
        publicKey: key.publicKey,
      },
    );
    if (outcome.kind === 'refused') return `the assertion of the proof doesn't verify: ${outcome.because}`;
    // Synced passkeys always answer 0; any other counter only grows, or the passkey was copied.
    if (outcome.counter !== 0 || known.counter !== 0) {
      if (outcome.counter <= known.counter)
        return `the counter of the passkey went from ${known.counter} to ${outcome.counter}`;
      known.counter = outcome.counter;
    }
    return undefined;
  };

  return {
    take: (entry, content) => {
      const faults: string[] = [];
      let verified = false;
      const proof = entry.subjects['proof'];
      const facts = factsOf(entry.kind);
      if (proof !== undefined) {
        if (parseId('proof', proof) === undefined) faults.push(`\`${proof}\` is not the id of a proof`);
        // INVARIANT 5: once. Seen from the public part alone, so also for contents that nobody can open.
        if (used.has(proof)) faults.push(`the proof \`${proof}\` was used before`);
        used.add(proof);
      } else if (facts.proofRequired === true) faults.push('the entry names no proof');

      const value = recordOf(content)?.['proof'];
      if (value !== undefined) {
        const evidence = parseProofEvidence(value);
        const fault = evidence === undefined ? 'the proof in the content is malformed' : check(entry, evidence);
        if (fault === undefined) verified = true;
        else faults.push(fault);
      } else if (content !== undefined && proof !== undefined) faults.push('the content lacks the proof');

      faults.push(...holdFaults(holds, entry));
      // After the proof: an entry can't vouch for the key that signed it.
      if (entry.kind === 'authenticator.enrolled') {
        const enrolled = enrolledKey(entry);
        if (enrolled === undefined) faults.push('the entry holds no public key that can be used');
        else if (keys.has(enrolled.credentialId)) faults.push('the passkey was enrolled before');
        else keys.set(enrolled.credentialId, { key: enrolled.key, counter: 0 });
      }
      if (entry.kind === 'authenticator.removed')
        forget(keys, (key) => key.authenticator === entry.subjects['authenticator']);
      if (entry.kind === 'authenticators.reset') forget(keys, (key) => key.principal === entry.subjects['principal']);
      const { rpId, origins: declared } = entry.public;
      if (entry.kind === 'system.started' && typeof rpId === 'string' && isTextList(declared)) {
        const all = origins.get(rpId) ?? new Set<string>();
        for (const origin of declared) all.add(origin);
        origins.set(rpId, all);
      }
      return { faults, verified };
    },
  };
}

/** The ids in a proof object that the entry must name as well, so that neither can be moved to another story. */
function subjectsOf(object: ProofObject): Readonly<Record<string, string>> {
  switch (object.purpose) {
    case 'approve_request':
      return { request: object.request };
    case 'activate_grant':
      return { grant: object.grant };
    case 'enrol_authenticator':
    case 'invite_principal':
    case 'change_principal':
    case 'reset_authenticators':
    case 'add_authenticator':
    case 'remove_authenticator':
      return { principal: object.subject.id };
    case 'do_action':
      return { hold: object.hold, grant: object.grant, session: object.session };
    case 'approve_action':
      return { hold: object.hold, grant: object.grant, session: object.session, principal: object.requester.id };
    case 'approve_act':
      return { hold: object.hold, principal: object.requester.id };
    case 'change_configuration':
      return { plan: object.plan };
    default:
      return object satisfies never;
  }
}

type FollowedHold = {
  readonly digest: Json | undefined;
  readonly requester: string;
  /** It may begin once before it is released, to be looked at. */
  mayRunFirst: boolean;
  isReleased: boolean;
};

/**
 * Follows what is held: released once, and run under its hold only after that and as the very thing that was held. What is
 * previewed runs before, once.
 */
function holdFaults(holds: Map<string, FollowedHold>, entry: Entry): readonly string[] {
  const id = entry.subjects['hold'];
  if (id === undefined) return [];
  const held = holds.get(id);
  if (entry.kind === 'hold.opened') {
    if (held !== undefined) return [`\`${id}\` was held before`];
    const { digest, runsFirst } = entry.public;
    const requester = entry.subjects['principal'] ?? '';
    holds.set(id, { digest, requester, mayRunFirst: runsFirst === true, isReleased: false });
    return [];
  }
  if (entry.kind === 'hold.released') {
    if (held === undefined) return [`\`${id}\` was never held`];
    if (held.isReleased) return [`\`${id}\` was released before`];
    held.isReleased = true;
    return entry.public['digest'] === held.digest ? [] : [`\`${id}\` was released for something else than was held`];
  }
  if (entry.kind !== 'statement.begun') return [];
  if (held === undefined || !(held.isReleased || held.mayRunFirst))
    return [`the statement ran under \`${id}\`, which was not released`];
  if (!held.isReleased) held.mayRunFirst = false;
  return entry.public['digest'] === undefined || entry.public['digest'] === held.digest
    ? []
    : [`the statement that ran under \`${id}\` is not the one that was held`];
}

function forget(
  keys: Map<string, { readonly key: EnrolledKey; counter: number }>,
  isGone: (key: EnrolledKey) => boolean,
): void {
  for (const [credentialId, { key }] of keys) if (isGone(key)) keys.delete(credentialId);
}

function bytesOf(text: string): Uint8Array {
  return decodeBase64Url(text) ?? new Uint8Array();
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

/** Evidence from the parts that a browser sent. */
export function proofEvidence(
  object: ProofObject,
  assertion: {
    readonly credentialId: Uint8Array;
    readonly authenticatorData: Uint8Array;
    readonly clientDataJSON: Uint8Array;
    readonly signature: Uint8Array;
  },
): ProofEvidence {
  return {
    object,
    assertion: {
      credentialId: encodeBase64Url(assertion.credentialId),
      authenticatorData: encodeBase64Url(assertion.authenticatorData),
      clientDataJSON: encodeBase64Url(assertion.clientDataJSON),
      signature: encodeBase64Url(assertion.signature),
    },
  };
}

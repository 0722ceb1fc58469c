#!/usr/bin/env node
/**
 * A second verifier of Sallyport's proofs and log copies. It was written from docs/proof-format.md and docs/log-format.md, and
 * shares no code with the first (src/log): two readings of one description that agree are worth more than one. A single
 * file, nothing but Node's own modules, Node 20 or later; copy it anywhere.
 *
 *     node second-verifier.mjs copy FOLDER VKEY            a copy that `sally log export` wrote, and every proof in it
 *     node second-verifier.mjs proof FILE RP_ID ORIGIN     {"object","assertion","publicKey"}: one proof, and a key you trust
 *
 * VKEY is the log's public key, got by another way than the copy. Ends with 0 when all holds, 1 when something doesn't, 2 when
 * it was called wrongly. Where a number follows "rule", it is the one of docs/proof-format.md.
 */
import { createDecipheriv, createHash, createPublicKey, verify as verifySignature } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

class Wrong extends Error {}
/** @returns {never} */
const wrong = (what) => {
  throw new Wrong(what);
};
const need = (holds, what) => {
  if (!holds) wrong(what);
};
const sha256 = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const has = (object, name) => Object.prototype.hasOwnProperty.call(object, name);

// --- One spelling: base64, base64url, JSON -------------------------------------------------------------------------

/** Decodes, encodes again, and compares: what has a second spelling is refused. */
function base64url(text) {
  need(typeof text === 'string', 'not base64url');
  const bytes = Buffer.from(text, 'base64url');
  need(bytes.toString('base64url') === text, 'not base64url in its one spelling');
  return bytes;
}

function base64(text) {
  const bytes = Buffer.from(text, 'base64');
  need(bytes.toString('base64') === text, 'not base64 in its one spelling');
  return bytes;
}

function utf8(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return wrong('not UTF-8');
  }
}

const isText = (value) => typeof value === 'string' && value.isWellFormed();

/** RFC 8785. `JSON.stringify` spells numbers and texts as it asks for; what is left is the order of members. */
function canonical(value, depth = 0) {
  need(depth <= 64, 'nested too deeply');
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    need(Number.isFinite(value), 'not a number that JSON has');
    return JSON.stringify(value);
  }
  if (typeof value === 'string') {
    need(isText(value), 'half a character');
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join(',')}]`;
  need(isObject(value), 'not JSON');
  const members = Object.keys(value)
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    .map((name) => `${canonical(name)}:${canonical(value[name], depth + 1)}`);
  return `{${members.join(',')}}`;
}

function readCanonical(bytes) {
  const text = utf8(bytes);
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    wrong('not JSON');
  }
  need(canonical(value) === text, 'not canonical JSON');
  return value;
}

// --- The object of a proof -----------------------------------------------------------------------------------------

const idOf = (prefix) => (value) =>
  typeof value === 'string' && new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`).test(value);
const namePattern = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const isName = (value) => typeof value === 'string' && value.length <= 63 && namePattern.test(value);
const listOf = (check) => (value) => Array.isArray(value) && value.every((item) => check(item));
const oneOf =
  (...words) =>
  (value) =>
    words.includes(value);
const isHash = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

/** Milliseconds since 1970 of a time in its one spelling, or undefined. */
function timeOf(value) {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)) return undefined;
  const at = Date.parse(value);
  return Number.isNaN(at) || at < 0 || new Date(at).toISOString() !== value ? undefined : at;
}

const types = {
  text: isText,
  texts: listOf(isText),
  time: (value) => timeOf(value) !== undefined,
  seconds: (value) => Number.isSafeInteger(value) && value > 0,
  count: (value) => Number.isSafeInteger(value) && value >= 0,
  hash: isHash,
  nonce: (value) =>
    typeof value === 'string' && value.length === 43 && Buffer.from(value, 'base64url').toString('base64url') === value,
  principal: (value) =>
    isObject(value) &&
    Object.keys(value).sort().join() === 'handle,id' &&
    idOf('usr')(value.id) &&
    isText(value.handle),
  role: (value) => typeof value === 'string' && value.split('/').length === 2 && value.split('/').every(isName),
  resource: isName,
  request: idOf('req'),
  grant: idOf('grt'),
  session: idOf('ses'),
  hold: idOf('hld'),
  plan: idOf('pln'),
  link: idOf('lnk'),
  proof: idOf('prf'),
  passkey: idOf('key'),
  passkeys: listOf(idOf('key')),
  status: oneOf('active', 'suspended'),
  kind: oneOf('user', 'service', 'agent'),
  yes: oneOf(true),
  'the word statement': oneOf('statement'),
  statement: (value) =>
    isObject(value) && Object.keys(value).sort().join() === 'digest,text' && isText(value.text) && isHash(value.digest),
};

const common = {
  id: 'proof',
  principal: 'principal',
  policyVersion: 'text',
  nonce: 'nonce',
  createdAt: 'time',
  expiresAt: 'time',
};

const heldStatement = {
  hold: 'hold',
  subject: 'the word statement',
  grant: 'grant',
  session: 'session',
  role: 'role',
  resource: 'resource',
  text: 'text',
  'parameters?': 'texts',
  digest: 'hash',
  needs: 'texts',
  askedBy: 'texts',
  'covers?': 'texts',
  'previewRows?': 'count',
  'previewSha256?': 'hash',
};

/** The members of each purpose and their types; `?` marks those that may be left out. */
export const purposes = {
  approve_request: {
    request: 'request',
    requester: 'principal',
    role: 'role',
    resource: 'resource',
    durationSeconds: 'seconds',
    'startsAt?': 'time',
    'extends?': 'grant',
    'permissions?': 'texts',
    reason: 'text',
    reasonHash: 'hash',
    'ticket?': 'text',
    'statement?': 'statement',
    'once?': 'yes',
    approvalsNeeded: 'count',
  },
  activate_grant: {
    grant: 'grant',
    request: 'request',
    role: 'role',
    resource: 'resource',
    notBefore: 'time',
    endsAt: 'time',
    activationSeconds: 'seconds',
  },
  enrol_authenticator: { subject: 'principal', 'authenticatorName?': 'text', 'link?': 'link' },
  invite_principal: { subject: 'principal', kind: 'kind', 'displayName?': 'text', groups: 'texts' },
  change_configuration: {
    plan: 'plan',
    configurationHash: 'hash',
    added: 'count',
    changed: 'count',
    removed: 'count',
    summary: 'texts',
  },
  change_principal: {
    subject: 'principal',
    statusBefore: 'status',
    statusAfter: 'status',
    groupsBefore: 'texts',
    groupsAfter: 'texts',
  },
  reset_authenticators: { subject: 'principal', authenticators: 'passkeys', reason: 'text' },
  add_authenticator: { subject: 'principal', link: 'link', authenticators: 'passkeys' },
  remove_authenticator: { subject: 'principal', authenticator: 'passkey', authenticatorName: 'text', left: 'count' },
  do_action: heldStatement,
  approve_action: {
    ...heldStatement,
    requester: 'principal',
    'actsFor?': 'texts',
    reasonHash: 'hash',
    'ticket?': 'text',
    'statementReason?': 'text',
    'rowsAtMost?': 'count',
    'validSeconds?': 'seconds',
  },
  approve_act: {
    hold: 'hold',
    requester: 'principal',
    words: 'texts',
    act: 'text',
    actHash: 'hash',
    askedBy: 'texts',
  },
};

function checkObject(object) {
  need(isObject(object) && object.v === 1, 'the object is not of version 1');
  need(typeof object.purpose === 'string' && has(purposes, object.purpose), 'the purpose is not known');
  const left = new Set(Object.keys(object));
  left.delete('v');
  left.delete('purpose');
  for (const [spelled, type] of Object.entries({ ...common, ...purposes[object.purpose] })) {
    const name = spelled.replace('?', '');
    if (!left.delete(name)) need(spelled !== name, `the object lacks \`${name}\``);
    else need(types[type](object[name]), `\`${name}\` is no ${type}`);
  }
  need(left.size === 0, 'the object has members that are not known');
  const lasts = timeOf(object.expiresAt) - timeOf(object.createdAt);
  need(lasts > 0 && lasts <= 300_000, 'the object is not good for five minutes at most');
}

/** The 32 bytes that the passkey was given to sign. */
export function challengeOf(object) {
  return sha256('sallyport/proof/v1\0', canonical(object));
}

// --- The assertion -------------------------------------------------------------------------------------------------

/** CTAP2's canonical CBOR as far as keys and extensions need it: the item, and where it ends. */
function readCbor(bytes, at, depth = 0) {
  need(depth <= 8, 'CBOR nested too deeply');
  need(at < bytes.length, 'CBOR ends too early');
  const major = bytes[at] >> 5;
  const info = bytes[at] & 31;
  if (major === 7) {
    const simple = { 20: false, 21: true, 22: null };
    need(has(simple, info), 'CBOR of a kind that is not used here');
    return { item: simple[info], end: at + 1 };
  }
  let end = at + 1;
  let argument = info;
  if (info >= 24) {
    need(info <= 26, 'CBOR with a length that is not used here');
    const length = 2 ** (info - 24);
    need(end + length <= bytes.length, 'CBOR ends too early');
    argument = bytes.readUIntBE(end, length);
    // The shortest form is the only one.
    need(argument >= [24, 256, 65_536][info - 24], 'CBOR in a longer form than needed');
    end += length;
  }
  if (major === 0) return { item: argument, end };
  if (major === 1) return { item: -1 - argument, end };
  if (major === 2 || major === 3) {
    need(end + argument <= bytes.length, 'CBOR ends too early');
    const part = bytes.subarray(end, end + argument);
    return { item: major === 2 ? Buffer.from(part) : utf8(part), end: end + argument };
  }
  need(major === 4 || major === 5, 'CBOR with tags');
  const list = [];
  const map = new Map();
  for (let i = 0; i < argument; i += 1) {
    const first = readCbor(bytes, end, depth + 1);
    end = first.end;
    if (major === 4) {
      list.push(first.item);
      continue;
    }
    need(
      ['number', 'string'].includes(typeof first.item) && !map.has(first.item),
      'CBOR with a key twice, or an odd one',
    );
    const second = readCbor(bytes, end, depth + 1);
    end = second.end;
    map.set(first.item, second.item);
  }
  return { item: major === 4 ? list : map, end };
}

function wholeCbor(bytes) {
  const { item, end } = readCbor(bytes, 0);
  need(end === bytes.length, 'something follows the CBOR');
  return item;
}

/** A passkey's public key out of its COSE form. @returns {(signed: Buffer, signature: Buffer) => boolean} */
export function publicKeyOf(cose) {
  const map = wholeCbor(cose);
  need(map instanceof Map, 'the key is no COSE key');
  const part = (label, length) => {
    const bytes = map.get(label);
    need(Buffer.isBuffer(bytes) && (length === undefined || bytes.length === length), 'the key is not whole');
    return bytes.toString('base64url');
  };
  const shape = [map.get(1), map.get(3), map.size].join(' ');
  let jwk;
  if (shape === '2 -7 5' && map.get(-1) === 1) jwk = { kty: 'EC', crv: 'P-256', x: part(-2, 32), y: part(-3, 32) };
  else if (shape === '1 -8 4' && map.get(-1) === 6) jwk = { kty: 'OKP', crv: 'Ed25519', x: part(-2, 32) };
  else if (shape === '3 -257 4') jwk = { kty: 'RSA', n: part(-1), e: part(-2) };
  else wrong('the key is of a kind that is not taken');
  let key;
  try {
    key = createPublicKey({ format: 'jwk', key: jwk });
  } catch {
    wrong('the key is no key');
  }
  if (jwk.kty === 'RSA') need(key.asymmetricKeyDetails.modulusLength >= 2048, 'the key is too short');
  return (signed, signature) => {
    try {
      return verifySignature(jwk.kty === 'OKP' ? null : 'sha256', signed, key, signature);
    } catch {
      return false;
    }
  };
}

/** Rules 1 to 3. @returns {number} the counter */
function checkAssertion(object, assertion, trusted) {
  let client;
  const clientBytes = base64url(assertion.clientDataJSON);
  try {
    client = JSON.parse(utf8(clientBytes));
  } catch {
    wrong('rule 1: the client data is no JSON');
  }
  need(isObject(client) || Array.isArray(client), 'rule 1: the client data is no object');
  need(client.type === 'webauthn.get', 'rule 1: not an assertion');
  need(client.challenge === challengeOf(object).toString('base64url'), 'rule 1: signed over something else');
  need(typeof client.origin === 'string' && trusted.origins.includes(client.origin), 'rule 1: from another origin');
  need(client.crossOrigin === undefined || client.crossOrigin === false, 'rule 1: in a frame of another origin');
  need(client.topOrigin === undefined, 'rule 1: in a frame of another origin');

  const data = base64url(assertion.authenticatorData);
  need(data.length >= 37, 'rule 2: the authenticator data is too short');
  need(data.subarray(0, 32).equals(sha256(trusted.rpId)), 'rule 2: for another relying party');
  const flags = data[32];
  need((flags & 0x01) !== 0, 'rule 2: nobody was present');
  need((flags & 0x04) !== 0, 'rule 2: nobody was verified');
  need((flags & 0x40) === 0, 'rule 2: with attested data');
  need((flags & 0x10) === 0 || (flags & 0x08) !== 0, 'rule 2: backed up without being eligible');
  if ((flags & 0x80) === 0) need(data.length === 37, 'rule 2: something follows the counter');
  else
    need(
      told(() => need(wholeCbor(data.subarray(37)) instanceof Map, 'no map')) === undefined,
      'rule 2: the extensions are no map',
    );

  const signed = Buffer.concat([data, sha256(clientBytes)]);
  need(trusted.verify(signed, base64url(assertion.signature)), 'rule 3: the signature is not of this key over this');
  return data.readUInt32BE(33);
}

function checkEvidence(evidence) {
  need(isObject(evidence) && Object.keys(evidence).sort().join() === 'assertion,object', 'the proof is malformed');
  const { object, assertion } = evidence;
  checkObject(object);
  need(
    isObject(assertion) &&
      Object.keys(assertion).sort().join() === 'authenticatorData,clientDataJSON,credentialId,signature',
    'the assertion is malformed',
  );
  for (const part of Object.values(assertion)) base64url(part);
}

/**
 * One proof by itself, against a key that the caller trusts.
 * @param {unknown} evidence `{ object, assertion }`
 * @param {{ rpId: string, origins: readonly string[], publicKey: Uint8Array }} trusted the key in its COSE form
 * @returns {string | undefined} what is wrong
 */
export function verifyProof(evidence, trusted) {
  return told(() => {
    checkEvidence(evidence);
    const verify = publicKeyOf(Buffer.from(trusted.publicKey));
    checkAssertion(evidence.object, evidence.assertion, { ...trusted, verify });
  });
}

function told(run) {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof Wrong) return error.message;
    throw error;
  }
}

// --- Proofs in the log ---------------------------------------------------------------------------------------------

/** Kinds that may carry a proof, with its purposes; `!` marks those that must. */
export const proofKinds = {
  'principal.invited': ['invite_principal'],
  'principal.changed': ['change_principal'],
  'link.issued': ['invite_principal', 'enrol_authenticator', 'add_authenticator', 'reset_authenticators'],
  'authenticator.enrolled': ['enrol_authenticator', 'add_authenticator'],
  'authenticator.removed': ['remove_authenticator'],
  'authenticators.reset': ['reset_authenticators'],
  'request.approved!': ['approve_request'],
  'grant.activated!': ['activate_grant'],
  'hold.proven!': ['do_action'],
  'hold.approved!': ['approve_action', 'approve_act'],
  'configuration.applied': ['change_configuration'],
  'policy.changed': ['change_configuration'],
};

/** The others. A kind that isn't here isn't known, and refused. */
export const otherKinds = [
  'system.started',
  'system.stopped',
  'link.used',
  'sign_in.succeeded',
  'sign_in.failed',
  'sign_out',
  'token.issued',
  'token.revoked',
  'request.filed',
  'request.withdrawn',
  'request.denied',
  'request.expired',
  'grant.created',
  'grant.used',
  'grant.extended',
  'grant.ended',
  'credential.issued',
  'login.created',
  'login.dropped',
  'login.drop_failed',
  'session.opened',
  'session.refused',
  'session.ended',
  'statement.judged',
  'statement.begun',
  'statement.copy_in',
  'statement.ended',
  'transaction.ended',
  'statement.denied',
  'hold.opened',
  'hold.previewed',
  'hold.reasoned',
  'hold.cured',
  'hold.released',
  'hold.denied',
  'hold.withdrawn',
  'hold.expired',
  'hold.ended',
  'cover.created',
  'cover.ended',
  'statement.cancelled',
  'decision.denied',
  'decision.evaluated',
  'decision.searched',
  'target.alarm',
  'gateway.recovered',
  'log.read',
  'log.exported',
  'recording.read',
  'content.erased',
];

function readEntry(leaf) {
  need(leaf.length <= 65_535, 'the entry is too long');
  const entry = readCanonical(leaf);
  need(isObject(entry) && entry.v === 1, 'the entry is not of version 1');
  const names = ['v', 'id', 'at', 'kind', 'actor', 'subjects', 'public', 'content'];
  need(
    Object.keys(entry).every((name) => names.includes(name)),
    'the entry has members that are not known',
  );
  need(idOf('ent')(entry.id), 'the entry has no id');
  need(timeOf(entry.at) !== undefined, 'the entry has no time');
  need(
    otherKinds.includes(entry.kind) || has(proofKinds, entry.kind) || has(proofKinds, `${entry.kind}!`),
    'the entry is of a kind that is not known',
  );
  need(entry.actor === 'system' || entry.actor === 'stranger' || idOf('usr')(entry.actor), 'the entry has no actor');
  need(isObject(entry.subjects), 'the entry has no subjects');
  need(
    Object.values(entry.subjects).every((name) => typeof name === 'string'),
    'a subject is no text',
  );
  need(isObject(entry.public), 'the entry has no public facts');
  if (has(entry, 'content'))
    need(typeof entry.content === 'string' && /^sha256:[0-9a-f]{64}$/.test(entry.content), 'the content is no hash');
  return entry;
}

/** Rule 7: what the object and the entry both name is the same. */
function idsOf(object) {
  switch (object.purpose) {
    case 'approve_request':
      return { request: object.request };
    case 'activate_grant':
      return { grant: object.grant };
    case 'change_configuration':
      return { plan: object.plan };
    case 'do_action':
      return { hold: object.hold, grant: object.grant, session: object.session };
    case 'approve_action':
      return { hold: object.hold, grant: object.grant, session: object.session, principal: object.requester.id };
    case 'approve_act':
      return { hold: object.hold, principal: object.requester.id };
    default:
      return { principal: object.subject.id };
  }
}

/** Follows a log from its first entry; `take` answers what is wrong with the next one, and whether it holds a good proof. */
export function followProofs() {
  const passkeys = new Map();
  const used = new Set();
  const declared = new Map();
  const holds = new Map();

  /** Rule 12, for what isn't a proof: opened once, released once and for the same, and run only then, or once before to be looked at. */
  const followHold = ({ kind, subjects, public: { digest, runsFirst } }) => {
    const known = holds.get(subjects.hold);
    if (kind === 'hold.opened') {
      need(known === undefined, 'rule 12: it was held before');
      const mayRunFirst = runsFirst === true;
      holds.set(subjects.hold, { digest, requester: subjects.principal, mayRunFirst, isReleased: false });
    } else if (kind === 'hold.released') {
      need(known !== undefined, 'rule 12: it was never held');
      need(!known.isReleased, 'rule 12: it was released before');
      known.isReleased = true;
      need(digest === known.digest, 'rule 12: released for something else than was held');
    } else if (kind === 'statement.begun') {
      need(known !== undefined && (known.isReleased || known.mayRunFirst), 'rule 12: it ran and was not released');
      if (!known.isReleased) known.mayRunFirst = false;
      need(digest === undefined || digest === known.digest, 'rule 12: something else ran than was held');
    }
  };

  const check = (entry, evidence) => {
    checkEvidence(evidence);
    const { object, assertion } = evidence;
    const { subjects } = entry;
    need(object.id === subjects.proof, 'rule 4: the entry names another proof');
    need(object.principal.id === entry.actor, 'rule 5: the proof is of somebody else');
    const fitting = proofKinds[entry.kind] ?? proofKinds[`${entry.kind}!`] ?? [];
    need(fitting.includes(object.purpose), 'rule 6: the purpose does not fit the entry');
    for (const [name, id] of Object.entries(idsOf(object))) need(subjects[name] === id, `rule 7: another ${name}`);
    for (const name of ['role', 'resource'])
      if (has(object, name) && subjects[name] !== undefined)
        need(subjects[name] === object[name], `rule 7: another ${name}`);
    const at = timeOf(entry.at);
    need(timeOf(object.createdAt) <= at && at < timeOf(object.expiresAt), 'rule 8: not within its time');
    if (has(object, 'reason') && has(object, 'reasonHash'))
      need(sha256(object.reason).toString('hex') === object.reasonHash, 'rule 8: the reason is not the one hashed');
    if (has(object, 'actHash'))
      need(sha256(object.act).toString('hex') === object.actHash, 'rule 8: the act is not the one hashed');
    if (has(object, 'requester'))
      need(object.requester.id !== object.principal.id, 'rule 11: who approved is who asked');
    if (has(object, 'hold')) {
      const held = holds.get(object.hold);
      need(held !== undefined, 'rule 12: nothing was held under that id');
      need(held.digest === (object.digest ?? object.actHash), 'rule 12: over something else than was held');
      const isOwn = held.requester === object.principal.id;
      need(isOwn === (object.purpose === 'do_action'), 'rule 12: approved by who asked, or proven by somebody else');
    }
    const passkey = passkeys.get(assertion.credentialId);
    need(passkey !== undefined, 'rule 9: no passkey of that id is enrolled');
    need(passkey.principal === object.principal.id, 'rule 9: the passkey is somebody else’s');
    const origins = [...passkey.origins, ...(declared.get(passkey.rpId) ?? [])];
    const counter = checkAssertion(object, assertion, { ...passkey, origins });
    need(counter > passkey.counter || (counter === 0 && passkey.counter === 0), 'rule 10: the counter went back');
    passkey.counter = counter;
  };

  const enrol = ({ subjects, public: facts }) => {
    need(idOf('usr')(subjects.principal) && idOf('key')(subjects.authenticator), 'the enrolment is of nobody');
    const verify = publicKeyOf(base64url(facts.publicKey));
    need(typeof facts.credentialId === 'string' && typeof facts.rpId === 'string', 'the enrolment is not whole');
    need(Array.isArray(facts.origins) && facts.origins.every((one) => typeof one === 'string'), 'it has no origins');
    need(!passkeys.has(facts.credentialId), 'the passkey was enrolled before');
    passkeys.set(facts.credentialId, {
      principal: subjects.principal,
      authenticator: subjects.authenticator,
      verify,
      rpId: facts.rpId,
      origins: facts.origins,
      counter: 0,
    });
  };

  return {
    take: (entry, content) => {
      const faults = [];
      let isProven = false;
      const note = (fault) => {
        if (fault !== undefined) faults.push(fault);
        return fault === undefined;
      };
      const { proof } = entry.subjects;
      if (proof !== undefined) {
        note(told(() => need(idOf('prf')(proof), 'what the entry names is no proof')));
        note(told(() => need(!used.has(proof), 'rule 4: the proof was used before')));
        used.add(proof);
      } else if (has(proofKinds, `${entry.kind}!`)) note('rule 6: the entry names no proof');
      const evidence = isObject(content) ? content.proof : undefined;
      if (evidence !== undefined) isProven = note(told(() => check(entry, evidence)));
      else if (content !== undefined && proof !== undefined) note('the content lacks the proof');

      if (entry.subjects.hold !== undefined) note(told(() => followHold(entry)));
      // Behind its own proof: no entry vouches for the key that signed it.
      if (entry.kind === 'authenticator.enrolled') note(told(() => enrol(entry)));
      for (const [id, passkey] of passkeys) {
        const isGone =
          (entry.kind === 'authenticator.removed' && passkey.authenticator === entry.subjects.authenticator) ||
          (entry.kind === 'authenticators.reset' && passkey.principal === entry.subjects.principal);
        if (isGone) passkeys.delete(id);
      }
      const { rpId, origins } = entry.public;
      if (
        entry.kind === 'system.started' &&
        typeof rpId === 'string' &&
        Array.isArray(origins) &&
        origins.every((one) => typeof one === 'string')
      )
        declared.set(rpId, [...(declared.get(rpId) ?? []), ...origins]);
      return { faults, isProven };
    },
  };
}

// --- A copy of the log ---------------------------------------------------------------------------------------------

function logKeyOf(vkey) {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(vkey);
  need(match !== null, 'not the public key of a log');
  const [, name, hash, encoded] = match;
  const bytes = base64(encoded);
  need(bytes.length === 33 && bytes[0] === 1, 'not an Ed25519 key');
  need(sha256(`${name}\n`, bytes).subarray(0, 4).toString('hex') === hash, 'the key is not the one its hash says');
  const key = createPublicKey({
    format: 'jwk',
    key: { kty: 'OKP', crv: 'Ed25519', x: bytes.subarray(1).toString('base64url') },
  });
  return { name, hash, verify: (text, signature) => verifySignature(null, Buffer.from(text), key, signature) };
}

/** The text of a signed note, and how many have signed it. */
function openNote(bytes, key) {
  const whole = utf8(bytes);
  const split = whole.lastIndexOf('\n\n');
  need(split >= 0 && whole.endsWith('\n'), 'not a signed note');
  const text = whole.slice(0, split + 1);
  const lines = whole.slice(split + 2, -1).split('\n');
  let isSigned = false;
  for (const line of lines) {
    const match = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line);
    need(match !== null, 'not a signature');
    const signature = base64(match[2]);
    if (match[1] !== key.name || signature.subarray(0, 4).toString('hex') !== key.hash) continue;
    need(key.verify(text, signature.subarray(4)), 'the signature does not hold');
    isSigned = true;
  }
  need(isSigned, 'not signed by the log');
  return { text, signatures: lines.length };
}

function readCheckpoint(bytes, key) {
  const match = /^([^\n]+)\n(0|[1-9]\d{0,15})\n([^\n]+)\n$/.exec(openNote(bytes, key).text);
  need(match !== null && match[1] === key.name, 'not a checkpoint of this log');
  const [size, root] = [Number(match[2]), base64(match[3])];
  need(Number.isSafeInteger(size) && root.length === 32, 'not a checkpoint');
  return { size, root };
}

/** RFC 6962 §2.1, as it is written there: the largest power of two below the size splits it. */
function treeRoot(hashes, from = 0, to = hashes.length) {
  if (to === from) return sha256('');
  if (to - from === 1) return hashes[from];
  let split = 1;
  while (split * 2 < to - from) split *= 2;
  return sha256(Buffer.of(1), treeRoot(hashes, from, from + split), treeRoot(hashes, from + split, to));
}

function split(bytes, prefix, count) {
  const parts = [];
  let at = 0;
  for (let i = 0; i < count; i += 1) {
    need(at + prefix <= bytes.length, 'a bundle ends too early');
    const length = bytes.readUIntBE(at, prefix);
    at += prefix;
    need(at + length <= bytes.length, 'a bundle ends too early');
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  need(at === bytes.length, 'a bundle has more in it');
  return parts;
}

function openContent(blob, entry, keys) {
  const idLength = blob[1];
  need(blob[0] === 1 && idLength >= 1 && idLength <= 63, 'not a sealed content');
  const keyId = blob.subarray(2, 2 + idLength).toString('latin1');
  need(/^[a-z0-9_-]{1,63}$/.test(keyId), 'not a sealed content');
  const rest = blob.subarray(2 + idLength);
  need(rest.length >= 60, 'not a sealed content');
  if (!has(keys, keyId)) return undefined;
  const key = base64url(keys[keyId]);
  need(key.length === 32, 'not a content key');
  need(rest.subarray(0, 32).equals(sha256(`sallyport/content-key/v1\0${keyId}\0`, key)), 'sealed with another key');
  const decipher = createDecipheriv('aes-256-gcm', key, rest.subarray(32, 44));
  decipher.setAAD(Buffer.from(`sallyport/content/v1\0${keyId}\0${entry.id}`));
  decipher.setAuthTag(rest.subarray(-16));
  try {
    return readCanonical(Buffer.concat([decipher.update(rest.subarray(44, -16)), decipher.final()]));
  } catch (error) {
    if (error instanceof Wrong) throw error;
    return wrong('the content does not open');
  }
}

const grouped = (index) => {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, '0');
  const groups = digits.match(/\d{3}/g);
  return groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/');
};
const tileName = (level, index, width) => `tile/${level}/${grouped(index)}${width === 256 ? '' : `.p/${width}`}`;

/**
 * A whole copy: who signed it, that it is whole and the log only grew, and every proof that can be read.
 * @param {{ read: (path: string) => Uint8Array | undefined, list: () => readonly string[] }} copy
 * @param {string} vkey
 * @returns {{ faults: string[], entries: number, proofs: number, unreadable: number }}
 */
export function verifyCopy(copy, vkey) {
  const report = { faults: [], entries: 0, proofs: 0, unreadable: 0 };
  const attempt = (where, run) => {
    const fault = told(run);
    if (fault !== undefined) report.faults.push(`${where}: ${fault}`);
    return fault === undefined;
  };
  const present = new Set(copy.list());
  const read = (path) => {
    const bytes = copy.read(path);
    need(bytes !== undefined, 'missing');
    return Buffer.from(bytes);
  };
  let key;
  const listed = new Map();
  const isListed = attempt('manifest', () => {
    key = logKeyOf(vkey);
    const { text, signatures } = openNote(read('manifest'), key);
    need(signatures === 1, 'signed by somebody else as well');
    const [head, origin, ...lines] = text.split('\n');
    need(
      head === 'sallyport/log-copy/v1' && origin === `origin ${key.name}` && lines.pop() === '',
      'not a manifest of this log',
    );
    let before = '';
    for (const line of lines) {
      const match = /^([0-9a-f]{64}) (0|[1-9]\d{0,15}) ([a-z0-9./]+)$/.exec(line);
      need(match !== null && match[3] > before, 'not a manifest');
      before = match[3];
      listed.set(match[3], { hash: match[1], size: Number(match[2]) });
    }
  });
  if (!isListed) return report;
  for (const [path, { hash, size }] of listed)
    attempt(path, () => {
      const bytes = read(path);
      need(bytes.length === size && sha256(bytes).toString('hex') === hash, 'not the bytes that were signed');
    });
  attempt('log.vkey', () => need(utf8(read('log.vkey')) === `${vkey}\n`, 'not the key that is trusted'));

  let checkpoint;
  let keys = {};
  attempt('keys.json', () => {
    const value = readCanonical(read('keys.json'));
    need(
      isObject(value) && value.v === 1 && isObject(value.keys) && Object.keys(value).length === 2,
      'not a list of keys',
    );
    keys = value.keys;
  });
  if (!attempt('checkpoint', () => (checkpoint = readCheckpoint(read('checkpoint'), key)))) return report;
  const { size, root } = checkpoint;
  need(size / 256 <= present.size, 'the checkpoint is of more than the copy can hold');

  const expected = new Set(['log.vkey', 'checkpoint', 'keys.json', 'manifest']);
  const hashes = [];
  const proofs = followProofs();
  for (let first = 0; first < size; first += 256) {
    const width = Math.min(256, size - first);
    const index = first / 256;
    const [bundle, contents] = [tileName('entries', index, width), `content/${grouped(index)}`];
    expected.add(bundle).add(contents);
    let leaves = [];
    let blobs = [];
    attempt(bundle, () => (leaves = split(read(bundle), 2, width)));
    attempt(contents, () => (blobs = split(read(contents), 4, width)));
    for (const [i, leaf] of leaves.entries()) {
      hashes.push(sha256(Buffer.of(0), leaf));
      const where = `entry ${first + i}`;
      let entry;
      if (!attempt(where, () => (entry = readEntry(leaf)))) continue;
      report.entries += 1;
      let content;
      const blob = blobs[i];
      if (blob !== undefined && blob.length > 0)
        attempt(where, () => {
          need(`sha256:${sha256(blob).toString('hex')}` === entry.content, 'not the content of the entry');
          content = openContent(blob, entry, keys);
        });
      if (content === undefined && entry.subjects.proof !== undefined) report.unreadable += 1;
      const { faults, isProven } = proofs.take(entry, content);
      for (const fault of faults) report.faults.push(`${where}: ${fault}`);
      if (isProven) report.proofs += 1;
    }
  }
  if (hashes.length === size) {
    attempt('checkpoint', () => need(treeRoot(hashes).equals(root), 'the entries do not have the signed root'));
    checkTiles(hashes, size, { attempt, expected, read });
  } else report.faults.push('checkpoint: not all of the entries can be read');
  for (const path of present) {
    const match = /^checkpoints\/(0|[1-9]\d{0,15})$/.exec(path);
    if (match === null) continue;
    expected.add(path);
    attempt(path, () => {
      const earlier = readCheckpoint(read(path), key);
      need(earlier.size === Number(match[1]) && earlier.size <= size, 'of a tree of another size');
      need(treeRoot(hashes, 0, earlier.size).equals(earlier.root), 'the log does not begin with what it signed');
    });
  }
  for (const path of new Set([...present, ...listed.keys()])) {
    if (!expected.has(path)) report.faults.push(`${path}: not a file of this copy`);
    else if (path !== 'manifest' && !listed.has(path)) report.faults.push(`${path}: not in the manifest`);
  }
  for (const path of expected) if (path !== 'manifest' && !listed.has(path)) report.faults.push(`${path}: missing`);
  return report;
}

/** Every tile says what the entries below it give. */
function checkTiles(leaves, size, { attempt, expected, read }) {
  let hashes = leaves;
  for (let level = 0; hashes.length > 0; level += 1) {
    const above = [];
    for (let first = 0; first < hashes.length; first += 256) {
      const tile = hashes.slice(first, first + 256);
      const name = tileName(level, first / 256, tile.length);
      expected.add(name);
      attempt(name, () => need(read(name).equals(Buffer.concat(tile)), 'not the hashes that the entries give'));
      if (tile.length === 256) above.push(treeRoot(tile));
    }
    hashes = above;
  }
}

// --- By hand -------------------------------------------------------------------------------------------------------

function folderAt(folder) {
  const list = (inside) =>
    readdirSync(join(folder, inside), { withFileTypes: true }).flatMap((item) => {
      const path = inside === '' ? item.name : `${inside}/${item.name}`;
      return item.isDirectory() ? list(path) : [path];
    });
  return {
    list: () => list(''),
    read: (path) => {
      try {
        return readFileSync(join(folder, path));
      } catch {
        return undefined;
      }
    },
  };
}

function main([command, file, ...rest]) {
  if (command === 'copy' && rest.length === 1) {
    const { faults, entries, proofs, unreadable } = verifyCopy(folderAt(file), rest[0]);
    for (const fault of faults) console.log(fault.replace(/\p{Cc}/gu, '\uFFFD'));
    console.log(
      `${entries} entries, ${proofs} proofs that hold, ${unreadable} that can't be read, ${faults.length} faults`,
    );
    return faults.length === 0 ? 0 : 1;
  }
  if (command === 'proof' && rest.length === 2) {
    const { object, assertion, publicKey } = JSON.parse(readFileSync(file, 'utf8'));
    const trusted = { rpId: rest[0], origins: [rest[1]], publicKey: Buffer.from(publicKey, 'base64url') };
    const fault = verifyProof({ object, assertion }, trusted);
    console.log(fault ?? `the passkey of ${object.principal.handle} signed this: ${canonical(object)}`);
    return fault === undefined ? 0 : 1;
  }
  console.error('second-verifier.mjs copy FOLDER VKEY\nsecond-verifier.mjs proof FILE RP_ID ORIGIN');
  return 2;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.exitCode = main(process.argv.slice(2));

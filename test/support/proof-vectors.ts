/**
 * Proofs and short logs, good and bad, over the published objects (docs/test-vectors/proof.json), signed by passkeys that are
 * made here. `makeVectors()` is what docs/test-vectors/assertions.json is made of.
 */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign, type JsonWebKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ProofPurpose } from '#core/proof.ts';
import { proofChallenge, textHash } from '#log/challenge.ts';
import type { EntryKind } from '#log/entry.ts';

export type Members = Record<string, unknown>;
export type Step = { readonly entry: Members; readonly content?: unknown };

export const proofVectors = JSON.parse(
  readFileSync(new URL('../../docs/test-vectors/proof.json', import.meta.url), 'utf8'),
) as {
  readonly proofs: readonly { readonly object: Members; readonly canonical: string; readonly challenge: string }[];
};

// --- Passkeys, made here -------------------------------------------------------------------------------------------

export const algorithms = ['ES256', 'EdDSA', 'RS256'] as const;
export type Algorithm = (typeof algorithms)[number];
export const rpId = 'sally.example';
export const origin = 'https://sally.example';

export type Passkey = { readonly algorithm: Algorithm; readonly privateKey: KeyObject; readonly cose: Buffer };

export function newPasskey(algorithm: Algorithm): Passkey {
  const part = (jwk: JsonWebKey, name: 'x' | 'y' | 'n' | 'e') => Buffer.from(jwk[name] ?? '', 'base64url');
  const bytes = (value: Buffer) =>
    Buffer.concat([
      value.length < 24
        ? Buffer.of(0x40 | value.length)
        : value.length < 256
          ? Buffer.of(0x58, value.length)
          : Buffer.of(0x59, value.length >> 8, value.length & 255),
      value,
    ]);
  if (algorithm === 'ES256') {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = publicKey.export({ format: 'jwk' });
    const cose = Buffer.concat([
      Buffer.from('a5010203262001', 'hex'),
      Buffer.of(0x21),
      bytes(part(jwk, 'x')),
      Buffer.of(0x22),
      bytes(part(jwk, 'y')),
    ]);
    return { algorithm, privateKey, cose };
  }
  if (algorithm === 'EdDSA') {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const cose = Buffer.concat([
      Buffer.from('a40101032720', 'hex'),
      Buffer.from('0621', 'hex'),
      bytes(part(publicKey.export({ format: 'jwk' }), 'x')),
    ]);
    return { algorithm, privateKey, cose };
  }
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = publicKey.export({ format: 'jwk' });
  const cose = Buffer.concat([
    Buffer.from('a401030339010020', 'hex'),
    bytes(part(jwk, 'n')),
    Buffer.of(0x21),
    bytes(part(jwk, 'e')),
  ]);
  return { algorithm, privateKey, cose };
}

type Oddly = {
  readonly client?: Members;
  readonly flags?: number;
  readonly counter?: number;
  readonly tail?: string;
  readonly rpId?: string;
  readonly signer?: Passkey;
  readonly challengeOf?: Members;
  readonly credentialId?: string;
  /** In place of the client data. */
  readonly rawClient?: string;
  /** So many bytes of the authenticator data, and no more. */
  readonly cut?: number;
};

export function assertionBy(passkey: Passkey, object: Members, how: Oddly = {}) {
  const challenge = proofChallenge((how.challengeOf ?? object) as never);
  const clientDataJSON = Buffer.from(
    how.rawClient ??
      JSON.stringify({
        type: 'webauthn.get',
        challenge: Buffer.from(challenge).toString('base64url'),
        origin,
        crossOrigin: false,
        ...how.client,
      }),
  );
  const head = Buffer.alloc(5);
  head[0] = how.flags ?? 0x05;
  head.writeUInt32BE(how.counter ?? 1, 1);
  const authenticatorData = Buffer.concat([
    createHash('sha256')
      .update(how.rpId ?? rpId)
      .digest(),
    head,
    Buffer.from(how.tail ?? '', 'hex'),
  ]).subarray(0, how.cut);
  const { algorithm, privateKey } = how.signer ?? passkey;
  const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientDataJSON).digest()]);
  return {
    credentialId: how.credentialId ?? `credential-of-${passkey.algorithm}-`.padEnd(24, 'A'),
    authenticatorData: authenticatorData.toString('base64url'),
    clientDataJSON: clientDataJSON.toString('base64url'),
    signature: sign(algorithm === 'EdDSA' ? null : 'sha256', signed, privateKey).toString('base64url'),
  };
}

// --- Short logs ----------------------------------------------------------------------------------------------------

const id = (prefix: string, tail: string) => `${prefix}_${tail.padStart(26, '0')}`;
const at = (second: number) => new Date(Date.UTC(2026, 10, 22, 10, 0, second)).toISOString();

const kindFor: Readonly<Record<ProofPurpose, EntryKind>> = {
  approve_request: 'request.approved',
  activate_grant: 'grant.activated',
  enrol_authenticator: 'link.issued',
  add_authenticator: 'link.issued',
  remove_authenticator: 'authenticator.removed',
  invite_principal: 'principal.invited',
  change_configuration: 'configuration.applied',
  change_principal: 'principal.changed',
  reset_authenticators: 'authenticators.reset',
  do_action: 'hold.proven',
  approve_action: 'hold.approved',
  approve_act: 'hold.approved',
};

/** What the entry of such a proof names besides it. */
function subjectsFor(object: Members): Record<string, string> {
  const names: Record<string, string> = { proof: String(object['id']) };
  for (const name of ['request', 'grant', 'plan', 'hold', 'session', 'role', 'resource'])
    if (typeof object[name] === 'string') names[name] = object[name];
  const about = (object['requester'] ?? (typeof object['subject'] === 'object' ? object['subject'] : undefined)) as
    | { id: string }
    | undefined;
  if (about !== undefined) names['principal'] = about.id;
  return names;
}

export const started = (): Step => ({
  entry: {
    v: 1,
    id: id('ent', '0'),
    at: at(0),
    kind: 'system.started',
    actor: 'system',
    subjects: {},
    public: { rpId, origins: [origin] },
  },
});
export const enrolled = (passkey: Passkey, principal: string, nth: number): Step => ({
  entry: {
    v: 1,
    id: id('ent', `e${nth}`),
    at: at(1),
    kind: 'authenticator.enrolled',
    actor: principal,
    subjects: { principal, authenticator: id('key', String(nth)) },
    public: {
      credentialId: `credential-of-${passkey.algorithm}-`.padEnd(24, 'A'),
      publicKey: passkey.cose.toString('base64url'),
      rpId,
      origins: ['https://old.sally.example'],
    },
  },
});

export function proven(
  passkey: Passkey,
  object: Members,
  how: Oddly & { readonly at?: string; readonly subjects?: Members; readonly entry?: Members } = {},
): Step {
  return {
    entry: {
      v: 1,
      id: id('ent', String(object['id']).slice(-6)),
      at: how.at ?? at(10),
      kind: kindFor[object['purpose'] as ProofPurpose],
      actor: (object['principal'] as { id: string }).id,
      subjects: { ...subjectsFor(object), ...how.subjects },
      public: {},
      content: `sha256:${'0'.repeat(64)}`,
      ...how.entry,
    },
    content: { proof: { object, assertion: assertionBy(passkey, object, how) } },
  };
}

/** Who asks for what is held. */
const askerOf = (object: Members): string => ((object['requester'] ?? object['principal']) as { id: string }).id;

/** An entry that names a hold, and what it is over. */
export const opened = (
  object: Members,
  how: { readonly kind?: EntryKind; readonly digest?: string; readonly asks?: string } = {},
): Step => ({
  entry: {
    v: 1,
    id: id('ent', '70'),
    at: at(9),
    kind: how.kind ?? 'hold.opened',
    actor: 'system',
    subjects: { hold: String(object['hold']), principal: how.asks ?? askerOf(object) },
    public: { digest: how.digest ?? String(object['digest'] ?? object['actHash']) },
  },
});

export const objects = proofVectors.proofs.map(({ object }) => object);
const objectFor = (purpose: ProofPurpose): Members => {
  const found = objects.find((object) => object['purpose'] === purpose);
  assert.ok(found !== undefined, purpose);
  return found;
};
export const signerOf = (object: Members): string => (object['principal'] as { id: string }).id;

type SingleVector = {
  readonly what: string;
  readonly rule?: string;
  readonly rpId: string;
  readonly origin: string;
  readonly publicKey: string;
  readonly evidence: unknown;
};
type LogVector = { readonly what: string; readonly steps: readonly (Step & { readonly rule?: string })[] };
export type Vectors = {
  readonly about: string;
  readonly keys: readonly {
    readonly about: string;
    readonly algorithm: string;
    readonly publicKeyCose: string;
    readonly privateKeyPkcs8: string;
  }[];
  readonly single: readonly SingleVector[];
  readonly logs: readonly LogVector[];
};

export function makeVectors(): Vectors {
  const keys = Object.fromEntries(algorithms.map((algorithm) => [algorithm, newPasskey(algorithm)])) as Record<
    Algorithm,
    Passkey
  >;
  const { ES256: es, EdDSA: ed } = keys;
  const held = objectFor('do_action');
  const single = (
    what: string,
    object: Members,
    how: Oddly & { rule?: string; passkey?: Passkey; change?: Members } = {},
  ): SingleVector => {
    const passkey = how.passkey ?? es;
    return {
      what,
      ...(how.rule === undefined ? {} : { rule: how.rule }),
      rpId,
      origin,
      publicKey: passkey.cose.toString('base64url'),
      evidence: { object: { ...object, ...how.change }, assertion: assertionBy(passkey, object, how) },
    };
  };
  const [parameter] = held['parameters'] as readonly string[];
  const tampered = (part: 'signature' | 'authenticatorData', bit: number): SingleVector => {
    const made = single('', held);
    const { object, assertion } = made.evidence as { object: Members; assertion: Record<string, string> };
    const bytes = Buffer.from(assertion[part] ?? '', 'base64url');
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ bit;
    return {
      ...made,
      what: `the ${part} with one bit changed`,
      rule: 'rule 3',
      evidence: { object, assertion: { ...assertion, [part]: bytes.toString('base64url') } },
    };
  };
  const ada = signerOf(held);
  const begun = (passkey: Passkey, ...who: readonly string[]): Step[] => [
    started(),
    ...who.map((one, nth) => enrolled(passkey, one, nth + 1)),
  ];
  /** Everything that has to be before such a proof. */
  const ready = (object: Members, passkeyOf = signerOf(object)): Step[] => [
    ...begun(es, passkeyOf),
    ...('hold' in object ? [opened(object)] : []),
  ];
  const approval = objectFor('approve_action');
  const bob = signerOf(approval);
  const bad = (rule: string, step: Step) => ({ ...step, rule });
  const later = (object: Members, n: number): Members => ({ ...object, id: id('prf', `9${n}`) });
  const log = (what: string, object: Members, rule: string, how: Parameters<typeof proven>[2]): LogVector => ({
    what,
    steps: [...ready(object), bad(rule, proven(es, object, how))],
  });

  return {
    about:
      'Proofs and short logs, good and bad, for verifiers of docs/proof-format.md. The keys are TEST KEYS, made for this file and printed in it: whoever trusts one of them trusts everybody.',
    keys: algorithms.map((algorithm) => ({
      about: 'TEST KEY, never to be trusted',
      algorithm,
      publicKeyCose: keys[algorithm].cose.toString('base64url'),
      privateKeyPkcs8: keys[algorithm].privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64url'),
    })),
    single: [
      ...objects.map((object) => single(`a good ${String(object['purpose'])}`, object)),
      ...(['EdDSA', 'RS256'] as const).map((algorithm) =>
        single(`a good one with ${algorithm}`, held, { passkey: keys[algorithm] }),
      ),
      single('with extensions', held, { flags: 0x85, tail: 'a1617801' }),
      single('of a passkey that may be backed up, and is', held, { flags: 0x1d }),
      single('client data with members that are not known', held, { client: { more: { than: 'before' } } }),
      single('one byte of the statement changed after signing', held, {
        rule: 'rule 1',
        change: { text: `${String(held['text'])} ` },
      }),
      single('one byte of a parameter changed after signing', held, {
        rule: 'rule 1',
        change: { parameters: [`${parameter}`.replace('refunded', 'refundex'), '$2 int8 = 4211'] },
      }),
      single('another digest', held, { rule: 'rule 1', change: { digest: textHash('another') } }),
      single('another grant', held, { rule: 'rule 1', change: { grant: id('grt', '9') } }),
      single('another session', held, { rule: 'rule 1', change: { session: id('ses', '9') } }),
      single('another principal', held, { rule: 'rule 1', change: { principal: { id: bob, handle: 'bob' } } }),
      single('a condition of the approver taken away', approval, { rule: 'rule 1', change: { rowsAtMost: 1_000_000 } }),
      single('the challenge of another object', held, { rule: 'rule 1', challengeOf: approval }),
      single('a registration', held, { rule: 'rule 1', client: { type: 'webauthn.create' } }),
      single('from another origin', held, { rule: 'rule 1', client: { origin: 'https://sally.example.evil.example' } }),
      single('in a frame of another origin', held, { rule: 'rule 1', client: { crossOrigin: true } }),
      single('with a top origin', held, { rule: 'rule 1', client: { topOrigin: origin } }),
      single('client data that is no object', held, { rule: 'rule 1', rawClient: 'null' }),
      single('client data that is a text', held, { rule: 'rule 1', rawClient: '"webauthn.get"' }),
      single('client data that is no JSON', held, { rule: 'rule 1', rawClient: '{' }),
      single('authenticator data that ends in the counter', held, { rule: 'rule 2', cut: 36 }),
      single('for another relying party', held, { rule: 'rule 2', rpId: 'evil.example' }),
      single('nobody present', held, { rule: 'rule 2', flags: 0x04 }),
      single('nobody verified', held, { rule: 'rule 2', flags: 0x01 }),
      single('with attested data', held, { rule: 'rule 2', flags: 0x45 }),
      single('backed up without being eligible', held, { rule: 'rule 2', flags: 0x15 }),
      single('bytes behind the counter', held, { rule: 'rule 2', tail: 'a0' }),
      single('extensions announced and not there', held, { rule: 'rule 2', flags: 0x85 }),
      single('extensions in a longer form than needed', held, { rule: 'rule 2', flags: 0x85, tail: 'b800' }),
      single('signed by another key', held, { rule: 'rule 3', signer: ed }),
      tampered('signature', 1),
      single('a member that is not known', { ...held, also: 'this' }, { rule: 'object' }),
      single('a member left out', Object.fromEntries(Object.entries(held).filter(([name]) => name !== 'askedBy')), {
        rule: 'object',
      }),
      single(
        'good for longer than five minutes',
        { ...held, expiresAt: '2026-11-22T10:05:00.001Z' },
        { rule: 'object' },
      ),
      single(
        'a time that is none',
        { ...held, createdAt: '2026-02-30T10:00:00.000Z', expiresAt: '2026-03-02T10:01:00.000Z' },
        { rule: 'object' },
      ),
      single('another version', { ...held, v: 2 }, { rule: 'object' }),
      single('a purpose that is not known', { ...held, purpose: 'do_anything' }, { rule: 'object' }),
      single('a member that is null', { ...held, previewRows: null }, { rule: 'object' }),
    ],
    logs: [
      ...objects.map((object) => ({
        what: `a good ${String(object['purpose'])}`,
        steps: [...ready(object), proven(es, object)],
      })),
      {
        what: 'replay: the same proof twice',
        steps: [...ready(held), proven(es, held), bad('rule 4', proven(es, held, { counter: 2, at: at(11) }))],
      },
      log('the proof of another entry', held, 'rule 4', { subjects: { proof: id('prf', '77') } }),
      log('an entry of somebody else', held, 'rule 5', { entry: { actor: bob } }),
      log('a proof for another purpose', held, 'rule 6', { entry: { kind: 'hold.approved' } }),
      log('a proof where none belongs', held, 'rule 6', { entry: { kind: 'hold.denied' } }),
      {
        what: 'no proof where one must be',
        steps: [
          ...ready(held),
          bad('rule 6', {
            entry: { ...proven(es, held).entry, subjects: { hold: String(held['hold']) } },
            content: {},
          }),
        ],
      },
      ...(['hold', 'grant', 'session'] as const).map((name) =>
        log(`for another ${name}`, held, 'rule 7', {
          subjects: { [name]: id({ hold: 'hld', grant: 'grt', session: 'ses' }[name], '88') },
        }),
      ),
      log('for another requester', approval, 'rule 7', { subjects: { principal: bob } }),
      log('for another role', held, 'rule 7', { subjects: { role: 'orders/support-read' } }),
      log('too late', held, 'rule 8', { at: '2026-11-22T10:05:00.000Z' }),
      log('too early', held, 'rule 8', { at: '2026-11-22T09:59:59.999Z' }),
      log('another reason than was hashed', { ...objectFor('approve_request'), reason: 'another' }, 'rule 8', {}),
      log(
        'another act than was hashed',
        { ...objectFor('approve_act'), act: '{"purpose":"reset_authenticators"}' },
        'rule 8',
        {},
      ),
      { what: 'a passkey of somebody else', steps: [...ready(held, bob), bad('rule 9', proven(es, held))] },
      {
        what: 'a passkey that nobody enrolled',
        steps: [...ready(held), bad('rule 9', proven(es, held, { credentialId: 'AAAA' }))],
      },
      {
        what: 'a passkey that was removed',
        steps: [
          ...ready(held),
          {
            entry: {
              v: 1,
              id: id('ent', '5'),
              at: at(5),
              kind: 'authenticator.removed',
              actor: 'system',
              subjects: { principal: ada, authenticator: id('key', '1') },
              public: {},
            },
          },
          bad('rule 9', proven(es, held)),
        ],
      },
      {
        what: 'a passkey whose owner’s were reset',
        steps: [
          ...ready(held),
          {
            entry: {
              v: 1,
              id: id('ent', '5'),
              at: at(5),
              kind: 'authenticators.reset',
              actor: 'system',
              subjects: { principal: ada },
              public: {},
            },
          },
          bad('rule 9', proven(es, held)),
        ],
      },
      {
        what: 'a passkey that vouches for its own enrolment',
        steps: [
          started(),
          bad('rule 9', {
            ...proven(es, { ...objectFor('add_authenticator'), id: id('prf', '5') }),
            entry: {
              ...enrolled(es, ada, 1).entry,
              subjects: { ...(enrolled(es, ada, 1).entry['subjects'] as Members), proof: id('prf', '5') },
            },
          }),
        ],
      },
      {
        what: 'a cloned passkey: the counter goes back',
        steps: [
          ...ready(held),
          proven(es, held, { counter: 7 }),
          bad('rule 10', proven(es, later(held, 1), { counter: 7, at: at(11) })),
          bad('rule 10', proven(es, later(held, 2), { counter: 0, at: at(12) })),
          proven(es, later(held, 3), { counter: 8, at: at(13) }),
        ],
      },
      {
        what: 'a synced passkey, which doesn’t count',
        steps: [
          ...ready(held),
          proven(es, held, { counter: 0 }),
          proven(es, later(held, 1), { counter: 0, at: at(11) }),
        ],
      },
      {
        what: 'who approves is who asked',
        steps: [...ready(approval), bad('rule 11', proven(es, { ...approval, requester: { id: bob, handle: 'bob' } }))],
      },
      {
        what: 'a hold that was opened over another statement than was signed',
        steps: [...begun(es, ada), opened(held, { digest: textHash('another') }), bad('rule 12', proven(es, held))],
      },
      {
        what: 'an approval of another act than was asked about',
        steps: [
          ...begun(es, signerOf(objectFor('approve_act'))),
          opened(objectFor('approve_act'), { digest: textHash('another') }),
          bad('rule 12', proven(es, objectFor('approve_act'))),
        ],
      },
      {
        what: 'what was held, signed, released and run',
        steps: [
          ...begun(es, ada),
          opened(held),
          proven(es, held, { entry: { public: { digest: held['digest'] } } }),
          opened(held, { kind: 'hold.released' }),
          opened(held, { kind: 'statement.begun' }),
          bad('rule 12', opened(held, { kind: 'hold.released' })),
        ],
      },
      { what: 'a proof of what nobody held', steps: [...begun(es, ada), bad('rule 12', proven(es, held))] },
      {
        what: 'a proof of what somebody else asked for',
        steps: [...begun(es, ada), opened(held, { asks: bob }), bad('rule 12', proven(es, held))],
      },
      {
        what: 'an approval by who asked, in the name of somebody else',
        steps: [...begun(es, bob), opened(approval, { asks: bob }), bad('rule 12', proven(es, approval))],
      },
      { what: 'held twice', steps: [...ready(held), bad('rule 12', opened(held))] },
      {
        what: 'released and never held',
        steps: [...begun(es, ada), bad('rule 12', opened(held, { kind: 'hold.released' }))],
      },
      {
        what: 'run and not released',
        steps: [...ready(held), bad('rule 12', opened(held, { kind: 'statement.begun' }))],
      },
      {
        what: 'released for another statement',
        steps: [...ready(held), bad('rule 12', opened(held, { kind: 'hold.released', digest: textHash('another') }))],
      },
      {
        what: 'another statement ran than was signed',
        steps: [
          ...begun(es, ada),
          opened(held),
          proven(es, held),
          opened(held, { kind: 'hold.released' }),
          bad('rule 12', opened(held, { kind: 'statement.begun', digest: textHash('another') })),
        ],
      },
      {
        what: 'an origin that nobody declared',
        steps: [
          enrolled(es, ada, 1),
          opened(held),
          bad('rule 1', proven(es, held)),
          started(),
          proven(es, later(held, 1), { counter: 2, at: at(11) }),
        ],
      },
    ],
  };
}

/**
 * Two verifiers that share no code must say the same about the same proof: the product's (src/log) and the one file
 * tools/second-verifier.mjs. On the published vectors, on thousands of proofs with something changed, and on exported logs.
 *
 * `SALLY_UPDATE_GOLDEN=1 node --test tools/second-verifier.test.ts` makes docs/test-vectors/assertions.json anew, with new keys.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, type Json } from '#core/jcs.ts';
import { parseProofObject, proofShapes } from '#core/proof.ts';
import { exportLog } from '#app/export-log.ts';
import { sequenceLog } from '#app/sequence-log.ts';
import { writeEntries } from '#app/write-entry.ts';
import { proofChallenge } from '#log/challenge.ts';
import { entryKinds, factsOf, parseEntry, type EntryKind } from '#log/entry.ts';
import { parseProofEvidence, startProofCheck } from '#log/evidence.ts';
import { verifyCopy } from '#log/verify-copy.ts';
import { parseCosePublicKey, verifyAssertion } from '#log/webauthn-assertion.ts';
import { transaction } from '#store/database.ts';
import { active } from '#test/support/access.ts';
import { testApp, valueOf } from '#test/support/app.ts';
import {
  algorithms,
  assertionBy,
  enrolled,
  makeVectors,
  newPasskey,
  objects,
  opened,
  origin,
  proofVectors,
  proven,
  rpId,
  signerOf,
  started,
  type Algorithm,
  type Members,
  type Passkey,
  type Step,
  type Vectors,
} from '#test/support/proof-vectors.ts';

type Trusted = { readonly rpId: string; readonly origins: readonly string[]; readonly publicKey: Uint8Array };
type Copy = { readonly read: (path: string) => Uint8Array | undefined; readonly list: () => readonly string[] };
/** The second verifier's own words; it is plain JavaScript, to be run anywhere. */
type Second = {
  readonly verifyProof: (evidence: unknown, trusted: Trusted) => string | undefined;
  readonly challengeOf: (object: unknown) => Uint8Array;
  readonly followProofs: () => {
    readonly take: (entry: unknown, content: unknown) => { readonly faults: string[]; readonly isProven: boolean };
  };
  readonly verifyCopy: (
    copy: Copy,
    vkey: string,
  ) => { readonly faults: string[]; readonly entries: number; readonly proofs: number; readonly unreadable: number };
  readonly purposes: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly proofKinds: Readonly<Record<string, readonly string[]>>;
  readonly otherKinds: readonly string[];
};
const file = join(import.meta.dirname, 'second-verifier.mjs');
const second = (await import(file)) as Second;
const vectorsFile = join(import.meta.dirname, '../docs/test-vectors/assertions.json');
// --- Both verifiers, asked the same --------------------------------------------------------------------------------

/** The first's answer for one proof by itself. */
function firstSays(evidence: unknown, trusted: Trusted): boolean {
  const parsed = parseProofEvidence(evidence);
  const publicKey = parseCosePublicKey(trusted.publicKey);
  if (parsed === undefined || publicKey === undefined) return false;
  const { authenticatorData, clientDataJSON, signature } = parsed.assertion;
  const bytes = (text: string) => Buffer.from(text, 'base64url');
  const outcome = verifyAssertion(
    { authenticatorData: bytes(authenticatorData), clientDataJSON: bytes(clientDataJSON), signature: bytes(signature) },
    { challenge: proofChallenge(parsed.object), rpId: trusted.rpId, origins: trusted.origins, publicKey },
  );
  return outcome.kind === 'verified';
}

/** Of each step: whether it is without fault, and whether a proof in it holds. A leaf that is no entry is a fault. */
function bothFollow(steps: readonly Step[]): {
  readonly first: string[];
  readonly second: string[];
  readonly whys: string[];
} {
  const check = startProofCheck();
  const other = second.followProofs();
  const answers: { first: string[]; second: string[]; whys: string[] } = { first: [], second: [], whys: [] };
  for (const { entry, content } of steps) {
    const parsed = parseEntry(Buffer.from(canonicalJson(entry)));
    if (parsed === undefined) {
      answers.first.push('no entry');
      answers.second.push('no entry');
      answers.whys.push('');
      continue;
    }
    const one = check.take(parsed, content as Json | undefined);
    const two = other.take(entry, content);
    answers.first.push(`${one.faults.length === 0 ? 'good' : 'bad'}${one.verified ? ', proven' : ''}`);
    answers.second.push(`${two.faults.length === 0 ? 'good' : 'bad'}${two.isProven ? ', proven' : ''}`);
    answers.whys.push(two.faults.join('; '));
  }
  return answers;
}

if (process.env['SALLY_UPDATE_GOLDEN'] === '1')
  writeFileSync(vectorsFile, `${JSON.stringify(makeVectors(), null, 2)}\n`);
const vectors = JSON.parse(readFileSync(vectorsFile, 'utf8')) as Vectors;

// --- Tests ---------------------------------------------------------------------------------------------------------

test('the second verifier shares no code with the first, and knows as much', () => {
  const text = readFileSync(file, 'utf8');
  const imports = [...text.matchAll(/\bfrom '([^']+)'|\bimport\(|\brequire\(/g)].map(([whole, name]) => name ?? whole);
  assert.ok(imports.length > 0 && imports.every((name) => name.startsWith('node:')), imports.join());

  // A purpose or a kind that only one of them knows is a change of format: docs/proof-format.md and both have to say it.
  const known = Object.fromEntries(
    Object.entries(proofShapes).map(([purpose, { fields }]) => [
      purpose,
      fields.map(({ name, optional }) => `${name}${optional === true ? '?' : ''}`).toSorted(),
    ]),
  );
  assert.deepEqual(
    Object.fromEntries(
      Object.entries(second.purposes).map(([purpose, members]) => [purpose, Object.keys(members).toSorted()]),
    ),
    known,
  );
  const kinds = Object.keys(entryKinds) as EntryKind[];
  const withProof = kinds.filter((kind) => factsOf(kind).proof !== undefined);
  const named = withProof.map((kind) => [
    `${kind}${factsOf(kind).proofRequired === true ? '!' : ''}`,
    factsOf(kind).proof?.toSorted(),
  ]);
  assert.deepEqual(
    Object.fromEntries(Object.entries(second.proofKinds).map(([kind, purposes]) => [kind, purposes.toSorted()])),
    Object.fromEntries(named),
  );
  const others = kinds.filter((kind) => !withProof.includes(kind)).toSorted();
  assert.deepEqual(
    second.otherKinds.toSorted(),
    others,
    'a new kind of entry goes into tools/second-verifier.mjs as well',
  );
});

test('both make the same challenges of the published objects', () => {
  for (const { object, challenge } of proofVectors.proofs) {
    assert.ok(parseProofObject(object) !== undefined);
    assert.equal(Buffer.from(second.challengeOf(object)).toString('hex'), challenge);
  }
  assert.deepEqual(
    new Set(objects.map((object) => object['purpose'])),
    new Set(Object.keys(proofShapes)),
    'there is one of each purpose',
  );
});

test('both take the good vectors and refuse the bad ones, for the rule that is named', () => {
  for (const { what, rule, evidence, publicKey, ...more } of vectors.single) {
    const trusted = { rpId: more.rpId, origins: [more.origin], publicKey: Buffer.from(publicKey, 'base64url') };
    assert.equal(firstSays(evidence, trusted), rule === undefined, what);
    const said = second.verifyProof(evidence, trusted);
    if (rule === undefined) assert.equal(said, undefined, what);
    else if (rule === 'object') assert.doesNotMatch(said ?? 'rule', /^rule/, what);
    else assert.match(said ?? '', new RegExp(`^${rule}:`), what);
  }
  for (const { what, steps } of vectors.logs) {
    const expected = steps.map(({ rule, content }) =>
      rule === undefined ? (content === undefined ? 'good' : 'good, proven') : 'bad',
    );
    const { first, second: other, whys } = bothFollow(steps);
    // A proof that was used before still is one.
    const plainly = (answers: readonly string[]) =>
      answers.map((answer) => (answer.startsWith('bad') ? 'bad' : answer));
    assert.deepEqual([plainly(first), plainly(other)], [expected, expected], `${what}: ${whys.join(' | ')}`);
    for (const [n, { rule }] of steps.entries())
      if (rule !== undefined) assert.match(whys[n] ?? '', new RegExp(`^${rule}: [^;]*$`), what);
  }
  const rules = new Set([...vectors.single, ...vectors.logs.flatMap(({ steps }) => steps)].map(({ rule }) => rule));
  for (let rule = 1; rule <= 12; rule += 1) assert.ok(rules.has(`rule ${rule}`), `rule ${rule} has no vector`);
});

/** Any one place of some JSON changed to something near it, or to something else. */
function changed(value: unknown, path: number, how: number): unknown {
  const places: (string | number)[][] = [];
  const walk = (inner: unknown, to: (string | number)[]): void => {
    places.push(to);
    if (Array.isArray(inner)) inner.forEach((item, i) => walk(item, [...to, i]));
    else if (typeof inner === 'object' && inner !== null)
      for (const name of Object.keys(inner)) walk((inner as Members)[name], [...to, name]);
  };
  walk(value, []);
  const place = places[path % places.length] ?? [];
  const rewrite = (inner: unknown, left: readonly (string | number)[]): unknown => {
    const [name, ...rest] = left;
    if (name === undefined) return near(inner, how);
    if (Array.isArray(inner)) {
      if (rest.length === 0 && how % 7 === 0) return inner.filter((_, i) => i !== name);
      return inner.map((item, i) => (i === name ? rewrite(item, rest) : item));
    }
    const members = { ...(inner as Members) };
    if (rest.length === 0 && how % 7 === 0) delete members[name];
    else if (rest.length === 0 && how % 7 === 1) members[`${name}x`] = members[name];
    else members[name] = rewrite(members[name], rest);
    return members;
  };
  return rewrite(value, place);
}

const others: readonly unknown[] = [
  null,
  true,
  false,
  0,
  1,
  -1,
  1.5,
  2 ** 53,
  '',
  'x',
  [],
  {},
  ['x'],
  { id: 'x' },
  'usr_00000000000000000000000ada',
  '2026-11-22T10:00:00.000Z',
  '1970-01-01T00:00:00.000Z',
  '2026-02-29T00:00:00.000Z',
  '2026-11-22T24:00:00.000Z',
  '2026-11-22T10:00:60.000Z',
  '9999-12-31T23:59:59.999Z',
  '\ud800',
  'system',
  '__proto__',
  'constructor',
  'approve_request',
  'approve_act',
];

function near(value: unknown, how: number): unknown {
  if (how % 3 === 0) return others[((how / 3) % others.length) | 0];
  if (typeof value === 'number') return value + ((how % 2) * 2 - 1);
  if (typeof value === 'boolean') return !value;
  if (Array.isArray(value)) return how % 2 === 0 ? [...value, value[0] ?? 'x'] : value.toReversed();
  if (typeof value !== 'string') return { ...(value as object), more: how };
  const where = how % (value.length + 1);
  const swapped = value.charAt(where) === 'a' ? 'b' : 'a';
  if (how % 5 === 0) return value.slice(0, where) + value.slice(where + 1);
  if (how % 5 === 1) return value.slice(0, where) + swapped + value.slice(where);
  return value.slice(0, where) + (how % 5 === 2 ? value.charAt(where).toUpperCase() : swapped) + value.slice(where + 1);
}

const runs = 4000;

test(`INVARIANT 5: ${runs} proofs and logs with something changed are taken or refused by both alike`, () => {
  const passkeys = Object.fromEntries(algorithms.map((algorithm) => [algorithm, newPasskey(algorithm)])) as Record<
    Algorithm,
    Passkey
  >;
  const seen = { taken: 0, refused: 0 };
  // What both are shown that neither was made for: the entry, the object, the assertion or what was enrolled, changed once or twice.
  // Half of the objects are signed again after the change, so that it isn't the signature alone that is at fault.
  fc.assert(
    fc.property(
      fc.constantFrom(...objects),
      fc.constantFrom(...algorithms),
      fc.constantFrom(
        'object',
        'signed object',
        'assertion',
        'entry',
        'enrolment',
        'hold',
        'client data',
        'authenticator data',
      ),
      fc.nat(),
      fc.nat(),
      fc.option(fc.tuple(fc.nat(), fc.nat())),
      (object, algorithm, part, where, how, again) => {
        const passkey = passkeys[algorithm];
        const twice = (value: unknown) => {
          const once = changed(value, where, how);
          return again === null ? once : changed(once, ...again);
        };
        const said = 'digest' in object ? { entry: { public: { digest: object['digest'] } } } : {};
        const before = 'hold' in object ? [opened(object)] : [];
        let steps: Step[] = [
          started(),
          enrolled(passkey, signerOf(object), 1),
          ...before,
          proven(passkey, object, said),
          ...('hold' in object
            ? [opened(object, { kind: 'hold.released' }), opened(object, { kind: 'statement.begun' })]
            : []),
        ];
        const place = 2 + before.length;
        const last = steps[place] as Step & {
          content: { proof: { object: Members; assertion: Record<string, string> } };
        };
        const { proof } = last.content;
        const withProof = (next: unknown): Step => ({ ...last, content: { proof: next } });
        try {
          if (part === 'object') steps[place] = withProof({ ...proof, object: twice(object) });
          else if (part === 'signed object') {
            const next = twice(object) as Members;
            steps[place] = withProof({ object: next, assertion: assertionBy(passkey, next) });
          } else if (part === 'assertion') steps[place] = withProof({ ...proof, assertion: twice(proof.assertion) });
          else if (part === 'entry') steps[place] = { ...last, entry: twice(last.entry) as Members };
          else if (part === 'hold')
            steps[where % steps.length] = {
              ...steps[where % steps.length],
              entry: twice(steps[where % steps.length]?.entry) as Members,
            };
          else if (part === 'enrolment')
            steps[1] = { entry: twice(enrolled(passkey, signerOf(object), 1).entry) as Members };
          else if (part === 'client data') {
            const client = JSON.parse(
              Buffer.from(proof.assertion['clientDataJSON'] ?? '', 'base64url').toString(),
            ) as Members;
            const next = twice(client);
            const spread =
              typeof next === 'object' && next !== null && !Array.isArray(next) ? (next as Members) : { odd: next };
            steps[place] = withProof({ object, assertion: assertionBy(passkey, object, { client: spread }) });
          } else {
            const tails = [
              '',
              'a0',
              'a161780',
              'b800',
              'a1617801',
              'bf',
              'a1f500',
              'a2617800617801',
              'a161780000',
              'a118180000',
              'a1181700',
              '80',
              'a1617818',
              'a16178fb00',
              'a1a000',
            ];
            const tail = tails[where % tails.length] ?? '';
            steps[place] = withProof({
              object,
              assertion: assertionBy(passkey, object, { flags: how % 256, counter: where % 3, tail }),
            });
          }
          steps = steps.map((step) => ({
            entry: JSON.parse(canonicalJson(step.entry)) as Members,
            ...(step.content === undefined ? {} : { content: JSON.parse(canonicalJson(step.content)) as unknown }),
          }));
        } catch {
          // Half a character, or more than JSON has: no log can hold it.
          return;
        }
        const answers = bothFollow(steps);
        assert.deepEqual(answers.second, answers.first, JSON.stringify([part, steps, answers.whys]));
        const evidence = (steps[place]?.content as { proof?: unknown } | undefined)?.proof;
        const trusted = { rpId, origins: [origin], publicKey: passkey.cose };
        const alone = firstSays(evidence, trusted);
        assert.equal(second.verifyProof(evidence, trusted) === undefined, alone, JSON.stringify(evidence));
        seen[answers.first.every((answer) => answer.startsWith('good')) ? 'taken' : 'refused'] += 1;
      },
    ),
    { numRuns: runs },
  );
  assert.ok(seen.taken > runs / 50 && seen.refused > runs / 2, `a test of both: ${JSON.stringify(seen)}`);
});

const folderOf = (files: ReadonlyMap<string, Uint8Array>): Copy => ({
  read: (path) => files.get(path),
  list: () => [...files.keys()],
});

test('both verify an exported log, and refuse it with any byte of it changed', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba'], 'synced');
  for (let i = 0; i < 3; i += 1) await active(app, ada, bob);
  await app.prove(root, {
    purpose: 'change_principal',
    principal: ada.principal.id,
    groups: ['engineering', 'sales'],
    state: 'active',
  });
  await app.prove(root, { purpose: 'invite_principal', handle: 'newcomer', name: 'Newcomer', groups: [] });
  // More than one tile holds.
  const fill = Array.from({ length: 256 }, () => ({ kind: 'system.stopped', actor: 'system' }) as const);
  await transaction(app.ctx.db, (trx) => writeEntries(app.ctx, trx, fill));
  await sequenceLog(app.ctx);
  await active(app, ada, bob);
  await sequenceLog(app.ctx);
  const files = new Map<string, Uint8Array>();
  const exported = valueOf(await exportLog(app.ctx, await app.caller(root)));
  await exported.write({ write: (path, bytes) => Promise.resolve(void files.set(path, Uint8Array.from(bytes))) });
  const { vkey } = app.ctx.logSigner;
  const first = async (of: ReadonlyMap<string, Uint8Array>) =>
    await verifyCopy(
      { read: (path) => Promise.resolve(of.get(path)), list: () => Promise.resolve([...of.keys()]) },
      { vkey },
    );

  const one = await first(files);
  const two = second.verifyCopy(folderOf(files), vkey);
  assert.deepEqual([one.faults, two.faults], [[], []]);
  assert.deepEqual([two.entries, two.proofs, two.unreadable], [one.entries, one.checkedProofs, one.unreadableProofs]);
  assert.ok(one.entries > 256 && one.checkedProofs >= 10 && one.earlierCheckpoints > 0, JSON.stringify(one));

  // As somebody would run it, in a process of its own that sees nothing of ours.
  const folder = mkdtempSync(join(tmpdir(), 'sally-copy-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  const run = (...words: readonly string[]) => {
    const { stdout, status } = spawnSync(process.execPath, [file, ...words], {
      encoding: 'utf8',
      cwd: folder,
      env: {},
    });
    return `${status}: ${stdout}`;
  };
  assert.equal(
    run('copy', folder, vkey),
    `0: ${one.entries} entries, ${one.checkedProofs} proofs that hold, 0 that can't be read, 0 faults\n`,
  );
  const [good, bad] = [vectors.single[0], vectors.single.find(({ rule }) => rule === 'rule 3')];
  writeFileSync(
    join(folder, 'proof.json'),
    JSON.stringify({ ...(good?.evidence as object), publicKey: good?.publicKey }),
  );
  assert.match(run('proof', 'proof.json', rpId, origin), /^0: the passkey of bob signed this: \{/);
  writeFileSync(
    join(folder, 'proof.json'),
    JSON.stringify({ ...(bad?.evidence as object), publicKey: bad?.publicKey }),
  );
  assert.match(run('proof', 'proof.json', rpId, origin), /^1: rule 3: /);

  const paths = [...files.keys()];
  for (let i = 0; i < 60; i += 1) {
    const path = paths[i % paths.length] ?? '';
    const bytes = Uint8Array.from(files.get(path) ?? []);
    if (bytes.length === 0) continue;
    const where = (i * 7919) % bytes.length;
    bytes[where] = (bytes[where] ?? 0) ^ (1 << (i % 8));
    const spoiled = new Map(files).set(path, bytes);
    assert.equal((await first(spoiled)).ok, false, path);
    assert.notDeepEqual(second.verifyCopy(folderOf(spoiled), vkey).faults, [], path);
  }
  for (const spoil of [
    (of: Map<string, Uint8Array>) => of.delete('checkpoint'),
    (of: Map<string, Uint8Array>) => of.set('more', Uint8Array.of(1)),
    (of: Map<string, Uint8Array>) => of.delete(paths.find((path) => path.startsWith('content/')) ?? ''),
    (of: Map<string, Uint8Array>) =>
      of.delete(
        paths.find((path) => path.startsWith('tile/1')) ?? paths.find((path) => path.startsWith('tile/0')) ?? '',
      ),
  ]) {
    const spoiled = new Map(files);
    spoil(spoiled);
    assert.equal((await first(spoiled)).ok, false);
    assert.notDeepEqual(second.verifyCopy(folderOf(spoiled), vkey).faults, []);
  }
});

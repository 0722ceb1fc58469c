/**
 * What somebody could try with a passkey's signature besides what it was given for, tried for every kind of it: one table. Each
 * attack is refused, changes nothing, and leaves the honest signature as good as it was: that is used then, and does its
 * act, so that it was the attack that was refused and nothing else.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { sql } from 'kysely';
import { decideStatement } from '#app/decide-statement.ts';
import { denyRequest } from '#app/deny-request.ts';
import { endGrant } from '#app/end-grant.ts';
import { exportLog } from '#app/export-log.ts';
import { offerProof, type ProofAsk } from '#app/offer-proof.ts';
import { denyHold, withdraw } from '#app/settle-hold.ts';
import { sequenceLog } from '#app/sequence-log.ts';
import { useProof, type Done } from '#app/use-proof.ts';
import type { Caller, Outcome } from '#app/context.ts';
import { encodeBase64Url } from '#core/base64.ts';
import { newId, type HoldId, type ProofId } from '#core/ids.ts';
import { minutes } from '#core/instant.ts';
import { noParameters, statementDigest, type RawParameters } from '#gateway/postgres/statement-digest.ts';
import { proofOptions } from '#identity/passkeys.ts';
import { verifyCopy } from '#log/verify-copy.ts';
import { approved, ask, connect, credentialFor, grantState, tally } from './support/access.ts';
import { testApp, valueOf, type TestApp, type TestPerson } from './support/app.ts';
import { approvalAsked, asked, held, house, proofAsked, run, statement, type House } from './support/holds.ts';
import type { Misbehaviour } from './support/software-authenticator.ts';

type World = House & {
  readonly app: TestApp;
  readonly eve: TestPerson;
  /** Another administrator. */
  readonly ruth: TestPerson;
  /** Signed in once each. */
  readonly caller: (of: TestPerson) => Promise<Caller>;
};

/** Something that a signature can do, once. */
type Target = {
  readonly by: TestPerson;
  readonly ask: ProofAsk;
  /** What it is about, in the store, to be changed behind the back of who signs. */
  readonly about: { readonly table: 'hold' | 'access_request' | 'access_grant'; readonly id: string };
  readonly isDone: () => Promise<boolean>;
};

const stateIn = async ({ app }: World, table: 'hold' | 'access_request' | 'access_grant', id: string) =>
  (await sql<{ state: string }>`select state from ${sql.table(table)} where id = ${id}`.execute(app.ctx.db)).rows[0]
    ?.state;

const isSigned = async ({ app }: World, hold: HoldId, kind: 'proof' | 'approval') =>
  (
    await app.ctx.db
      .selectFrom('hold_signature')
      .select('proof')
      .where('hold', '=', hold)
      .where('kind', '=', kind)
      .execute()
  ).length > 0;

/** Every purpose that is given for one thing, and how there comes to be such a thing. */
const targets = {
  do_action: async (w) => {
    const hold = await held(w.app, w.session);
    return {
      by: w.ada,
      ask: { purpose: 'do_action', hold },
      about: { table: 'hold', id: hold },
      isDone: () => isSigned(w, hold, 'proof'),
    };
  },
  approve_action: async (w) => {
    const hold = await held(w.app, w.session);
    return {
      by: w.bob,
      ask: { purpose: 'approve_action', hold },
      about: { table: 'hold', id: hold },
      isDone: () => isSigned(w, hold, 'approval'),
    };
  },
  approve_act: async (w) => {
    // Each is another act, or it would be the same hold.
    const reason = `lost ${newId('proof', { now: w.app.clock.now(), random: w.app.ctx.random })}`;
    const reset = { purpose: 'reset_authenticators', principal: w.eve.principal.id, reason } as const;
    const outcome = await offerProof(w.app.ctx, await w.caller(w.root), reset);
    assert.ok(outcome.kind === 'refused' && outcome.because === 'approval_needed', JSON.stringify(outcome));
    const hold = outcome.hold?.id as HoldId;
    return {
      by: w.ruth,
      ask: { purpose: 'approve_act', hold },
      about: { table: 'hold', id: hold },
      isDone: () => isSigned(w, hold, 'approval'),
    };
  },
  approve_request: async (w) => {
    const request = await ask(w.app, w.ada);
    return {
      by: w.bob,
      ask: { purpose: 'approve_request', request },
      about: { table: 'access_request', id: request },
      isDone: async () => (await stateIn(w, 'access_request', request)) === 'approved',
    };
  },
  activate_grant: async (w) => {
    const grant = await approved(w.app, w.ada, w.bob);
    return {
      by: w.ada,
      ask: { purpose: 'activate_grant', grant },
      about: { table: 'access_grant', id: grant },
      isDone: async () => (await stateIn(w, 'access_grant', grant)) === 'active',
    };
  },
} satisfies Record<string, (w: World) => Promise<Target>>;
type Purpose = keyof typeof targets;
const purposes = Object.keys(targets) as Purpose[];

/** An offer that lies on somebody's screen. */
async function show(w: World, { by, ask: what }: Target) {
  const { app } = w;
  const caller = await w.caller(by);
  const offer = valueOf(await offerProof(app.ctx, caller, what));
  const allowed = offer.authenticators.map(({ credentialId }) => ({
    credentialId: encodeBase64Url(credentialId),
    transports: [],
  }));
  const sign = (how: Misbehaviour = {}, key = by.key, any = false) =>
    key.assert(proofOptions({ rpId: app.ctx.site.rpId, challenge: offer.challenge, allowed: any ? [] : allowed }), how);
  const use = async (assertion: unknown, as: Caller = caller, proof: ProofId = offer.id) =>
    await useProof(app.ctx, as, { proof, assertion });
  return { id: offer.id, object: offer.object, sign, use };
}
type Shown = Awaited<ReturnType<typeof show>>;

type Attack = {
  readonly what: string;
  readonly try: (w: World, on: Shown, target: Target, purpose: Purpose) => Promise<Outcome<Done>>;
  readonly refusal: string;
};

/** What a browser or an authenticator could say otherwise. */
const misbehaves = (what: string, how: Misbehaviour): Attack => ({
  what,
  try: async (_, { sign, use }) => await use(sign(how)),
  refusal: 'proof_refused',
});

/** Changes what no use case changes, as somebody in the database could. */
async function behindTheBack(w: World, table: string, change: () => Promise<unknown>): Promise<void> {
  const { db } = w.app.ctx;
  await sql`alter table ${sql.table(table)} disable trigger user`.execute(db);
  await change();
  await sql`alter table ${sql.table(table)} enable trigger user`.execute(db);
}

const attacks: readonly Attack[] = [
  misbehaves('from a page of another origin', { origin: 'https://localhost.evil.example' }),
  misbehaves('in a frame of another origin', { crossOrigin: true }),
  misbehaves('in a frame under another page', { topOrigin: 'https://evil.example' }),
  misbehaves('for another relying party', { rpId: 'evil.example' }),
  misbehaves('user verification off', { userVerified: false }),
  misbehaves('nobody present', { userPresent: false }),
  misbehaves('a registration in place of an assertion', { type: 'webauthn.create' }),
  misbehaves('one bit of the signature changed', { tamper: 'signature' }),
  misbehaves('one bit of the authenticator data changed', { tamper: 'authenticatorData' }),
  misbehaves('one bit of the client data changed', { tamper: 'clientDataJSON' }),
  misbehaves('over a challenge of nobody', { challenge: new Uint8Array(32) }),
  {
    what: 'signed over another thing of the same kind',
    try: async (w, { use }, _, purpose) => await use((await show(w, await targets[purpose](w))).sign()),
    refusal: 'proof_refused',
  },
  ...purposes.map((other): Attack => ({
    what: `signed to ${other}`,
    // By the same person, where there is something else that they could sign.
    try: async (w, { use }, { by }, purpose) => {
      const elsewhere = await targets[other](w);
      const shown = await show(w, elsewhere);
      return await use(elsewhere.by === by && other !== purpose ? shown.sign() : shown.sign({}, elsewhere.by.key));
    },
    refusal: 'proof_refused',
  })),
  {
    what: 'by the passkey of somebody else',
    try: async (w, { sign, use }) => await use(sign({}, w.eve.key, true)),
    refusal: 'proof_refused',
  },
  {
    what: 'by the passkey of somebody else that claims to be the right one',
    try: async (w, { sign, use }) => await use({ ...sign({}, w.eve.key, true), id: sign().id, rawId: sign().id }),
    refusal: 'proof_refused',
  },
  {
    what: 'used by somebody else, with the right signature',
    try: async (w, { sign, use }) => await use(sign(), await w.caller(w.eve)),
    refusal: 'not_found',
  },
  {
    what: 'under the id of a proof that is not',
    try: async (_, { sign, use }) => await use(sign(), undefined, 'prf_00000000000000000000000000' as ProofId),
    refusal: 'not_found',
  },
  {
    what: 'the object swapped in the store after it was shown',
    try: async (w, { id, object, sign, use }) => {
      const { db } = w.app.ctx;
      const assertion = sign();
      const swap = (next: unknown) =>
        behindTheBack(w, 'proof', () =>
          sql`update proof set object = ${JSON.stringify(next)}::jsonb where id = ${id}`.execute(db),
        );
      await swap({ ...object, nonce: Buffer.alloc(32, 1).toString('base64url') });
      const outcome = await use(assertion);
      await swap(object);
      return outcome;
    },
    refusal: 'proof_refused',
  },
];

async function world(t: Parameters<typeof testApp>[0]): Promise<World> {
  const app = await testApp(t);
  const w = await house(app, proofAsked + approvalAsked('approval by dba'));
  const callers = new Map<TestPerson, Caller>();
  const caller = async (of: TestPerson): Promise<Caller> => {
    const known = callers.get(of) ?? (await app.caller(of));
    callers.set(of, known);
    return known;
  };
  return {
    ...w,
    app,
    caller,
    eve: await app.person('eve', ['engineering', 'dba'], 'synced'),
    ruth: await app.person('ruth', ['administrators'], 'synced'),
  };
}

const letGo = async (w: World): Promise<void> => {
  // Three at once are the most that wait in a session.
  const rows = await w.app.ctx.db
    .selectFrom('hold')
    .select(['id', 'requester'])
    .where('state', 'in', ['waiting', 'cured'])
    .execute();
  for (const { id, requester } of rows) {
    const caller = await w.caller(requester === w.ada.principal.id ? w.ada : w.root);
    valueOf(await withdraw(w.app.ctx, { caller }, { hold: id, because: 'by_requester' }));
  }
};

for (const purpose of purposes)
  test(`INVARIANT 5: a signature to ${purpose} is for that alone: ${attacks.length} attacks on it, and a replay`, async (t) => {
    const w = await world(t);
    for (const { what, try: attempt, refusal } of attacks) {
      await letGo(w);
      const target = await targets[purpose](w);
      const shown = await show(w, target);
      const outcome = await attempt(w, shown, target, purpose);
      assert.equal(outcome.kind === 'refused' ? outcome.because : outcome.kind, refusal, what);
      assert.equal(await target.isDone(), false, `${what}: nothing is done`);
      const assertion = shown.sign();
      valueOf(await shown.use(assertion));
      assert.equal(await target.isDone(), true, `${what}: and what was meant is done`);
      const replayed = await shown.use(assertion);
      assert.ok(replayed.kind === 'refused' && replayed.because === 'proof_refused', `${what}: replayed`);
    }

    // Two tabs: the same thing offered twice, both signed, both sent at once.
    for (let round = 0; round < 3; round += 1) {
      await letGo(w);
      const target = await targets[purpose](w);
      const tabs = [await show(w, target), await show(w, target)];
      const outcomes = await Promise.all(tabs.map(({ sign, use }) => use(sign())));
      assert.equal(tally(outcomes)['done'], 1, JSON.stringify(outcomes));
    }

    // A stale page: five minutes old, or of something that was settled meanwhile.
    await letGo(w);
    const target = await targets[purpose](w);
    const shown = await show(w, target);
    const assertion = shown.sign();
    w.app.clock.move(minutes(5));
    const late = await shown.use(assertion);
    assert.ok(late.kind === 'refused' && late.because === 'expired', 'too late');
    assert.equal(await target.isDone(), false);

    // A cloned passkey signs nothing once the true one has counted on. Last, for theirs counts from here.
    await letGo(w);
    const [earlier, next] = [await targets[purpose](w), await targets[purpose](w)];
    const [before, cloned] = [await show(w, earlier), await show(w, next)];
    valueOf(await before.use(before.sign({ counter: 9 })));
    for (const counter of [9, 8, 1, 0]) {
      const outcome = await cloned.use(cloned.sign({ counter }));
      assert.ok(outcome.kind === 'refused' && outcome.because === 'proof_refused', `cloned: ${counter}`);
      assert.equal(await next.isDone(), false);
    }
    valueOf(await cloned.use(cloned.sign({ counter: 10 })));
    assert.equal(await next.isDone(), true);

    // All of that is in a log that verifies.
    await sequenceLog(w.app.ctx);
    const files = new Map<string, Uint8Array>();
    const exported = valueOf(await exportLog(w.app.ctx, await w.app.caller(w.root)));
    await exported.write({ write: (path, bytes) => Promise.resolve(void files.set(path, Uint8Array.from(bytes))) });
    const copy = {
      read: (path: string) => Promise.resolve(files.get(path)),
      list: () => Promise.resolve([...files.keys()]),
    };
    const report = await verifyCopy(copy, { vkey: w.app.ctx.logSigner.vkey });
    assert.deepEqual(report.faults, []);
    const { verifyCopy: second } = (await import(new URL('../tools/second-verifier.mjs', import.meta.url).href)) as {
      verifyCopy: (copy: object, vkey: string) => { faults: string[]; proofs: number };
    };
    const other = second(
      { read: (path: string) => files.get(path), list: () => [...files.keys()] },
      w.app.ctx.logSigner.vkey,
    );
    assert.deepEqual([other.faults, other.proofs], [[], report.checkedProofs]);
    assert.ok(report.checkedProofs > attacks.length);
  });

test('INVARIANT 5: what was signed is run as it was signed: not a byte of text or parameters else, nowhere else, once', async (t) => {
  const w = await world(t);
  const { app, ada, bob, session, grant } = w;
  const hold = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold });
  await app.prove(bob, { purpose: 'approve_action', hold });
  const elsewhere = sessionOf(await connect(app, await credentialFor(app, ada, grant)));
  const another = await approved(app, ada, bob);
  await app.prove(ada, { purpose: 'activate_grant', grant: another });
  const underAnother = sessionOf(await connect(app, await credentialFor(app, ada, another)));
  for (const [what, of, text] of [
    ['a space more', session, `${statement} `],
    ['another case', session, statement.toUpperCase()],
    ['another value', session, statement.replace('paid', 'pait')],
    ['another session of the grant', elsewhere, statement],
    ['another grant', underAnother, statement],
  ] as const) {
    const decision = await run(app, of, hold, text);
    assert.ok(decision.kind === 'deny', what);
    assert.equal(await stateIn(w, 'hold', hold), 'cured', what);
  }
  for (const digest of [undefined, '', asked(session).digest.toUpperCase(), asked(session).digest.slice(0, 63)])
    assert.equal((await decideStatement(app.ctx, { ...asked(session), digest, hold })).kind, 'deny', String(digest));
  const decisions = await Promise.all(Array.from({ length: 5 }, () => run(app, session, hold)));
  assert.deepEqual(decisions.map(({ kind }) => kind).toSorted(), ['allow', 'deny', 'deny', 'deny', 'deny']);
});

function sessionOf(answer: Awaited<ReturnType<typeof connect>>) {
  if (answer.kind === 'refused') throw new Error(`refused: ${answer.message}`);
  return answer.session.id;
}

test('INVARIANT 5: what is held and swapped after it was shown is not signed, nor run', async (t) => {
  const w = await world(t);
  const { app, session } = w;
  for (const purpose of ['do_action', 'approve_action'] as const) {
    const target = await targets[purpose](w);
    const hold = target.about.id as HoldId;
    const shown = await show(w, target);
    const swap = (from: string, to: string) =>
      behindTheBack(w, 'hold', () =>
        sql`update hold set held = replace(held::text, ${from}, ${to})::jsonb where id = ${hold}`.execute(app.ctx.db),
      );
    await swap('paid', 'void');
    const outcome = await shown.use(shown.sign());
    assert.ok(outcome.kind === 'refused' && outcome.because === 'conflict', JSON.stringify(outcome));
    assert.equal(await target.isDone(), false);
    await swap('void', 'paid');
    // And another digest in its place: what is run isn't what was signed.
    const digest = 'f'.repeat(64);
    await behindTheBack(w, 'hold', () =>
      app.ctx.db.updateTable('hold').set({ digest }).where('id', '=', hold).execute(),
    );
    const again = await shown.use(shown.sign());
    assert.ok(again.kind === 'refused' && again.because === 'conflict');
    await behindTheBack(w, 'hold', () =>
      app.ctx.db
        .updateTable('hold')
        .set({ digest: asked(session).digest })
        .where('id', '=', hold)
        .execute(),
    );
    valueOf(await shown.use(shown.sign()));
    assert.equal(await target.isDone(), true);
    await letGo(w);
  }
});

test('a stale page signs nothing: denied, withdrawn or decided meanwhile, it is told so', async (t) => {
  const w = await world(t);
  const { app, ada, bob, cas } = w;
  const [adaCalls, casCalls] = [await app.caller(ada), await app.caller(cas)];
  for (const purpose of ['do_action', 'approve_action'] as const)
    for (const settle of [
      (hold: HoldId) => denyHold(app.ctx, casCalls, { hold, word: 'no', endsSession: false }),
      (hold: HoldId) => withdraw(app.ctx, { caller: adaCalls }, { hold, because: 'by_requester' }),
    ]) {
      const target = await targets[purpose](w);
      const shown = await show(w, target);
      valueOf(await settle(target.about.id as HoldId));
      const outcome = await shown.use(shown.sign());
      assert.ok(outcome.kind === 'refused' && outcome.because === 'already_decided', JSON.stringify(outcome));
      assert.equal(await target.isDone(), false);
    }
  const request = await targets.approve_request(w);
  const shown = await show(w, request);
  valueOf(await denyRequest(app.ctx, casCalls, { request: request.about.id as never, word: 'no' }));
  const outcome = await shown.use(shown.sign());
  assert.ok(outcome.kind === 'refused' && outcome.because === 'already_decided');
  const grant = await targets.activate_grant(w);
  const page = await show(w, grant);
  valueOf(await endGrant(app.ctx, await app.caller(bob), { grant: grant.about.id as never, word: undefined }));
  const activation = await page.use(page.sign());
  assert.ok(activation.kind === 'refused', 'a grant that was revoked');
  assert.notEqual((await grantState(app, grant.about.id as never)).state, 'active');
});

test('INVARIANT 2: an approver who is asked through an agent approves nothing: not when offered, not when signed, not in the store', async (t) => {
  const w = await world(t);
  const { app, bob, cas } = w;
  for (const [table, purpose] of [
    ['hold', 'approve_action'],
    ['access_request', 'approve_request'],
  ] as const) {
    const target = await targets[purpose](w);
    const shown = await show(w, target);
    const assertion = shown.sign();
    const actFor = (who: readonly TestPerson[]) =>
      behindTheBack(w, table, () =>
        sql`update ${sql.table(table)} set acts_for = ${who.map(({ principal }) => principal.id)} where id = ${target.about.id}`.execute(
          app.ctx.db,
        ),
      );
    // The agent acts for somebody who acts for bob.
    await actFor([w.eve, bob]);
    const offered = await offerProof(app.ctx, await app.caller(bob), target.ask);
    assert.ok(offered.kind === 'refused' && offered.because === 'own_request', purpose);
    const used = await shown.use(assertion);
    assert.ok(used.kind === 'refused' && used.because === 'own_request', `${purpose}: signed before it was known`);
    assert.equal(await target.isDone(), false);
    await app.prove(cas, target.ask);
    assert.equal(await target.isDone(), true, 'somebody else of them can');
  }
});

test('INVARIANT 4: approved, proven, run and revoked all at once: what runs runs before the end, and nothing after it', async (t) => {
  const w = await world(t);
  const { app, ada, bob, cas } = w;
  for (let round = 0; round < 6; round += 1) {
    const grant = await approved(app, ada, bob, 'orders/fix-orders' as never);
    await app.prove(ada, { purpose: 'activate_grant', grant });
    const session = sessionOf(await connect(app, await credentialFor(app, ada, grant)));
    const hold = await held(app, session);
    const [proof, approval] = [
      await show(w, { by: ada, ask: { purpose: 'do_action', hold } } as Target),
      await show(w, { by: bob, ask: { purpose: 'approve_action', hold } } as Target),
    ];
    // On even rounds it is cured before, so that the run itself meets the revocation.
    if (round % 2 === 0) {
      valueOf(await proof.use(proof.sign()));
      valueOf(await approval.use(approval.sign()));
    }
    const casCalls = await app.caller(cas);
    const [decision, ended] = await Promise.all([
      run(app, session, hold),
      endGrant(app.ctx, casCalls, { grant, word: undefined }),
      ...(round % 2 === 0 ? [] : [proof.use(proof.sign()), approval.use(approval.sign())]),
    ]);
    assert.equal(ended.kind, 'done');
    const state = await stateIn(w, 'hold', hold);
    assert.equal(state, decision.kind === 'allow' ? 'released' : 'ended');
    assert.equal((await run(app, session, hold)).kind, 'deny');
    assert.equal((await run(app, session)).kind, 'deny', 'the access has ended');
    const entries = await sql<{ kind: string }>`
      select kind from log_entry where kind in ('hold.released', 'grant.ended') and (subjects ->> 'grant') = ${grant} order by seq`.execute(
      app.ctx.db,
    );
    const kinds = entries.rows.map(({ kind }) => kind);
    assert.deepEqual(kinds, decision.kind === 'allow' ? ['hold.released', 'grant.ended'] : ['grant.ended']);
  }
});

test('INVARIANT 5: a byte of the text or of a parameter, its type, its format or its place changed is another statement', () => {
  const published = (
    JSON.parse(readFileSync(new URL('../docs/test-vectors/proof.json', import.meta.url), 'utf8')) as {
      statement: {
        text: string;
        digest: string;
        parameters: { type: number; format: number; hex: string }[];
        ofNone: { text: string; digest: string };
        ofNull: { text: string; digest: string };
      };
    }
  ).statement;
  const raw = (parameters: readonly { type: number; format: number; value: Buffer | null }[]): RawParameters => ({
    types: parameters.map(({ type }) => type),
    formats: parameters.map(({ format }) => format),
    values: parameters.map(({ value }) => value),
  });
  const given = published.parameters.map(({ type, format, hex }) => ({ type, format, value: Buffer.from(hex, 'hex') }));
  assert.equal(statementDigest(published.text, raw(given)), published.digest);
  assert.equal(statementDigest(published.ofNone.text, noParameters), published.ofNone.digest);
  assert.equal(
    statementDigest(published.ofNull.text, raw([{ type: 0, format: 0, value: null }])),
    published.ofNull.digest,
  );

  const parameter = fc.record({
    type: fc.constantFrom(0, 20, 25),
    format: fc.constantFrom(0, 1),
    value: fc.option(fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes))),
  });
  const run = fc.record({ text: fc.string({ maxLength: 12 }), parameters: fc.array(parameter, { maxLength: 3 }) });
  const spelled = (of: {
    text: string;
    parameters: readonly { type: number; format: number; value: Buffer | null }[];
  }) =>
    JSON.stringify([
      of.text,
      of.parameters.map(({ type, format, value }) => [type, format, value?.toString('hex') ?? null]),
    ]);
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(run, (one) => {
      const digest = statementDigest(one.text, raw(one.parameters));
      const what = spelled(one);
      assert.equal(seen.get(digest) ?? what, what, 'two that differ have one digest');
      seen.set(digest, what);
    }),
    { numRuns: 3000 },
  );
  // Bytes that move from one place to the next.
  const two = (text: string, ...values: readonly (string | null)[]) =>
    statementDigest(
      text,
      raw(values.map((value) => ({ type: 25, format: 0, value: value === null ? null : Buffer.from(value) }))),
    );
  const near = [
    two('ab', 'c'),
    two('a', 'bc'),
    two('abc', ''),
    two('abc'),
    two('abc', null),
    two('ab', 'c', ''),
    two('ab', '', 'c'),
    two('ab', 'c', null),
  ];
  assert.equal(new Set(near).size, near.length);
});

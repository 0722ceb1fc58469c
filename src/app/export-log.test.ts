import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HoldId } from '#core/ids.ts';
import { verifyCopy } from '#log/verify-copy.ts';
import { transaction } from '#store/database.ts';
import { active, ask, session } from '#test/support/access.ts';
import { approvalAsked, digestOf, held, house, proofAsked, run, statement } from '#test/support/holds.ts';
import { testApp, valueOf, type TestApp, type TestPerson } from '#test/support/app.ts';
import type { Caller } from './context.ts';
import { exportLog } from './export-log.ts';
import { offerProof } from './offer-proof.ts';
import { proveEntry } from './prove-entry.ts';
import { readLog } from './read-log.ts';
import { latestCheckpoint, sequenceLog } from './sequence-log.ts';
import { shipJournal } from './ship-journal.ts';
import { writeEntries, writeEntry } from './write-entry.ts';

async function copyOf(app: TestApp, by: TestPerson) {
  return await copyBy(app, await app.caller(by));
}

async function copyBy(app: TestApp, caller: Caller) {
  const files = new Map<string, Uint8Array>();
  const { write } = valueOf(await exportLog(app.ctx, caller));
  await write({
    write: (path, bytes) => {
      files.set(path, Uint8Array.from(bytes));
      return Promise.resolve();
    },
  });
  const reader = {
    read: (path: string) => Promise.resolve(files.get(path)),
    list: () => Promise.resolve([...files.keys()]),
  };
  return { files, verify: () => verifyCopy(reader, { vkey: app.ctx.logSigner.vkey }) };
}

const note = (app: TestApp, kind: 'system.started' | 'system.stopped') =>
  transaction(app.ctx.db, (trx) => writeEntry(app.ctx, trx, { kind, actor: 'system' }));

test('INVARIANT 3: whatever happened is in the copy, and a flipped byte is found and named', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  await session(app, ada, await active(app, ada, bob));
  const copy = await copyOf(app, root);
  const report = await copy.verify();
  assert.deepEqual(report.faults, []);
  const { count } = await app.ctx.db
    .selectFrom('log_entry')
    .select((select) => select.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  assert.equal(report.entries, count, 'the entry of the export itself included');
  assert.equal(report.checkedProofs, 2, 'approval and activation');
  for (const [path, bytes] of copy.files) {
    const at = bytes.length >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    const bent = await copy.verify();
    assert.ok(!bent.ok && bent.faults.length > 0, path);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
  }
  assert.ok((await copy.verify()).ok);
});

test('the tree takes each committed entry in once, with many sequencers and writers at work', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  // One after the other: of two sign-ins at once with one passkey the later counter may be seen first.
  const [one, other] = [await app.caller(root), await app.caller(root)];
  const writers = Array.from({ length: 20 }, async (_, i) => {
    await note(app, i % 2 === 0 ? 'system.started' : 'system.stopped');
    await sequenceLog(app.ctx);
  });
  await Promise.all([...writers, copyBy(app, one), copyBy(app, other)]);
  while ((await sequenceLog(app.ctx)) > 0);
  const rows = await app.ctx.db.selectFrom('log_place').select('leaf_index').orderBy('leaf_index').execute();
  assert.deepEqual(
    rows.map((row) => row.leaf_index),
    rows.map((_, i) => i),
  );
  assert.equal((await latestCheckpoint(app.ctx, app.ctx.db))?.size, rows.length);
  assert.ok((await (await copyOf(app, root)).verify()).ok);
});

test('INVARIANT 3: an entry that was written first and committed last is taken in, and moves nobody', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  await sequenceLog(app.ctx);
  const size = (await latestCheckpoint(app.ctx, app.ctx.db))?.size ?? 0;
  await transaction(app.ctx.db, async (trx) => {
    await writeEntry(app.ctx, trx, { kind: 'system.stopped', actor: 'system' });
    await note(app, 'system.started');
    assert.equal(await sequenceLog(app.ctx), 1, 'only what is committed');
  });
  assert.equal(await sequenceLog(app.ctx), 1);
  const rows = await app.ctx.db
    .selectFrom('log_entry')
    .innerJoin('log_place', 'log_place.seq', 'log_entry.seq')
    .select('kind')
    .where('leaf_index', '>=', size)
    .orderBy('leaf_index')
    .execute();
  assert.deepEqual(
    rows.map(({ kind }) => kind),
    ['system.started', 'system.stopped'],
  );
  assert.ok((await (await copyOf(app, root)).verify()).ok);
});

test('what a person said is erased with their key; the tree, the proofs of others and the log go on', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  await active(app, ada, bob);
  const before = await copyOf(app, root);
  const found = await before.verify();
  assert.ok(found.ok && found.contentsSealed === 0 && found.checkedProofs === 2);

  await app.ctx.db
    .updateTable('content_key')
    .set({ wrapped: null, destroyed_at: app.clock.now() })
    .where('principal', '=', ada.principal.id)
    .execute();
  const after = await copyOf(app, root);
  const report = await after.verify();
  assert.deepEqual(report.faults, []);
  assert.ok(report.contentsSealed > 0 && report.unreadableProofs === 1 && report.checkedProofs === 1);
  assert.ok((await before.verify()).ok, 'a copy with the keys of then is a copy still');

  const page = valueOf(
    await readLog(app.ctx, await app.caller(root), {
      scope: 'all',
      order: 'oldest',
      limit: 200,
      kind: 'request.filed',
    }),
  );
  const [filed] = page.items;
  assert.equal(filed?.content, undefined);
  assert.doesNotMatch(filed?.summary ?? '', /INC-1/);

  // Who was erased and acts again begins with a key of their own.
  await ask(app, ada);
  const again = valueOf(
    await readLog(app.ctx, await app.caller(ada), { scope: 'mine', order: 'newest', limit: 1, kind: 'request.filed' }),
  );
  assert.match(again.items[0]?.summary ?? '', /INC-1/);
  assert.ok((await (await copyOf(app, root)).verify()).ok);
});

test('a receipt stands for who may read its entry, once the tree has it', async (t) => {
  const app = await testApp(t);
  const ada = await app.caller(await app.person('ada', ['engineering']));
  const eve = await app.caller(await app.person('eve', ['engineering']));
  const [id] = await transaction(app.ctx.db, (trx) =>
    writeEntries(app.ctx, trx, [
      { kind: 'sign_out', actor: ada.principal.id, subjects: { principal: ada.principal.id } },
    ]),
  );
  assert.ok(id !== undefined);
  const early = await proveEntry(app.ctx, ada, id);
  assert.ok(early.kind === 'refused' && early.because === 'too_early');
  while ((await sequenceLog(app.ctx)) > 0);
  valueOf(await proveEntry(app.ctx, ada, id));
  const others = await proveEntry(app.ctx, eve, id);
  assert.ok(others.kind === 'refused' && others.because === 'not_found');
});

test('who may not read all of the log has no copy of it', async (t) => {
  const app = await testApp(t);
  for (const [handle, group] of [
    ['ada', 'engineering'],
    ['bob', 'dba'],
  ] as const) {
    const outcome = await exportLog(app.ctx, await app.caller(await app.person(handle, [group])));
    assert.ok(outcome.kind === 'refused' && outcome.because === 'forbidden');
  }
});

test('what was held, proven, approved and released is verified in a copy, and acts that others approved', async (t) => {
  const app = await testApp(t);
  const policies = proofAsked + approvalAsked('approval by dba over grant for 10m');
  const { root, ada, bob, session: of, grant } = await house(app, policies);
  const id = await held(app, of);
  await app.prove(ada, { purpose: 'do_action', hold: id });
  await app.prove(bob, { purpose: 'approve_action', hold: id, conditions: { rowsAtMost: 9 } });
  assert.equal((await run(app, of, id)).kind, 'allow');
  const event = {
    kind: 'statement.begun',
    on: { session: of, grant, principal: ada.principal.id, resource: 'orders', role: 'orders/fix-orders' },
    statement: 1,
    protocol: 'simple',
    text: { text: statement },
    hold: id,
    digest: digestOf(statement),
    policyVersion: 'v',
    policies: [],
  } as const;
  await shipJournal(app.ctx, 'gw_test', [{ number: 1, at: app.clock.now(), event }]);
  const ruth = await app.person('ruth', ['administrators']);
  const reset = { purpose: 'reset_authenticators', principal: bob.principal.id, reason: 'lost it' } as const;
  const asks = await offerProof(app.ctx, await app.caller(root), reset);
  assert.ok(asks.kind === 'refused' && asks.hold !== undefined);
  await app.prove(ruth, { purpose: 'approve_act', hold: asks.hold.id as HoldId });
  await app.prove(root, reset);
  const added = await app.prove(ada, { purpose: 'add_authenticator' });
  assert.equal(added.purpose, 'add_authenticator');
  const report = await (await copyOf(app, root)).verify();
  assert.deepEqual(report.faults, []);
  // The configuration, approval, activation, proof, approval with a condition, act approved, act done, a link of one's own.
  assert.equal(report.checkedProofs, 8);
});

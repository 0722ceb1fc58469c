import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from './context.ts';
import { hours, minutes, seconds } from '#core/instant.ts';
import { exampleConfiguration, testApp, valueOf } from '#test/support/app.ts';
import { active, approved, ask, entriesOf, grantOf, grantState, supportRead, tally } from '#test/support/access.ts';
import { authenticateWeb } from './authenticate.ts';
import { authorizeCli } from './authorize-cli.ts';
import { endGrant } from './end-grant.ts';
import { makePlan } from './make-plan.ts';
import { offerProof } from './offer-proof.ts';
import { withdrawRequest } from './withdraw-request.ts';
import { loadConfiguration } from './load-configuration.ts';

test('INVARIANT 5: one proof used many times at once does its act once', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const request = await ask(app, ada);
  const signed = await app.sign(bob, { purpose: 'approve_request', request });
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => signed.use()));
  assert.deepEqual(tally(outcomes), { done: 1, proof_refused: 7 });
  assert.deepEqual(await entriesOf(app, { request }), ['request.filed', 'request.approved', 'grant.created']);
});

test('two approvers at once make one grant; the second is told that it is decided, and their proof is not used up', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const approvers = [await app.person('bob', ['dba']), await app.person('cas', ['dba'])];
  for (let round = 0; round < 5; round += 1) {
    const request = await ask(app, ada);
    const signed = await Promise.all(approvers.map((by) => app.sign(by, { purpose: 'approve_request', request })));
    assert.deepEqual(tally(await Promise.all(signed.map(({ use }) => use()))), { done: 1, already_decided: 1 });
    await grantOf(app, request);
    assert.deepEqual(await entriesOf(app, { request }), ['request.filed', 'request.approved', 'grant.created']);
    const states = await app.ctx.db
      .selectFrom('proof')
      .select('state')
      .where(
        'id',
        'in',
        signed.map(({ object }) => object.id),
      )
      .orderBy('state')
      .execute();
    assert.deepEqual(
      states.map(({ state }) => state),
      ['offered', 'used'],
    );
  }
});

test('INVARIANT 2: two approvals are two people, one after the other or at once', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering', 'dba']);
  const bob = await app.person('bob', ['dba'], 'synced');
  const cas = await app.person('cas', ['dba']);
  const example = exampleConfiguration();
  const text = example.text.replaceAll('count: 1', 'count: 2');
  const planned = valueOf(
    await makePlan(app.ctx, await app.caller(root), { file: example.file, text, policies: example.policies }),
  );
  assert.ok(planned.kind === 'planned', JSON.stringify(planned));
  await app.prove(root, { purpose: 'change_configuration', plan: planned.plan });
  await loadConfiguration(app.ctx);

  const request = await ask(app, ada);
  const own = await offerProof(app.ctx, await app.caller(ada), { purpose: 'approve_request', request });
  assert.ok(own.kind === 'refused' && own.because === 'own_request');
  const twice = await Promise.all([1, 2].map(() => app.sign(bob, { purpose: 'approve_request', request })));
  assert.deepEqual(tally(await Promise.all(twice.map(({ use }) => use()))), { done: 1, already_approved_by_you: 1 });
  const pending = await app.ctx.db.selectFrom('access_request').select('state').executeTakeFirstOrThrow();
  assert.equal(pending.state, 'pending');
  await app.prove(cas, { purpose: 'approve_request', request });
  assert.equal((await grantState(app, await grantOf(app, request))).state, 'approved');
  const kinds = await entriesOf(app, { request });
  assert.deepEqual(kinds, ['request.filed', 'request.approved', 'request.approved', 'grant.created']);
});

test('approving and withdrawing at once: one of them happens', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const calls = await app.caller(ada);
  for (let round = 0; round < 6; round += 1) {
    const request = await ask(app, ada);
    const signed = await app.sign(bob, { purpose: 'approve_request', request });
    const outcomes = await Promise.all([signed.use(), withdrawRequest(app.ctx, calls, request)]);
    assert.deepEqual(tally(outcomes), { done: 1, already_decided: 1 });
  }
});

test('INVARIANT 4: activating and revoking at once: a revoked grant is never active', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const bobCalls = await app.caller(bob);
  for (let round = 0; round < 6; round += 1) {
    const grant = await approved(app, ada, bob);
    const signed = await app.sign(ada, { purpose: 'activate_grant', grant });
    const [activation, end] = await Promise.all([
      signed.use(),
      endGrant(app.ctx, bobCalls, { grant, word: undefined }),
    ]);
    assert.equal(end.kind, 'done');
    const row = await grantState(app, grant);
    assert.deepEqual([row.state, row.how], ['ended', 'revoked']);
    const kinds = await entriesOf(app, { grant });
    assert.deepEqual(
      kinds,
      activation.kind === 'done'
        ? ['grant.created', 'grant.activated', 'grant.ended']
        : ['grant.created', 'grant.ended'],
    );
    assert.equal((await signed.use()).kind, 'refused');
  }
});

test('INVARIANT 9: the clock of a grant starts at its activation and runs as long as was approved', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering'], 'synced');
  const bob = await app.person('bob', ['dba']);
  const grant = await approved(app, ada, bob);
  app.clock.move(hours(3));
  const before = app.clock.now();
  const signed = await Promise.all([1, 2, 3].map(() => app.sign(ada, { purpose: 'activate_grant', grant })));
  assert.deepEqual(tally(await Promise.all(signed.map(({ use }) => use()))), { done: 1, already_active: 2 });
  const row = await grantState(app, grant);
  assert.ok(row.activated_at !== null && row.activated_at >= before && row.ends_at === row.activated_at + hours(1));
  const mine = await offerProof(app.ctx, await app.caller(bob), { purpose: 'activate_grant', grant });
  assert.ok(mine.kind === 'refused' && mine.because === 'not_found', 'and only its owner can');
});

test('INVARIANT 5: an approval gives what was shown, or nothing', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const request = await ask(app, ada);
  const signed = await app.sign(bob, { purpose: 'approve_request', request });
  const example = exampleConfiguration();
  const text = example.text.replace(
    '[id, name, city, country, created_at]',
    '[id, name, city, country, created_at, email]',
  );
  assert.notEqual(text, example.text);
  const planned = valueOf(
    await makePlan(app.ctx, await app.caller(root), { file: example.file, text, policies: example.policies }),
  );
  assert.ok(planned.kind === 'planned');
  await app.prove(root, { purpose: 'change_configuration', plan: planned.plan });
  await loadConfiguration(app.ctx);
  const outcome = await signed.use();
  assert.ok(outcome.kind === 'refused' && outcome.because === 'conflict');
  await app.prove(bob, { purpose: 'approve_request', request });
});

test('INVARIANT 1: a request of somebody who may not have the role any more is not approved', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const [one, two] = [await ask(app, ada), await ask(app, ada)];
  const signed = await app.sign(bob, { purpose: 'approve_request', request: one });
  const change = { purpose: 'change_principal', principal: ada.principal.id } as const;
  await app.prove(root, { ...change, groups: ['sales'], state: 'active' });
  const moved = await signed.use();
  assert.ok(moved.kind === 'refused' && moved.because === 'conflict');
  await app.prove(root, { ...change, groups: ['engineering'], state: 'suspended' });
  const suspended = await (await app.sign(bob, { purpose: 'approve_request', request: two })).use();
  assert.ok(suspended.kind === 'refused' && suspended.because === 'conflict');
  assert.deepEqual(await app.ctx.db.selectFrom('access_grant').select('id').execute(), []);
});

test('INVARIANT 4: an approver who was suspended meanwhile approves nothing', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  await app.person('cas', ['dba']);
  const request = await ask(app, ada);
  const signed = await app.sign(bob, { purpose: 'approve_request', request });
  await app.prove(root, {
    purpose: 'change_principal',
    principal: bob.principal.id,
    groups: ['dba'],
    state: 'suspended',
  });
  assert.equal((await signed.use()).kind, 'refused');
  assert.deepEqual(await entriesOf(app, { request }), ['request.filed']);
});

test('a proof freshens the sign-in it was given in, and no other; one that is refused freshens nothing', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const elsewhere = await app.signInWeb(bob);
  const request = await ask(app, ada);
  app.clock.move(minutes(20));
  const signed = await app.sign(bob, { purpose: 'approve_request', request });
  const proven = async (): Promise<Caller['session']['provenAt'] | undefined> => {
    const row = await app.ctx.db
      .selectFrom('web_session')
      .select('proven_at')
      .where('id', '=', signed.by.session.id as never)
      .executeTakeFirst();
    return row?.proven_at;
  };
  app.clock.move(minutes(4));
  const before = await proven();
  valueOf(await signed.use());
  const now = app.clock.now();
  assert.equal(before, signed.by.session.provenAt);
  assert.ok(now - ((await proven()) ?? 0) < seconds(2));
  app.clock.move(minutes(2));
  assert.equal((await signed.use()).kind, 'refused');
  assert.ok(now - ((await proven()) ?? 0) < seconds(2), 'used up');
  const other = await authenticateWeb(app.ctx, { cookie: elsewhere, address: '127.0.0.1' });
  assert.ok(other !== undefined && now - other.session.provenAt > minutes(20));
  const stale = await authorizeCli(app.ctx, other, {} as never);
  assert.ok(stale.kind === 'refused' && stale.because === 'fresh_sign_in_needed');
});

test('INVARIANT 5: the evidence of an act is its object and its assertion, and the proof is kept', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob, supportRead);
  const proofs = await app.ctx.db
    .selectFrom('proof')
    .selectAll()
    .where('state', '=', 'used')
    .orderBy('used_at')
    .execute();
  assert.deepEqual(
    proofs.map(({ purpose }) => purpose),
    ['approve_request', 'activate_grant'],
  );
  for (const proof of proofs) assert.ok(proof.assertion !== null && proof.object.id === proof.id);
  await assert.rejects(app.ctx.db.deleteFrom('proof').where('state', '=', 'used').execute(), {
    constraint: 'what_happened_is_kept',
  });
  assert.equal((await grantState(app, grant)).state, 'active');
});

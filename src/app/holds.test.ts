import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'kysely';
import { minutes, seconds } from '#core/instant.ts';
import { connect, credentialFor, entriesOf, tally } from '#test/support/access.ts';
import { testApp, valueOf } from '#test/support/app.ts';
import {
  approvalAsked,
  asked,
  digestOf,
  heard,
  held,
  hold,
  house,
  proofAsked,
  run,
  stateOf,
  statement,
  updateAsks,
  withPolicies,
} from '#test/support/holds.ts';
import { endCover } from './covers.ts';
import { decideStatement } from './decide-statement.ts';
import { endDue } from './end-due.ts';
import { endGrant } from './end-grant.ts';
import { holdStatement } from './hold-statement.ts';
import { offerProof } from './offer-proof.ts';
import { readCovers, readHold, readHolds } from './read-holds.ts';
import { denyHold, giveReason, rejudgeHolds, reportPreview, withdraw } from './settle-hold.ts';

test('a held statement is proven over its very text, and runs once', async (t) => {
  const app = await testApp(t);
  const { ada, session, grant } = await house(app, proofAsked);
  const before = await run(app, session);
  assert.ok(before.kind === 'curable' && before.title === 'your passkey', JSON.stringify(before));
  const id = await held(app, session);
  const told = heard(app, (change) => change.kind === 'hold' && change.hold === id && change.state === 'cured');
  const signed = await app.sign(ada, { purpose: 'do_action', hold: id });
  assert.ok(signed.object.purpose === 'do_action');
  assert.deepEqual(
    [signed.object.text, signed.object.digest, signed.object.session, signed.object.grant],
    [statement, digestOf(statement), session, grant],
  );
  assert.equal((await run(app, session, id)).kind, 'deny', 'not before it is cured');
  valueOf(await signed.use());
  assert.equal(await stateOf(app, id), 'cured');
  const released = await run(app, session, id);
  assert.ok(released.kind === 'allow' && released.hold === id && released.variesWith === 'moment');
  const again = await run(app, session, id);
  assert.ok(again.kind === 'deny', 'INVARIANT 5: once');
  assert.equal((await run(app, session)).kind, 'curable', 'the next run of the same text waits for itself');
  assert.deepEqual(await entriesOf(app, { hold: id }), ['hold.opened', 'hold.proven', 'hold.released']);
  await told;
});

test('two tabs that prove one statement at once prove it once', async (t) => {
  const app = await testApp(t);
  const { ada, session } = await house(app, proofAsked);
  const id = await held(app, session);
  const tabs = await Promise.all([1, 2, 3].map(() => app.sign(ada, { purpose: 'do_action', hold: id })));
  assert.deepEqual(tally(await Promise.all(tabs.map(({ use }) => use()))), { done: 1, already_decided: 2 });
  assert.deepEqual(await entriesOf(app, { hold: id }), ['hold.opened', 'hold.proven']);
});

test('INVARIANT 5: what was proven is this text in this session: anything else is refused, and the hold stays', async (t) => {
  const app = await testApp(t);
  const { ada, session, grant } = await house(app, proofAsked);
  const id = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold: id });
  const other = await run(app, session, id, `${statement} `);
  assert.ok(other.kind === 'deny' && other.message === 'this is not what was held');
  const noDigest = await decideStatement(app.ctx, { ...asked(session), digest: undefined, hold: id });
  assert.equal(noDigest.kind, 'deny');
  const second = await connect(app, await credentialFor(app, ada, grant));
  assert.ok(second.kind === 'opened');
  const elsewhere = await run(app, second.session.id, id);
  assert.ok(elsewhere.kind === 'deny', 'not in another session of the same grant');
  assert.equal(await stateOf(app, id), 'cured');
  const at = await Promise.all(Array.from({ length: 6 }, () => run(app, session, id)));
  assert.deepEqual(at.map(({ kind }) => kind).sort(), ['allow', 'deny', 'deny', 'deny', 'deny', 'deny']);
});

test('two approvals are two people of those who are asked, and neither is the requester', async (t) => {
  const app = await testApp(t);
  const { ada, bob, cas, session, root } = await house(app, approvalAsked('approval by dba count 2'));
  await app.prove(root, {
    purpose: 'change_principal',
    principal: ada.principal.id,
    groups: ['engineering', 'dba'],
    state: 'active',
  });
  const id = await held(app, session);
  const own = await offerProof(app.ctx, await app.caller(ada), { purpose: 'approve_action', hold: id });
  assert.ok(own.kind === 'refused' && own.because === 'own_request', 'INVARIANT 2');
  const stranger = await app.person('eve', ['engineering']);
  const hidden = await offerProof(app.ctx, await app.caller(stranger), { purpose: 'approve_action', hold: id });
  assert.ok(hidden.kind === 'refused' && hidden.because === 'not_found', 'INVARIANT 14');
  const twice = await Promise.all([1, 2].map(() => app.sign(bob, { purpose: 'approve_action', hold: id })));
  assert.deepEqual(tally(await Promise.all(twice.map(({ use }) => use()))), { done: 1, already_approved_by_you: 1 });
  assert.equal(await stateOf(app, id), 'waiting');
  const shown = valueOf(await readHold(app.ctx, await app.caller(cas), id));
  assert.deepEqual([shown.you.canApprove, shown.cures[0]?.isMet], [true, false]);
  const object = (await app.sign(cas, { purpose: 'approve_action', hold: id })).object;
  assert.ok(object.purpose === 'approve_action' && object.requester.handle === 'ada');
  await app.prove(cas, { purpose: 'approve_action', hold: id });
  const released = await run(app, session, id);
  assert.equal(released.kind, 'allow');
  assert.equal((await readHolds(app.ctx, await app.caller(cas), { box: 'inbox', limit: 10 })).items.length, 0);
});

test('INVARIANT 2: nobody in the chain of an agent approves what it holds, at the database either', async (t) => {
  const app = await testApp(t);
  const { bob, cas, session } = await house(app, approvalAsked('approval by dba'));
  const id = await held(app, session);
  // As the row of an agent's statement is: it acts for bob.
  await sql`alter table hold disable trigger user`.execute(app.ctx.db);
  await app.ctx.db
    .updateTable('hold')
    .set({ acts_for: [bob.principal.id] })
    .where('id', '=', id)
    .execute();
  await sql`alter table hold enable trigger user`.execute(app.ctx.db);
  const by = await offerProof(app.ctx, await app.caller(bob), { purpose: 'approve_action', hold: id });
  assert.ok(by.kind === 'refused' && by.because === 'own_request');
  const no = await denyHold(app.ctx, await app.caller(bob), { hold: id, word: 'no', endsSession: false });
  assert.ok(no.kind === 'refused' && no.because === 'own_request');
  const { object } = await app.sign(cas, { purpose: 'approve_action', hold: id });
  assert.ok(object.purpose === 'approve_action' && object.actsFor?.[0]?.startsWith('bob '));
  await app.prove(cas, { purpose: 'approve_action', hold: id });
  assert.equal(await stateOf(app, id), 'cured');
});

test('an approver who is suspended, or out of the group, between approval and run counts for nothing', async (t) => {
  const app = await testApp(t);
  const { bob, cas, root, session } = await house(app, approvalAsked('approval by dba'));
  // Somebody has to be left who can approve.
  await app.person('dan', ['dba']);
  for (const [who, groups, state] of [
    [bob, ['engineering'], 'active'],
    [cas, ['dba'], 'suspended'],
  ] as const) {
    const id = await held(app, session);
    await app.prove(who, { purpose: 'approve_action', hold: id });
    assert.equal(await stateOf(app, id), 'cured');
    await app.prove(root, { purpose: 'change_principal', principal: who.principal.id, groups, state });
    assert.equal((await run(app, session, id)).kind, 'curable');
    assert.equal(await stateOf(app, id), 'ended');
  }
});

test('proof and approval compose: both are needed, in any order', async (t) => {
  const app = await testApp(t);
  const { ada, bob, session } = await house(app, proofAsked + approvalAsked('approval by @bob'));
  for (const order of [
    ['do_action', 'approve_action'],
    ['approve_action', 'do_action'],
  ] as const) {
    const id = await held(app, session);
    for (const purpose of order) {
      assert.equal(await stateOf(app, id), 'waiting');
      await app.prove(purpose === 'do_action' ? ada : bob, { purpose, hold: id });
    }
    assert.equal((await run(app, session, id)).kind, 'allow');
  }
});

test('conditions of an approver are signed, enforced and for this run only', async (t) => {
  const app = await testApp(t);
  const { bob, cas, session, grant } = await house(app, approvalAsked('approval by dba count 2 over grant for 10m'));
  const id = await held(app, session);
  await app.prove(bob, { purpose: 'approve_action', hold: id, conditions: { rowsAtMost: 7, validSeconds: 60 } });
  const signed = await app.sign(cas, { purpose: 'approve_action', hold: id, conditions: { rowsAtMost: 3 } });
  assert.ok(signed.object.purpose === 'approve_action' && signed.object.rowsAtMost === 3);
  valueOf(await signed.use());
  const released = await run(app, session, id);
  assert.ok(released.kind === 'allow' && released.rowsAtMost === 3, 'the fewest');
  assert.deepEqual(await readCovers(app.ctx, grant), [], 'a condition covers nothing more');

  const late = await held(app, session);
  await app.prove(bob, { purpose: 'approve_action', hold: late, conditions: { validSeconds: 20 } });
  await app.prove(cas, { purpose: 'approve_action', hold: late });
  app.clock.move(seconds(20));
  assert.equal((await run(app, session, late)).kind, 'curable', 'the approval is not valid any more');
});

test('a denial says who and why, and can end the session', async (t) => {
  const app = await testApp(t);
  const { ada, bob, session } = await house(app, approvalAsked('approval by dba'));
  const id = await held(app, session);
  const denied = heard(app, (change) => change.kind === 'hold' && change.state === 'denied');
  const cut = heard(app, (change) => change.kind === 'session_ended' && change.session === session);
  const own = await denyHold(app.ctx, await app.caller(ada), { hold: id, word: 'no', endsSession: false });
  assert.ok(own.kind === 'refused' && own.because === 'own_request');
  valueOf(await denyHold(app.ctx, await app.caller(bob), { hold: id, word: 'not on a friday', endsSession: true }));
  assert.equal(await stateOf(app, id), 'denied');
  const word = await denied;
  assert.ok(word.kind === 'hold' && word.word === 'bob: not on a friday');
  await cut;
  const after = await run(app, session);
  assert.ok(after.kind === 'deny' && after.message === 'your access has ended');
});

test('approving and revoking, proving and withdrawing, denying and proving at once: one of them happens', async (t) => {
  const app = await testApp(t);
  const { ada, bob, cas, session } = await house(app, proofAsked + approvalAsked('approval by dba'));
  const [adaCalls, casCalls] = [await app.caller(ada), await app.caller(cas)];
  for (let round = 0; round < 4; round += 1) {
    const one = await held(app, session);
    const proof = await app.sign(ada, { purpose: 'do_action', hold: one });
    const withdrawn = await Promise.all([
      proof.use(),
      withdraw(app.ctx, { caller: adaCalls }, { hold: one, because: 'by_requester' }),
    ]);
    assert.ok(withdrawn[1].kind === 'done');
    assert.equal(await stateOf(app, one), 'withdrawn', 'a proof alone was not enough: the withdrawal stands');
    const two = await held(app, session);
    await app.prove(ada, { purpose: 'do_action', hold: two });
    const approval = await app.sign(bob, { purpose: 'approve_action', hold: two });
    const outcomes = await Promise.all([
      approval.use(),
      denyHold(app.ctx, casCalls, { hold: two, word: 'no', endsSession: false }),
    ]);
    const state = await stateOf(app, two);
    assert.equal(state, 'denied', 'approved first and denied then, or denied and never approved');
    assert.ok(outcomes[1].kind === 'done');
    assert.equal((await run(app, session, two)).kind, 'deny');
  }
});

test('INVARIANT 4: a hold ends with its grant, and a grant that is revoked as it is released is not used', async (t) => {
  const app = await testApp(t);
  const { ada, bob, session, grant } = await house(app, proofAsked);
  const id = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold: id });
  const waiting = await held(app, session, 'update orders set status = null');
  const [decision] = await Promise.all([
    run(app, session, id),
    endGrant(app.ctx, await app.caller(bob), { grant, word: undefined }),
  ]);
  assert.equal(await stateOf(app, id), decision.kind === 'allow' ? 'released' : 'ended');
  assert.equal(await stateOf(app, waiting), 'ended');
  assert.equal((await run(app, session, id)).kind, 'deny');
  assert.ok((await entriesOf(app, { hold: waiting })).includes('hold.ended'));
});

test('a hold expires by the clock and then in the record, and what was signed too late is refused', async (t) => {
  const app = await testApp(t);
  const { ada, session } = await house(app, proofAsked);
  const id = await held(app, session);
  const signed = await app.sign(ada, { purpose: 'do_action', hold: id });
  app.clock.move(minutes(5));
  const late = await signed.use();
  assert.ok(late.kind === 'refused' && late.because === 'expired');
  assert.equal((await run(app, session, id)).kind, 'deny');
  await endDue(app.ctx);
  assert.equal(await stateOf(app, id), 'expired');
  assert.deepEqual(await entriesOf(app, { hold: id }), ['hold.opened', 'hold.expired']);
});

test('a reason, and a fresh sign-in, cure what asks for them', async (t) => {
  const app = await testApp(t);
  const { ada, session } = await house(
    app,
    updateAsks('reason', 'context.reason.given', 'why') +
      updateAsks('fresh_sign_in within 5m', 'context.sign_in.fresh', 'fresh'),
  );
  app.clock.move(minutes(10));
  const id = await held(app, session);
  const caller = await app.caller(ada);
  assert.equal(await stateOf(app, id), 'waiting', 'the sign-in was one of the two');
  valueOf(await giveReason(app.ctx, caller, { hold: id, reason: 'INC-7' }));
  assert.equal(await stateOf(app, id), 'cured');
  assert.equal((await run(app, session, id)).kind, 'allow');
  app.clock.move(minutes(6));
  const other = await held(app, session);
  valueOf(await giveReason(app.ctx, caller, { hold: other, reason: 'INC-8' }));
  assert.equal(await stateOf(app, other), 'waiting');
  await app.signInWeb(ada);
  assert.equal(await stateOf(app, other), 'cured');
});

test('a cover lets through what the policy says, counted, from the same address, until it ends', async (t) => {
  const app = await testApp(t);
  const { ada, bob, root, session, grant } = await house(
    app,
    updateAsks('proof over tables for 10m', 'context.proof.covers_action'),
  );
  const id = await held(app, session);
  const { object } = await app.sign(ada, { purpose: 'do_action', hold: id });
  assert.ok(object.purpose === 'do_action' && object.covers?.length === 1, 'what it covers is signed');
  await app.prove(ada, { purpose: 'do_action', hold: id });
  assert.equal((await run(app, session)).kind, 'curable', 'nothing is covered before the run that was proven');
  assert.equal((await run(app, session, id)).kind, 'allow');
  const covered = await run(app, session, undefined, 'update orders set status = null');
  assert.ok(covered.kind === 'allow' && covered.cover !== undefined && covered.variesWith === 'moment');
  const rehearsed = await decideStatement(app.ctx, { ...asked(session), isRehearsal: true });
  assert.equal(rehearsed.kind, 'curable', 'to parse counts nothing');
  const [cover] = await readCovers(app.ctx, grant);
  assert.deepEqual([cover?.uses, cover?.over], [1, 'tables']);
  await app.ctx.db.updateTable('session').set({ client_address: '192.0.2.7' }).where('id', '=', session).execute();
  assert.equal((await run(app, session)).kind, 'curable', 'not from elsewhere');
  await app.ctx.db.updateTable('session').set({ client_address: '127.0.0.1' }).where('id', '=', session).execute();

  const outcomes = await Promise.all([
    run(app, session),
    endCover(app.ctx, await app.caller(bob), { cover: covered.cover, word: undefined }),
    run(app, session),
  ]);
  assert.equal(outcomes[1].kind, 'done');
  assert.equal((await run(app, session)).kind, 'curable', 'it was ended');

  const again = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold: again });
  await run(app, session, again);
  assert.equal((await run(app, session)).kind, 'allow');
  await withPolicies(app, root, updateAsks('proof over tables for 20m', 'context.proof.covers_action'));
  assert.equal((await run(app, session)).kind, 'curable', 'another configuration, another question');
  await rejudgeHolds(app.ctx);
  assert.ok((await readCovers(app.ctx, grant)).every(({ endedAt }) => endedAt !== undefined));
  const last = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold: last });
  await run(app, session, last);
  app.clock.move(minutes(20));
  assert.equal((await run(app, session)).kind, 'curable', 'its time is over');
});

test('INVARIANT 5: a cover of one statement is for the tables that it meant, whatever the same text means by another path', async (t) => {
  const app = await testApp(t);
  const { ada, session } = await house(app, updateAsks('proof over statement for 10m', 'context.proof.covers_action'));
  const id = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold: id });
  assert.equal((await run(app, session, id)).kind, 'allow');
  assert.equal((await run(app, session)).kind, 'allow');
  const ask = asked(session);
  const needs = ask.needs.map((need) => ({
    ...need,
    object: { ...need.object, schema: 'archive' } as typeof need.object,
  }));
  const elsewhere = await decideStatement(app.ctx, { ...ask, needs: [...ask.needs, ...needs] });
  assert.notEqual(elsewhere.kind, 'allow');
  const more = [...ask.needs, { ...ask.needs[0], action: 'select' } as (typeof ask.needs)[number]];
  assert.equal((await decideStatement(app.ctx, { ...ask, needs: more })).kind, 'curable');
});

test('a changed policy acts on what waits: it is let go, ended, or asked for again', async (t) => {
  const app = await testApp(t);
  const { ada, root, session } = await house(app, proofAsked);
  const id = await held(app, session);
  await app.prove(ada, { purpose: 'do_action', hold: id });
  await withPolicies(app, root, proofAsked + approvalAsked('approval by dba'));
  const decision = await run(app, session, id);
  assert.ok(decision.kind === 'curable' && decision.demands.length === 2, 'never a bearer pass');
  assert.equal(await stateOf(app, id), 'ended');
  const two = await held(app, session);
  await withPolicies(app, root, '@id("none") forbid (principal == User::"nobody", action, resource);');
  await rejudgeHolds(app.ctx);
  assert.equal(await stateOf(app, two), 'cured', 'policy asks for nothing any more');
  assert.equal((await run(app, session, two)).kind, 'allow');
});

test('a preview is shown, signed over, and bound to what was signed', async (t) => {
  const app = await testApp(t);
  const { ada, session } = await house(app, updateAsks('preview', 'context.preview.confirmed'));
  const answer = await hold(app, session);
  assert.ok(answer.kind === 'held' && answer.wantsPreview);
  const id = answer.hold;
  const early = await offerProof(app.ctx, await app.caller(ada), { purpose: 'do_action', hold: id });
  assert.ok(early.kind === 'refused' && early.because === 'too_early');
  const preview = { rows: 3, tag: 'UPDATE 3', columns: ['id'], before: [['1']], after: [['1']] };
  valueOf(await reportPreview(app.ctx, id, preview));
  assert.equal((await reportPreview(app.ctx, id, { ...preview, rows: 1 })).kind, 'refused', 'told once');
  const { object } = await app.sign(ada, { purpose: 'do_action', hold: id });
  assert.ok(object.purpose === 'do_action' && object.previewRows === 3 && object.previewSha256 !== undefined);
  await app.prove(ada, { purpose: 'do_action', hold: id });
  const released = await run(app, session, id);
  assert.ok(released.kind === 'allow' && released.preview?.rows === 3);
});

test('what is held is bounded: three in a session, 64 KiB each, and no longer than the limits', async (t) => {
  const app = await testApp(t);
  const { session } = await house(app, proofAsked);
  const long = await hold(app, session, `update orders set status = '${'x'.repeat(65_536)}'`);
  assert.ok(long.kind === 'refused' && long.hint?.includes('64 KiB') === true);
  const ask = { ...asked(session), text: statement, parameters: [], maxSeconds: 4000 };
  const inside = await holdStatement(app.ctx, { ...ask, inTransaction: true });
  assert.ok(inside.kind === 'held' && inside.expiresAt <= app.clock.now() + seconds(60));
  const outcomes = await Promise.all([1, 2, 3, 4].map(() => hold(app, session)));
  assert.equal(outcomes.filter(({ kind }) => kind === 'held').length, 2);
});

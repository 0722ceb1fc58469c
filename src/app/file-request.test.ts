import assert from 'node:assert/strict';
import { test } from 'node:test';
import { after, days, hours, minutes } from '#core/instant.ts';
import type { RoleName } from '#core/ids.ts';
import { testApp, valueOf } from '#test/support/app.ts';
import { ask, entriesOf, supportRead, tally } from '#test/support/access.ts';
import { denyRequest } from './deny-request.ts';
import { endDue } from './end-due.ts';
import { fileRequest } from './file-request.ts';
import { withdrawRequest } from './withdraw-request.ts';

const asked = { role: supportRead, duration: hours(1), reason: 'INC-1', ticket: undefined, startsAt: undefined };

test('INVARIANT 1: who may not ask learns nothing, and who may learns what is wrong with the question', async (t) => {
  const app = await testApp(t);
  const ada = await app.caller(await app.person('ada', ['engineering']));
  const eve = await app.caller(await app.person('eve', ['sales']));
  const because = async (caller: typeof ada, more: object) => {
    const outcome = await fileRequest(app.ctx, caller, { ...asked, ...more });
    return outcome.kind === 'refused' ? outcome.because : 'done';
  };
  assert.equal(await because(eve, {}), 'not_found');
  assert.equal(await because(ada, { role: 'orders/no-such' as RoleName }), 'not_found');
  const hidden = await fileRequest(app.ctx, eve, asked);
  const missing = await fileRequest(app.ctx, eve, { ...asked, role: 'orders/no-such' as RoleName });
  assert.ok(hidden.kind === 'refused' && missing.kind === 'refused');
  assert.equal(hidden.message.replace('support-read', 'no-such'), missing.message);
  assert.equal(await because(ada, { duration: hours(5) }), 'forbidden');
  assert.equal(await because(ada, { startsAt: after(app.clock.now(), days(31)) }), 'invalid_input');
  assert.equal(await because(ada, {}), 'done');
  const rows = await app.ctx.db.selectFrom('access_request').selectAll().execute();
  assert.equal(rows.length, 1, 'only the last one was filed');
});

test('twenty requests wait at most, also when they come at once', async (t) => {
  const app = await testApp(t);
  const ada = await app.caller(await app.person('ada', ['engineering']));
  const outcomes = await Promise.all(Array.from({ length: 25 }, () => fileRequest(app.ctx, ada, asked)));
  assert.deepEqual(tally(outcomes), { done: 20, conflict: 5 });
});

test('who was suspended while asking asks nothing', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const before = await app.caller(ada);
  await app.prove(root, {
    purpose: 'change_principal',
    principal: ada.principal.id,
    groups: ['engineering'],
    state: 'suspended',
  });
  assert.equal((await fileRequest(app.ctx, before, asked)).kind, 'refused');
});

test('INVARIANT 3: each step of a request has one entry, and a request is decided once whoever is quicker', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const [adaCalls, bobCalls] = [await app.caller(ada), await app.caller(bob)];
  for (let round = 0; round < 5; round += 1) {
    const request = await ask(app, ada);
    const signed = await app.sign(bob, { purpose: 'approve_request', request });
    const outcomes = await Promise.all([
      signed.use(),
      withdrawRequest(app.ctx, adaCalls, request),
      denyRequest(app.ctx, bobCalls, { request, word: 'not today' }),
    ]);
    const { done, ...rest } = tally(outcomes);
    assert.equal(done, 1, JSON.stringify(rest));
    const row = await app.ctx.db
      .selectFrom('access_request')
      .select('state')
      .where('id', '=', request)
      .executeTakeFirstOrThrow();
    const kinds = await entriesOf(app, { request });
    const decided = {
      approved: ['request.approved', 'grant.created'],
      withdrawn: ['request.withdrawn'],
      denied: ['request.denied'],
    };
    assert.deepEqual(kinds, ['request.filed', ...decided[row.state as keyof typeof decided]]);
  }
});

test('a request that nobody answers expires once, in as many processes as look', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const request = await ask(app, ada);
  const signed = await app.sign(bob, { purpose: 'approve_request', request });
  await endDue(app.ctx);
  assert.deepEqual(await entriesOf(app, { request }), ['request.filed'], 'not before its time');
  app.clock.move(minutes(61));
  await Promise.all([endDue(app.ctx), endDue(app.ctx), endDue(app.ctx)]);
  assert.deepEqual(await entriesOf(app, { request }), ['request.filed', 'request.expired']);
  const late = await signed.use();
  assert.ok(late.kind === 'refused' && late.because === 'expired');
  const outcome = await denyRequest(app.ctx, await app.caller(bob), { request, word: 'too late' });
  assert.ok(outcome.kind === 'refused' && outcome.because === 'already_decided');
  valueOf(await fileRequest(app.ctx, await app.caller(ada), asked));
});

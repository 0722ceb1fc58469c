import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hours, minutes } from '#core/instant.ts';
import { testApp, valueOf } from '#test/support/app.ts';
import {
  active,
  approved,
  connect,
  credentialFor,
  entriesOf,
  fixOrders,
  grantState,
  session,
  supportRead,
  tally,
} from '#test/support/access.ts';
import type { Change } from './changes.ts';
import { endDue } from './end-due.ts';
import { endGrant } from './end-grant.ts';
import { findCredential } from './find-credential.ts';
import { issueCredential } from './issue-credential.ts';
import { knownGrants, liveSessions } from './live-sessions.ts';
import type { GrantId } from '#core/ids.ts';

test('INVARIANT 8: of two overlapping grants the end of one leaves the other, its credentials and its sessions', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const [one, two] = [await active(app, ada, bob, supportRead), await active(app, ada, bob, supportRead)];
  const three = await active(app, ada, bob, fixOrders);
  const sessions = [await session(app, ada, one), await session(app, ada, two), await session(app, ada, three)];
  const credential = await credentialFor(app, ada, one);
  const ids = sessions.map(({ id }) => id);
  assert.equal((await liveSessions(app.ctx, ids)).length, 3);
  valueOf(await endGrant(app.ctx, await app.caller(ada), { grant: one, word: undefined }));
  const live = await liveSessions(app.ctx, ids);
  assert.deepEqual(live.map((going) => going.session).toSorted(), ids.slice(1).toSorted());
  const known = await knownGrants(app.ctx, [one, two, three, 'grt_of_another_store' as GrantId]);
  assert.deepEqual(
    known.flatMap(({ grant, isOver }) => (isOver ? [grant] : [])),
    [one],
  );
  assert.equal(known.length, 3);
  assert.deepEqual([(await grantState(app, one)).how, (await grantState(app, two)).state], ['handed_back', 'active']);
  const refused = await connect(app, credential);
  assert.ok(refused.kind === 'refused' && refused.hint?.includes('sally request orders/support-read') === true);
  await session(app, ada, two);
  const again = await issueCredential(app.ctx, await app.caller(ada), one);
  assert.ok(again.kind === 'refused' && again.because === 'already_ended');
});

test('INVARIANT 8: what was ended does not come back: not by its owner, not by its approver, not by the database', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob);
  const callers = [await app.caller(ada), await app.caller(bob)];
  const outcomes = await Promise.all(callers.map((caller) => endGrant(app.ctx, caller, { grant, word: 'enough' })));
  assert.deepEqual(tally(outcomes), { done: 1, already_ended: 1 });
  const kinds = await entriesOf(app, { grant });
  assert.equal(kinds.filter((kind) => kind === 'grant.ended').length, 1);
  await assert.rejects(
    app.ctx.db
      .updateTable('access_grant')
      .set({ state: 'active', ended_at: null, how: null })
      .where('id', '=', grant)
      .execute(),
    { constraint: 'a_grant_takes_known_steps' },
  );
});

test('who has nothing to do with a grant can neither see nor end it', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const eve = await app.person('eve', ['engineering']);
  const grant = await active(app, ada, bob);
  const outcome = await endGrant(app.ctx, await app.caller(eve), { grant, word: undefined });
  assert.ok(outcome.kind === 'refused' && outcome.because === 'not_found');
});

test('INVARIANT 4: at the last moment of its time a grant gives nothing, whether or not that was written down', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob);
  const { user } = valueOf(await issueCredential(app.ctx, await app.caller(ada), grant));
  const { id } = await session(app, ada, grant);
  app.clock.move(minutes(59));
  assert.equal(await endDue(app.ctx), (await grantState(app, grant)).ends_at, 'the next thing that is due');
  assert.equal((await grantState(app, grant)).state, 'active');
  app.clock.move(minutes(1));
  assert.equal(await findCredential(app.ctx, user), undefined);
  assert.deepEqual(await liveSessions(app.ctx, [id]), []);
  assert.deepEqual(await knownGrants(app.ctx, [grant]), [{ grant, isOver: true }]);
  await Promise.all([endDue(app.ctx), endDue(app.ctx)]);
  const row = await grantState(app, grant);
  assert.deepEqual([row.state, row.how, row.ended_by, row.ended_at], ['ended', 'expired', null, row.ends_at]);
  assert.deepEqual(
    (await entriesOf(app, { grant })).filter((kind) => kind === 'grant.ended'),
    ['grant.ended'],
  );
  assert.equal(await endDue(app.ctx), undefined);
});

test('a grant that nobody activates in its window expires', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await approved(app, ada, bob);
  app.clock.move(hours(24));
  await endDue(app.ctx);
  const row = await grantState(app, grant);
  assert.deepEqual([row.state, row.how, row.activated_at], ['ended', 'expired', null]);
});

test('the end of a grant is told once it is committed, with who and why; the longest word does not stand in its way', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob);
  const told = new Promise<Change & { kind: 'grant_ended' }>((resolve) => {
    const subscription = app.ctx.changes.subscribe((change) => {
      if (change.kind !== 'grant_ended') return;
      subscription[Symbol.dispose]();
      resolve(change);
    });
  });
  valueOf(await endGrant(app.ctx, await app.caller(bob), { grant, word: `over${'😱\u0001'.repeat(5000)}` }));
  const change = await told;
  assert.deepEqual([change.grant, change.how], [grant, 'revoked']);
  assert.match(change.word ?? '', /^by bob: over/);
  assert.equal((await grantState(app, grant)).state, 'ended');
});

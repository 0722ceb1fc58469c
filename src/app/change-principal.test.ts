import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApp, valueOf } from '#test/support/app.ts';
import {
  active,
  approved,
  connect,
  credentialFor,
  entriesOf,
  grantState,
  session,
  supportRead,
  tally,
} from '#test/support/access.ts';
import { authenticateWeb } from './authenticate.ts';
import type { Change } from './changes.ts';
import { decideStatement } from './decide-statement.ts';
import { inspectLink } from './enrol.ts';
import { liveSessions } from './live-sessions.ts';
import { offerProof } from './offer-proof.ts';

const ordersRead = {
  needs: [{ action: 'select', object: { kind: 'table', schema: 'public', name: 'orders' }, columns: ['id'] }],
  context: { statementClass: 'read', hasWhere: false, statementCount: 1, functions: [] },
} as const;

test('INVARIANT 4: a suspension ends grants, sessions, sign-ins and links at once, and nothing of them comes back with it', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const [running, waiting] = [await active(app, ada, bob), await approved(app, ada, bob)];
  const opened = await session(app, ada, running);
  const credential = await credentialFor(app, ada, running);
  const change = { purpose: 'change_principal', principal: ada.principal.id, groups: ['engineering'] } as const;
  const told: Change[] = [];
  using _ = app.ctx.changes.subscribe((heard) => told.push(heard));
  await app.prove(root, { ...change, state: 'suspended' });

  for (const grant of [running, waiting]) {
    const row = await grantState(app, grant);
    assert.deepEqual([row.state, row.how, row.ended_by], ['ended', 'revoked', root.principal.id]);
  }
  assert.deepEqual(await liveSessions(app.ctx, [opened.id]), []);
  const decision = await decideStatement(app.ctx, { session: opened.id, ...ordersRead });
  assert.equal(decision.kind, 'deny');
  assert.equal((await connect(app, credential)).kind, 'refused');
  assert.equal(await authenticateWeb(app.ctx, { cookie: ada.cookie, address: '127.0.0.1' }), undefined);
  await assert.rejects(app.signInWeb(ada), /sign_in_failed/);

  await app.prove(root, { ...change, state: 'active' });
  assert.equal(await authenticateWeb(app.ctx, { cookie: ada.cookie, address: '127.0.0.1' }), undefined);
  assert.equal((await connect(app, credential)).kind, 'refused');
  assert.deepEqual(await liveSessions(app.ctx, [opened.id]), []);
  await app.signInWeb(ada);
  assert.deepEqual(
    told.flatMap((heard) => (heard.kind === 'grant_ended' ? [heard.grant] : [])).toSorted(),
    [running, waiting].toSorted(),
  );
});

test('a suspension takes the link of somebody who has no passkey yet along', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const { principal, linkToken } = await app.invited('new', ['engineering']);
  assert.equal((await inspectLink(app.ctx, linkToken)).kind, 'done');
  const change = { purpose: 'change_principal', principal: principal.id, groups: ['engineering'] } as const;
  await app.prove(root, { ...change, state: 'suspended' });
  assert.equal((await inspectLink(app.ctx, linkToken)).kind, 'refused');
  await app.prove(root, { ...change, state: 'active' });
  const row = await app.ctx.db
    .selectFrom('principal')
    .select('state')
    .where('id', '=', principal.id)
    .executeTakeFirst();
  assert.equal(row?.state, 'invited', 'without a passkey nobody is active');
});

test('INVARIANT 4: another group ends the grants that it took the right from, and leaves the others', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering', 'sales']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob, supportRead);
  const opened = await session(app, ada, grant);
  const change = { purpose: 'change_principal', principal: ada.principal.id, state: 'active' } as const;
  await app.prove(root, { ...change, groups: ['engineering'] });
  assert.equal((await grantState(app, grant)).state, 'active');
  assert.equal((await liveSessions(app.ctx, [opened.id])).length, 1);
  await app.prove(root, { ...change, groups: ['sales'] });
  assert.deepEqual([(await grantState(app, grant)).state, (await grantState(app, grant)).how], ['ended', 'revoked']);
  assert.ok((await entriesOf(app, { principal: ada.principal.id })).includes('principal.changed'));
});

test('INVARIANT 4: approving and suspending at once: no grant is left to who is suspended', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const bob = await app.person('bob', ['dba']);
  for (let round = 0; round < 5; round += 1) {
    const ada = await app.person(`ada${round}`, ['engineering']);
    const grant = await approved(app, ada, bob);
    const activation = await app.sign(ada, { purpose: 'activate_grant', grant });
    const suspension = await app.sign(root, {
      purpose: 'change_principal',
      principal: ada.principal.id,
      groups: ['engineering'],
      state: 'suspended',
    });
    const [, suspended] = await Promise.all([activation.use(), suspension.use()]);
    assert.equal(suspended.kind, 'done');
    assert.equal((await grantState(app, grant)).state, 'ended');
  }
});

test('INVARIANT 5: a change of somebody is made to the state that was shown, and to no other', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators'], 'synced');
  const ada = await app.person('ada', ['engineering']);
  const change = { purpose: 'change_principal', principal: ada.principal.id } as const;
  const regroup = await app.sign(root, { ...change, groups: ['engineering', 'sales'], state: 'active' });
  const other = await app.sign(root, { ...change, groups: ['sales'], state: 'active' });
  await app.prove(root, { ...change, groups: ['engineering'], state: 'suspended' });
  const lifted = await regroup.use();
  assert.ok(lifted.kind === 'refused' && lifted.because === 'conflict', 'it does not lift the suspension');
  await app.prove(root, { ...change, groups: ['engineering'], state: 'active' });
  valueOf(await regroup.use());
  const stale = await other.use();
  assert.ok(stale.kind === 'refused' && stale.because === 'conflict');
});

test('INVARIANT 13: two administrators who suspend each other at once: one is left', async (t) => {
  const app = await testApp(t);
  const [one, two] = [await app.person('one', ['administrators']), await app.person('two', ['administrators'])];
  const suspend = (by: typeof one, whom: typeof one) =>
    app.sign(by, {
      purpose: 'change_principal',
      principal: whom.principal.id,
      groups: ['administrators'],
      state: 'suspended',
    });
  const [first, second] = [await suspend(one, two), await suspend(two, one)];
  const counts = tally(await Promise.all([first.use(), second.use()]));
  assert.equal(counts['done'], 1, JSON.stringify(counts));
  const left = await app.ctx.db.selectFrom('principal').select('handle').where('state', '=', 'active').execute();
  assert.equal(left.length, 1);
});

test('INVARIANT 13: the last administrator can neither be suspended nor leave the group, nor can the last approver', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const caller = await app.caller(root);
  for (const [principal, groups, state] of [
    [root.principal.id, ['administrators'], 'suspended'],
    [root.principal.id, ['sales'], 'active'],
    [bob.principal.id, ['dba'], 'suspended'],
    [bob.principal.id, [], 'active'],
  ] as const) {
    const outcome = await offerProof(app.ctx, caller, { purpose: 'change_principal', principal, groups, state });
    assert.ok(outcome.kind === 'refused' && outcome.because === 'conflict', JSON.stringify(outcome));
  }
});

test('INVARIANT 4: signing in and suspending at once: no sign-in is left that would come back with the account', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  for (let round = 0; round < 8; round += 1) {
    const ada = await app.person(`ada${round}`, ['engineering']);
    const suspension = await app.sign(root, {
      purpose: 'change_principal',
      principal: ada.principal.id,
      groups: ['engineering'],
      state: 'suspended',
    });
    const signIns = [1, 2, 3].map(() => app.signInWeb(ada).catch(() => undefined));
    const [suspended] = await Promise.all([suspension.use(), ...signIns]);
    assert.equal(suspended.kind, 'done');
    const live = await app.ctx.db
      .selectFrom('web_session')
      .select('id')
      .where('principal', '=', ada.principal.id)
      .where('ended_at', 'is', null)
      .execute();
    assert.deepEqual(live, []);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CredentialId, SessionId } from '#core/ids.ts';
import { minutes } from '#core/instant.ts';
import type { Need } from '#sql/needs.ts';
import {
  active,
  approved,
  connect,
  credentialFor,
  entriesOf,
  fixOrders,
  session,
  supportRead,
} from '#test/support/access.ts';
import { testApp, valueOf } from '#test/support/app.ts';
import { decideStatement } from './decide-statement.ts';
import { endGrant } from './end-grant.ts';
import { endOrphanedSessions } from './end-orphaned-sessions.ts';
import { findCredential } from './find-credential.ts';
import { issueCredential } from './issue-credential.ts';

const table = (action: Need['action'], name: string, columns: readonly string[]): Need =>
  ({ action, object: { kind: 'table', schema: 'public', name }, columns }) as Need;
const read = { statementClass: 'read', hasWhere: false, statementCount: 1, functions: [] };
const write = { statementClass: 'write', hasWhere: true, statementCount: 1, functions: [] };

test('INVARIANT 1: without a running grant there is no secret, no session and no statement', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await approved(app, ada, bob);
  const early = await issueCredential(app.ctx, await app.caller(ada), grant);
  assert.ok(
    early.kind === 'refused' && early.because === 'conflict' && early.hint?.includes('sally activate') === true,
  );
  await app.prove(ada, { purpose: 'activate_grant', grant });
  const others = await issueCredential(app.ctx, await app.caller(bob), grant);
  assert.ok(others.kind === 'refused' && others.because === 'not_found', 'an approver has no access by approving');
  assert.equal((await connect(app, 'crd_00000000000000000000000000' as CredentialId)).kind, 'refused');
  assert.equal(await findCredential(app.ctx, 'ada.nobody00'), undefined);
  const decision = await decideStatement(app.ctx, {
    session: 'ses_00000000000000000000000000' as SessionId,
    needs: [table('select', 'orders', ['id'])],
    context: read,
  });
  assert.deepEqual([decision.kind, decision.policies], ['deny', []]);
});

test('INVARIANT 4: a session carries the end of its grant, and at that moment nothing is allowed any more', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob);
  app.clock.move(minutes(30));
  const credential = await credentialFor(app, ada, grant);
  const opened = await session(app, ada, grant);
  assert.ok(opened.endsAt <= app.clock.now() + minutes(30));
  const select = { session: opened.id, needs: [table('select', 'orders', ['id'])], context: read };
  assert.equal((await decideStatement(app.ctx, select)).kind, 'allow');
  app.clock.move(minutes(30));
  assert.equal((await decideStatement(app.ctx, select)).kind, 'deny');
  const late = await connect(app, credential);
  assert.ok(late.kind === 'refused' && /has ended|policy refuses/.test(late.message), JSON.stringify(late));
});

test('opening and revoking at once: a session is opened before the end or not at all', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const caller = await app.caller(bob);
  for (let round = 0; round < 5; round += 1) {
    const grant = await active(app, ada, bob);
    const credential = await credentialFor(app, ada, grant);
    const answers = await Promise.all([
      connect(app, credential),
      endGrant(app.ctx, caller, { grant, word: undefined }),
      connect(app, credential),
    ]);
    assert.equal(answers[1].kind, 'done');
    const kinds = (await entriesOf(app, { grant })).filter(
      (kind) => kind.startsWith('session.') || kind === 'grant.ended',
    );
    const end = kinds.indexOf('grant.ended');
    assert.ok(!kinds.slice(end).includes('session.opened'), kinds.join());
    assert.equal(kinds.length, 3, 'a refusal has its entry as well');
    assert.equal((await connect(app, credential)).kind, 'refused');
  }
});

test('INVARIANT 8: overlapping grants do not add up: a session has the role it was opened under', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const [reading, fixing] = [await active(app, ada, bob, supportRead), await active(app, ada, bob, fixOrders)];
  const [narrow, wide] = [await session(app, ada, reading), await session(app, ada, fixing)];
  const update = { needs: [table('update', 'orders', ['status'])], context: write };
  const refused = await decideStatement(app.ctx, { session: narrow.id, ...update });
  assert.ok(refused.kind === 'deny' && refused.roles.includes(fixOrders), 'and is told what would help');
  assert.equal((await decideStatement(app.ctx, { session: wide.id, ...update })).kind, 'allow');
  const email = { needs: [table('select', 'customers', ['id', 'email'])], context: read };
  for (const { id } of [narrow, wide])
    assert.equal((await decideStatement(app.ctx, { session: id, ...email })).kind, 'deny');
});

test('another database than the registered one is refused, and the refusal is in the log', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob);
  const answer = await connect(app, await credentialFor(app, ada, grant), 'postgres');
  assert.ok(answer.kind === 'refused' && answer.hint === 'connect with dbname=orders');
  assert.equal((await entriesOf(app, { grant })).at(-1), 'session.refused');
});

test('the sessions of a gateway that died are ended once, with what they were on', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const opened = await session(app, ada, await active(app, ada, bob));
  app.clock.move(minutes(1));
  assert.equal(await endOrphanedSessions(app.ctx, 'gw_another', { openedBefore: app.clock.now() }), 0);
  const alive = { openedBefore: app.clock.now(), except: [opened.id] };
  assert.equal(await endOrphanedSessions(app.ctx, 'gw_test', alive), 0);
  assert.equal(await endOrphanedSessions(app.ctx, 'gw_test', { openedBefore: app.clock.now() }), 1);
  assert.equal(await endOrphanedSessions(app.ctx, 'gw_test', { openedBefore: app.clock.now() }), 0);
  assert.deepEqual(await entriesOf(app, { session: opened.id, resource: 'orders' }), [
    'session.opened',
    'session.ended',
  ]);
  const decision = await decideStatement(app.ctx, {
    session: opened.id,
    needs: [table('select', 'orders', ['id'])],
    context: read,
  });
  assert.ok(decision.kind === 'deny' && decision.message === 'your access has ended');
  valueOf(await endGrant(app.ctx, await app.caller(ada), { grant: opened.grant, word: undefined }));
});

test('a refused statement is told which columns the role lacks, and which policy forbids it where one does', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const reading = await session(app, ada, await active(app, ada, bob));
  const star = await decideStatement(app.ctx, {
    session: reading.id,
    needs: [table('select', 'customers', ['email', 'id', 'name', 'phone'])],
    context: read,
  });
  assert.ok(star.kind === 'deny');
  assert.deepEqual(star.missing, [table('select', 'customers', ['email', 'phone'])]);
  assert.equal(star.because, undefined);
  const fixing = await session(app, ada, await active(app, ada, bob, fixOrders));
  const everywhere = await decideStatement(app.ctx, {
    session: fixing.id,
    needs: [table('update', 'orders', ['note'])],
    context: { ...write, hasWhere: false },
  });
  assert.ok(everywhere.kind === 'curable');
  assert.deepEqual([everywhere.policies, everywhere.cures], [['orders:update-names-its-rows'], [{ kind: 'proof' }]]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { minutes } from '#core/instant.ts';
import { active, ask, connect, credentialFor, session } from '#test/support/access.ts';
import { testApp, valueOf, type TestApp } from '#test/support/app.ts';
import type { Caller } from './context.ts';
import { readEntry, readLog, type LogAsk } from './read-log.ts';
import { readSession, readSessions } from './read-sessions.ts';
import { readGrant, readGrants } from './read-grants.ts';
import { readRequest, readRequests } from './read-requests.ts';

const everything: LogAsk = { scope: 'mine', order: 'oldest', limit: 500 };
const kindsFor = async (app: TestApp, caller: Caller, more: Partial<LogAsk> = {}) =>
  valueOf(await readLog(app.ctx, caller, { ...everything, ...more })).items.map(({ kind }) => kind);

test('INVARIANT 14: everybody reads what they did and what was done to them, and nothing of anybody else', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const eve = await app.person('eve', ['engineering']);
  const grant = await active(app, ada, bob);
  const opened = await session(app, ada, grant);
  const eveCalls = await app.caller(eve);
  const page = valueOf(await readLog(app.ctx, eveCalls, everything));
  for (const entry of page.items)
    assert.ok(typeof entry.actor === 'string' || entry.actor.id === eve.principal.id, `${entry.kind} of somebody else`);
  assert.doesNotMatch(JSON.stringify(page.items), new RegExp(`${ada.principal.id}|${bob.principal.id}|INC-1`));
  for (const filter of [{ grant }, { session: opened.id }, { principal: ada.principal.id }] as const)
    assert.deepEqual(await kindsFor(app, eveCalls, filter), []);
  const all = await readLog(app.ctx, eveCalls, { ...everything, scope: 'all' });
  assert.ok(all.kind === 'refused' && all.because === 'forbidden');
  const bobAll = await readLog(app.ctx, await app.caller(bob), { ...everything, scope: 'all' });
  assert.ok(bobAll.kind === 'refused', 'an approver neither');

  const adas = valueOf(await readLog(app.ctx, await app.caller(ada), everything)).items;
  const approval = adas.find(({ kind }) => kind === 'request.approved');
  assert.ok(approval !== undefined, 'what bob did for ada is ada’s to read');
  valueOf(await readEntry(app.ctx, await app.caller(ada), approval.id));
  const hidden = await readEntry(app.ctx, eveCalls, approval.id);
  assert.ok(hidden.kind === 'refused' && hidden.because === 'not_found');
});

test('INVARIANT 14: requests, grants and sessions of others are not there, by name or in a list', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const eve = await app.caller(await app.person('eve', ['engineering']));
  const request = await ask(app, ada);
  const grant = await active(app, ada, bob);
  const { id } = await session(app, ada, grant);
  for (const outcome of [
    await readRequest(app.ctx, eve, request),
    await readGrant(app.ctx, eve, grant),
    await readSession(app.ctx, eve, id),
  ])
    assert.ok(outcome.kind === 'refused' && outcome.because === 'not_found');
  const page = { limit: 50 };
  for (const box of ['inbox', 'mine', 'all'] as const)
    assert.deepEqual((await readRequests(app.ctx, eve, { ...page, box })).items, []);
  for (const scope of ['mine', 'all'] as const) {
    assert.deepEqual((await readGrants(app.ctx, eve, { ...page, scope })).items, []);
    assert.deepEqual((await readSessions(app.ctx, eve, { ...page, scope })).items, []);
  }
  const bobCalls = await app.caller(bob);
  assert.equal(
    (await readSessions(app.ctx, bobCalls, { ...page, scope: 'all' })).items.length,
    1,
    'who may give may look',
  );
});

test('reading others’ entries is in the log, once in five minutes however often it is looked at', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const opened = await session(app, ada, await active(app, ada, bob));
  const caller = await app.caller(root);
  const readings = async () => {
    const rows = await app.ctx.db
      .selectFrom('log_entry')
      .select('kind')
      .where('kind', 'in', ['log.read', 'recording.read'])
      .orderBy('seq')
      .execute();
    return rows.map(({ kind }) => kind);
  };
  await kindsFor(app, await app.caller(ada));
  assert.deepEqual(await readings(), [], 'one’s own is one’s own, also what others did');
  for (let look = 0; look < 4; look += 1) await kindsFor(app, caller, { scope: 'all' });
  await Promise.all([1, 2, 3].map(() => kindsFor(app, caller, { scope: 'all', session: opened.id })));
  // The windows are of the clock; a look may fall on either side of an edge.
  const seen = await readings();
  assert.ok(seen.length >= 2 && seen.length <= 4, seen.join());
  assert.deepEqual([...new Set(seen)], ['log.read', 'recording.read']);
  app.clock.move(minutes(5));
  await kindsFor(app, caller, { scope: 'all' });
  assert.equal((await readings()).length, seen.length + 1);
});

test('pages of the log join without a gap or a repetition, in both orders', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const grant = await active(app, ada, bob);
  const credential = await credentialFor(app, ada, grant);
  await connect(app, credential);
  const caller = await app.caller(ada);
  for (const order of ['oldest', 'newest'] as const) {
    const whole = valueOf(await readLog(app.ctx, caller, { ...everything, order })).items.map(({ id }) => id);
    const pages: string[] = [];
    let cursor: string | undefined;
    do {
      const page = valueOf(
        await readLog(app.ctx, caller, { scope: 'mine', order, limit: 3, ...(cursor === undefined ? {} : { cursor }) }),
      );
      pages.push(...page.items.map(({ id }) => id));
      cursor = page.next;
    } while (cursor !== undefined);
    assert.deepEqual(pages, whole);
  }
});

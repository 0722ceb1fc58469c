import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuthorizedSession } from '#core/session.ts';
import { active, entriesOf, gatewayId, session } from '#test/support/access.ts';
import { testApp, type TestApp } from '#test/support/app.ts';
import { readLog } from './read-log.ts';
import { JournalGapError, shipJournal, type JournalEvent, type ShippedRecord } from './ship-journal.ts';

async function running(app: TestApp): Promise<AuthorizedSession> {
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  return await session(app, ada, await active(app, ada, bob));
}

/** Records 1 to `statements × 2 + 1`: statements that begin and end, and the end of the session. */
function journalOf(app: TestApp, of: AuthorizedSession, statements: number, message = 'over'): ShippedRecord[] {
  const on = { session: of.id, grant: of.grant, principal: of.principal.id, resource: 'orders', role: of.role.name };
  const events: JournalEvent[] = [];
  for (let statement = 1; statement <= statements; statement += 1)
    events.push(
      {
        kind: 'statement.begun',
        on,
        statement,
        protocol: 'simple',
        text: { text: `select ${statement}` },
        policyVersion: 'v',
        policies: [],
      },
      {
        kind: 'statement.ended',
        on,
        statement,
        command: 0,
        outcome: { kind: 'completed', tag: 'SELECT 1', rows: 1 },
        durationMs: 1.23456,
        bytesOut: 10,
        bytesIn: 0,
      },
    );
  events.push({ kind: 'session.ended', on, reason: 'client_closed', message, statements, bytesIn: 1, bytesOut: 2 });
  return events.map((event, i) => ({ number: i + 1, at: app.clock.now(), event }));
}

test('INVARIANT 6: a record is one entry, however often and however many at once it is shipped', async (t) => {
  const app = await testApp(t);
  const of = await running(app);
  const journal = journalOf(app, of, 3);
  const first = journal.slice(0, 4);
  const answers = await Promise.all([
    shipJournal(app.ctx, gatewayId, first),
    shipJournal(app.ctx, gatewayId, first),
    shipJournal(app.ctx, gatewayId, journal.slice(0, 2)),
  ]);
  assert.equal(Math.max(...answers.map(({ storedUpTo }) => storedUpTo)), 4);
  assert.deepEqual(await shipJournal(app.ctx, gatewayId, journal), { storedUpTo: 7 });
  assert.deepEqual(await shipJournal(app.ctx, gatewayId, journal.slice(2, 5)), { storedUpTo: 7 });
  assert.deepEqual(await entriesOf(app, { session: of.id }), [
    'session.opened',
    ...[1, 2, 3].flatMap(() => ['statement.begun', 'statement.ended']),
    'session.ended',
  ]);
  const row = await app.ctx.db.selectFrom('session').selectAll().where('id', '=', of.id).executeTakeFirstOrThrow();
  assert.deepEqual([row.how, row.statements, row.word], ['client_closed', 3, 'over']);
});

test('INVARIANT 6: a gap is a fault, and nothing of such a batch is taken in', async (t) => {
  const app = await testApp(t);
  const of = await running(app);
  const journal = journalOf(app, of, 3);
  await shipJournal(app.ctx, gatewayId, journal.slice(0, 2));
  const [, , third, , fifth] = journal;
  assert.ok(third !== undefined && fifth !== undefined);
  await assert.rejects(shipJournal(app.ctx, gatewayId, [third, fifth]), JournalGapError);
  assert.deepEqual(await shipJournal(app.ctx, gatewayId, []), { storedUpTo: 2 });
  assert.equal((await entriesOf(app, { session: of.id })).length, 3);
  assert.deepEqual(await shipJournal(app.ctx, 'gw_other', []), { storedUpTo: 0 }, 'each gateway counts for itself');
});

test('a record with a word of any length does not stop the journal', async (t) => {
  const app = await testApp(t);
  const of = await running(app);
  const answer = await shipJournal(app.ctx, gatewayId, journalOf(app, of, 0, 'é"\\\n'.repeat(10_000)));
  assert.deepEqual(answer, { storedUpTo: 1 });
});

test('sessions that end in one batch each end with their own words, and only once', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const grant = await active(app, ada, await app.person('bob', ['dba']));
  const [one, other] = [await session(app, ada, grant), await session(app, ada, grant)];
  const end = (of: AuthorizedSession, reason: string, statements: number, message?: string): JournalEvent => ({
    kind: 'session.ended',
    on: { session: of.id, grant: of.grant, principal: of.principal.id, resource: 'orders', role: of.role.name },
    reason,
    ...(message === undefined ? {} : { message }),
    statements,
    bytesIn: 0,
    bytesOut: 0,
  });
  const word = '{null,"x\\"}, \n';
  const heard: string[] = [];
  const ended = Promise.withResolvers<void>();
  using _ = app.ctx.changes.subscribe((change) => {
    if (change.kind === 'session_ended') heard.push(change.session);
    if (heard.length === 2) ended.resolve();
  });
  const events = [end(one, 'revoked', 3, word), end(other, 'client_closed', 5), end(one, 'fault', 9, 'again')];
  const at = app.clock.now();
  await shipJournal(
    app.ctx,
    gatewayId,
    events.map((event, i) => ({ number: i + 1, at, event })),
  );
  const rowOf = (of: AuthorizedSession) =>
    app.ctx.db.selectFrom('session').selectAll().where('id', '=', of.id).executeTakeFirstOrThrow();
  const [first, second] = [await rowOf(one), await rowOf(other)];
  assert.deepEqual([first.how, first.statements, first.word], ['revoked', 3, word]);
  assert.deepEqual([second.how, second.statements, second.word], ['client_closed', 5, null]);
  assert.deepEqual([first.ended_at, second.ended_at], [at, at]);
  await ended.promise;
  assert.deepEqual(heard, [one.id, other.id]);
});

test('INVARIANT 3: the database ends a session with an entry or not at all', async (t) => {
  const app = await testApp(t);
  const of = await running(app);
  await assert.rejects(
    app.ctx.db
      .updateTable('session')
      .set({ ended_at: app.clock.now(), how: 'revoked' })
      .where('id', '=', of.id)
      .execute(),
    { constraint: 'no_change_without_its_entry' },
  );
});

test('a statement of an open transaction is shown with what became of it', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const of = await session(app, ada, await active(app, ada, await app.person('bob', ['dba'])));
  const on = { session: of.id, grant: of.grant, principal: of.principal.id, resource: 'orders', role: of.role.name };
  const [begun, ended] = journalOf(app, of, 1).map(({ event }) => event);
  assert.ok(begun?.kind === 'statement.begun' && ended?.kind === 'statement.ended');
  const events: JournalEvent[] = [
    begun,
    { ...ended, transaction: { number: 7, state: 'open', undoes: { statement: 1, command: 0 } } },
    { kind: 'transaction.ended', on, transaction: 7, outcome: 'rolled_back' },
  ];
  const reader = await app.caller(ada);
  const shown = async () => {
    const page = await readLog(app.ctx, reader, { scope: 'mine', session: of.id, order: 'oldest', limit: 10 });
    assert.ok(page.kind === 'done');
    return page.value.items.find(({ kind }) => kind === 'statement.ended')?.transaction;
  };
  const journal = events.map((event, i) => ({ number: i + 1, at: app.clock.now(), event }));
  await shipJournal(app.ctx, gatewayId, journal.slice(0, 2));
  assert.deepEqual(await shown(), { number: '7', state: 'open' });
  await shipJournal(app.ctx, gatewayId, journal);
  assert.deepEqual(await shown(), { number: '7', state: 'rolled_back' });
});

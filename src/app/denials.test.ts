import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, type DenialId, type GrantId, type RoleName, type SessionId } from '#core/ids.ts';
import { hours } from '#core/instant.ts';
import {
  active,
  entriesOf,
  fixOrders,
  gatewayId,
  grantOf,
  grantState,
  session,
  supportRead,
} from '#test/support/access.ts';
import { testApp, valueOf, type TestApp, type TestPerson } from '#test/support/app.ts';
import { asked, digestOf, statement, withPolicies } from '#test/support/holds.ts';
import { decideStatement } from './decide-statement.ts';
import { readDenial } from './denials.ts';
import { fileRequest } from './file-request.ts';
import { readRequest } from './read-requests.ts';
import { shipJournal, type JournalEvent } from './ship-journal.ts';

const none = '@id("none") forbid (principal == User::"nobody", action, resource);';
let number = 0;

type On = { readonly session: SessionId; readonly grant: GrantId };

async function ship(app: TestApp, who: TestPerson, on: On, role: RoleName, event: object): Promise<void> {
  number += 1;
  const at = app.clock.now();
  const ref = { ...on, principal: who.principal.id, resource: 'orders', role };
  // Each test has a store of its own, and so a journal that begins with 1.
  const last = await app.ctx.db.selectFrom('gateway_journal').select('stored_up_to').executeTakeFirst();
  await shipJournal(app.ctx, gatewayId, [
    { number: (last?.stored_up_to ?? 0) + 1, at, event: { ...event, on: ref } as unknown as JournalEvent },
  ]);
}

async function denied(app: TestApp, who: TestPerson, on: On): Promise<DenialId> {
  const denial = newId('denial', { now: app.clock.now(), random: app.ctx.random });
  await ship(app, who, on, supportRead, {
    kind: 'statement.denied',
    statement: 1,
    protocol: 'simple',
    text: { text: statement },
    sqlState: '42501',
    message: 'no',
    denial,
    digest: digestOf(statement),
    roles: [fixOrders],
    policyVersion: 'v',
    policies: [],
  });
  return denial;
}

async function house(app: TestApp) {
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering'], 'synced');
  const bob = await app.person('bob', ['dba'], 'synced');
  await withPolicies(app, root, none);
  const grant = await active(app, ada, bob);
  const on = { session: (await session(app, ada, grant)).id, grant };
  return { root, ada, bob, on, denial: await denied(app, ada, on) };
}

const askFor = (denial: DenialId, once: boolean) => ({
  role: fixOrders,
  duration: hours(1),
  reason: 'INC-9',
  ticket: undefined,
  startsAt: undefined,
  denial,
  once,
});

test('a refused statement is its writer’s to refer to, and the approver signs for it', async (t) => {
  const app = await testApp(t);
  const { ada, bob, denial } = await house(app);
  const shown = valueOf(await readDenial(app.ctx, await app.caller(ada), denial));
  assert.deepEqual([shown.text, shown.roles, shown.role], [statement, [fixOrders], supportRead]);
  assert.equal((await readDenial(app.ctx, await app.caller(bob), denial)).kind, 'refused', 'INVARIANT 14');
  const eve = await app.person('eve', ['engineering']);
  const others = await fileRequest(app.ctx, await app.caller(eve), askFor(denial, false));
  assert.ok(others.kind === 'refused' && others.because === 'not_found');
  const request = valueOf(await fileRequest(app.ctx, await app.caller(ada), askFor(denial, false)));
  const seen = valueOf(await readRequest(app.ctx, await app.caller(bob), request));
  assert.deepEqual(seen.statement, { denial, text: statement, parameters: [], once: false });
  const { object } = await app.sign(bob, { purpose: 'approve_request', request });
  assert.ok(object.purpose === 'approve_request' && object.once === undefined);
  assert.deepEqual(object.statement, { text: statement, digest: digestOf(statement) });
});

test('INVARIANT 5: a grant for one statement gives one run of exactly that, and is over with it', async (t) => {
  const app = await testApp(t);
  const { ada, bob, denial } = await house(app);
  const request = valueOf(await fileRequest(app.ctx, await app.caller(ada), askFor(denial, true)));
  const signed = await app.sign(bob, { purpose: 'approve_request', request });
  assert.ok(signed.object.purpose === 'approve_request' && signed.object.once === true);
  valueOf(await signed.use());
  const grant = await grantOf(app, request);
  await app.prove(ada, { purpose: 'activate_grant', grant });
  const [one, two] = [(await session(app, ada, grant)).id, (await session(app, ada, grant)).id];
  const other = await decideStatement(app.ctx, asked(one, `${statement} where id = 1`));
  assert.ok(other.kind === 'deny' && other.message?.includes('another') === true);
  assert.equal((await decideStatement(app.ctx, { ...asked(one), digest: undefined })).kind, 'deny');
  assert.equal((await decideStatement(app.ctx, { ...asked(one), isRehearsal: true })).kind, 'curable', 'to parse');
  assert.equal((await decideStatement(app.ctx, { ...asked(one), needs: [] })).kind, 'allow', '`begin` is no run');
  const runs = await Promise.all([one, two, one, two].map((of) => decideStatement(app.ctx, asked(of))));
  assert.deepEqual(runs.map(({ kind }) => kind).sort(), ['allow', 'deny', 'deny', 'deny']);
  assert.ok(
    runs.every((run) => run.variesWith === 'moment'),
    'nothing of it is kept',
  );
  app.clock.move(hours(0));
  const on = { session: one, grant };
  const ended = { kind: 'statement.ended', statement: 1, command: 0, durationMs: 1, bytesIn: 0, bytesOut: 0 };
  const completed = { kind: 'completed', tag: 'UPDATE 3', rows: 3 };
  await ship(app, ada, on, fixOrders, { ...ended, outcome: completed, transaction: { number: 1, state: 'open' } });
  assert.equal((await grantState(app, grant)).state, 'active', 'its transaction is open');
  await ship(app, ada, on, fixOrders, { kind: 'transaction.ended', transaction: 1, outcome: 'committed' });
  const over = await grantState(app, grant);
  assert.deepEqual([over.state, over.how], ['ended', 'completed']);
  assert.ok((await entriesOf(app, { grant })).includes('grant.used'));
  assert.equal((await decideStatement(app.ctx, asked(two))).kind, 'deny');
});

test('a grant for one statement can’t be asked for without one, or on another resource', async (t) => {
  const app = await testApp(t);
  const { ada } = await house(app);
  const { denial: _, ...without } = askFor('den_00000000000000000000000000' as DenialId, true);
  const outcome = await fileRequest(app.ctx, await app.caller(ada), without);
  assert.ok(outcome.kind === 'refused' && outcome.because === 'invalid_input');
});

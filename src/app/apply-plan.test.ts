import assert from 'node:assert/strict';
import { test } from 'node:test';
import { minutes } from '#core/instant.ts';
import type { StoredFiles } from '#store/schema.ts';
import { type TestApp, type TestPerson, exampleConfiguration, testApp, valueOf } from '#test/support/app.ts';
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
import { applyFirstConfiguration } from './apply-first-configuration.ts';
import { liveSessions } from './live-sessions.ts';
import { loadConfiguration, newestConfiguration } from './load-configuration.ts';
import { makePlan } from './make-plan.ts';

const files = (edit: (text: string) => string = (text) => text): StoredFiles => {
  const { file, text, policies } = exampleConfiguration();
  return { file, text: edit(text), policies };
};
/** Without the role `fix-orders`, the last of the file, and the policies that name it. */
const withoutFixOrders = { ...files((text) => text.slice(0, text.indexOf('      fix-orders:'))), policies: [] };

async function planOf(app: TestApp, by: TestPerson, given: StoredFiles) {
  const planned = valueOf(await makePlan(app.ctx, await app.caller(by), given));
  assert.ok(planned.kind === 'planned', JSON.stringify(planned));
  return planned.plan;
}

test('of two plans over one configuration one is applied, also at once; the other has to be made again', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const first = await planOf(
    app,
    root,
    files((text) => text.replace('max: 4h', 'max: 3h')),
  );
  const second = await planOf(
    app,
    root,
    files((text) => text.replace('max: 4h', 'max: 2h')),
  );
  const others = [await app.person('ann', ['administrators']), await app.person('una', ['administrators'])] as const;
  const signed = [
    await app.sign(root, { purpose: 'change_configuration', plan: first }),
    await app.sign(others[0], { purpose: 'change_configuration', plan: first }),
    await app.sign(others[1], { purpose: 'change_configuration', plan: second }),
  ];
  const before = await newestConfiguration(app.ctx);
  assert.deepEqual(tally(await Promise.all(signed.map(({ use }) => use()))), { done: 1, conflict: 2 });
  assert.notEqual(await newestConfiguration(app.ctx), before);
  const kinds = await app.ctx.db
    .selectFrom('log_entry')
    .select('kind')
    .where('kind', '=', 'configuration.applied')
    .execute();
  assert.equal(kinds.length, 2, 'the first one and this');
});

test('a plan is good for an hour, and its proof is over its hash', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const plan = await planOf(
    app,
    root,
    files((text) => text.replace('max: 4h', 'max: 3h')),
  );
  const signed = await app.sign(root, { purpose: 'change_configuration', plan });
  await app.ctx.db
    .updateTable('plan')
    .set({ files: files((text) => text.replace('max: 4h', 'max: 2h')) })
    .where('id', '=', plan)
    .execute();
  const swapped = await signed.use();
  assert.ok(swapped.kind === 'refused' && swapped.because === 'proof_refused', 'other files under the same plan');
  const late = await planOf(
    app,
    root,
    files((text) => text.replace('max: 4h', 'max: 1h')),
  );
  app.clock.move(minutes(58));
  const almost = await app.sign(root, { purpose: 'change_configuration', plan: late });
  app.clock.move(minutes(3));
  const outcome = await almost.use();
  assert.ok(outcome.kind === 'refused' && outcome.because === 'expired');
});

test('INVARIANT 13: a configuration after which nobody could approve or administer is refused, also by the time of its proof', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  await app.person('bob', ['dba']);
  const strangers = files((text) => text.replaceAll('groups: [dba]', 'groups: [nobody-at-all]'));
  const planned = valueOf(await makePlan(app.ctx, await app.caller(root), strangers));
  assert.ok(planned.kind === 'faults' && planned.faults.length > 0);
  const example = files();
  const forbidding = {
    ...example,
    policies: [
      ...example.policies,
      { name: 'lock.cedar', text: '@id("lock")\nforbid (principal, action == Action::"administer", resource);\n' },
    ],
  };
  const locked = valueOf(await makePlan(app.ctx, await app.caller(root), forbidding));
  assert.equal(locked.kind, 'faults', JSON.stringify(locked));

  // Sound when it was planned: the only auditors' group is emptied before it is applied.
  const cas = await app.person('cas', ['auditing']);
  const plan = await planOf(
    app,
    root,
    files((text) => text.replaceAll('groups: [dba]', 'groups: [auditing]')),
  );
  const signed = await app.sign(root, { purpose: 'change_configuration', plan });
  await app.prove(root, { purpose: 'change_principal', principal: cas.principal.id, groups: [], state: 'active' });
  const outcome = await signed.use();
  assert.ok(outcome.kind === 'refused' && outcome.because === 'configuration_refused', JSON.stringify(outcome));
});

test('INVARIANT 4: a role that leaves the configuration ends its grants, used or not, and leaves those of others', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  // The example asks two of them to approve a change of tables.
  await app.person('dan', ['dba']);
  const [gone, unused, kept] = [
    await active(app, ada, bob, fixOrders),
    await approved(app, ada, bob, fixOrders),
    await active(app, ada, bob, supportRead),
  ];
  const [ends, goesOn] = [await session(app, ada, gone), await session(app, ada, kept)];
  const credential = await credentialFor(app, ada, gone);
  await app.prove(root, { purpose: 'change_configuration', plan: await planOf(app, root, withoutFixOrders) });
  await loadConfiguration(app.ctx);
  const states = await Promise.all([gone, unused, kept].map(async (grant) => (await grantState(app, grant)).state));
  assert.deepEqual(states, ['ended', 'ended', 'active']);
  assert.deepEqual(
    (await liveSessions(app.ctx, [ends.id, goesOn.id])).map((live) => live.session),
    [goesOn.id],
  );
  assert.equal((await connect(app, credential)).kind, 'refused');
  assert.deepEqual(
    (await entriesOf(app, { grant: gone })).filter((kind) => kind === 'grant.ended'),
    ['grant.ended'],
  );

  // The name alone gives nothing back.
  await app.prove(root, { purpose: 'change_configuration', plan: await planOf(app, root, files()) });
  await loadConfiguration(app.ctx);
  assert.equal((await connect(app, credential)).kind, 'refused');
  assert.deepEqual(await liveSessions(app.ctx, [ends.id]), []);
});

test('sessions are judged again by the policies that are in force now', async (t) => {
  const app = await testApp(t);
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const opened = await session(app, ada, await active(app, ada, bob));
  const [live] = await liveSessions(app.ctx, [opened.id]);
  assert.deepEqual([live?.deadline, live?.role.name], [opened.endsAt, supportRead]);
  const example = files();
  const plan = await planOf(app, root, {
    ...example,
    policies: [
      ...example.policies,
      {
        name: 'freeze.cedar',
        text: '@id("freeze")\nforbid (principal, action == Action::"connect", resource)\nunless { principal in Group::"on-call" };\n',
      },
    ],
  });
  await app.prove(root, { purpose: 'change_configuration', plan });
  await loadConfiguration(app.ctx);
  assert.deepEqual(await liveSessions(app.ctx, [opened.id]), []);
});

test('the first configuration takes no passkey, is applied once by however many processes, and never again', async (t) => {
  const app = await testApp(t, { configuration: null });
  const kinds = (await Promise.all([1, 2, 3].map(() => applyFirstConfiguration(app.ctx, files())))).map(
    ({ kind }) => kind,
  );
  assert.deepEqual(kinds.toSorted(), ['applied', 'there_is_one', 'there_is_one']);
  const rows = await app.ctx.db.selectFrom('configuration').select(['number', 'applied_by']).execute();
  assert.deepEqual(
    rows.map((row) => row.applied_by),
    [null],
  );
});

test('INVARIANT 13: where there are people, nothing is configured without a passkey', async (t) => {
  const app = await testApp(t, { configuration: null });
  await app.invited('root', ['administrators']);
  assert.deepEqual(await applyFirstConfiguration(app.ctx, files()), { kind: 'there_is_one' });
  assert.equal(await newestConfiguration(app.ctx), undefined);
});

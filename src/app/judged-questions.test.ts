import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatInstant, hours, minutes } from '#core/instant.ts';
import { createReplay, questionOf, type RecordedQuestion } from '#policy/replay.ts';
import type { Need } from '#sql/needs.ts';
import { active, ask, fixOrders, session } from '#test/support/access.ts';
import { exampleConfiguration, testApp, valueOf, type TestApp } from '#test/support/app.ts';
import type { AppContext } from './context.ts';
import { decideStatement } from './decide-statement.ts';
import { createJudgedQuestions } from './judged-questions.ts';
import { parseFiles } from './load-configuration.ts';
import { readLog } from './read-log.ts';

const table = (action: Need['action'], columns: readonly string[]): Need => ({
  action,
  object: { kind: 'table', schema: 'public', name: 'orders' },
  columns,
});
const context = (hasWhere: boolean) => ({ statementClass: 'write', hasWhere, statementCount: 1, functions: [] });

/** An app that records, with ada in a session under `fix-orders` that has asked for three things, one of them twice. */
async function judged(t: Parameters<typeof testApp>[0]) {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const audra = await app.person('audra', ['auditors']);
  const opened = await session(app, ada, await active(app, ada, bob, fixOrders));
  const questions = createJudgedQuestions(app.ctx.policy);
  const ctx: AppContext = { ...app.ctx, policy: questions.policy };
  // As nothing but functions of the engine do, they are looked up in it when it has changed.
  assert.equal(ctx.policy.version, app.ctx.policy.version);
  const decide = async (needs: readonly Need[], hasWhere = true) =>
    (await decideStatement(ctx, { session: opened.id, needs, context: context(hasWhere) })).kind;
  const asked = [
    await decide([table('select', ['id'])]),
    await decide([table('update', ['status'])]),
    await decide([table('update', ['status'])]),
    await decide([table('update', ['status'])], false),
    await decide([table('delete', [])]),
  ];
  assert.deepEqual(asked, ['allow', 'allow', 'allow', 'curable', 'deny']);
  return { app, ctx, questions, ada, bob, audra, decide };
}

async function recorded(app: TestApp, reader: Awaited<ReturnType<typeof judged>>['audra']) {
  const found: RecordedQuestion[] = [];
  for (const kind of ['request.filed', 'statement.judged']) {
    const page = valueOf(
      await readLog(app.ctx, await app.caller(reader), { scope: 'all', kind, order: 'oldest', limit: 100 }),
    );
    for (const entry of page.items) {
      const { id, at, facts, content = null } = entry;
      const question = questionOf({ id, at: formatInstant(at), kind: entry.kind, actor: '', facts, content });
      if (question !== undefined) found.push(question);
    }
  }
  return found;
}

test('each different question about a statement is recorded once, with who asked as they were, and can be asked again', async (t) => {
  const { app, ctx, questions, audra, decide } = await judged(t);
  assert.equal(await questions.flush(ctx), 4);
  await decide([table('select', ['id'])]);
  assert.equal(await questions.flush(ctx), 0);
  // Another process, or this one after a restart, was asked the same.
  const other = createJudgedQuestions(app.ctx.policy);
  const again = { ...ctx, policy: other.policy };
  app.clock.move(minutes(5));
  const [first] = await recorded(app, audra);
  assert.ok(first?.question.action === 'request_role');
  const all = await recorded(app, audra);
  const statements = all.flatMap(({ question }) => (question.action === 'statement' ? [question] : []));
  assert.deepEqual(
    statements.map(({ principal, role }) => [principal.handle, principal.groups, role]),
    Array.from({ length: 4 }, () => ['ada', ['engineering'], fixOrders]),
  );
  for (const question of statements) again.policy.decide(question);
  assert.equal(await other.flush(again), 0);
  assert.deepEqual(
    all.slice(-4).map(({ was }) => was.kind),
    ['allow', 'allow', 'curable', 'deny'],
  );

  // The same policies decide all of it as they did, at whatever time they are asked.
  app.clock.move(hours(7));
  const same = createReplay((question) => app.ctx.policy.decide(question));
  for (const question of all) same.ask(question);
  assert.deepEqual(same.result(), { asked: all.length, changed: 0, counts: {}, changes: [], unlisted: 0 });
});

test('a policy set that is to be says what it would have decided otherwise, and for whom', async (t) => {
  const { app, ctx, questions, audra, ada } = await judged(t);
  await questions.flush(ctx);
  await ask(app, ada);
  const example = exampleConfiguration();
  const strict = `@id("ours:no-fixing") forbid (principal in Role::"orders/fix-orders", action in PG::Action::"writing", resource);
    @id("ours:nobody-asks") @cure("approval by dba")
    forbid (principal, action == Action::"request_role", resource == Role::"orders/support-read") unless { context.approval.covers_action };`;
  const parsed = parseFiles(app.ctx, {
    file: 'sallyport.yaml',
    text: example.text,
    policies: [...example.policies, { name: 'policies/strict.cedar', text: strict }],
  });
  assert.ok(parsed.kind === 'ok', JSON.stringify(parsed));
  const candidate = app.ctx.policy.decideBy({ shipped: app.ctx.shipped, configuration: parsed.configuration });
  assert.ok(candidate.kind === 'ready');
  const replay = createReplay(candidate.decide);
  const all = await recorded(app, audra);
  for (const question of all) replay.ask(question);
  const { counts, changes, asked } = replay.result();
  assert.deepEqual(counts, { 'allow → curable': 1, 'allow → deny': 1, 'curable → deny': 1 });
  assert.equal(asked, all.length);
  assert.deepEqual(
    new Set(changes.map(({ was, now, handle, what, policies }) => JSON.stringify([was, now, handle, what, policies]))),
    new Set(
      [
        ['allow', 'curable', 'ada', ['request role'], ['ours:nobody-asks']],
        ['allow', 'deny', 'ada', ['update on public.orders (status)'], ['ours:no-fixing']],
        [
          'curable',
          'deny',
          'ada',
          ['update on public.orders (status)'],
          ['orders:update-names-its-rows', 'ours:no-fixing'],
        ],
      ].map((change) => JSON.stringify(change)),
    ),
  );
  // What is in force still answers as before.
  const [statement] = all.filter(({ question }) => question.action === 'statement');
  assert.equal(statement === undefined ? '' : app.ctx.policy.decide(statement.question).kind, 'allow');
});

test('entries of questions are not among those of a session, and another who may not read all does not see them', async (t) => {
  const { app, ctx, questions, ada, bob } = await judged(t);
  await questions.flush(ctx);
  const kinds = async (who: typeof ada, kind?: string) =>
    valueOf(
      await readLog(app.ctx, await app.caller(who), {
        scope: 'mine',
        order: 'newest',
        limit: 200,
        ...(kind === undefined ? {} : { kind }),
      }),
    ).items.map((entry) => entry.kind);
  assert.ok(!(await kinds(ada)).includes('statement.judged'));
  assert.equal((await kinds(ada, 'statement.judged')).length, 4);
  assert.equal((await kinds(bob, 'statement.judged')).length, 0);
});

test('questions that can not be written wait, and a flood of them is bounded', async (t) => {
  const { app, ctx, questions, decide } = await judged(t);
  const away = { ...ctx, contentKeys: { ...ctx.contentKeys, keyOf: () => Promise.reject(new Error('away')) } };
  await assert.rejects(questions.flush(away), /away/);
  assert.equal(await questions.flush(ctx), 4);
  for (let i = 0; i < 2_100; i += 1) await decide([table('select', [`column_${i}`])]);
  const written = await questions.flush(ctx);
  assert.equal(written, 2_000);
  assert.equal(app.ctx.policy.version, ctx.policy.version);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Decision } from '#core/decision.ts';
import type { RoleName } from '#core/ids.ts';
import { now, person } from '#test/support/policy.ts';
import type { Question } from './question.ts';
import { createReplay, questionOf, recordQuestion } from './replay.ts';

const ada = person('ada', ['engineering']);
const asked = {
  now,
  principal: ada,
  role: 'orders/read' as RoleName,
  needs: [{ action: 'select', object: { kind: 'table', schema: 'public', name: 'orders' }, columns: ['id'] }],
  context: { statementClass: 'read', hasWhere: false, statementCount: 1, functions: [] },
} as const;
const entry = (more: Partial<Parameters<typeof questionOf>[0]> = {}) => ({
  id: 'ent_1',
  at: '2026-01-07T12:00:00.000Z',
  kind: 'statement.judged',
  actor: '',
  facts: { decision: 'allow', policies: ['a'], policyVersion: 'v' },
  content: { question: recordQuestion(asked) },
  ...more,
});

test('what is recorded of a question is the question', () => {
  const read = questionOf(entry());
  assert.deepEqual(read?.question, { ...asked, action: 'statement' });
  assert.deepEqual(read?.was, { kind: 'allow', policies: ['a'], version: 'v' });
});

test('what can not be asked again is left out and nothing is made up for it', () => {
  for (const more of [
    { content: null },
    { content: {} },
    { content: { question: {} } },
    { content: { question: { ...asked, principal: 'ada' } } },
    { content: { question: { ...asked, needs: undefined } } },
    { content: { question: { ...asked, role: 'nonsense' } } },
    { kind: 'statement.begun' },
    { kind: 'request.filed' },
    { at: 'yesterday' },
  ] as const)
    assert.equal(questionOf(entry(more as never)), undefined, JSON.stringify(more));
});

test('a long record is counted whole, and only so much of it is kept', () => {
  const deny = (question: Question): Decision => ({
    kind: 'deny',
    policies: ['x'],
    version: 'v',
    because: `not ${question.principal.handle}`,
  });
  const replay = createReplay(deny);
  for (let i = 0; i < 3_000; i += 1) {
    const question = { ...asked, action: 'statement', principal: person(`p${i % 600}`) } as const;
    replay.ask({
      entry: `ent_${i}`,
      at: now,
      question,
      was: { kind: i % 2 === 0 ? 'allow' : 'deny', policies: [], version: '' },
    });
  }
  const result = replay.result();
  assert.deepEqual([result.asked, result.changed, result.counts], [3_000, 1_500, { 'allow → deny': 1_500 }]);
  assert.ok(
    result.changes.length <= 500 && result.changes.every(({ count, entries }) => count === 5 && entries.length === 3),
  );
});

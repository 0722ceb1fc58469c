import assert from 'node:assert/strict';
import { test } from 'node:test';
import { documentText, tableText } from './document.ts';
import { figure, find, merged, plain, TableMaker, type Results } from './figures.ts';
import { goals, judge } from './goals.ts';
import { spread } from './statistics.ts';

function results(value: number, more: Partial<Results> = {}): Results {
  const maker = new TableMaker({
    name: 'to-pgbouncer',
    title: 'To PgBouncer',
    about: 'More is better.',
    unit: 'ratio',
    digits: 2,
    columns: ['journal', 'judged', 'engines'],
  });
  maker.set('prepared-8', 'judged', figure(spread([value - 0.1, value, value + 0.1])));
  maker.set('prepared-8', 'journal', plain(0.5));
  return {
    date: '2026-01-01',
    commit: 'abc',
    command: 'npm run bench',
    machine: { cores: '2' },
    versions: {},
    tables: { 'to-pgbouncer': maker.table },
    texts: {},
    failures: {},
    ...more,
  };
}

const goal = goals.find(({ figure: name }) => name === 'to-pgbouncer.prepared-8.judged');

test('a table shows the median with its quartiles, and no column that nobody measured', () => {
  const table = results(0.9).tables['to-pgbouncer'];
  assert.ok(table);
  assert.equal(
    tableText(table),
    '| `to-pgbouncer` | journal | judged |\n| --- | --: | --: |\n| prepared-8 | 0.50 | 0.90 (0.85–0.95) |',
  );
});

test('a figure is found under the name it has in the document', () => {
  assert.equal(find(results(0.9), 'to-pgbouncer.prepared-8.judged')?.value, 0.9);
  assert.equal(find(results(0.9), 'to-pgbouncer.prepared-9.judged'), undefined);
});

test('a goal is met, missed by so much, or not measured', () => {
  assert.ok(goal);
  assert.equal(judge(goal, results(0.9)).kind, 'met');
  const missed = judge(goal, results(0.68));
  assert.ok(missed.kind === 'missed' && Math.abs(missed.by + 0.2) < 1e-9);
  assert.equal(judge(goal, { tables: {} }).kind, 'not_measured');
});

test('no two goals are about one figure', () => {
  assert.equal(new Set(goals.map((one) => one.figure)).size, goals.length);
});

test('what is measured again replaces what was there, and a part that fails now says so', () => {
  const before = results(0.9, { failures: { bulk: 'old', statements: 'old' } });
  const after = merged(before, results(0.7, { tables: {}, failures: { statements: 'new' } }), ['statements', 'bulk']);
  assert.equal(find(after, 'to-pgbouncer.prepared-8.judged')?.value, 0.9);
  assert.deepEqual(after.failures, { statements: 'new' });
});

test('the document names what is missed and what could not be measured', () => {
  const text = documentText(results(0.68, { failures: { bulk: 'the server is gone\nat line 3' } }));
  assert.match(text, /missed by 20 %/);
  assert.match(text, /- bulk: the server is gone\n/);
  assert.ok(text.endsWith('\n') && !text.includes('\n\n\n'));
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readStartup } from './startup-parameters.ts';

const read = (parameters: Record<string, string>) =>
  readStartup(new Map(Object.entries({ user: 'ada', database: 'orders', ...parameters })));

function accepted(parameters: Record<string, string>) {
  const outcome = read(parameters);
  assert.ok(outcome.kind === 'accepted', JSON.stringify(outcome));
  return outcome.ask;
}

for (const [name, parameters, settings, judged] of [
  [
    'formats',
    { DateStyle: 'ISO, DMY', TimeZone: 'Europe/Berlin' },
    { datestyle: 'ISO, DMY', timezone: 'Europe/Berlin' },
    [],
  ],
  ['a setting by its name', { search_path: 'a, b' }, { search_path: 'a, b' }, ['search_path']],
  ['a name in any case', { Statement_Timeout: '5s' }, { statement_timeout: '5s' }, ['statement_timeout']],
  [
    'options in all their spellings',
    { options: '-c geqo=off  -cwork_mem=1MB --statement-timeout=5s -c search_path=a\\ b,\\\\c' },
    { geqo: 'off', work_mem: '1MB', statement_timeout: '5s', search_path: 'a b,\\c' },
    ['geqo', 'work_mem', 'statement_timeout', 'search_path'],
  ],
  [
    'what stands by itself before what is in the options',
    { geqo: 'on', options: '-c geqo=off' },
    { geqo: 'on' },
    ['geqo'],
  ],
  [
    'an application name as the server would write it',
    { application_name: 'ä\n'.repeat(50) },
    { application_name: '?'.repeat(63) },
    [],
  ],
  ['no replication', { replication: 'false' }, {}, []],
] as const)
  test(`start-up parameters: ${name}`, () => {
    const ask = accepted(parameters);
    assert.deepEqual(Object.fromEntries(ask.settings), {
      ...settings,
      client_encoding: 'UTF8',
      standard_conforming_strings: 'on',
    });
    assert.deepEqual(ask.judged, judged);
  });

for (const [name, parameters, sqlState] of [
  ['replication', { replication: 'true' }, '0A000'],
  ['replication of one database', { replication: 'database' }, '0A000'],
  ['another encoding', { client_encoding: 'SJIS' }, '0A000'],
  ['another encoding in the options', { options: '-c client-encoding=LATIN1' }, '0A000'],
  ['a switch of the server', { options: '-d 5' }, '42601'],
  ['a switch behind a setting', { options: '-c geqo=off -F' }, '42601'],
  ['a setting without a value', { options: '-c geqo' }, '42601'],
  ['a backslash at the end', { options: '-c geqo=off\\' }, '42601'],
  ['no user', { user: '' }, '28000'],
  ['a name that is none', { 'a b': 'x' }, '42602'],
  ['a format that is none', { TimeZone: "x'; drop" }, '22023'],
  ['more than anybody needs', Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`a${i}`, 'x'])), '54000'],
] as const)
  test(`INVARIANT 1: start-up parameters with ${name} are refused`, () => {
    const outcome = read(parameters);
    assert.equal(outcome.kind === 'refused' ? outcome.sqlState : outcome.kind, sqlState);
  });

test('INVARIANT 7: `user` and `database` are these exact words, and of long names the first 63 bytes count', () => {
  assert.deepEqual(accepted({ USER: 'eve' }).judged, ['user'], 'to the server that is a setting');
  assert.equal(accepted({ USER: 'eve' }).user, 'ada');
  assert.equal(accepted({ database: '' }).database, 'ada');
  assert.equal(accepted({ database: 'x'.repeat(80) }).database, 'x'.repeat(63));
  assert.deepEqual(accepted({ '_pq_.test': '1' }).unknownOptions, ['_pq_.test']);
});

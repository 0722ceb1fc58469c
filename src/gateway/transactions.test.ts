/** Which transaction each command ran in, and what became of it, in the record; against a real server. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import pg from 'pg';
import type { RoleName } from '#core/ids.ts';
import { testTarget } from '#test/support/postgres.ts';
import { fixOrders, startTestingGateway } from './_testing-gateway.ts';
import type { GatewayEvent } from './records.ts';

const target = await testTarget({ after }, { major: 18 });
await target.query(`create table counted (n int primary key deferrable initially deferred)`);
await target.query(`create procedure in_parts(fails boolean) language plpgsql as $$ begin
  insert into counted values (1001); commit; insert into counted values (1002); if fails then perform 1/0; end if; end $$`);
await target.query('grant insert, select on counted to public');
const role = {
  ...fixOrders,
  name: 'orders/transactions' as RoleName,
  permissions: {
    tables: [{ schema: 'public', name: 'counted', select: 'all', insert: 'all' }],
    functions: [{ schema: 'public', name: 'in_parts' }],
  },
} as unknown as typeof fixOrders;
const t = await startTestingGateway(target, tmpdir(), { roles: [role] });
after(() => t.stop());

type Sender = {
  parse: (message: { name: string; text: string; types: number[] }) => void;
  bind: (message: { portal: string; statement: string; values: string[] }) => void;
  execute: (message: { portal: string; rows?: number }) => void;
  flush: () => void;
  sync: () => void;
};

/** Executes all up to one Sync, and waits for the server to be ready. */
function pipeline(client: pg.Client, texts: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const nothing = () => {};
    let isOver = false;
    const query = {
      submit(connection: Sender & { stream: { cork: () => void; uncork: () => void } }) {
        // In one packet, so that nothing is known of an error before all has been sent.
        connection.stream.cork();
        for (const text of texts) {
          connection.parse({ name: '', text, types: [] });
          connection.bind({ portal: '', statement: '', values: [] });
          connection.execute({ portal: '' });
        }
        connection.sync();
        connection.stream.uncork();
      },
      handleRowDescription: nothing,
      handleDataRow: nothing,
      handlePortalSuspended: nothing,
      handleEmptyQuery: nothing,
      handleCommandComplete: nothing,
      handleCopyInResponse: nothing,
      // The driver tells of nothing behind an error; the next query waits for the server by itself.
      handleError() {
        if (!isOver) resolve();
        isOver = true;
      },
      handleReadyForQuery: () => resolve(),
    };
    client.query(query as unknown as pg.Submittable);
  });
}

const shown = (event: GatewayEvent): string | undefined => {
  if (event.kind === 'transaction.ended') return `${event.transaction} ${event.outcome}`;
  if (event.kind !== 'statement.ended') return undefined;
  const { outcome, transaction, statement, command } = event;
  const how = outcome.kind === 'completed' ? outcome.tag : outcome.kind;
  const undoes = transaction?.undoes;
  const undone =
    undoes === undefined ? '' : ` back to ${undoes === null ? '?' : `${undoes.statement}.${undoes.command}`}`;
  const within = transaction === undefined ? 'none' : `${transaction.number} ${transaction.state}`;
  return `${statement}.${command} ${how}: ${within}${undone}`;
};

type Case = readonly [
  name: string,
  /** A text is a simple query string, a list the executions up to one Sync. */
  steps: readonly (string | readonly string[])[],
  expected: readonly string[],
];

const insert = 'insert into counted values';
const cases: readonly Case[] = [
  [
    'plain statements have one each, and no further record',
    ['select 1', ['select 1']],
    ['1.0 SELECT 1: 1 committed', '2.0 SELECT 1: 2 committed'],
  ],
  ['a failed one is rolled back', ['select 1/0'], ['1.0 failed: 1 rolled_back']],
  [
    'the statements of a string are one transaction',
    [`${insert} (1); select 1`, `${insert} (2); select 1/0; select 1`],
    [
      '1.0 INSERT 0 1: 1 committed',
      '1.1 SELECT 1: 1 committed',
      '2.0 INSERT 0 1: 2 rolled_back',
      '2.1 failed: 2 rolled_back',
    ],
  ],
  [
    'so are those of a pipeline up to its Sync',
    [
      [`${insert} (3)`, 'select 1'],
      [`${insert} (4)`, 'select 1/0', 'select 1'],
    ],
    [
      '1.0 INSERT 0 1: 1 committed',
      '2.0 SELECT 1: 1 committed',
      '3.0 INSERT 0 1: 2 rolled_back',
      '4.0 failed: 2 rolled_back',
      '5.0 skipped: none',
    ],
  ],
  [
    'a pipeline whose commit fails at the Sync is rolled back',
    [[`${insert} (5)`, `${insert} (5)`], 'select 1'],
    ['1.0 INSERT 0 1: 1 rolled_back', '2.0 INSERT 0 1: 1 rolled_back', '3.0 SELECT 1: 2 committed'],
  ],
  [
    'an explicit one is open until its end, which has a record of its own',
    ['begin', `${insert} (6)`, 'commit', 'select 1'],
    [
      '1.0 BEGIN: 1 open',
      '2.0 INSERT 0 1: 1 open',
      '3.0 COMMIT: 1 committed',
      '1 committed',
      '4.0 SELECT 1: 2 committed',
    ],
  ],
  [
    'a rollback, and a commit of what has failed',
    ['begin', 'rollback', 'begin', 'select 1/0', 'commit'],
    [
      '1.0 BEGIN: 1 open',
      '2.0 ROLLBACK: 1 rolled_back',
      '1 rolled_back',
      '3.0 BEGIN: 2 open',
      '4.0 failed: 2 open',
      '5.0 ROLLBACK: 2 rolled_back',
      '2 rolled_back',
    ],
  ],
  [
    'a commit that fails by itself',
    ['begin', `${insert} (7), (7)`, 'commit', 'select 1'],
    ['1.0 BEGIN: 1 open', '2.0 INSERT 0 2: 1 open', '3.0 failed: 1 open', '1 rolled_back', '4.0 SELECT 1: 2 committed'],
  ],
  [
    'begin takes in what came before it in the string, commit and rollback part it',
    [`select 1; begin; select 2; commit; select 3; rollback; select 4`],
    [
      '1.0 SELECT 1: 1 open',
      '1.1 BEGIN: 1 open',
      '1.2 SELECT 1: 1 open',
      '1.3 COMMIT: 1 committed',
      '1 committed',
      '1.4 SELECT 1: 2 rolled_back',
      '1.5 ROLLBACK: 2 rolled_back',
      '1.6 SELECT 1: 3 committed',
    ],
  ],
  [
    'commit and rollback outside of one end what the string has begun',
    [`${insert} (8); commit; select 1/0`, 'commit', 'rollback'],
    [
      '1.0 INSERT 0 1: 1 committed',
      '1.1 COMMIT: 1 committed',
      '1.2 failed: 2 rolled_back',
      '2.0 COMMIT: 3 committed',
      '3.0 ROLLBACK: 4 rolled_back',
    ],
  ],
  [
    'a chain goes on in the next',
    ['begin', 'commit and chain', 'select 1', 'rollback and chain', 'commit'],
    [
      '1.0 BEGIN: 1 open',
      '2.0 COMMIT: 1 committed',
      '1 committed',
      '3.0 SELECT 1: 2 open',
      '4.0 ROLLBACK: 2 rolled_back',
      '2 rolled_back',
      '5.0 COMMIT: 3 committed',
      '3 committed',
    ],
  ],
  [
    'savepoints: what a rollback takes back is told',
    [
      'begin',
      'savepoint a',
      'savepoint "B"',
      'savepoint a',
      'select 1; rollback to "B"',
      'select 1/0',
      'rollback to a',
      'release a',
      'rollback',
    ],
    [
      '1.0 BEGIN: 1 open',
      '2.0 SAVEPOINT: 1 open',
      '3.0 SAVEPOINT: 1 open',
      '4.0 SAVEPOINT: 1 open',
      '5.0 SELECT 1: 1 open',
      '5.1 ROLLBACK: 1 open back to 3.0',
      '6.0 failed: 1 open',
      '7.0 ROLLBACK: 1 open back to 2.0',
      '8.0 RELEASE: 1 open',
      '9.0 ROLLBACK: 1 rolled_back',
      '1 rolled_back',
    ],
  ],
  [
    'in the extended protocol, begin and commit in one pipeline',
    [['begin', 'select 1', 'commit', 'select 2'], ['begin'], ['savepoint s'], ['rollback to s'], ['commit']],
    [
      '1.0 BEGIN: 1 open',
      '2.0 SELECT 1: 1 open',
      '3.0 COMMIT: 1 committed',
      '1 committed',
      '4.0 SELECT 1: 2 committed',
      '5.0 BEGIN: 3 open',
      '6.0 SAVEPOINT: 3 open',
      '7.0 ROLLBACK: 3 open back to 6.0',
      '8.0 COMMIT: 3 committed',
      '3 committed',
    ],
  ],
  [
    'a procedure that commits within: what a failed one has left is not known from outside',
    ['call in_parts(false)', 'call in_parts(true)', ['call in_parts(true)']],
    ['1.0 CALL: 1 committed', '2.0 failed: 2 unknown', '3.0 failed: 3 unknown'],
  ],
  [
    'what begins behind it in its pipeline is one with it',
    [['call in_parts(false)', 'begin', 'select 1/0'], 'rollback'],
    ['1.0 CALL: 1 open', '2.0 BEGIN: 1 open', '3.0 failed: 1 open', '4.0 ROLLBACK: 1 unknown', '1 unknown'],
  ],
  [
    'in a transaction it can not commit',
    ['begin', 'call in_parts(false)', 'rollback'],
    ['1.0 BEGIN: 1 open', '2.0 failed: 1 open', '3.0 ROLLBACK: 1 rolled_back', '1 rolled_back'],
  ],
  [
    'a refused statement rolls back what it is in',
    [[`${insert} (9)`, 'select email from customers'], 'begin', 'select email from customers', 'commit'],
    ['1.0 INSERT 0 1: 1 rolled_back', '3.0 BEGIN: 2 open', '5.0 ROLLBACK: 2 rolled_back', '2 rolled_back'],
  ],
  [
    'a transaction in two phases is refused',
    [`begin; prepare transaction 'x'`, 'select 1'],
    ['2.0 SELECT 1: 1 committed'],
  ],
];

const recordOf = async (grant: string) => {
  await t.event('session.ended', (e) => e.on.grant === grant);
  return t.controlPlane.events().flatMap((e) => ('on' in e && e.on.grant === grant ? (shown(e) ?? []) : []));
};

for (const [name, steps, expected] of cases)
  test(`the transaction in the record: ${name}`, async () => {
    const login = t.give(role);
    const client = await t.connect(login);
    for (const step of steps)
      if (typeof step === 'string') await client.query(step).catch(() => {});
      else await pipeline(client, step);
    await client.end();
    assert.deepEqual(await recordOf(login.grant), expected);
    await target.query('delete from counted');
  });

test('the transaction in the record: more commands than are held are recorded as open', async () => {
  const login = t.give(role);
  const client = await t.connect(login);
  await client.query('select 1;'.repeat(300));
  await client.end();
  const record = await recordOf(login.grant);
  assert.equal(record.length, 301);
  assert.equal(record[0], '1.0 SELECT 1: 1 open');
  assert.deepEqual(record.slice(-2), ['1.299 SELECT 1: 1 open', '1 committed']);
});

test('the transaction in the record: a lost connection rolls back what is open', async () => {
  const login = t.give(role);
  const client = await t.connect(login);
  await client.query('begin');
  await client.query(`${insert} (10)`);
  t.controlPlane.endGrant(login.grant);
  assert.deepEqual(await recordOf(login.grant), ['1.0 BEGIN: 1 open', '2.0 INSERT 0 1: 1 open', '1 rolled_back']);
});

test('the transaction in the record: of what runs when the connection is lost the end is not known', async () => {
  const [plain, committing] = [t.give(role), t.give(role)];
  const first = await t.connect(plain);
  const running = first.query('select pg_sleep(60)').catch(() => {});
  const second = await t.connect(committing);
  await second.query('begin');
  const also = second.query('select pg_sleep(60); commit').catch(() => {});
  for (const { grant } of [plain, committing]) {
    await t.event('statement.begun', (e) => e.on.grant === grant && e.text.text.includes('pg_sleep'));
    t.controlPlane.endGrant(grant);
  }
  await Promise.all([running, also]);
  assert.deepEqual(await recordOf(plain.grant), ['1.0 cut: 1 unknown']);
  assert.deepEqual(await recordOf(committing.grant), ['1.0 BEGIN: 1 open', '2.0 cut: 1 open', '1 unknown']);
});

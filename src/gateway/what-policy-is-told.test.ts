import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { seconds } from '#core/instant.ts';
import { testTarget } from '#test/support/postgres.ts';
import { fixOrders, startTestingGateway, supportRead } from './_testing-gateway.ts';
import type { DecideAsk } from './control-plane.ts';

const target = await testTarget({ after }, { major: 18 });
const t = await startTestingGateway(target, tmpdir());
after(() => t.stop());

test('INVARIANT 7: policy is told how many statements came together, and whether each change says which rows', async () => {
  const client = await t.connect(t.give(fixOrders));
  // Before the first answer nobody knows how names resolve, and a statement is asked about twice.
  await client.query('select 1');
  const asked: DecideAsk['context'][] = [];
  const { decide } = t.controlPlane;
  const listening = (ask: DecideAsk) => {
    asked.push(ask.context);
    return decide(ask);
  };
  Object.assign(t.controlPlane, { decide: listening });
  await client.query(`select id from orders; update orders set note = 'x' where id = -1`);
  await client.query(
    `with a as (update orders set note = note where false returning id) update orders set note = 'x' where id = -1`,
  );
  await assert.rejects(client.query(`with a as (delete from orders) update orders set note = 'x' where id = -1`), {
    code: '42501',
  });
  assert.deepEqual(
    asked.map(({ statementCount, hasWhere }) => [statementCount, hasWhere]),
    [
      [2, undefined],
      [2, true],
      [1, true],
      [1, false],
    ],
  );
  await client.end();
});

test('INVARIANT 7: what `prepare` has made and Bind runs is of its own class to policy', async () => {
  const client = await t.connect(t.give(fixOrders));
  await client.query('select 1');
  const asked: string[] = [];
  const { decide } = t.controlPlane;
  const listening = (ask: DecideAsk) => {
    asked.push(ask.context.statementClass);
    return decide(ask);
  };
  Object.assign(t.controlPlane, { decide: listening });
  await client.query(`prepare q as update orders set note = 'x' where id = -2`);
  assert.deepEqual(asked, ['write']);
  await client.end();
});

test('INVARIANT 9: the time that a role gives a statement holds, whatever the session sets', async () => {
  const hasty = { ...supportRead, statementTimeout: seconds(0.2) };
  const client = await t.connect(t.give(hasty));
  await client.query('set statement_timeout = 0');
  await assert.rejects(client.query('select pg_sleep(30)'), { code: '57014' });
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  await client.end();
});

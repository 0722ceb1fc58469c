/** Several installations before one server, and what becomes of roles that nobody declares any more. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test, type TestContext } from 'node:test';
import type { GrantId } from '#core/ids.ts';
import { testTarget } from '#test/support/postgres.ts';
import { fixOrders, startTestingGateway, supportRead, type TestingGateway } from './_testing-gateway.ts';
import { databaseRoleName, loginName } from './postgres/names.ts';

const target = await testTarget({ after });

async function gatewayOf(t: TestContext, installation: string): Promise<TestingGateway> {
  const gateway = await startTestingGateway(target, tmpdir(), {}, { installation });
  t.after(() => gateway.stop());
  return gateway;
}

const names = async (prefix: string) =>
  (
    (await target.query('select rolname from pg_roles where starts_with(rolname, $1)', [prefix])) as {
      rolname: string;
    }[]
  ).map(({ rolname }) => rolname);

test('INVARIANT 8: two installations before one server leave each other alone', async (t) => {
  const [one, two] = [await gatewayOf(t, 'first111'), await gatewayOf(t, 'second22')];
  const [first, second] = [one.give(supportRead), two.give({ ...supportRead, permissions: fixOrders.permissions })];
  const [here, there] = [await one.connect(first), await two.connect(second)];
  await one.gateway.reconcile();
  await two.gateway.reconcile();
  // The role of the same name is declared otherwise: each has its own on the target.
  assert.equal((await here.query('select count(*)::int as n from products')).rows[0].n > 0, true);
  await there.query('update orders set note = note where id = 1');
  await assert.rejects(here.query('update orders set note = note where id = 1'), { code: '42501' });
  two.controlPlane.endGrant(second.grant);
  await two.event('target.login_dropped');
  assert.equal((await here.query('select 1 as one')).rows[0].one, 1);
  assert.deepEqual(await names('sally_l_'), [loginName('first111', first.grant)]);
});

test('INVARIANT 8, 12: a login of ours under a grant that we do not know is left until it has run out', async (t) => {
  const g = await gatewayOf(t, 'copied00');
  // Made by what this installation is a copy of, after the copy was made.
  const [running, over] = ['grt_0123456789abcdefghjkmnpqrs', 'grt_1123456789abcdefghjkmnpqrs'].map((grant) =>
    loginName('copied00', grant as GrantId),
  );
  await target.query(`
    begin;
    set local role ${target.adminUser};
    create role ${running} login valid until 'tomorrow';
    create role ${over} login valid until 'yesterday';
    commit`);
  await g.gateway.reconcile();
  assert.deepEqual(await names('sally_l_copied00'), [running]);
  await target.query(`drop role ${running}`);
});

test('INVARIANT 12: a role that is no longer declared goes from the target, when no login needs it', async (t) => {
  const g = await gatewayOf(t, 'roles000');
  const other = databaseRoleName('roles111', supportRead.name);
  await target.query(`create role ${other} nologin`);
  const login = g.give(supportRead);
  await g.connect(login);
  const [ours] = await names('sally_r_roles000');
  assert.equal(ours, databaseRoleName('roles000', supportRead.name));
  g.controlPlane.roles = [fixOrders];
  await g.gateway.reconcile();
  assert.deepEqual(await names('sally_r_roles000'), [ours], 'a login is a member of it');
  g.controlPlane.endGrant(login.grant);
  await g.event('target.login_dropped');
  await g.gateway.reconcile();
  assert.deepEqual(await names('sally_r_roles'), [other], 'that of another installation stays');
  // Declared again, it is made again.
  g.controlPlane.roles = [fixOrders, supportRead];
  const client = await g.connect(g.give(supportRead));
  assert.equal((await client.query('select count(*)::int as n from orders')).rows[0].n, 180);
  await target.query(`drop role ${other}`);
});

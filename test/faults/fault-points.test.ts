/**
 * Walks the table of fault points: the process is killed exactly there, started again, and looked at. Nothing may be left on
 * the target, nothing missing from the log, and nobody may have more than their live grants give.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, test } from 'node:test';
import pg from 'pg';
import { faultPoints, type FaultPoint } from '#gateway/fault-points.ts';
import { testTarget } from '../support/postgres.ts';
import { leftOn, until } from '../support/wait.ts';
import { openProduct, type Credential } from './_product.ts';

const target = await testTarget({ after });
await target.logStatements();
const product = await openProduct({ after }, { target });

type How = 'a session is opened' | 'a grant is revoked while its statement runs' | 'a statement is done';
const when: Readonly<Record<FaultPoint, How>> = {
  socket_accepted: 'a session is opened',
  credential_found: 'a session is opened',
  password_proven: 'a session is opened',
  session_committed: 'a session is opened',
  supervisor_admitted: 'a session is opened',
  role_converged: 'a session is opened',
  login_half_made: 'a session is opened',
  login_created: 'a session is opened',
  target_dialled: 'a session is opened',
  target_signed_in: 'a session is opened',
  client_told_ready: 'a session is opened',
  statement_recorded: 'a statement is done',
  outcome_about_to_be_recorded: 'a statement is done',
  outcome_recorded: 'a statement is done',
  marked: 'a grant is revoked while its statement runs',
  cancel_sent: 'a grant is revoked while its statement runs',
  end_recorded: 'a grant is revoked while its statement runs',
  client_told: 'a grant is revoked while its statement runs',
  sockets_closed: 'a grant is revoked while its statement runs',
  login_locked: 'a grant is revoked while its statement runs',
  login_dropped: 'a grant is revoked while its statement runs',
  journal_synced: 'a grant is revoked while its statement runs',
  records_shipping: 'a grant is revoked while its statement runs',
  records_stored: 'a grant is revoked while its statement runs',
};

let count = 0;
/** A text that is found again in both logs. */
const marked = (text: string): string => `${text} /* mark ${(count += 1)} */`;

/** What the target has executed, by its own log: the marks. */
const executed = (): readonly string[] =>
  [...target.log().matchAll(/ LOG: {2}(?:statement|execute \S+): .*\/\* (mark \d+) \*\//g)].map(
    ([, mark = '']) => mark,
  );

async function settled(credential: Credential): Promise<void> {
  const isLive = (await product.grantState(credential.grant)) === 'active';
  await until('nothing is left on the target', async () => {
    const { logins, backends, prepared } = await leftOn(target);
    return (
      backends.length === 0 &&
      prepared.length === 0 &&
      logins.every((name) => isLive && name.endsWith(credential.grant.slice(4)))
    );
  });
  if (isLive) {
    const client = await product.connect(credential);
    assert.equal((await client.query('select count(*)::int as n from orders')).rows[0].n, 180);
    await client.end();
    await product.revoke(credential.grant);
  }
  await assert.rejects(product.connect(credential), { code: '28P01' }, 'a credential of an ended grant opens nothing');
  await until('nothing is left after the end', async () => {
    const { logins, backends } = await leftOn(target);
    return logins.length === 0 && backends.length === 0;
  });
  await until('every session of the grant has an end, once', async () => {
    const entries = await product.log({ grant: credential.grant });
    const ids = (kind: string) => entries.flatMap((e) => (e.kind === kind ? [e.subject['session'] ?? ''] : []));
    assert.equal(new Set(ids('session.ended')).size, ids('session.ended').length, 'no session has two ends');
    return ids('session.opened').toSorted().join() === ids('session.ended').toSorted().join();
  });
  const recorded = JSON.stringify(
    (await product.log({ kind: 'statement.begun' })).map((entry) => entry.content?.['text']),
  );
  for (const mark of executed())
    assert.ok(recorded.includes(`/* ${mark} */`), `\`${mark}\` was run and isn't recorded`);
}

async function open(credential: Credential): Promise<pg.Client | undefined> {
  try {
    return await product.connect(credential);
  } catch {
    return undefined;
  }
}

for (const point of Object.keys(faultPoints) as FaultPoint[]) {
  const how = when[point];
  test(`INVARIANT 4, 6, 8, 12: killed when ${faultPoints[point]} (${point}), while ${how}`, async () => {
    const credential = await product.give();
    if (how === 'a session is opened') {
      product.arm(point);
      const client = await open(credential);
      client?.query(marked('select 1')).catch(() => undefined);
    } else if (how === 'a statement is done') {
      const client = await product.connect(credential);
      await client.query(marked('select 1'));
      product.arm(point);
      client.query(marked('select 2')).catch(() => undefined);
    } else {
      const client = await product.connect(credential);
      const statement = marked('select pg_sleep(600)');
      client.query(statement).catch(() => undefined);
      await until('the statement runs', async () =>
        (await leftOn(target)).backends.some((b) => b.includes('pg_sleep')),
      );
      // Records of the beginning are out of the way, so that the point is one of the end.
      await until(
        'the beginning is in the log',
        async () => (await product.log({ kind: 'statement.begun', grant: credential.grant })).length > 0,
      );
      product.arm(point);
      // The answer may be lost with the process.
      void product.revoke(credential.grant).catch(() => undefined);
    }
    const dead = await Promise.race([product.died().then(() => true), sleep(60_000, false, { ref: false })]);
    product.arm(undefined);
    assert.ok(dead, 'the point was not reached');
    await product.start();
    await settled(credential);
  });
}

test('INVARIANT 4, 12: killed while a statement runs: the target ends it, although nobody is left to ask it to', async () => {
  const credential = await product.give();
  const client = await product.connect(credential);
  client.query(marked('select pg_sleep(600)')).catch(() => undefined);
  await until('the statement runs', async () => (await leftOn(target)).backends.some((b) => b.includes('pg_sleep')));
  await product.kill();
  await until('it is gone, although the grant is live', async () => (await leftOn(target)).backends.length === 0);
  await product.start();
  await settled(credential);
});

test('INVARIANT 4, 12: killed when the login is made of a grant that was revoked at the same moment', async () => {
  const credential = await product.give();
  // Whoever makes a login waits for this lock, and meanwhile the grant ends.
  const lock = new pg.Client(target.server.connection(target.database));
  await lock.connect();
  await lock.query('begin; lock table pg_authid in share mode');
  product.arm('login_created');
  const opening = open(credential);
  await until('a login is being made', async () => {
    const waiting = await target.query(`select from pg_stat_activity where wait_event_type = 'Lock' and usename = $1`, [
      target.adminUser,
    ]);
    return waiting.length > 0;
  });
  await product.revoke(credential.grant);
  await lock.query('commit');
  await lock.end();
  await opening;
  await product.died();
  product.arm(undefined);
  await product.start();
  assert.equal(await product.grantState(credential.grant), 'ended');
  await settled(credential);
});

test('INVARIANT 4, 6: the store is killed under a running statement and comes back by itself', async () => {
  const credential = await product.give();
  const client = await product.connect(credential);
  await client.query(marked('select 1'));
  process.kill(
    Number(readFileSync(join(product.dataFolder, 'store/cluster/postmaster.pid'), 'utf8').split('\n')[0]),
    'SIGKILL',
  );
  // What is decided needs no store; it is in the journal.
  await client.query(marked('select 1'));
  await until('the store is back', () =>
    product.grantState(credential.grant).then(
      (state) => state === 'active',
      () => false,
    ),
  );
  await client.query(marked('select count(*) from products'));
  await client.end();
  await settled(credential);
});

test('INVARIANT 3: after all of it the log is whole', async () => {
  const report = await product.verifyLog();
  assert.deepEqual(report.faults, []);
  assert.ok(report.ok);
  assert.ok(executed().length > 0, `the own log of the target was read`);
});

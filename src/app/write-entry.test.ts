import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EntryId } from '#core/ids.ts';
import { transaction } from '#store/database.ts';
import { active, approved, ask, credentialFor, session } from '#test/support/access.ts';
import { testApp, type TestApp } from '#test/support/app.ts';
import { sql } from 'kysely';
import { writeEntry } from './write-entry.ts';

/** As if the code had forgotten something, or somebody had reached the store. */
const refusedBy = (constraint: string, run: Promise<unknown>) => assert.rejects(run, { constraint });
const raw = (app: TestApp, text: string) => sql.raw(text).execute(app.ctx.db);

test('INVARIANT 3: the database takes no step of anything without the entry of that step', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  await ask(app, ada);
  const waiting = await approved(app, ada, bob);
  const running = await active(app, ada, bob);
  const opened = await session(app, ada, running);
  await app.invited('new');
  for (const statement of [
    `update principal set state = 'suspended' where handle = 'ada'`,
    `update principal set groups = '{administrators}' where handle = 'ada'`,
    `insert into principal select 'usr_x', 'x', 'x', 'user', 'active', '{administrators}', now(), entry from principal limit 1`,
    `update authenticator set revoked_at = now()`,
    `insert into authenticator select 'aut_x', principal, 'x', public_key, 0, '{}', 'x', now(), null, null, entry from authenticator limit 1`,
    `insert into one_time_link select 'lnk_x', 'x', kind, principal, created_at, expires_at, null, null, entry from one_time_link limit 1`,
    `update access_request set state = 'withdrawn', decided_at = now() where state = 'pending'`,
    `update access_request set state = 'expired', decided_at = now() where state = 'pending'`,
    `update access_grant set state = 'ended', ended_at = now(), how = 'revoked' where id = '${running}'`,
    `update access_grant set state = 'ended', ended_at = now(), how = 'expired' where id = '${waiting}'`,
    `insert into configuration (version, hash, files, applied_at, applied_by, proof, entry)
     select version, hash, files, applied_at, applied_by, proof, entry from configuration limit 1`,
    `update configuration set files = '{}'`,
    `insert into connection_credential select 'crd_x', access_grant, 'x', verifier, created_at, entry from connection_credential limit 1`,
    `insert into session (id, access_grant, credential, principal, role, gateway, client_address, opened_at, entry)
     select 'ses_x', access_grant, credential, principal, role, gateway, client_address, opened_at, entry from session limit 1`,
    `update session set ended_at = now(), how = 'revoked' where id = '${opened.id}'`,
  ])
    await refusedBy('no_change_without_its_entry', raw(app, statement));
});

test('the database refuses what no entry could make right', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering', 'dba']);
  const bob = await app.person('bob', ['dba']);
  const pending = await ask(app, ada);
  const grant = await active(app, ada, bob);
  await credentialFor(app, ada, grant);
  const entered = (change: (entry: EntryId) => string) =>
    transaction(app.ctx.db, async (trx) => {
      const entry = await writeEntry(app.ctx, trx, { kind: 'system.started', actor: 'system' });
      await sql.raw(change(entry)).execute(trx);
    });
  const proof = await app.ctx.db
    .selectFrom('proof')
    .select('id')
    .where('purpose', '=', 'approve_request')
    .executeTakeFirstOrThrow();
  for (const [constraint, change] of [
    [
      'an_approved_request_has_its_approvals',
      (e) => `update access_request set state = 'approved', decided_at = now(), entry = '${e}' where id = '${pending}'`,
    ],
    [
      'what_was_asked_for_does_not_change',
      (e) => `update access_request set duration_ms = 1, entry = '${e}' where id = '${pending}'`,
    ],
    [
      'a_request_is_decided_once',
      (e) => `update access_request set state = 'withdrawn', entry = '${e}' where state = 'approved'`,
    ],
    [
      'nobody_denies_their_own',
      (e) =>
        `update access_request set state = 'denied', decided_at = now(), word = 'x', denied_by = requester, entry = '${e}' where id = '${pending}'`,
    ],
    [
      'nobody_approves_their_own',
      (e) => `insert into approval values ('apr_x', '${pending}', '${ada.principal.id}', '${proof.id}', now(), '${e}')`,
    ],
    [
      'an_approval_has_its_proof',
      (e) => `insert into approval values ('apr_x', '${pending}', '${bob.principal.id}', '${proof.id}', now(), '${e}')`,
    ],
    [
      'what_was_granted_does_not_change',
      (e) =>
        `update access_grant set role = 'orders/fix-orders', state = 'ended', ended_at = now(), how = 'revoked', entry = '${e}' where id = '${grant}'`,
    ],
    [
      'a_grant_takes_known_steps',
      (e) => `update access_grant set ends_at = ends_at + interval '1 hour', entry = '${e}' where id = '${grant}'`,
    ],
    [
      'a_grant_comes_from_an_approved_request',
      (
        e,
      ) => `insert into access_grant (id, request, principal, role, duration_ms, not_before, activate_by, state, entry)
        select 'grt_x', id, requester, role, duration_ms, now(), now() + interval '1 day', 'approved', '${e}' from access_request where id = '${pending}'`,
    ],
    ['what_happened_is_kept', () => 'delete from approval'],
    ['what_happened_is_kept', () => 'delete from access_grant'],
    ['what_happened_is_kept', () => 'delete from authenticator'],
    ['what_happened_is_kept', () => 'delete from configuration'],
    ['what_happened_is_kept', () => 'delete from connection_credential'],
    ['a_proof_is_used_once', () => `update proof set used_at = now() where state = 'used'`],
    ['a_passkey_stays_what_was_enrolled', () => `update authenticator set public_key = 'x'`],
  ] as const satisfies readonly (readonly [string, (entry: EntryId) => string])[])
    await refusedBy(constraint, entered(change));
});

test('INVARIANT 3: an entry and its change come together or not at all', async (t) => {
  const app = await testApp(t);
  const count = async () =>
    (
      await app.ctx.db
        .selectFrom('log_entry')
        .select((select) => select.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
    ).count;
  const before = await count();
  await assert.rejects(
    transaction(app.ctx.db, async (trx) => {
      await writeEntry(app.ctx, trx, { kind: 'system.started', actor: 'system', content: { some: 'content' } });
      throw new Error('and then it fails');
    }),
  );
  assert.equal(await count(), before);
  // A key that was made in a transaction that came to nothing is forgotten with it.
  await transaction(app.ctx.db, async (trx) => {
    await writeEntry(app.ctx, trx, { kind: 'system.started', actor: 'system', content: { some: 'content' } });
  });
  assert.equal(await count(), before + 1);
});

test('INVARIANT 5: the database keeps no proof for longer than five minutes, and moves the end of none', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const { object } = await app.sign(ada, { purpose: 'activate_grant', grant: await approved(app, ada, bob) });
  await refusedBy(
    'a_proof_lives_five_minutes',
    raw(
      app,
      `insert into proof (id, purpose, principal, object, created_at, expires_at)
       select 'prf_x', purpose, principal, object, created_at, created_at + interval '301 s' from proof limit 1`,
    ),
  );
  await refusedBy(
    'a_proof_is_used_once',
    raw(app, `update proof set expires_at = expires_at - interval '1 s' where id = '${object.id}'`),
  );
});

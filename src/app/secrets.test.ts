import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hours } from '#core/instant.ts';
import { active, ask, session, supportRead } from '#test/support/access.ts';
import { testApp, valueOf } from '#test/support/app.ts';
import { sql } from 'kysely';
import { shipJournal } from './ship-journal.ts';
import { fileRequest } from './file-request.ts';
import { issueCredential } from './issue-credential.ts';

test('INVARIANT 10: the store holds no password, no token and no link, and what people said in the log only sealed', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const bob = await app.person('bob', ['dba']);
  const { linkToken } = await app.invited('new', ['engineering']);
  const grant = await active(app, ada, bob);
  const credential = valueOf(await issueCredential(app.ctx, await app.caller(ada), grant));
  const opened = await session(app, ada, grant);
  const on = { session: opened.id, grant, principal: ada.principal.id, resource: 'orders', role: supportRead };
  await shipJournal(app.ctx, 'gw_test', [
    {
      number: 1,
      at: app.clock.now(),
      event: {
        kind: 'statement.begun',
        on,
        statement: 1,
        protocol: 'extended',
        text: { text: 'select secret_text_of_a_statement' },
        parameters: [{ text: 'secret parameter' }],
        policyVersion: 'v',
        policies: [],
      },
    },
  ]);
  await ask(app, ada);
  valueOf(
    await fileRequest(app.ctx, await app.caller(ada), {
      role: supportRead,
      duration: hours(1),
      reason: 'the reason of a person',
      ticket: undefined,
      startsAt: undefined,
    }),
  );
  const tables = await sql<{ name: string }>`select c.relname as name from pg_class c
    where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1`.execute(app.ctx.db);
  assert.ok(tables.rows.length > 15);
  const dump = new Map<string, string>();
  for (const { name } of tables.rows) {
    const { rows } = await sql<{ row: string }>`select t::text as row from ${sql.table(name)} t`.execute(app.ctx.db);
    dump.set(name, rows.map(({ row }) => row).join('\n'));
  }
  // Bytes are shown as hex, so each secret is looked for in both spellings.
  const holders = (secret: string) =>
    [...dump].flatMap(([name, text]) =>
      text.includes(secret) || text.includes(Buffer.from(secret).toString('hex')) ? [name] : [],
    );
  assert.deepEqual(holders(credential.user), ['connection_credential'], 'what is there is found');
  for (const secret of [
    credential.password.reveal(),
    linkToken,
    linkToken.slice(-32),
    ada.cookie,
    ada.cookie.slice(-32),
    'secret_text_of_a_statement',
    'secret parameter',
  ])
    assert.deepEqual(holders(secret), [], secret);
  // A request shows its reason to its approvers; the log has it sealed.
  assert.deepEqual(holders('the reason of a person'), ['access_request']);
  const verifiers = await app.ctx.db.selectFrom('connection_credential').select('verifier').execute();
  for (const { verifier } of verifiers) assert.match(verifier, /^SCRAM-SHA-256\$\d+:/);
  assert.equal(String(credential.password).includes(credential.password.reveal()), false);
  assert.equal(JSON.stringify(credential).includes(credential.password.reveal()), false);
});

test('INVARIANT 10: keys of content are in the store only under the master key', async (t) => {
  const app = await testApp(t);
  const ada = await app.person('ada', ['engineering']);
  const key = await app.ctx.db.transaction().execute((trx) => app.ctx.contentKeys.keyOf(trx, ada.principal.id));
  const row = await app.ctx.db
    .selectFrom('content_key')
    .select('wrapped')
    .where('id', '=', key.id)
    .executeTakeFirstOrThrow();
  assert.ok(row.wrapped !== null);
  assert.equal(Buffer.from(row.wrapped).includes(Buffer.from(key.key)), false);
  const settings = await app.ctx.db.selectFrom('sealed_setting').selectAll().execute();
  for (const { sealed } of settings) assert.equal(Buffer.from(sealed).includes('PRIVATE+KEY'), false);
});

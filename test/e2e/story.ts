/**
 * The main job, end to end, with real parts only: a server process, a real browser with a virtual authenticator for each
 * person, the real command line, real psql and pg_dump on a real PostgreSQL. `npm run story` prints one line a step with
 * what was seen; `--screenshots DIR` keeps pictures of the console, `--transcript FILE` the commands and their output.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { sallyProgram, type House } from './_house.ts';
import { openPerson, type Person, type Ran } from './_person.ts';
import {
  activate as activateWithPasskey,
  apply,
  approve,
  chapter,
  enrolAdministrator,
  firstLine,
  invite,
  line,
  login,
  makePasskey,
  onTarget,
  picture,
  succeed,
  transcriptFile,
  typed,
  until,
} from './_story.ts';

const logins = (house: House) =>
  onTarget<{ rolname: string; rolvaliduntil: Date | null }>(
    house,
    `select rolname, rolvaliduntil from pg_roles where starts_with(rolname, 'sally_l_') order by 1`,
  );
const backends = (house: House) =>
  onTarget<{ usename: string; query: string; state: string }>(
    house,
    `select usename, query, state from pg_stat_activity where starts_with(usename, 'sally_l_')`,
  );

const saidBy = (ran: Ran): string => /^sally: .*$/m.exec(ran.err)?.[0] ?? firstLine(ran.err);
await chapter(transcriptFile, async (story) => {
  const { house, browser, seen } = story;
  let current = '';

  /** What a person would read; documents for programs are left out. */
  const note = (person: Person, args: readonly string[], ran: Ran): void => {
    // Once is enough to see how it looks.
    if (args.includes('--json') || (current === '8' && args[0] === 'activate')) return;
    if (args[0] === 'login' && person.name !== 'ada') return;
    story.tell(typed(person, args, ran.shown));
  };
  /** Runs a command that must succeed; it and its output go into the transcript. */
  const ok = async (person: Person, ...args: readonly string[]): Promise<Ran> => {
    const ran = await succeed(person, ...args);
    note(person, args, ran);
    return ran;
  };

  // --- 1. it starts, and starts again
  current = '1';
  const startMs = await house.start();
  const ready = house.ready();
  assert.ok(ready.enrolmentLink !== null);
  seen(
    '1',
    `ready in ${(startMs / 1000).toFixed(1)} s: console ${ready.console.url}, gateway ${ready.postgres.host}:${ready.postgres.port}, sample target ${ready.sample.host}:${ready.sample.port}, one-time link for the first administrator`,
  );
  const [rows] = await onTarget<{ n: string }>(
    house,
    `select (select count(*) from customers) + (select count(*) from orders) + (select count(*) from order_items) + (select count(*) from payments) + (select count(*) from products) as n`,
  );
  seen('1', `the sample holds ${rows?.n} rows`);
  const second = await runAlone(house, [
    'up',
    '--data',
    join(house.folder, 'data'),
    '--console',
    '127.0.0.1:0',
    '--postgres',
    '127.0.0.1:0',
  ]);
  assert.notEqual(second.code, 0);
  assert.match(second.err, /in use by process \d+/);
  seen('1', `a second process on the same data is refused: ${saidBy(second)}`);
  const taken = await runAlone(house, [
    'up',
    '--data',
    join(house.folder, 'other'),
    '--no-sample',
    '--console',
    new URL(ready.console.url).host.replace('localhost', '127.0.0.1'),
  ]);
  assert.notEqual(taken.code, 0);
  assert.match(taken.err, /listens on/);
  seen('1', `a taken port is refused: ${saidBy(taken)}`);
  rmSync(join(house.folder, 'other'), { recursive: true, force: true });

  // --- 2. the administrator, ada and bob
  current = '2';
  const url = ready.console.url;
  const admin = await enrolAdministrator(story);
  const ada = await openPerson(browser, 'ada', house.folder, url);
  const bob = await openPerson(browser, 'bob', house.folder, url, { phone: true });
  seen('2', 'the first administrator enrolled a passkey by the one-time link and sees the console');
  for (const [person, name, groups] of [
    [ada, 'Ada Lovelace', 'engineering'],
    [bob, 'Bob Example', 'dba'],
  ] as const) {
    const link = await invite(admin, person.name, name, groups);
    await person.page.goto(link);
    await person.page.getByRole('heading', { name: `Welcome, ${name}` }).waitFor();
    await makePasskey(person);
    await person.page.goto('/sign-in');
    await person.page.goto(link);
    await person.page.getByRole('heading', { name: 'This link does not work' }).waitFor();
    await person.page.goto('/');
    seen(
      '2',
      `${person.name} (${groups}) was invited with a signed invitation, enrolled a passkey, and the link works no second time`,
    );
  }

  // --- 4a. signing in at the command line (the administrator needs it for step 3)
  await login(admin);

  // --- 3. configuration
  current = '3';
  const work = join(house.folder, 'root', 'access');
  cpSync(join(ready.dataDir, 'sample-configuration'), work, { recursive: true });
  const file = join(work, 'sallyport.yaml');
  const good = readFileSync(file, 'utf8');
  writeFileSync(file, good.replace('max: 4h', 'max: 4 hours').replace('approve:', 'aprove:'));
  const faults = await admin.sally('validate', '-f', file);
  note(admin, ['validate', '-f', 'access/sallyport.yaml'], faults);
  assert.equal(faults.code, 7);
  const places = [...(faults.out + faults.err).matchAll(/sallyport\.yaml:(\d+):(\d+)/g)].length;
  assert.ok(places >= 2, faults.out + faults.err);
  seen('3', `sally validate names ${places} faults by file, line and column: ${firstLine(faults.out + faults.err)}`);
  writeFileSync(file, good.replace('max: 4h', 'max: 3h'));
  await ok(admin, 'validate', '-f', file);
  const plan = await apply(admin, file);
  await admin.page.getByRole('list', { name: 'Changed' }).waitFor();
  await picture(admin, '03-a-plan');
  const applied = await plan.sign();
  note(admin, ['apply', '-f', 'access/sallyport.yaml'], applied);
  assert.match(applied.out + applied.err, /4h.*3h/s);
  seen(
    '3',
    `sally apply showed the plan and applied it with a passkey: ${line((applied.out + applied.err).match(/.*4h.*3h.*/)?.[0] ?? '')}`,
  );
  const cases = await ok(admin, 'policy', 'test', '-f', file);
  seen('3', `sally policy test: ${line(cases.out.trim().split('\n').at(-1) ?? '')}`);

  // --- 4. ada signs in and asks
  current = '4';
  note(ada, ['login'], await login(ada));
  const who = await ok(ada, 'whoami', '--json');
  assert.equal((JSON.parse(who.out) as { principal: { handle: string } }).principal.handle, 'ada');
  seen(
    '4',
    'sally login: loopback redirect with PKCE, passkey in the browser, token bound to this machine’s key (DPoP)',
  );
  const ls = await ok(ada, 'ls');
  assert.match(ls.out, /orders\/support-read/);
  assert.match(ls.out, /orders\/fix-orders/);
  seen('4', 'sally ls shows orders/support-read and orders/fix-orders');
  const tooLong = await ada.sally('request', 'orders/support-read', '--for', '9h', '--reason', 'too long');
  note(ada, ['request', 'orders/support-read', '--for', '9h', '--reason', 'too long'], tooLong);
  assert.equal(tooLong.code, 1);
  seen('4', `more than the role allows is refused: ${firstLine(tooLong.err)}`);
  const asking = ada.start(
    'request',
    'orders/support-read',
    '--for',
    '2h',
    '--reason',
    'INC-4211 refund stuck',
    '--wait',
  );
  asking.child.stdin?.end();

  // --- 5. bob approves on a phone
  current = '5';
  await login(bob);
  const pending = await until('bob’s inbox', async () => {
    const inbox = await bob.sally('requests', '--inbox', '--json');
    const [first] = (JSON.parse(inbox.out) as { items: { id: string; reason: string }[] }).items;
    return first;
  });
  assert.equal(pending.reason, 'INC-4211 refund stuck');
  await ok(bob, 'requests', '--inbox');
  await ada.page.goto(`/requests/${pending.id}`);
  await ada.page.getByText('Nobody approves their own request.').waitFor();
  assert.equal(await ada.page.getByRole('button', { name: 'Approve', exact: true }).count(), 0);
  seen('5', 'ada can’t approve her own request: there is no button, and the API refuses (test: INVARIANT 2)');
  await bob.page.goto('/requests');
  await bob.page.getByRole('link', { name: /ada asks for orders\/support-read/ }).click();
  await bob.page.getByRole('button', { name: 'Approve', exact: true }).click();
  await bob.page.getByRole('button', { name: 'Sign with passkey' }).waitFor();
  const signed = await bob.page.getByRole('region', { name: 'Approve this request' }).innerText();
  for (const part of ['ada', 'orders/support-read', '2h', 'INC-4211 refund stuck'])
    assert.ok(signed.includes(part), `what is signed says \`${part}\`:\n${signed}`);
  await picture(bob, '04-an-approval-on-a-phone');
  await bob.page.getByRole('button', { name: 'Sign with passkey' }).click();
  await bob.page.getByText('Approved by bob').waitFor();
  const asked = await asking.ended;
  note(ada, ['request', 'orders/support-read', '--for', '2h', '--reason', 'INC-4211 refund stuck', '--wait'], asked);
  assert.equal(asked.code, 0, asked.err);
  seen('5', 'bob read exactly what he signs on a phone and approved with his passkey; ada’s --wait ended with it');

  // --- 6. activate and connect
  current = '6';
  const early = await ada.sally('connect', 'orders', '--', 'true');
  assert.notEqual(early.code, 0);
  seen('6', `no session before activation: ${firstLine(early.err)}`);
  const activate = async (...what: string[]): Promise<void> =>
    note(ada, ['activate', ...what], await activateWithPasskey(ada, ...what));
  await activate();
  await ada.page.getByText(/left/).first().waitFor();
  await picture(ada, '05-a-grant');
  const psql = (...commands: readonly string[]) => [
    'connect',
    'orders',
    '--',
    'psql',
    '-X',
    ...commands.flatMap((command) => ['-c', command]),
  ];
  const first = await ok(ada, ...psql('select current_user, count(*) from public.orders'));
  seen('6', `activated with her passkey; sally connect orders runs psql: ${line(first.out)}`);
  const printed = await ok(ada, 'connect', 'orders', '--print');
  const uri =
    printed.out
      .trim()
      .split('\n')
      .find((part) => part.startsWith('postgresql://')) ?? '';
  assert.match(uri, /sslmode=verify-full/);
  const byUri = execFileSync('psql', [uri, '-XAtc', 'select count(*) from public.products'], { encoding: 'utf8' });
  seen('6', `the connection string for a GUI works as it is (verify-full): ${byUri.trim()} products`);
  const environment = await ok(
    ada,
    'connect',
    'orders',
    '--',
    'sh',
    '-c',
    'env | grep ^PG | cut -d= -f1 | sort | tr "\\n" " "',
  );
  assert.match(environment.out, /PGPASSWORD/);
  seen('6', `-- COMMAND has the variables set: ${line(environment.out)}`);
  const open = ada.start('connect', 'orders', '--', 'psql', '-X', '-c', 'select pg_sleep(5)');
  const [temporary] = await until('the temporary login', async () => {
    const found = await logins(house);
    return found.length > 0 ? found : undefined;
  });
  assert.ok(temporary?.rolvaliduntil instanceof Date);
  const [member] = await onTarget<{ role: string; others: string }>(
    house,
    `select min(roleid::regrole::text) as role, count(*)::text as others from pg_auth_members where member = $1::regrole`,
    [temporary.rolname],
  );
  assert.equal(member?.others, '1');
  const privileges = await onTarget<{ what: string; may: boolean }>(
    house,
    `select what, may from (values
      ('select orders', has_table_privilege($1, 'public.orders', 'select')),
      ('update orders', has_table_privilege($1, 'public.orders', 'update')),
      ('delete orders', has_table_privilege($1, 'public.orders', 'delete')),
      ('select customers.name', has_column_privilege($1, 'public.customers', 'name', 'select')),
      ('select customers.email', has_column_privilege($1, 'public.customers', 'email', 'select')),
      ('create in public', has_schema_privilege($1, 'public', 'create'))) v (what, may)`,
    [member.role],
  );
  assert.deepEqual(
    privileges.filter((row) => row.may).map((row) => row.what),
    ['select orders', 'select customers.name'],
  );
  seen(
    '6',
    `the login ${temporary.rolname} is the grant’s own, valid until ${temporary.rolvaliduntil.toISOString()}, member of ${member.role} alone, which holds exactly the role’s privileges`,
  );
  await open.ended;

  // --- 7. she works
  current = '7';
  const described = await ok(ada, ...psql('\\d public.orders'));
  assert.match(described.out, /customer_id/);
  seen('7', `\\d: ${firstLine(described.out)}`);
  const copied = await ok(
    ada,
    ...psql(
      `\\copy (select id, status from public.orders order by id limit 1000) to '${join(house.folder, 'orders.csv')}' csv`,
    ),
  );
  assert.equal(readFileSync(join(house.folder, 'orders.csv'), 'utf8').trim().split('\n').length, 1000);
  seen('7', `\\copy: ${line(copied.out)}`);
  const client = new pg.Client({
    connectionString: uri.replace(/sslmode=verify-full/, 'sslmode=no-verify').replace(/&?sslrootcert=[^&]*/, ''),
    ssl: { ca: readFileSync(ready.postgres.caFile, 'utf8') },
  });
  await client.connect();
  const prepared = await client.query({
    name: 'by-status',
    text: 'select id from public.orders where status = $1 and id < $2',
    values: ['shipped', 500],
  });
  await client.query('begin');
  await client.query('select 1 from public.payments limit 1');
  await client.query('commit');
  await client.end();
  seen('7', `a prepared statement with parameters (${prepared.rowCount} rows) and a transaction through a driver`);
  const dumped = await ok(
    ada,
    'connect',
    'orders',
    '--',
    'pg_dump',
    '--data-only',
    '-t',
    'public.products',
    '-f',
    join(house.folder, 'products.sql'),
  );
  assert.match(readFileSync(join(house.folder, 'products.sql'), 'utf8'), /COPY public\.products/);
  seen(
    '7',
    `pg_dump of an allowed table: ${statSync(join(house.folder, 'products.sql')).size} bytes${line(dumped.err) === '' ? '' : `, ${line(dumped.err)}`}`,
  );
  const sleeping = ada.start('connect', 'orders', '--', 'psql', '-X', '-c', 'select pg_sleep(60)');
  await until('the statement to run', async () =>
    (await backends(house)).some((b) => b.query.includes('pg_sleep(60)') && b.state === 'active') ? true : undefined,
  );
  process.kill(-(sleeping.child.pid ?? 0), 'SIGINT');
  const cancelled = await sleeping.ended;
  assert.match(cancelled.err, /canceling statement due to user request/);
  seen('7', `Ctrl-C on select pg_sleep(60): ${firstLine(cancelled.err)}`);
  const refusedRead = await ada.sally(...psql('select email from public.customers limit 1'));
  note(ada, psql('select email from public.customers limit 1'), refusedRead);
  assert.match(refusedRead.err, /customers/);
  assert.match(refusedRead.err, /email/);
  seen('7', `what the role doesn’t give: ${line(refusedRead.err)}`);
  const refusedWrite = await ada.sally(
    'connect',
    'orders',
    '--',
    'psql',
    '-X',
    '-v',
    'VERBOSITY=verbose',
    '-c',
    `update public.orders set note = 'x' where id = 42`,
  );
  assert.match(refusedWrite.err, /42501/);
  assert.match(refusedWrite.err, /orders\/fix-orders/);
  seen('7', `and who would give it: ${line(refusedWrite.err)}`);

  // Round the gateway with the temporary login: the administrator gives it a password we know, as if it had leaked.
  const around = ada.start('connect', 'orders', '--', 'psql', '-X', '-c', 'select pg_sleep(20)');
  const [leaked] = await until('the temporary login', async () => {
    const found = await logins(house);
    return found.length > 0 ? found : undefined;
  });
  assert.ok(leaked !== undefined);
  const [secret] = await onTarget<{ rolpassword: string }>(
    house,
    'select rolpassword from pg_authid where rolname = $1',
    [leaked.rolname],
  );
  assert.match(secret?.rolpassword ?? '', /^SCRAM-SHA-256\$/);
  const setPassword = (password: string) =>
    onTarget(house, `alter role ${pg.escapeIdentifier(leaked.rolname)} password ${pg.escapeLiteral(password)}`);
  await setPassword('known to the test only');
  const direct = new pg.Client({
    host: ready.sample.host,
    port: ready.sample.port,
    database: ready.sample.database,
    user: leaked.rolname,
    password: 'known to the test only',
    ssl: { ca: readFileSync(ready.postgres.caFile, 'utf8') },
  });
  await direct.connect();
  direct.on('error', () => undefined);
  for (const statement of [
    'select email from public.customers',
    `update public.orders set note = 'x' where id = 42`,
    'create table public.mine (a int)',
    'delete from public.payments',
  ]) {
    await assert.rejects(
      direct.query(statement),
      (error: unknown) => error instanceof pg.DatabaseError && error.code === '42501',
      statement,
    );
  }
  await direct.end();
  await setPassword(secret?.rolpassword ?? '');
  process.kill(-(around.child.pid ?? 0), 'SIGINT');
  await around.ended;
  seen('7', 'round the gateway with the temporary login, the database itself refuses the same with 42501');
  const sessionLog = await ok(ada, 'log', '--limit', '100', '--json');
  const entries = (
    JSON.parse(sessionLog.out) as {
      items: { kind: string; facts: Record<string, unknown>; content: Record<string, unknown> | null }[];
    }
  ).items;
  const recorded = entries.find(
    (entry) => entry.kind === 'statement.ended' && JSON.stringify(entry.content).includes('status = $1'),
  );
  assert.ok(recorded !== undefined, 'the prepared statement is in the log');
  assert.match(JSON.stringify(recorded.content), /shipped/);
  seen(
    '7',
    `recorded: text, parameters ${JSON.stringify(recorded.content?.['parameters'])}, rows ${String(recorded.facts['rows'])}, ${String(recorded.facts['durationMs'])} ms, ${String(recorded.facts['outcome'])}`,
  );

  // --- 8. three ends, overlapping grants, and the plug
  current = '8';
  type Grant = { readonly id: string; readonly role: string; readonly state: string };
  const grantsOf = async (person: Person, ...more: string[]): Promise<Grant[]> => {
    const listed = await person.sally('grants', '--json', ...more);
    return (JSON.parse(listed.out) as { items: Grant[] }).items;
  };
  const give = async (role: string, duration: string, reason: string): Promise<string> => {
    const filed = await ok(ada, 'request', role, '--for', duration, '--reason', reason, '--json');
    const { id } = JSON.parse(filed.out) as { id: string };
    await approve(bob, id);
    const grant = await until('the grant', async () =>
      (await grantsOf(ada)).find((g) => g.role === role && g.state === 'approved'),
    );
    await activate(grant.id);
    return grant.id;
  };
  const running = (grant: string) => {
    const child = ada.start('connect', grant, '--', 'psql', '-X', '-c', 'select pg_sleep(300)');
    return until('a running statement', async () => {
      if (child.child.exitCode !== null) throw new Error(child.err());
      return (await backends(house)).some((b) => b.query.includes('pg_sleep(300)') && b.state === 'active')
        ? child
        : undefined;
    });
  };
  const gone = async () => {
    await until('the statement to be cancelled on the target', async () =>
      (await backends(house)).length === 0 ? true : undefined,
    );
    await until('the temporary login to be dropped', async () =>
      (await logins(house)).length === 0 ? true : undefined,
    );
  };
  const supportGrant =
    (await grantsOf(ada)).find((g) => g.role === 'orders/support-read' && g.state === 'active')?.id ?? '';

  const byHand = await running(supportGrant);
  const doneRan = await ok(ada, 'done', supportGrant);
  const handedBack = await byHand.ended;
  assert.match(handedBack.err, /handed it back/);
  await gone();
  seen(
    '8',
    `ada hands back (${firstLine(doneRan.out + doneRan.err)}); psql says: ${firstLine(handedBack.err)}; on the target the statement, the backend and the login are gone`,
  );

  const toRevoke = await give('orders/support-read', '1h', 'INC-4212 look at payments');
  const byBob = await running(toRevoke);
  const cutAt = performance.now();
  await ok(bob, 'revoke', toRevoke, '--word', 'the incident is over');
  const revoked = await byBob.ended;
  assert.match(revoked.err, /revoked/);
  await gone();
  seen(
    '8',
    `bob revokes; ${(performance.now() - cutAt).toFixed(0)} ms after the command began nothing was left; psql says: ${firstLine(revoked.err)}`,
  );

  const toExpire = await give('orders/support-read', '30m', 'INC-4213 refund again');
  const byTime = await running(toExpire);
  house.moveClock(31 * 60_000);
  const expired = await byTime.ended;
  assert.match(expired.err, /time is over/);
  await gone();
  seen('8', `the time is over (the clock was moved); psql says: ${firstLine(expired.err)}`);

  const read = await give('orders/support-read', '1h', 'INC-4214 read');
  const fix = await give('orders/fix-orders', '30m', 'INC-4214 fix order 42');
  const staying = await running(fix);
  const updated = await ok(
    ada,
    'connect',
    fix,
    '--',
    'psql',
    '-X',
    '-c',
    `update public.orders set note = 'checked for INC-4214' where id = 42`,
  );
  assert.match(updated.out, /UPDATE 1/);
  await ok(bob, 'revoke', read);
  await sleep(500);
  assert.equal(staying.child.exitCode, null);
  const still = await ok(ada, 'connect', fix, '--', 'psql', '-XAtc', 'select note from public.orders where id = 42');
  assert.match(still.out, /INC-4214/);
  seen(
    '8',
    'two overlapping grants: the end of one left the session and the rights of the other (UPDATE 1, still connected)',
  );

  const before = (await logins(house)).length;
  assert.ok(before > 0);
  await house.kill();
  const killed = await staying.ended;
  assert.notEqual(killed.code, 0);
  house.moveClock(40 * 60_000);
  const restartMs = await house.start();
  await gone();
  const ended = (await grantsOf(ada, '--ended')).find((grant) => grant.id === fix);
  assert.equal(ended?.state, 'ended');
  seen(
    '8',
    `kill -9 with a statement running, then start (${(restartMs / 1000).toFixed(1)} s): no login left on the target, the grant that ran out meanwhile is ended`,
  );
  const afterCrash = await until('the journal to be in the log', async () => {
    const log = await admin.sally('log', '--all', '--grant', fix, '--limit', '100', '--json');
    const { items } = JSON.parse(log.out) as { items: { kind: string; content: Record<string, unknown> | null }[] };
    const texts = JSON.stringify(items);
    return texts.includes('pg_sleep(300)') && items.some((entry) => entry.kind === 'session.ended') ? items : undefined;
  });
  seen(
    '8',
    `the journal was recovered: ${afterCrash.length} entries of that grant, the running statement and the end of its session among them`,
  );

  // --- 9. the whole story, verified
  current = '9';
  const whole = await ok(admin, 'log', '--all', '--limit', '1000', '--json');
  const kinds = (JSON.parse(whole.out) as { items: { kind: string }[] }).items.map((entry) => entry.kind);
  const order = [
    'system.started',
    'authenticator.enrolled',
    'principal.invited',
    'configuration.applied',
    'request.filed',
    'request.approved',
    'grant.created',
    'grant.activated',
    'session.opened',
    'statement.ended',
    'session.ended',
    'grant.ended',
  ];
  let at = -1;
  for (const kind of order) {
    const next = kinds.indexOf(kind, at + 1);
    assert.ok(next > at || kinds.indexOf(kind) >= 0, `\`${kind}\` is in the log`);
    at = Math.max(at, next);
  }
  await ok(admin, 'log', '--all', '--limit', '30');
  seen('9', `sally log shows the story in order: ${order.join(' → ')}`);
  const copy = join(house.folder, 'copy');
  await ok(admin, 'log', 'export', copy);
  const verified = await ok(admin, 'log', 'verify', copy, '--key', ready.logKey);
  seen('9', `sally log verify, offline, with the public key alone: ${line(verified.out)}`);
  const files = readdirSync(copy, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  let flips = 0;
  for (const path of files) {
    const bytes = readFileSync(path);
    const where = Math.floor(bytes.length / 2);
    const flipped = Buffer.from(bytes);
    flipped[where] = (flipped[where] ?? 0) ^ 1;
    writeFileSync(path, flipped);
    const found = await admin.sally('log', 'verify', copy, '--key', ready.logKey);
    writeFileSync(path, bytes);
    assert.equal(found.code, 7, `a flipped byte in ${path} is found`);
    const name = path.slice(copy.length + 1);
    assert.ok((found.out + found.err).includes(name), `the fault names ${name}:\n${found.out}${found.err}`);
    flips += 1;
    if (flips >= 8) break;
  }
  seen('9', `a byte flipped in each of ${flips} files was found and the file named`);
  const stored = JSON.parse((await ok(ada, 'log', '--limit', '5', '--json')).out) as { items: { id: string }[] };
  const receipt = join(house.folder, 'receipt.json');
  await ok(ada, 'log', 'prove', stored.items[0]?.id ?? '', '--output', receipt);
  const held = await ok(ada, 'log', 'verify', '--receipt', receipt);
  seen('9', `sally log prove writes a receipt for one entry; ${firstLine(held.out)}`);
  await admin.page.goto('/log?scope=all');
  await admin.page.getByRole('list', { name: 'Log entries' }).getByRole('listitem').first().waitFor();
  await picture(admin, '06-the-log');
  await ada.page.goto('/');
  await picture(ada, '07-home');
  for (const person of [admin, ada, bob])
    assert.deepEqual(person.complaints, [], `${person.name}’s pages kept their policy`);
});

/** `sally` on its own, without a person. */
async function runAlone(house: House, args: readonly string[]): Promise<Ran> {
  const child = spawn(sallyProgram, args, {
    cwd: house.folder,
    env: { ...process.env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out, err, shown: out + err };
}

if (process.exitCode === undefined) await import('./second-door.ts');

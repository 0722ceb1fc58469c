/**
 * The second chapter: what the second door does to somebody who types in psql. Statements wait for a passkey over their
 * very text, for other people's, or for a look at what they touched; who waits can give up, and can be told no. Real parts
 * only, as in the first chapter, which runs it; on its own it is `node test/e2e/second-door.ts`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { root } from './_house.ts';
import { openPerson, type Person, type Ran, type Running } from './_person.ts';
import { activate, apply, approve, chapter, enrolAdministrator, firstLine, invite, line, login } from './_story.ts';
import { makePasskey, onTarget, picture, succeed, transcriptFile, typed, until } from './_story.ts';

const since = (started: number): string => `${(performance.now() - started).toFixed(0)} ms`;

/** What psql says under `VERBOSITY=verbose`: the code is part of what a refusal promises. */
const psql = (command: string): readonly string[] => ['psql', '-X', '-v', 'VERBOSITY=verbose', '-c', command];

/** The hold that a client was told of: the NOTICE has its address. */
const heldBy = (said: () => string): Promise<string> =>
  until('a NOTICE with the address of what is held', () => /NOTICE:.*?\/h\/(hld_\w+)/s.exec(said())?.[1]);

/** Opens what is held on the person's page, as its address does, and reads the statement there. */
async function look({ page }: Person, hold: string): Promise<string> {
  await page.goto(`/h/${hold}`);
  return (await page.getByLabel('Statement', { exact: true }).textContent()) ?? '';
}

/** Signs what is held with the person's passkey, and answers what the page said is signed. */
async function sign(person: Person, hold: string, button: string): Promise<string> {
  await look(person, hold);
  await person.page.getByRole('button', { name: button, exact: true }).click();
  const touch = person.page.getByRole('button', { name: 'Sign with passkey' });
  await touch.waitFor();
  const signed = await person.page.locator('main').innerText();
  await touch.click();
  await touch.waitFor({ state: 'detached' });
  return signed;
}

const errorOf = async (query: Promise<unknown>): Promise<pg.DatabaseError> => {
  const error = await query.then(
    () => assert.fail('the statement ran'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof pg.DatabaseError, String(error));
  return error;
};

await chapter(transcriptFile === undefined ? undefined : `${transcriptFile}.second-door`, async (story) => {
  const { house, browser, seen } = story;
  const startMs = await house.start();
  const ready = house.ready();
  const admin = await enrolAdministrator(story);
  const person = async (handle: string, name: string, group: string, phone: boolean): Promise<Person> => {
    const link = await invite(admin, handle, name, group);
    const one = await openPerson(browser, handle, house.folder, ready.console.url, { phone });
    await one.page.goto(link);
    await makePasskey(one);
    return one;
  };
  const ada = await person('ada', 'Ada Lovelace', 'engineering', false);
  const bob = await person('bob', 'Bob Example', 'dba', true);
  const carol = await person('carol', 'Carol Sample', 'dba', true);
  for (const one of [admin, ada]) await login(one);
  const ask = async (...how: readonly string[]): Promise<string> => {
    const filed = await succeed(ada, 'request', ...how, '--json');
    return (JSON.parse(filed.out) as { id: string }).id;
  };
  type Grant = { readonly id: string; readonly request: string; readonly role: string; readonly state: string };
  const activated = async (role: string): Promise<string> => {
    const grants = JSON.parse((await succeed(ada, 'grants', '--json')).out) as { items: Grant[] };
    const grant = grants.items.find((one) => one.role === role && one.state === 'approved');
    assert.ok(grant !== undefined, `there is a grant of ${role}`);
    await activate(ada, grant.id);
    return grant.id;
  };
  const maintain = 'orders/maintain-orders';
  await approve(bob, await ask(maintain, '--for', '1h', '--reason', 'INC-4290 customer cannot pay'));
  const grant = await activated(maintain);
  seen('0', `ready in ${(startMs / 1000).toFixed(1)} s; ada has ${maintain}, bob and carol are dba, each with a phone`);

  const start = (command: string): Running => {
    const running = ada.start('connect', grant, '--', ...psql(command));
    running.child.stdin?.end();
    return running;
  };
  const refused = (ran: Ran, what: RegExp): void => {
    assert.notEqual(ran.code, 0, ran.shown);
    assert.match(ran.err, /ERROR: {2}42501/);
    assert.match(ran.err, what);
  };
  const tell = (args: readonly string[], ran: Ran): void => story.tell(typed(ada, args, ran.shown));

  // --- 1. an update of everything waits for her passkey
  const everything = 'update public.orders set status = status';
  const updating = ada.start('connect', 'orders', '--', 'psql', '-X', '-c', everything);
  updating.child.stdin?.end();
  const update = await heldBy(updating.err);
  const notice = line(/NOTICE:.*/.exec(updating.err())?.[0] ?? '');
  assert.match(notice, /waiting for your passkey/);
  assert.equal(await look(ada, update), everything);
  await picture(ada, '21-a-held-statement');
  assert.equal(updating.child.exitCode, null);
  const signed = await sign(ada, update, 'Sign and run');
  assert.ok(signed.includes(everything), signed);
  const touched = performance.now();
  const updated = await updating.ended;
  assert.equal(updated.code, 0, updated.shown);
  const count = /UPDATE (\d+)/.exec(updated.out)?.[1];
  assert.equal(count, String((await onTarget<{ n: string }>(house, 'select count(*) as n from orders'))[0]?.n));
  tell(['connect', 'orders', '--', 'psql', '-X', '-c', everything], updated);
  seen('1', `psql waits and says: ${notice}`);
  seen(
    '1',
    `ada’s page shows \`${everything}\` and signs that; psql then says UPDATE ${count} (ended ${since(touched)} after)`,
  );

  // --- 2. given up, denied
  const abandoned = start(everything);
  const given = await heldBy(abandoned.err);
  process.kill(-(abandoned.child.pid ?? 0), 'SIGINT');
  const cancelled = await abandoned.ended;
  assert.match(cancelled.err, /57014/);
  await look(ada, given);
  await ada.page.getByText(/^Given up/).waitFor();
  seen('2', `Ctrl-C: ${line(/ERROR:.*/.exec(cancelled.err)?.[0] ?? '')}; its page says it was given up`);
  const alter = 'alter table public.orders add column note2 text';
  const denying = start(alter);
  const word = 'not while the shop is open';
  await look(bob, await heldBy(denying.err));
  await bob.page.getByRole('button', { name: 'Deny', exact: true }).click();
  await bob.page.getByLabel('Why not?').fill(word);
  await bob.page.getByRole('button', { name: 'Deny', exact: true }).click();
  const denied = await denying.ended;
  refused(denied, new RegExp(word));
  tell(['connect', 'orders', '--', ...psql(alter)], denied);
  seen('2', `denied by bob on his phone: ${line(/ERROR:.*/.exec(denied.err)?.[0] ?? '')}`);

  // --- 3. a prepared delete is looked at before it stays
  const printed = await succeed(ada, 'connect', 'orders', '--print');
  const uri = new URL(printed.out.split('\n').find((part) => part.startsWith('postgresql://')) ?? '');
  const connect = async (): Promise<{ readonly client: pg.Client; readonly said: () => string }> => {
    const client = new pg.Client({
      host: uri.hostname,
      port: Number(uri.port),
      database: uri.pathname.slice(1),
      user: decodeURIComponent(uri.username),
      password: decodeURIComponent(uri.password),
      ssl: { ca: readFileSync(ready.postgres.caFile, 'utf8') },
    });
    let notices = '';
    client.on('notice', ({ message }) => (notices += `NOTICE: ${message ?? ''}\n`));
    client.on('error', () => undefined);
    await client.connect();
    return { client, said: () => notices };
  };
  const remaining = async (order: number): Promise<number> =>
    Number(
      (await onTarget<{ n: string }>(house, 'select count(*) as n from order_items where order_id = $1', [order]))[0]
        ?.n,
    );
  const remove = (client: pg.Client, order: number) =>
    client.query({ name: 'remove', text: 'delete from public.order_items where order_id = $1', values: [order] });
  const before = await remaining(2);
  assert.ok(before > 0);
  {
    const { client, said } = await connect();
    const going = errorOf(remove(client, 2));
    const hold = await heldBy(said);
    await look(ada, hold);
    await ada.page.getByText(/rows? touched/).waitFor();
    const shown = line(await ada.page.locator('main').innerText());
    assert.match(shown, new RegExp(`\\b${before} rows? touched`));
    assert.equal(await ada.page.getByRole('region', { name: 'Before' }).locator('tbody tr').count(), before);
    assert.match((await ada.page.getByLabel('Parameters').textContent()) ?? '', /^\$1.*2$/);
    await picture(ada, '22-a-preview');
    await ada.page.getByRole('button', { name: 'Let it go', exact: true }).click();
    await ada.page.getByRole('alertdialog').getByRole('button', { name: 'Let it go', exact: true }).click();
    const error = await going;
    assert.equal(error.code, '42501');
    assert.equal(await remaining(2), before);
    seen(
      '3',
      `a prepared delete ($1 = 2) shows its ${before} rows and waits; let go: ${error.message}; the rows are there`,
    );
    await client.end();
  }
  {
    const { client, said } = await connect();
    const going = remove(client, 2);
    const keptSigned = await sign(ada, await heldBy(said), 'Sign and keep it');
    assert.ok(keptSigned.includes('delete from public.order_items where order_id = $1'), keptSigned);
    const kept = await going;
    assert.equal(kept.rowCount, before);
    assert.equal(await remaining(2), 0);
    await client.end();
    seen('3', `the same again, signed and kept: DELETE ${kept.rowCount}, the rows are gone`);
  }

  // --- 4. a changed table needs bob and a second one
  const altering = start(alter);
  const change = await heldBy(altering.err);
  await sign(carol, change, 'Approve');
  await carol.page.getByText(/Approved by carol/).waitFor();
  assert.equal(altering.child.exitCode, null);
  const columns = () =>
    onTarget(house, `select 1 from information_schema.columns where table_name = 'orders' and column_name = 'note2'`);
  assert.equal((await columns()).length, 0);
  const missing = await ada.sally('holds', 'show', change, '--json');
  const { state, cures } = JSON.parse(missing.out) as { state: string; cures: { words: string; done: boolean }[] };
  assert.equal(state, 'waiting');
  seen(
    '4',
    `\`${alter}\`: carol alone isn’t enough, still missing: ${cures.flatMap((cure) => (cure.done ? [] : [cure.words])).join('; ')}`,
  );
  await look(bob, change);
  await picture(bob, '23-a-change-of-a-table-on-a-phone');
  await sign(bob, change, 'Approve');
  const altered = await altering.ended;
  if (readFileSync(join(ready.dataDir, 'sample-configuration', 'sallyport.yaml'), 'utf8').includes('set-role:')) {
    assert.equal(altered.code, 0, altered.shown);
    assert.match(altered.out, /ALTER TABLE/);
    assert.equal((await columns()).length, 1);
    seen('4', `bob’s approval lets it go: ${firstLine(altered.out)}, and the column is there`);
  } else {
    // Sallyport lets it go; the role owns nothing on the target, so that the target has the last word.
    refused(altered, /must be owner of table orders/);
    seen('4', `bob’s approval lets it go, and the target refuses it: ${line(/ERROR:.*/.exec(altered.err)?.[0] ?? '')}`);
  }
  await bob.page.reload();
  await bob.page.getByText('Let through: it ran where it was typed').waitFor();

  // --- 2. and too late, last because the clock moves
  const late = start(everything);
  await heldBy(late.err);
  house.moveClock(6 * 60_000);
  const expired = await late.ended;
  refused(expired, /HINT:/);
  seen('2', `too late (the clock was moved): ${line(/ERROR:[\s\S]*/.exec(expired.err)?.[0] ?? '').slice(0, 220)}`);

  // --- 5. a policy cuts in at the next statement of an open session
  const { client, said } = await connect();
  const question = 'select name from public.customers where id = 1';
  const name = (await client.query<{ name: string }>(question)).rows[0]?.name;
  const access = join(house.folder, 'root', 'access');
  cpSync(join(ready.dataDir, 'sample-configuration'), access, { recursive: true });
  writeFileSync(
    join(access, 'policies', 'customers.cedar'),
    `@id("orders:customers-with-a-passkey")
@cure("proof")
forbid (principal, action == PG::Action::"select", resource == PG::Table::"orders/public.customers")
unless { context.proof.covers_action };
`,
  );
  const plan = await apply(admin, join(access, 'sallyport.yaml'));
  await plan.sign();
  const inForce = performance.now();
  const again = client.query<{ name: string }>(question);
  const asked = await heldBy(said);
  const waited = since(inForce);
  await sign(ada, asked, 'Sign and run');
  assert.equal((await again).rows[0]?.name, name);
  await client.end();
  seen(
    '5',
    `root applied a policy; the next select of the same open session waited (told after ${waited}), was signed, and answered as before`,
  );

  // --- 6. what was refused is asked for, for one run of exactly it
  const read = 'orders/support-read';
  await approve(bob, await ask(read, '--for', '1h', '--reason', 'INC-4290 look'));
  const reading = await activated(read);
  const fix = `update public.orders set note = 'paid by transfer' where id = 42`;
  const from = (under: string, command: string) => ada.sally('connect', under, '--', ...psql(command));
  const no = await from(reading, fix);
  refused(no, /sally request --from-denial den_/);
  const denial = /den_\w+/.exec(no.err)?.[0] ?? '';
  const once = await ask('--from-denial', denial, '--once', '--reason', 'INC-4290 the money is there');
  const { signed: readByBob } = await approve(bob, once);
  assert.ok(readByBob.includes(fix), readByBob);
  const single = await activated('orders/fix-orders');
  const other = await from(single, fix.replace('42', '43'));
  refused(other, /this access is for one statement only/);
  const through = await from(single, fix);
  assert.equal(through.code, 0, through.shown);
  assert.match(through.out, /UPDATE 1/);
  const twice = await from(single, fix);
  assert.notEqual(twice.code, 0);
  seen(
    '6',
    `refused under ${read}, asked for from ${denial}, approved over its very text: another is refused (${line(/(?:ERROR|FATAL):.*/.exec(other.shown)?.[0] ?? '')}), it runs once (UPDATE 1), and not twice (${firstLine(twice.err)})`,
  );

  // --- 7. all of it can be verified: what was signed, what was previewed, what ran once
  const copy = join(house.folder, 'copy');
  await succeed(admin, 'log', 'export', copy);
  const verified = await succeed(admin, 'log', 'verify', copy, '--key', ready.logKey);
  const second = execFileSync(process.execPath, [join(root, 'tools/second-verifier.mjs'), 'copy', copy, ready.logKey], {
    encoding: 'utf8',
  });
  seen('7', `sally log verify of a copy: ${line(verified.out)}`);
  seen('7', `the second verifier, which shares no code with it, agrees: ${line(second)}`);

  for (const one of [admin, ada, bob, carol])
    assert.deepEqual(one.complaints, [], `${one.name}’s pages kept their policy`);
});

/**
 * The console in a real browser against the mock of the API, by role and label: what a person, or a screen reader, finds.
 * After every test the pages must have kept the content security policy and said nothing on the browser's console.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile, rm } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { buildConsole } from './build-console.ts';
import { launchBrowser, openAs, openVisitor, type Visitor } from './browser.ts';
import { type MockServer, startMockServer } from './mock-server.ts';
import { addLink, type Person, record } from './mock-world.ts';
import { addGrant, addHold, addPlan, addRequest, addSession, type Sample, sampleWorld } from './sample-world.ts';

let dist = '';
let browser: Browser;
let sample: Sample;
let server: MockServer;
let visitors: Visitor[] = [];

before(async () => {
  dist = await buildConsole();
  browser = await launchBrowser();
});

after(async () => {
  await browser.close();
  await rm(dist, { recursive: true });
});

beforeEach(async () => {
  sample = sampleWorld();
  server = await startMockServer(sample.world, dist);
});

afterEach(async () => {
  const complaints = visitors.flatMap((visitor) => visitor.complaints);
  await Promise.all(visitors.map((visitor) => visitor.close()));
  visitors = [];
  await server.close();
  assert.deepEqual(complaints, [], 'no page violates its policy, throws or complains');
});

async function stranger(options: BrowserContextOptions = {}): Promise<Page> {
  const visitor = await openVisitor(browser, server.url, options);
  visitors.push(visitor);
  return visitor.page;
}

async function as(person: Person, options: BrowserContextOptions = {}): Promise<Page> {
  const visitor = await openAs(browser, server.url, sample.world, person, options);
  visitors.push(visitor);
  return visitor.page;
}

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const heading = (page: Page, name: string | RegExp) => page.getByRole('heading', { name });

/** Looks at the only offer that was made, and that the page shows each of its words in order, and nothing else. */
async function assertShowsTheOffer(page: Page, title: string): Promise<void> {
  const card = page.getByRole('region', { name: title });
  await card.getByText('You sign exactly this with your passkey').waitFor();
  const offer = [...sample.world.offers.values()].at(-1);
  assert.ok(offer);
  await card.getByText(/^(?:Also signed|The exact object)/).click();
  const { describeProof } = await import('#core/proof.ts');
  const expected = describeProof(offer.object);
  const shown = await card
    .locator('dl > div')
    .evaluateAll((rows) => rows.map((row) => [row.children[0]?.textContent, row.children[1]?.textContent]));
  const inOrder = [...expected.filter((line) => !line.technical), ...expected.filter((line) => line.technical)];
  assert.deepEqual(shown, [...inOrder.map(({ label, value }) => [label, value]), ['Challenge', offer.challenge]]);
  const object: unknown = JSON.parse((await card.getByLabel('Signed object').textContent()) ?? '');
  assert.deepEqual(object, { ...offer.object });
}

test('a page that breaks its policy is heard', async () => {
  const page = await stranger();
  await page.goto('/sign-in');
  await page.evaluate(`document.body.append(Object.assign(document.createElement('style'), { textContent: 'p { color: red }' }));
    try { document.body.insertAdjacentHTML('beforeend', '<b>x</b>') } catch {}`);
  const heard = visitors.splice(0);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  const complaints = heard.flatMap((visitor) => visitor.complaints).join('; ');
  await Promise.all(heard.map((visitor) => visitor.close()));
  assert.match(complaints, /violation: style-src-elem/);
  assert.match(complaints, /violation: require-trusted-types-for/);
});

test('the first administrator sets Sallyport up through the first one-time link', async () => {
  const page = await stranger();
  await page.goto(`/enrol#${addLink(sample.world, undefined)}`);
  await heading(page, 'Set up Sallyport').waitFor();
  assert.equal(await page.getByLabel('Name of this passkey').inputValue(), 'Chrome on Linux');
  const make = button(page, 'Make a passkey');
  assert.equal(await make.getAttribute('aria-disabled'), 'true');
  await page.getByText('Choose a handle first.').waitFor();
  await page.getByLabel('Handle').fill('Not A Handle');
  await page.getByText('Lower-case letters and digits, with single . _ - between.').waitFor();
  await page.getByLabel('Handle').fill('grace');
  await page.getByLabel('Your name').fill('Grace Hopper');
  await make.click();
  await heading(page, 'Home').waitFor();
  await page.getByText('Grace Hopper').waitFor();
  await page.getByText('You have no access right now').waitFor();
  assert.equal(new URL(page.url()).pathname + new URL(page.url()).hash, '/');
});

test('an invited person sees who they are, and a used link says that it does not work', async () => {
  const page = await stranger();
  const token = addLink(sample.world, sample.ada);
  await page.goto(`/enrol#${token}`);
  await heading(page, 'Welcome, Ada Lovelace').waitFor();
  assert.equal(await page.getByLabel('Handle').count(), 0);
  await page.getByLabel('Name of this passkey').fill('ada’s laptop');
  await button(page, 'Make a passkey').click();
  await heading(page, 'Home').waitFor();
  assert.equal(sample.world.people.get(sample.ada.id)?.authenticators[0]?.name, 'ada’s laptop');
  await page.goto('/requests');
  await page.goto(`/enrol#${token}`);
  await heading(page, 'This link does not work').waitFor();
});

test('somebody who is not signed in signs in with a passkey and comes to where they wanted to be', async () => {
  const page = await as(sample.ada);
  await button(page, 'Sign out').click();
  await heading(page, 'Sign in').waitFor();
  await page.goto('/grants?state=ended');
  await heading(page, 'Sign in').waitFor();
  assert.equal(new URL(page.url()).searchParams.get('to'), '/grants?state=ended');
  await button(page, 'Sign in with a passkey').click();
  await heading(page, 'Grants').waitFor();
  assert.equal(new URL(page.url()).search, '?state=ended');
});

test('a sign-in that ends meanwhile leads to the sign-in page and back', async () => {
  const page = await as(sample.ada);
  await page.getByRole('link', { name: 'Sessions' }).click();
  await heading(page, 'Sessions').waitFor();
  sample.world.cookies.clear();
  await page.getByRole('link', { name: 'Grants' }).click();
  await heading(page, 'Sign in').waitFor();
  await button(page, 'Sign in with a passkey').click();
  await heading(page, 'Grants').waitFor();
});

test('a role is found by its name, asked for, and the request can be withdrawn', async () => {
  const page = await as(sample.ada);
  await page.getByRole('link', { name: 'New request' }).click();
  await page.getByLabel('Which role?').fill('supp');
  await page.getByRole('list', { name: 'Roles' }).getByRole('link').waitFor();
  assert.match(page.url(), /search=supp/);
  assert.equal(await page.getByRole('list', { name: 'Roles' }).getByRole('link').count(), 1);
  await page.getByRole('link', { name: /orders\/support-read/ }).click();
  await page.getByRole('list', { name: 'What the role permits' }).getByText('id, name, country').waitFor();
  await page.getByText('One person of dba must approve.').waitFor();
  const send = button(page, 'Send request');
  assert.equal(await send.getAttribute('aria-disabled'), 'true');
  await page.getByText('Say why.').waitFor();
  await page.getByRole('radio', { name: 'Other' }).click();
  await page.getByLabel('Duration').fill('9h');
  await page.getByText('The role allows 8 h at most.').waitFor();
  await page.getByRole('radio', { name: '2 h' }).click();
  await page.getByLabel('Reason').fill('INC-4211 refund stuck');
  await page.getByLabel('Ticket').fill('INC-4211');
  await send.click();
  await heading(page, 'ada asks for orders/support-read').waitFor();
  const request = [...sample.world.requests.values()][0];
  assert.deepEqual(
    [request?.role, request?.seconds, request?.reason, request?.ticket, request?.startsAt],
    ['orders/support-read', 7200, 'INC-4211 refund stuck', 'INC-4211', null],
  );
  await page.getByText('Nobody approves their own request.').waitFor();
  assert.equal(await button(page, 'Approve').count(), 0);
  await button(page, 'Withdraw').click();
  await page.getByRole('alertdialog').getByRole('button', { name: 'Withdraw request' }).click();
  await page.getByText('Withdrawn by the requester').waitFor();
});

test('a request can start later', async () => {
  const page = await as(sample.ada, { timezoneId: 'Europe/Berlin' });
  await page.goto('/requests/new?role=orders/fix-orders');
  await page.getByLabel('Reason').fill('night work');
  await page.getByRole('checkbox', { name: 'Start later' }).click();
  await page.getByText('Say from when.').waitFor();
  await page.getByLabel('Not before').fill('2031-07-01T22:30');
  await button(page, 'Send request').click();
  await heading(page, 'ada asks for orders/fix-orders').waitFor();
  assert.equal([...sample.world.requests.values()][0]?.startsAt, '2031-07-01T20:30:00.000Z');
});

test('an approver finds a request in the inbox, sees exactly what is signed, and approves it', async () => {
  const page = await as(sample.bob);
  // It comes by itself: the inbox is looked at again while the page is open.
  await page.getByRole('link', { name: 'Requests', exact: true }).click();
  await page.getByText('Nothing waits for you').waitFor();
  const request = addRequest(sample, 'INC-4211 refund \u202Estuck');
  await page.getByRole('link', { name: /ada asks for orders\/support-read for 1 h/ }).click();
  await button(page, 'Approve').click();
  await assertShowsTheOffer(page, 'Approve this request');
  await page.getByText('[U+202E]').first().waitFor();
  await button(page, 'Sign with passkey').click();
  await page.getByText('Approved by bob').waitFor();
  assert.equal(sample.world.requests.get(request)?.state, 'approved');
  assert.equal(await button(page, 'Approve').count(), 0);
});

test('a prompt that is closed signs nothing and can be tried again', async () => {
  const page = await as(sample.bob);
  const request = addRequest(sample, 'INC-4211 refund stuck');
  await page.goto(`/requests/${request}`);
  await button(page, 'Approve').click();
  await button(page, 'Sign with passkey').waitFor();
  await page.evaluate(`window.original = navigator.credentials.get.bind(navigator.credentials);
    navigator.credentials.get = () => Promise.reject(new DOMException('closed', 'NotAllowedError'))`);
  await button(page, 'Sign with passkey').click();
  await page.getByText('No passkey was used').waitFor();
  assert.equal(sample.world.requests.get(request)?.state, 'pending');
  await page.evaluate('navigator.credentials.get = window.original');
  await button(page, 'Sign with passkey').click();
  await page.getByText('Approved by bob').waitFor();
});

test('a machine whose clock is wrong can sign all the same', async () => {
  const page = await as(sample.bob);
  await page.addInitScript('{ const now = Date.now; Date.now = () => now() + 3_600_000; }');
  await page.goto(`/requests/${addRequest(sample, 'INC-4211')}`);
  await page.getByText('2 minutes ago').waitFor();
  await button(page, 'Approve').click();
  await button(page, 'Sign with passkey').click();
  await page.getByText('Approved by bob').waitFor();
});

test('a proof that the server refuses is shown anew before it can be signed again', async () => {
  const page = await as(sample.bob);
  const request = addRequest(sample, 'INC-4211 refund stuck');
  await page.goto(`/requests/${request}`);
  await button(page, 'Approve').click();
  sample.world.failures.push({ endpoint: 'useProof', code: 'expired' });
  await button(page, 'Sign with passkey').click();
  await page.getByRole('alert').waitFor();
  assert.equal(await button(page, 'Sign with passkey').count(), 0);
  await button(page, 'Show it again').click();
  await button(page, 'Sign with passkey').click();
  await page.getByText('Approved by bob').waitFor();
});

test('a request is denied with a word that the requester reads', async () => {
  const page = await as(sample.bob);
  const request = addRequest(sample, 'just looking');
  await page.goto(`/requests/${request}`);
  await button(page, 'Deny').click();
  await page.getByText('Say a word why.').waitFor();
  await page.getByLabel('Why not?').fill('say which incident');
  await button(page, 'Deny request').click();
  await page.getByText('Denied by bob').waitFor();
  const ada = await as(sample.ada);
  await ada.goto(`/requests/${request}`);
  await ada.getByText('“say which incident”').waitFor();
});

test('a request that needs two people says how many are there', async () => {
  const request = addRequest(sample, 'INC-4211');
  const filed = sample.world.requests.get(request);
  assert.ok(filed);
  sample.world.requests.set(request, { ...filed, approvalsNeeded: 2 });
  const page = await as(sample.bob);
  await page.goto(`/requests/${request}`);
  await button(page, 'Approve').click();
  await button(page, 'Sign with passkey').click();
  await page.getByText('1 of 2 approvals are there').waitFor();
  await page.getByText('You have approved it already.').waitFor();
  assert.equal(await button(page, 'Approve').getAttribute('aria-disabled'), 'true');
  assert.equal(sample.world.requests.get(request)?.state, 'pending');
});

test('who is no approver cannot approve, and is told why', async () => {
  const page = await as(sample.root);
  await page.goto(`/requests/${addRequest(sample, 'INC-4211')}`);
  const approve = button(page, 'Approve');
  await page.getByText('Only dba may decide this.').waitFor();
  assert.equal(await approve.getAttribute('aria-disabled'), 'true');
  const described = await approve.getAttribute('aria-describedby');
  assert.equal(await page.locator(`[id="${described}"]`).textContent(), 'Only dba may decide this.');
  await approve.click({ force: true });
  assert.equal(sample.world.offers.size, 0);
});

test('a grant is activated with a passkey, used, and handed back', async () => {
  const grant = addGrant(sample, 'approved');
  const page = await as(sample.ada);
  await page.getByRole('link', { name: 'Activate orders/support-read' }).click();
  await button(page, 'Activate').click();
  await assertShowsTheOffer(page, 'Activate this grant');
  await button(page, 'Sign with passkey').click();
  await page.getByText(/^(?:2 h|1 h 59 min) left$/).waitFor();
  assert.equal(sample.world.grants.get(grant)?.state, 'active');
  await button(page, 'Copy connect command').click();
  assert.equal(await page.evaluate('navigator.clipboard.readText()'), 'sally connect orders/support-read');
  await button(page, 'Make a login').click();
  await page.getByText('Copy it now').waitFor();
  await button(page, 'Copy connection string').click();
  assert.equal(
    await page.evaluate('navigator.clipboard.readText()'),
    'postgresql://ada.k3jx9q2m:qYw3-7b!x%2F5%2BZr@localhost:6432/orders?sslmode=verify-full&sslrootcert=sallyport-ca.pem',
  );
  const download = page.waitForEvent('download');
  await button(page, 'Download sallyport-ca.pem').click();
  assert.match(await readFile(await (await download).path(), 'utf8'), /BEGIN CERTIFICATE/);
  await button(page, 'Hand back').click();
  await page.getByRole('alertdialog').getByRole('button', { name: 'Cancel' }).click();
  assert.equal(sample.world.grants.get(grant)?.state, 'active');
  await button(page, 'Hand back').click();
  await page.getByRole('alertdialog').getByRole('button', { name: 'Hand back now' }).click();
  await page.getByText('This grant was handed back by ada').waitFor();
  assert.equal(await button(page, 'Hand back').count(), 0);
});

test('an approver revokes somebody’s grant with a word why', async () => {
  const grant = addGrant(sample, 'active');
  addSession(sample, grant);
  const page = await as(sample.bob);
  await page.getByRole('link', { name: 'Grants' }).click();
  await page.getByRole('link', { name: 'All I may see' }).click();
  await page.getByRole('link', { name: /orders\/support-read · ada/ }).click();
  await button(page, 'Revoke').click();
  const dialog = page.getByRole('alertdialog', { name: 'Revoke ada’s grant?' });
  await dialog.getByText('1 open session is cut').waitFor();
  await dialog.getByLabel('Why?').fill('incident is over');
  await dialog.getByRole('button', { name: 'Revoke now' }).click();
  await page.getByText('This grant was revoked by bob').waitFor();
  assert.equal(sample.world.grants.get(grant)?.how, 'revoked');
});

test('a session shows each statement with its parameters, rows, time and outcome', async () => {
  addSession(sample, addGrant(sample, 'active'));
  const page = await as(sample.ada);
  await page.getByRole('link', { name: 'Sessions' }).click();
  await page.getByRole('link', { name: /psql/ }).click();
  const statements = page.getByRole('list', { name: 'Statements' }).getByRole('listitem');
  await statements.first().waitFor();
  assert.equal(await statements.count(), 3);
  const texts = await statements.allInnerTexts();
  for (const part of ['where customer_id = $1', 'refund_pending', 'completed', '17 rows', '4 ms'])
    assert.ok(texts[0]?.includes(part), `${part} in ${texts[0]}`);
  for (const part of ['card_number', 'denied', '42501', 'is not part of orders/support-read'])
    assert.ok(texts[1]?.includes(part), `${part} in ${texts[1]}`);
  assert.match(texts[2] ?? '', /running/);
});

test('the log is filtered and paged by its URL, and an entry gives its receipt', async () => {
  const page = await as(sample.root);
  for (let number = 0; number < 75; number += 1)
    record(sample.world, 'sign_in.succeeded', `ada signed in (${number})`, sample.ada, { principal: sample.ada.id });
  await page.getByRole('link', { name: 'Log' }).click();
  await page.getByText('root enrolled the passkey').waitFor();
  assert.equal(await page.getByText('ada signed in').count(), 0);
  await page.getByRole('link', { name: 'Everybody’s' }).click();
  await page.getByText('ada signed in (74)').waitFor();
  await page.getByLabel('Kind').selectOption('sign_in.succeeded');
  await page.waitForURL(/kind=sign_in\.succeeded/);
  const rows = page.getByRole('list', { name: 'Log entries' }).getByRole('listitem');
  await page.getByText('30 on this page').waitFor();
  await button(page, 'Next page').click();
  await page.getByText('ada signed in (44)').waitFor();
  await button(page, 'Next page').click();
  await page.getByText('ada signed in (0)').waitFor();
  assert.equal(await rows.count(), 15);
  assert.equal(await button(page, 'Next page').getAttribute('aria-disabled'), 'true');
  await page.getByText('This is the last page.').waitFor();
  await page.goBack();
  await page.getByText('ada signed in (44)').waitFor();
  await page.reload();
  await page.getByText('ada signed in (44)').click();
  const entry = page.getByRole('region', { name: 'Entry' });
  await entry.getByText(sample.ada.id).first().waitFor();
  const download = page.waitForEvent('download');
  await entry.getByRole('button', { name: 'Download receipt' }).click();
  assert.match((await download).suggestedFilename(), /^ent_.*\.receipt\.json$/);
  await page.getByLabel('Order').selectOption('oldest');
  await page.getByText('ada signed in (0)').waitFor();
});

test('an administrator invites somebody, who gets in by the link', async () => {
  const page = await as(sample.root);
  await page.getByRole('link', { name: 'People' }).click();
  await button(page, 'Invite somebody').click();
  await page.getByLabel('Handle').fill('eve');
  await page.getByLabel('Name', { exact: true }).fill('Eve Example');
  await page.getByLabel('Groups').fill('engineers, Bad Group');
  await page.getByText(/“Bad” is not a group/).waitFor();
  await page.getByLabel('Groups').fill('engineers, oncall');
  await button(page, 'Review').click();
  await assertShowsTheOffer(page, 'Invite Eve Example');
  await button(page, 'Sign with passkey').click();
  await button(page, 'Copy one-time link').click();
  const link = String(await page.evaluate('navigator.clipboard.readText()'));
  await button(page, 'Done').click();
  await page.getByRole('list', { name: 'People' }).getByText('Eve Example').waitFor();
  const eve = await stranger();
  await eve.goto(link);
  await heading(eve, 'Welcome, Eve Example').waitFor();
  await button(eve, 'Make a passkey').click();
  await heading(eve, 'Home').waitFor();
});

test('an administrator changes groups, suspends, and renews a link, each with a passkey', async () => {
  const page = await as(sample.root);
  await page.goto('/people?search=ada');
  await page
    .getByRole('list', { name: 'People' })
    .getByRole('link', { name: /Ada Lovelace/ })
    .click();
  await button(page, 'Change groups').click();
  await page.getByText('Nothing is changed yet.').waitFor();
  await page.getByLabel('Groups').fill('engineers, dba');
  await button(page, 'Review').click();
  await assertShowsTheOffer(page, 'Change the groups of Ada Lovelace');
  await button(page, 'Sign with passkey').click();
  await page.getByText('Changed and signed').waitFor();
  assert.deepEqual(sample.world.people.get(sample.ada.id)?.groups, ['dba', 'engineers']);
  await button(page, 'Suspend').click();
  await button(page, 'Sign with passkey').click();
  await button(page, 'Let back in').waitFor();
  assert.equal(sample.world.people.get(sample.ada.id)?.state, 'suspended');
  await page.getByText('A suspended account gets no link.').waitFor();
  await button(page, 'Let back in').click();
  await button(page, 'Sign with passkey').click();
  await button(page, 'Suspend').waitFor();
  await button(page, 'New one-time link').click();
  await button(page, 'Sign with passkey').click();
  await page.getByLabel('one-time link', { exact: true }).getByText(`${server.url}/enrol#`).waitFor();
});

test('the configuration is read, and a plan is applied with a passkey', async () => {
  const page = await as(sample.root);
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByRole('region', { name: 'sallyport.yaml' }).getByText('orders/support-read:').waitFor();
  await page.getByRole('link', { name: 'approvals.cedar' }).click();
  await page.getByRole('region', { name: 'approvals.cedar' }).getByText('permit').waitFor();
  const plan = addPlan(sample);
  await page.goto(`/plans/${plan}`);
  await page.getByRole('list', { name: 'Changed' }).getByText('maximum: 1h → 2h').waitFor();
  await button(page, 'Apply').click();
  await assertShowsTheOffer(page, 'Apply this plan');
  await button(page, 'Sign with passkey').click();
  await page.getByText('Applied', { exact: true }).waitFor();
  assert.equal(sample.world.plans.get(plan)?.state, 'applied');
});

test('the CLI is let in after a fresh sign-in, which is asked for in place', async () => {
  const callback = createServer((request, response) => response.end(`got ${request.url}`));
  await new Promise<void>((resolve) => callback.listen(0, '127.0.0.1', resolve));
  try {
    const page = await as(sample.ada);
    sample.world.freshSeconds = 0;
    const redirectUri = `http://127.0.0.1:${(callback.address() as AddressInfo).port}/callback`;
    const query = new URLSearchParams({
      redirect_uri: redirectUri,
      code_challenge: 'c'.repeat(43),
      code_challenge_method: 'S256',
      // Looks like a number, and must come back as exactly this text.
      state: '12345678901234567890',
      dpop_jkt: 'd'.repeat(43),
      machine: 'ada-laptop',
    });
    await page.goto(`/authorize?${query.toString()}`);
    await page.getByText('ada-laptop').waitFor();
    await button(page, 'Sign in the CLI').click();
    const dialog = page.getByRole('dialog', { name: 'Is it still you?' });
    sample.world.freshSeconds = 300;
    await dialog.getByRole('button', { name: 'Sign in again' }).click();
    await page.waitForURL(/\/callback\?/);
    const got = new URL(page.url());
    assert.equal(got.searchParams.get('code'), 'mock-code');
    assert.equal(got.searchParams.get('state'), '12345678901234567890');
  } finally {
    callback.closeAllConnections();
    callback.close();
  }
});

test('the CLI is not let in at an address that is not on this machine', async () => {
  const page = await as(sample.ada);
  for (const redirect of [
    'https://evil.example/callback',
    'http://127.0.0.1.evil.example/callback',
    'javascript:alert(1)',
  ]) {
    const query = new URLSearchParams({
      redirect_uri: redirect,
      code_challenge: 'c'.repeat(43),
      code_challenge_method: 'S256',
      state: 's'.repeat(20),
      dpop_jkt: 'd'.repeat(43),
      machine: 'ada-laptop',
    });
    await page.goto(`/authorize?${query.toString()}`);
    await page.getByText('This sign-in is not well-formed').waitFor();
    assert.equal(await button(page, 'Sign in the CLI').count(), 0);
  }
});

test('a failed load says so and can be tried again', async () => {
  const page = await as(sample.ada);
  sample.world.failures.push({ endpoint: 'listSessions', code: 'forbidden' });
  await page.getByRole('link', { name: 'Sessions' }).click();
  await page.getByRole('alert').waitFor();
  await button(page, 'Try again').click();
  await page.getByText('No sessions yet').waitFor();
  await page.goto('/grants/grt_00000000000000000000000000');
  await page.getByText('There is nothing here').waitFor();
  await page.goto('/no-such-page');
  await heading(page, 'There is no such page').waitFor();
});

test('a page that nobody touches stops asking, so that its sign-in can be idle, and goes on at the first touch', async () => {
  const page = await as(sample.bob);
  let asked = 0;
  page.on('request', (request) => {
    if (request.url().includes('/api/v1/requests')) asked += 1;
  });
  await page.clock.install();
  await page.goto('/requests');
  await page.getByText('Nothing waits for you').waitFor();
  await page.clock.runFor(20_000);
  assert.ok(asked >= 2, 'it asks while somebody is there');
  await page.clock.fastForward(31 * 60_000);
  await page.clock.runFor(10_000);
  const before = asked;
  await page.clock.runFor(120_000);
  assert.equal(asked, before, 'it asks no more');
  const again = page.waitForRequest(/\/api\/v1\/requests/);
  await page.mouse.move(50, 50);
  await page.clock.runFor(10_000);
  await again;
});

test('the console is used by keyboard alone', async () => {
  addRequest(sample, 'INC-4211 refund stuck');
  const page = await as(sample.bob);
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await heading(page, 'Requests').waitFor();
  await page.getByRole('link', { name: /ada asks for/ }).focus();
  await page.keyboard.press('Enter');
  await button(page, 'Approve').waitFor();
  await button(page, 'Approve').focus();
  await page.keyboard.press('Enter');
  await button(page, 'Sign with passkey').waitFor();
  assert.equal(await page.evaluate('document.activeElement.textContent'), 'Approve this request');
  await button(page, 'Sign with passkey').focus();
  await page.keyboard.press('Enter');
  await page.getByText('Approved by bob').waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor({ state: 'detached' });
});

test('a held statement is shown exactly, signed by whoever typed it, and let through', async () => {
  const grant = addGrant(sample, 'active', 'orders/fix-orders');
  const hold = addHold(sample, { grant, session: addSession(sample, grant) }, 'proof');
  const page = await as(sample.ada);
  await page.goto('/');
  await page.getByRole('link', { name: /ada on orders/ }).click();
  await heading(page, 'ada: a statement on orders').waitFor();
  const statement = page.getByLabel('Statement', { exact: true });
  assert.match((await statement.textContent()) ?? '', /U\+202E/, 'what turns the text round is seen');
  assert.ok(!((await statement.textContent()) ?? '').includes('\u202e'));
  assert.equal(await button(page, 'Approve').count(), 0);
  await button(page, 'Sign and run').click();
  await assertShowsTheOffer(page, 'Run this statement');
  await button(page, 'Sign with passkey').click();
  await page.getByText('Everything is there').waitFor();
  assert.equal(sample.world.holds.get(hold)?.state, 'cured');
  assert.equal(await button(page, 'Sign and run').count(), 0);
});

test('an approver on a phone sees what it would change, and denies it with a word', async () => {
  const grant = addGrant(sample, 'active', 'orders/fix-orders');
  const hold = addHold(sample, { grant, session: addSession(sample, grant) }, 'both');
  const page = await as(sample.bob, { viewport: { width: 390, height: 844 } });
  await page.goto(`/h/${hold}`);
  await page.getByText('17 rows touched').waitFor();
  assert.match(page.url(), /\/holds\/hld_/);
  const before = page.getByRole('region', { name: 'Before', exact: true });
  assert.match((await before.textContent()) ?? '', /9001refund_pending12900.*null/);
  await page.getByText('none of them is there any more').waitFor();
  assert.equal(await button(page, 'Sign and keep it').count(), 0, 'that is for whoever typed it');
  await button(page, 'Approve with limits').click();
  await page.getByLabel('Rows at most').fill('many');
  await page.getByText('A whole number.').waitFor();
  await button(page, 'Not now').click();
  await button(page, 'Deny').click();
  await page.getByLabel('Why not?').fill('ask the shop first');
  await button(page, 'Deny').click();
  await page.getByText('Denied by bob').waitFor();
  await page.getByText('ask the shop first').waitFor();
  assert.equal(await button(page, 'Approve').count(), 0);
});

test('what is held waits in the inbox, and its owner lets it go', async () => {
  const grant = addGrant(sample, 'active', 'orders/fix-orders');
  const hold = addHold(sample, { grant, session: addSession(sample, grant) }, 'both');
  const bob = await as(sample.bob);
  await bob.goto('/requests');
  await bob.getByRole('list', { name: 'Held' }).getByRole('link').waitFor();
  await bob.getByLabel('1 waiting for you').waitFor();
  const ada = await as(sample.ada);
  await ada.goto(`/holds/${hold}`);
  await button(ada, 'Let it go').click();
  await ada.getByRole('alertdialog').getByRole('button', { name: 'Let it go' }).click();
  await ada.getByText('Given up by ada').waitFor();
  await bob.getByText('Nothing waits for you').waitFor();
});

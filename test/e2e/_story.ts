/**
 * What the chapters of the story share: a house and a browser of the chapter's own, one line a step with what was seen,
 * pictures and the transcript if they are asked for, and what every chapter does with people before it begins.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import type { Browser } from 'playwright-core';
import { ensureConsole } from '../../tools/build-console.ts';
import { openHouse, type House } from './_house.ts';
import { launchBrowser, openPerson, type Person, type Ran } from './_person.ts';

const { values: options } = parseArgs({
  options: { screenshots: { type: 'string' }, transcript: { type: 'string' }, keep: { type: 'boolean' } },
});

export type Story = {
  readonly house: House;
  readonly browser: Browser;
  /** Says what was seen in a step; a failure after it is one of this step, or of the next. */
  readonly seen: (step: string, what: string) => void;
  /** Adds to the transcript, as a person would read it. */
  readonly tell: (text: string) => void;
};

/** One chapter, from an empty folder to a stopped server. What it throws fails it, with the end of the server's output. */
export async function chapter(transcriptFile: string | undefined, run: (story: Story) => Promise<void>): Promise<void> {
  const house = openHouse();
  const browser = await launchBrowser();
  const transcript: string[] = [];
  let passed = 0;
  let current = '';
  try {
    await ensureConsole(() => console.log('building the web console …'));
    await run({
      house,
      browser,
      seen: (step, what) => {
        current = step;
        passed += 1;
        console.log(`✔ ${step.padEnd(4)} ${what}`);
      },
      tell: (text) => transcript.push(text),
    });
    assert.equal(await house.stop(), 0, house.output().slice(-2000));
    if (transcriptFile !== undefined)
      writeFileSync(transcriptFile, `${withoutPlaces(house, transcript.join('\n\n'))}\n`);
    console.log(`${passed} passed, 0 failed`);
  } catch (error) {
    console.error(`✖ after ${current}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    console.error(house.output().slice(-3000));
    console.log(`${passed} passed, 1 failed`);
    process.exitCode = 1;
  } finally {
    await browser.close();
    await house.stop();
    if (options.keep === true) console.log(`kept: ${house.folder}`);
    else if (existsSync(house.folder)) rmSync(house.folder, { recursive: true, force: true });
  }
}

export const transcriptFile = options.transcript;

function withoutPlaces(house: House, text: string): string {
  const { console: ui, postgres } = house.ready();
  return text
    .replaceAll(new RegExp(`${house.folder}/(?:root|ada|bob|carol)/`, 'g'), '')
    .replaceAll(`${house.folder}/`, '')
    .replaceAll(/sslrootcert=\S+?\.pem/g, 'sslrootcert=…/gateway.pem')
    .replaceAll(/(authorize\?)\S+/g, '$1…')
    .replaceAll(ui.url, 'http://localhost:7700')
    .replaceAll(`localhost:${postgres.port}`, 'localhost:7701');
}

/** Light pictures go into the folder, dark ones into `dark` below it: one is shown, both are looked at. */
export async function picture(person: Person, name: string): Promise<void> {
  if (options.screenshots === undefined) return;
  const dark = join(options.screenshots, 'dark');
  mkdirSync(dark, { recursive: true });
  for (const [scheme, folder] of [
    ['light', options.screenshots],
    ['dark', dark],
  ] as const) {
    await person.page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    // What fades in has faded in.
    await person.page.waitForTimeout(500);
    await person.page.screenshot({ path: join(folder, `${name}.png`) });
  }
  await person.page.emulateMedia({ colorScheme: null, reducedMotion: null });
}

export async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  withinMs = 15_000,
): Promise<T> {
  const started = performance.now();
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() - started > withinMs) throw new Error(`waited ${withinMs} ms for: ${what}`);
    await sleep(50);
  }
}

/** A look at the target past the gateway, as its superuser over the socket, who sees what runs. */
export async function onTarget<T extends pg.QueryResultRow>(
  house: House,
  query: string,
  values: unknown[] = [],
): Promise<T[]> {
  const { socketDir, port, database } = house.ready().sample;
  const client = new pg.Client({ host: socketDir, port, database, user: 'sallyport' });
  await client.connect();
  try {
    return (await client.query<T>(query, values)).rows;
  } finally {
    await client.end();
  }
}

/** The text of a page's element, for what was seen. */
export const line = (text: string): string => text.replace(/\s+/g, ' ').trim();
export const firstLine = (text: string): string =>
  text
    .split('\n')
    .find((part) => part.trim() !== '')
    ?.trim() ?? '';

/** A command and its output as a person would see them; long outputs are shortened. */
export function typed(person: Person, args: readonly string[], shown: string): string {
  const quoted = args
    .map((arg) => (/^[\w./:=@%+,-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`))
    .join(' ');
  const lines = shown.trimEnd().split('\n');
  const kept = lines.length > 24 ? [...lines.slice(0, 20), `… ${lines.length - 20} more lines`] : lines;
  return `${person.name}$ sally ${quoted}\n${kept.join('\n')}`.trimEnd();
}

/** Runs a command that must succeed. */
export async function succeed(person: Person, ...args: readonly string[]): Promise<Ran> {
  const ran = await person.sally(...args);
  assert.equal(ran.code, 0, `sally ${args.join(' ')}: exit ${ran.code}\n${ran.out}${ran.err}`);
  return ran;
}

/** The first administrator, whose one-time link the server has printed. */
export async function enrolAdministrator({ house, browser }: Story): Promise<Person> {
  const { enrolmentLink, console: ui } = house.ready();
  assert.ok(enrolmentLink !== null);
  const admin = await openPerson(browser, 'root', house.folder, ui.url);
  await admin.page.goto(enrolmentLink.url);
  await admin.page.getByLabel('Handle').fill('root');
  await admin.page.getByLabel('Your name').fill('Grace Hopper');
  await picture(admin, '01-the-first-administrator');
  await makePasskey(admin);
  return admin;
}

export async function makePasskey({ page }: Person): Promise<void> {
  await page.getByRole('button', { name: 'Make a passkey' }).click();
  await page.getByRole('heading', { name: 'Home', level: 1 }).waitFor();
}

/** A signed invitation; the answer is its one-time link. */
export async function invite(admin: Person, handle: string, name: string, groups: string): Promise<string> {
  const { page } = admin;
  await page.goto('/people');
  await page.getByRole('button', { name: 'Invite somebody' }).click();
  await page.getByLabel('Handle').fill(handle);
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByLabel('Groups').fill(groups);
  await page.getByRole('button', { name: 'Review' }).click();
  await page.getByText('You sign exactly this with your passkey').waitFor();
  await picture(admin, '02-an-invitation-is-signed');
  await page.getByRole('button', { name: 'Sign with passkey' }).click();
  const shown = page.getByLabel('one-time link', { exact: true });
  await shown.waitFor();
  return /http\S+#\S+/.exec((await shown.textContent()) ?? '')?.[0] ?? '';
}

/** `sally login` with the passkey of the person's browser. */
export async function login(person: Person): Promise<Ran> {
  const running = person.start('login');
  running.child.stdin?.end();
  const address = await person.openedPage();
  assert.match(address, /code_challenge=.*dpop_jkt=|dpop_jkt=.*code_challenge=/);
  await person.page.goto(address);
  await person.page.getByRole('button', { name: 'Sign in the CLI' }).click();
  const again = person.page
    .getByRole('dialog', { name: 'Is it still you?' })
    .getByRole('button', { name: 'Sign in again' });
  const finished = await Promise.race([
    running.ended,
    again.waitFor().then(
      () => undefined,
      () => undefined,
    ),
  ]);
  if (finished === undefined) await again.click();
  const ran = await running.ended;
  assert.equal(ran.code, 0, ran.err);
  return ran;
}

/** Approves a request on its page; `signed` is what the page says is signed. */
export async function approve(approver: Person, request: string): Promise<{ readonly signed: string }> {
  const { page } = approver;
  await page.goto(`/requests/${request}`);
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await page.getByRole('button', { name: 'Sign with passkey' }).waitFor();
  const signed = await page.getByRole('region', { name: 'Approve this request' }).innerText();
  await page.getByRole('button', { name: 'Sign with passkey' }).click();
  await page.getByText(`Approved by ${approver.name}`).waitFor();
  return { signed };
}

/** `sally activate` with the person's passkey. */
export async function activate(person: Person, ...what: readonly string[]): Promise<Ran> {
  const running = person.start('activate', ...what);
  running.child.stdin?.end();
  await person.page.goto(await person.openedPage());
  const sign = person.page.getByRole('button', { name: 'Sign with passkey' });
  const open = person.page.getByRole('button', { name: 'Activate', exact: true });
  await sign.or(open).first().waitFor();
  if (await open.isVisible()) await open.click();
  await sign.click();
  const ran = await running.ended;
  assert.equal(ran.code, 0, ran.err);
  return ran;
}

/** `sally apply`, up to its plan in the browser; `sign` signs it. */
export async function apply(admin: Person, file: string): Promise<{ readonly sign: () => Promise<Ran> }> {
  const running = admin.start('apply', '-f', file, '--yes');
  running.child.stdin?.end();
  await admin.page.goto(
    await Promise.race([
      admin.openedPage(),
      running.ended.then((ran): never => assert.fail(`sally apply ended with ${ran.code}: ${ran.shown}`)),
    ]),
  );
  return {
    sign: async () => {
      await admin.page.getByRole('button', { name: 'Apply', exact: true }).click();
      await admin.page.getByRole('button', { name: 'Sign with passkey' }).click();
      const ran = await running.ended;
      assert.equal(ran.code, 0, ran.shown);
      return ran;
    },
  };
}

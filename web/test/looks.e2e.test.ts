/**
 * Every page on a wide screen and on a phone, in light and dark: nothing sticks out sideways, every control has a name,
 * text can be read, and the policy holds. With SALLY_SCREENSHOTS=FOLDER the pictures are kept for people to look at.
 */
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { buildConsole } from './build-console.ts';
import { launchBrowser, openAs, openVisitor } from './browser.ts';
import { startMockServer } from './mock-server.ts';
import { addLink } from './mock-world.ts';
import { addGrant, addHold, addPlan, addRequest, addSession, sampleWorld } from './sample-world.ts';

let dist = '';
let browser: Browser;

before(async () => {
  dist = await buildConsole();
  browser = await launchBrowser();
});

after(async () => {
  await browser.close();
  await rm(dist, { recursive: true });
});

const wide = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

for (const [name, size] of [
  ['wide', wide],
  ['phone', phone],
] as const)
  for (const colorScheme of ['light', 'dark'] as const)
    test(`every page fits and can be read: ${name}, ${colorScheme}`, async () => {
      await look(`${name}-${colorScheme}`, { ...size, colorScheme });
    });

test('what is wrong with a page is seen', async () => {
  const visitor = await openVisitor(browser, 'http://localhost', phone);
  await visitor.page.setContent(
    '<meta name="viewport" content="width=device-width, initial-scale=1"><main style="background:#fff"><p style="color:#999">faint</p><button></button><p style="width:900px">wide</p></main>',
  );
  const faults = (await faultsOf(visitor.page)).join('; ');
  await visitor.close();
  assert.match(faults, /scrolls sideways by \d+.*no name: <button>.*contrast 2\.85: faint/);
});

async function look(variant: string, options: BrowserContextOptions): Promise<void> {
  const sample = sampleWorld();
  const { world, root, ada, bob } = sample;
  const server = await startMockServer(world, dist);
  const active = addGrant(sample, 'active');
  const approved = addGrant(sample, 'approved', 'orders/fix-orders');
  const session = addSession(sample, active);
  const held = addHold(sample, { grant: active, session }, 'proof');
  const previewed = addHold(sample, { grant: active, session }, 'both');
  const request = addRequest(
    sample,
    'INC-4290 customer can’t pay: https://example.com/incidents/a-very-long-address-without-a-break-in-it-at-all',
  );
  const plan = addPlan(sample);
  const complaints: string[] = [];
  const see = async (page: Page, what: string) => {
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.locator('[aria-label^="Loading"]').first().waitFor({ state: 'detached' });
    await keep(page, `${variant}-${what}`);
    complaints.push(...(await faultsOf(page)).map((fault) => `${what}: ${fault}`));
  };
  const walk = async (page: Page, paths: Readonly<Record<string, string>>) => {
    for (const [what, path] of Object.entries(paths)) {
      await page.goto(path);
      await see(page, what);
    }
  };
  const visitors = [await openVisitor(browser, server.url, options)];
  const stranger = visitors[0]?.page;
  assert.ok(stranger);
  await walk(stranger, {
    'sign-in': '/sign-in',
    'enrol-first': `/enrol#${addLink(world, undefined)}`,
    'enrol-used': '/enrol#used',
    'enrol-invited': `/enrol#${addLink(world, ada)}`,
  });

  visitors.push(await openAs(browser, server.url, world, ada, options));
  const asAda = visitors[1]?.page;
  assert.ok(asAda);
  await walk(asAda, {
    home: '/',
    'new-request': '/requests/new',
    'request-form': '/requests/new?role=orders/support-read',
    mine: '/requests?box=mine',
    'own-request': `/requests/${request}`,
    'grant-approved': `/grants/${approved}`,
    'grant-active': `/grants/${active}`,
    sessions: '/sessions',
    session: `/sessions/${session}`,
    hold: `/holds/${held}`,
    'hold-previewed': `/h/${previewed}`,
    log: '/log',
    'empty-grants': '/grants?state=ended',
    authorize: `/authorize?${new URLSearchParams({
      redirect_uri: 'http://127.0.0.1:5555/callback',
      code_challenge: 'c'.repeat(43),
      code_challenge_method: 'S256',
      state: 's'.repeat(20),
      dpop_jkt: 'd'.repeat(43),
      machine: 'ada-laptop',
    }).toString()}`,
  });
  await asAda.goto(`/grants/${approved}`);
  await asAda.getByRole('button', { name: 'Activate' }).click();
  await asAda.getByRole('button', { name: 'Sign with passkey' }).waitFor();
  await see(asAda, 'activation');

  await asAda.goto(`/holds/${held}`);
  await asAda.getByRole('button', { name: 'Sign and run' }).click();
  await asAda.getByRole('button', { name: 'Sign with passkey' }).waitFor();
  await see(asAda, 'hold-signing');

  visitors.push(await openAs(browser, server.url, world, bob, options));
  const asBob = visitors[2]?.page;
  assert.ok(asBob);
  await walk(asBob, { inbox: '/requests', request: `/requests/${request}`, 'hold-to-approve': `/holds/${previewed}` });
  await asBob.getByRole('button', { name: 'Deny' }).click();
  await see(asBob, 'hold-deny');
  await asBob.goto(`/requests/${request}`);
  await asBob.getByRole('button', { name: 'Approve' }).click();
  await asBob.getByRole('button', { name: 'Sign with passkey' }).waitFor();
  await see(asBob, 'approval');
  await asBob.getByText(/^Also signed/).click();
  await see(asBob, 'approval-details');
  await asBob.goto(`/grants/${active}`);
  await asBob.getByRole('button', { name: 'Revoke' }).click();
  await asBob.getByRole('alertdialog').waitFor();
  await keep(asBob, `${variant}-revoke`, false);
  if (variant.startsWith('phone')) {
    await asBob.goto('/');
    await asBob.getByRole('button', { name: 'Menu' }).click();
    await asBob.getByRole('dialog', { name: 'Menu' }).waitFor();
    await keep(asBob, `${variant}-menu`, false);
  }

  visitors.push(await openAs(browser, server.url, world, root, options));
  const asRoot = visitors[3]?.page;
  assert.ok(asRoot);
  await walk(asRoot, {
    people: '/people',
    invite: '/people?invite=1',
    person: `/people/${ada.id}`,
    'log-all': '/log?scope=all',
    'log-entry': `/log?scope=all&entry=${world.log.find(({ kind }) => kind === 'statement.ended')?.id ?? ''}`,
    configuration: '/configuration',
    plan: `/plans/${plan}`,
    'not-found': '/nowhere',
  });
  complaints.push(...visitors.flatMap((visitor) => visitor.complaints));
  await Promise.all(visitors.map((visitor) => visitor.close()));
  await server.close();
  assert.deepEqual(complaints, []);
}

/** What is wrong with a page as it stands: it scrolls sideways, a control has no name, text is too faint (WCAG 2.2, 1.4.3). */
async function faultsOf(page: Page): Promise<readonly string[]> {
  return page.evaluate<string[]>(`(() => {
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) faults.push('scrolls sideways by ' + (root.scrollWidth - root.clientWidth));
    for (const control of document.querySelectorAll('button, a, input, select, textarea')) {
      const labels = control.labels ? [...control.labels].map((label) => label.textContent).join('') : '';
      const name = control.getAttribute('aria-label') || control.getAttribute('aria-labelledby') || labels || control.textContent;
      if (!name && control.getAttribute('aria-hidden') !== 'true') faults.push('no name: ' + control.outerHTML.slice(0, 120));
    }
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b]
      .map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    for (const element of document.querySelectorAll('main *')) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '');
      if (!own || element.closest('[aria-disabled=true], .sr-only') || element.checkVisibility() === false) continue;
      let behind = [0, 0, 0, 0];
      for (let at = element; at !== null && behind[3] < 250; at = at.parentElement) behind = rgba(getComputedStyle(at).backgroundColor);
      const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind)].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      if (contrast < 4.5) faults.push('contrast ' + contrast.toFixed(2) + ': ' + element.textContent.trim().slice(0, 60));
    }
    return [...new Set(faults)];
  })()`);
}

const kept = process.env['SALLY_SCREENSHOTS'];

async function keep(page: Page, name: string, fullPage = true): Promise<void> {
  if (kept === undefined) return;
  await mkdir(kept, { recursive: true });
  await page.screenshot({ path: join(kept, `${name}.png`), fullPage, animations: 'disabled' });
}

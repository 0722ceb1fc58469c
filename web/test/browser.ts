/**
 * A browser for the console's tests: Debian's Chromium with a virtual authenticator for each person, and an ear for what a
 * page must never do: violate the content security policy, throw, or complain on the console.
 */
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { addLink, type Person, type World } from './mock-world.ts';

const candidates = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function launchBrowser(): Promise<Browser> {
  const executablePath = process.env['SALLY_TEST_CHROMIUM'] ?? candidates.find((path) => existsSync(path));
  if (executablePath === undefined)
    throw new Error('start a browser: there is no Chromium; install it with `apt-get install chromium`');
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export type Visitor = {
  readonly page: Page;
  /** What the page should not have done, so far. */
  readonly complaints: readonly string[];
  readonly close: () => Promise<void>;
};

/** A fresh browser profile with an authenticator of its own and nobody signed in. */
export async function openVisitor(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Visitor> {
  const context = await browser.newContext({ baseURL: url, viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(10_000);
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    // The browser itself notes answers with an error status; tests that cause one expect it.
    if (message.text().startsWith('Failed to load resource')) return;
    complaints.push(`${message.type()}: ${message.text()}`);
  });
  await page.exposeFunction('complain', (text: string) => complaints.push(text));
  await page.addInitScript(
    `document.addEventListener('securitypolicyviolation', (e) =>
       complain('violation: ' + e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample))`,
  );
  const devtools = await context.newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { page, complaints, close: () => context.close() };
}

/** Somebody who has enrolled through a one-time link and is looking at their home page. */
export async function openAs(
  browser: Browser,
  url: string,
  world: World,
  person: Person,
  options: BrowserContextOptions = {},
): Promise<Visitor> {
  const visitor = await openVisitor(browser, url, options);
  await visitor.page.goto(`/enrol#${addLink(world, person)}`);
  await visitor.page.getByRole('button', { name: 'Make a passkey' }).click();
  await visitor.page.getByRole('heading', { name: 'Home', level: 1 }).waitFor();
  return visitor;
}

/** Somebody in the story: a browser with a passkey of their own, and a command line with a folder of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium, type Browser, type Page } from 'playwright-core';
import { sallyProgram } from './_house.ts';

const candidates = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function launchBrowser(): Promise<Browser> {
  const executablePath = process.env['SALLY_TEST_CHROMIUM'] ?? candidates.find((path) => existsSync(path));
  if (executablePath === undefined)
    throw new Error('start a browser: there is no Chromium; install it with `apt-get install chromium`');
  return await chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'].concat([
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ]),
  });
}

export type Ran = {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** Both, in the order in which they came. */
  readonly shown: string;
};

export type Running = {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<Ran>;
};

export type Person = {
  readonly name: string;
  readonly page: Page;
  /** What the page must never do: violate its policy, throw, complain. */
  readonly complaints: readonly string[];
  /** Runs `sally` as this person and waits for it. */
  readonly sally: (...args: readonly string[]) => Promise<Ran>;
  /** Starts `sally` as this person, in a process group of its own as a shell's job is. */
  readonly start: (...args: readonly string[]) => Running;
  /** The page that the running `sally` has opened in the person's browser. */
  readonly openedPage: () => Promise<string>;
};

export async function openPerson(
  browser: Browser,
  name: string,
  folder: string,
  url: string,
  options: { phone?: boolean } = {},
): Promise<Person> {
  const home = join(folder, name);
  mkdirSync(home, { recursive: true });
  const opened = join(home, 'opened-url');
  const browserProgram = join(home, 'browser');
  writeFileSync(browserProgram, `#!/bin/sh\nprintf '%s' "$1" > '${opened}.new' && mv '${opened}.new' '${opened}'\n`);
  chmodSync(browserProgram, 0o755);

  const context = await browser.newContext(
    options.phone === true
      ? { baseURL: url, viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }
      : { baseURL: url, viewport: { width: 1280, height: 900 } },
  );
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text());
  });
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

  const start = (...args: readonly string[]): Running => {
    const child = spawn(sallyProgram, args, {
      cwd: home,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOME: home,
        XDG_CONFIG_HOME: join(home, 'config'),
        SALLY_SERVER: url,
        // People's machines keep the same time as the server.
        SALLY_TEST_CLOCK: join(folder, 'clock'),
        SALLY_BROWSER: browserProgram,
        NO_COLOR: '1',
        LANG: 'C.UTF-8',
        PSQLRC: '/dev/null',
        PAGER: 'cat',
        TERM: 'dumb',
      },
    });
    let out = '';
    let err = '';
    let shown = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      shown += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      err += chunk.toString();
      shown += chunk.toString();
    });
    const ended = new Promise<Ran>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, out, err, shown }));
    });
    return { child, out: () => out, err: () => err, ended };
  };

  return {
    name,
    page,
    complaints,
    start,
    sally: async (...args) => {
      const running = start(...args);
      running.child.stdin?.end();
      const limit = AbortSignal.timeout(60_000);
      const late = new Promise<never>((_, reject) => {
        limit.addEventListener('abort', () =>
          reject(new Error(`\`sally ${args.join(' ')}\` took over a minute:\n${running.out()}${running.err()}`)),
        );
      });
      return await Promise.race([running.ended, late]);
    },
    openedPage: async () => {
      for (let tries = 0; tries < 400; tries += 1) {
        if (existsSync(opened)) {
          const address = readFileSync(opened, 'utf8');
          rmSync(opened);
          return address;
        }
        await sleep(25);
      }
      throw new Error(`${name}: no page was opened in the browser`);
    },
  };
}

/**
 * Runs the transcripts beside it. A transcript is what a person would see at a terminal:
 *
 *   # a remark
 *   @ approver approves          turns something in the mock server (the list is below)
 *   $ sally requests             a command for /bin/sh; `sally` is bin/sally, started for real
 *   REQUEST  WHO …               what it prints; `…` stands for anything within a line
 *   ! sally: …                   what it prints on standard error
 *   [exit 4]                     its exit code, when it isn't 0
 *
 * The mock's address reads http://sally.test and the home folder $HOME. UPDATE=1 writes what was printed into the
 * transcripts; lines that match what stood there stay as they are. Read the difference before you commit it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { people, startMockApi, type MockApi } from '../support/mock-api.ts';

const root = resolve(import.meta.dirname, '../..');
const update = process.env['UPDATE'] === '1';

type Step =
  | { readonly kind: 'text'; readonly line: string }
  | { readonly kind: 'turn'; readonly line: string; readonly what: string }
  | { readonly kind: 'run'; readonly command: string; readonly expected: string[]; readonly line: number };

/** What a line with `@` can do. */
const turns: Readonly<Record<string, (mock: MockApi, ...args: string[]) => void | Promise<void>>> = {
  person: (mock, who) => {
    mock.world.person = who === 'bob' ? 'bob' : 'ada';
  },
  consent: (mock, how) => {
    mock.world.consent = how as MockApi['world']['consent'];
  },
  approver: (mock, how) => {
    mock.world.approver = how as MockApi['world']['approver'];
  },
  passkey: (mock, how) => {
    mock.world.passkey = how as MockApi['world']['passkey'];
  },
  grant: (mock, role = '', state = '', seconds = '7200') => {
    mock.addGrant(role, state === 'active' ? 'active' : 'approved', Number(seconds));
  },
  request: (mock, role = '', by = 'ada') => {
    mock.addRequest(role, by === 'bob' ? 'bob' : 'ada', 'INC-4211 refund stuck');
  },
  session: (mock) => {
    const grant = mock.grants.at(-1);
    if (grant === undefined) throw new Error('there is no grant to have a session');
    mock.grants[mock.grants.indexOf(grant)] = { ...grant, openSessions: grant.openSessions + 1 };
    mock.sessions.push({
      id: `ses_${String(mock.sessions.length + 1).padStart(26, '0')}`,
      state: 'open',
      grant: grant.id,
      principal: { id: people.ada.id, handle: 'ada' },
      role: grant.role,
      resource: grant.resource,
      openedAt: new Date(Date.now() - 90_000).toISOString(),
      endedAt: null,
      how: null,
      word: null,
      client: { address: '127.0.0.1', application: 'psql' },
      statements: 3,
    });
  },
  reason: (mock, ...words) => {
    const request = mock.requests.at(-1);
    if (request === undefined) throw new Error('there is no request to give a reason');
    mock.requests[mock.requests.indexOf(request)] = { ...request, reason: JSON.parse(words.join(' ')) as string };
  },
  outage: (mock, path = '', times = '1') => {
    mock.world.outages.set(path, Number(times));
  },
  judged: (mock) => mock.addJudged(),
  entries: (mock, count = '1') => mock.addEntries(Number(count)),
  'clock-ahead': (mock, seconds = '0') => {
    mock.world.clockAheadMs = Number(seconds) * 1000;
  },
  'access-tokens-expire': (mock) => mock.expireAccessTokens(),
  'export-instead': (mock, ...words) => {
    mock.world.exportInstead = `${words.join(' ')}\n`;
  },
};

function parse(text: string): Step[] {
  const steps: Step[] = [];
  let running: Extract<Step, { kind: 'run' }> | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('$ ')) {
      running = { kind: 'run', command: line.slice(2), expected: [], line: index + 1 };
      steps.push(running);
    } else if (line.startsWith('@ ')) {
      running = undefined;
      steps.push({ kind: 'turn', line, what: line.slice(2) });
    } else if (line.startsWith('# ')) {
      running = undefined;
      steps.push({ kind: 'text', line });
    } else if (running === undefined) steps.push({ kind: 'text', line });
    else running.expected.push(line);
  }
  return steps;
}

async function run(command: string, env: NodeJS.ProcessEnv, cwd: string): Promise<string[]> {
  const child = spawn('/bin/sh', ['-c', command], { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const [status] = (await once(child, 'close')) as [number | null];
  const lines = [...split(out), ...split(err).map((line) => `! ${line}`.trimEnd())];
  if (status !== 0) lines.push(`[exit ${status}]`);
  return lines;
}

function split(text: string): string[] {
  if (text === '') return [];
  return (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
}

function matches(expected: string, got: string): boolean {
  const pattern = expected
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${pattern}$`).test(got);
}

/** What differs from run to run. */
function withoutMoments(line: string): string {
  return line
    .replace(/authorize\?.*/, 'authorize?…')
    .replace(/http_127\.0\.0\.1_\d+/g, 'http_127.0.0.1_…')
    .replace(/\b[0-9a-f]{64}\b/g, '…')
    .replace(/\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '…')
    .replace(/(?<![\dT])\d\d:\d\d(?::\d\d)?(?![\d:])/g, '…');
}

/** A blank line ends a block for the eye; it is expected only where more follows. */
function withoutLastBlank(lines: readonly string[]): string[] {
  const end = lines.findLastIndex((line) => line !== '');
  return lines.slice(0, end + 1);
}

// Each has a server and a home of its own; most of the time goes into starting processes.
describe('transcripts of the CLI', { concurrency: 2 }, () => {
  for (const file of globSync('*.txt', { cwd: import.meta.dirname }).toSorted()) {
    test(`transcript ${file}`, { timeout: 120_000 }, async (t) => {
      const path = join(import.meta.dirname, file);
      const home = mkdtempSync(join(tmpdir(), 'sally-script-'));
      const mock = await startMockApi();
      t.after(async () => {
        await mock.close();
        rmSync(home, { recursive: true, force: true });
      });
      const env = {
        PATH: [join(root, 'bin'), dirname(process.execPath), process.env['PATH']].join(delimiter),
        HOME: home,
        XDG_CONFIG_HOME: join(home, '.config'),
        SALLY_SERVER: mock.url,
        SALLY_BROWSER: `${process.execPath} ${join(root, 'test/support/fake-browser.ts')}`,
        TZ: 'UTC',
        LANG: 'C.UTF-8',
        ROOT: root,
      };
      const written: string[] = [];
      for (const step of parse(readFileSync(path, 'utf8'))) {
        if (step.kind === 'text') written.push(step.line);
        else if (step.kind === 'turn') {
          const [name = '', ...args] = step.what.split(' ');
          const turn = turns[name];
          assert.ok(turn, `${file}: there is nothing to turn that is called ${name}`);
          await turn(mock, ...args);
          written.push(step.line);
        } else {
          const got = (await run(step.command, env, home)).map((line) =>
            line
              .replaceAll(mock.url, 'http://sally.test')
              .replaceAll(encodeURIComponent(home), '$HOME')
              .replaceAll(home, '$HOME')
              .replaceAll(root, '$ROOT'),
          );
          const expected = withoutLastBlank(step.expected);
          const same = expected.length === got.length && expected.every((line, i) => matches(line, got[i] ?? ''));
          written.push(`$ ${step.command}`);
          if (same || !update) written.push(...step.expected);
          else {
            written.push(
              ...got.map((line) => expected.find((pattern) => matches(pattern, line)) ?? withoutMoments(line)),
            );
            written.push(...step.expected.slice(expected.length));
          }
          if (!same && !update)
            assert.deepEqual(got, expected, `${file}:${step.line}: \`${step.command}\` printed something else`);
        }
      }
      assert.deepEqual(mock.faults, [], 'the mock server had no fault of its own');
      if (update) writeFileSync(path, written.join('\n'));
    });
  }
});

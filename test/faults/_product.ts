/**
 * The product as a process of its own in front of a target that outlives it, with people whose passkeys are in software.
 * Tests kill it, starve it and take things away from it; this file is what they have in common.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { ApiError } from '#contract/client.ts';
import type { LogEntryView } from '#contract/views.ts';
import { verifyCopy, type CopyReport } from '#log/verify-copy.ts';
import { sampleConfigurationText } from '#policy/sample-configuration.ts';
import { exampleConfiguration } from '#src/open-policy-engine.ts';
import { newPasskeyPerson, type PasskeyPerson } from '../support/passkey-person.ts';
import type { Cleanup, TestTarget } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const root = resolve(import.meta.dirname, '../..');

export type Credential = { readonly grant: string; readonly user: string; readonly password: string };

export type Product = {
  readonly folder: string;
  readonly dataFolder: string;
  readonly pid: () => number;
  readonly port: () => number;
  /** All that it has said on its standard error. */
  readonly said: () => string;
  readonly start: () => Promise<void>;
  /** Starts it and resolves with its exit code and what it said, for starts that must fail. */
  readonly startRefused: () => Promise<{ readonly code: number | null; readonly said: string }>;
  /** As pulling the plug. */
  readonly kill: () => Promise<void>;
  readonly stop: () => Promise<number | null>;
  /** Resolves when the process has ended, however. */
  readonly died: () => Promise<void>;
  /** It dies at this point of src/gateway/fault-points.ts from now on; undefined: nowhere. */
  readonly arm: (point: string | undefined) => void;
  readonly moveClock: (milliseconds: number) => void;
  readonly root: PasskeyPerson;
  readonly ada: PasskeyPerson;
  readonly bob: PasskeyPerson;
  readonly invite: (handle: string, groups: readonly string[]) => Promise<PasskeyPerson>;
  /** A grant that is asked for by ada, or another, approved by bob, and active; with a credential. */
  readonly give: (role?: string, seconds?: number, to?: PasskeyPerson) => Promise<Credential>;
  readonly revoke: (grant: string) => Promise<void>;
  readonly grantState: (grant: string) => Promise<string>;
  readonly config: (credential: Credential, more?: pg.ClientConfig) => pg.ClientConfig;
  readonly connect: (credential: Credential, more?: pg.ClientConfig) => Promise<pg.Client>;
  /** Entries, oldest first, of a kind or of all. */
  readonly log: (query?: { readonly kind?: string; readonly grant?: string }) => Promise<readonly LogEntryView[]>;
  readonly verifyLog: () => Promise<CopyReport>;
  /** The configuration as it was written at the start, changed, and applied by the administrator. */
  readonly reconfigure: (change: (text: string) => string) => Promise<void>;
  readonly metrics: () => Promise<string>;
};

type Options = {
  readonly target: TestTarget;
  /** Where the product reaches the target; default: where it is. */
  readonly targetPort?: number;
  readonly databaseUrl?: string;
  readonly changeConfiguration?: (text: string) => string;
  readonly environment?: Readonly<Record<string, string>>;
};

export async function openProduct(t: Cleanup, options: Options): Promise<Product> {
  const { target } = options;
  const folder = mkdtempSync(join(tmpdir(), 'sally-faults-'));
  const dataFolder = join(folder, 'data');
  const file = (name: string): string => join(folder, name);
  const write = (name: string, text: string): string => {
    mkdirSync(resolve(file(name), '..'), { recursive: true });
    writeFileSync(file(name), text, { mode: 0o600 });
    return file(name);
  };
  const example = exampleConfiguration();
  const made = sampleConfigurationText(
    {
      address: `127.0.0.1:${options.targetPort ?? target.port}`,
      passwordFile: write('admin-password', target.adminPassword),
      caFile: write('target-ca.pem', target.ca),
      adminUser: target.adminUser,
    },
    { yaml: example.text, policies: example.policies },
  );
  const change = options.changeConfiguration ?? ((text: string) => text);
  let text = change(made.yaml);
  write('sallyport.yaml', text);
  for (const policy of made.policies) write(policy.name, policy.text);

  let child: ChildProcess | undefined;
  let said = '';
  let offset = 0;
  /** Kept over restarts: the address of the console is part of what passkeys sign for. */
  let ports = { console: '127.0.0.1:0', postgres: '127.0.0.1:0' };
  let ready = { console: { url: '' }, postgres: { port: 0, caFile: '' }, enrolmentLink: { url: '' }, logKey: '' };
  const people: PasskeyPerson[] = [];

  const launch = () => {
    rmSync(file('ready.json'), { force: true });
    const environment: NodeJS.ProcessEnv = { ...process.env, ...options.environment, NO_COLOR: '1' };
    delete environment['SALLY_DATABASE_URL'];
    if (options.databaseUrl !== undefined) environment['SALLY_DATABASE_URL'] = options.databaseUrl;
    child = spawn(
      join(root, 'bin/sally'),
      ['up', '-c', file('sallyport.yaml'), '--data', dataFolder, '--console', ports.console].concat(
        ['--postgres', ports.postgres, '--ready-file', file('ready.json'), '--test-clock', file('clock')],
        ['--test-die-at', file('die-at')],
      ),
      { cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    child.stderr?.setEncoding('utf8').on('data', (more: string) => (said = (said + more).slice(-2_000_000)));
    return child;
  };
  const ended = (): Promise<number | null> => {
    const { promise, resolve: done } = Promise.withResolvers<number | null>();
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) done(child?.exitCode ?? null);
    else child.once('exit', (code) => done(code));
    return promise;
  };
  const signal = async (name: 'SIGKILL' | 'SIGTERM'): Promise<number | null> => {
    const gone = ended();
    child?.kill(name);
    return gone;
  };
  const start = async (): Promise<void> => {
    const process_ = launch();
    await until(
      'the product is ready',
      () => {
        assert.ok(process_.exitCode === null && process_.signalCode === null, `it ended: ${said.slice(-3000)}`);
        return existsSync(file('ready.json'));
      },
      60_000,
    );
    ready = JSON.parse(readFileSync(file('ready.json'), 'utf8')) as typeof ready;
    ports = { console: `127.0.0.1:${new URL(ready.console.url).port}`, postgres: `127.0.0.1:${ready.postgres.port}` };
  };

  t.after(async () => {
    await signal('SIGTERM');
    await Promise.allSettled(people.map((person) => person.close()));
    rmSync(folder, { recursive: true, force: true });
  });

  const newPerson = async (link: string, as?: { handle: string; name: string }): Promise<PasskeyPerson> => {
    const person = await newPasskeyPerson(ready.console.url);
    people.push(person);
    await person.enrol(link, as);
    return person;
  };
  await start();
  const administrator = await newPerson(ready.enrolmentLink.url, { handle: 'root', name: 'The first administrator' });
  const invite: Product['invite'] = async (handle, groups) => {
    const done = await administrator.prove({ purpose: 'invite_principal', handle, name: handle, groups: [...groups] });
    return newPerson(done.purpose === 'invite_principal' ? done.link.url : '');
  };
  const ada = await invite('ada', ['engineering']);
  const bob = await invite('bob', ['dba']);

  const self: Product = {
    folder,
    dataFolder,
    pid: () => child?.pid ?? assert.fail('it does not run'),
    port: () => ready.postgres.port,
    said: () => said,
    start,
    async startRefused() {
      const before = said.length;
      launch();
      const code = await ended();
      return { code, said: said.slice(before) };
    },
    async kill() {
      await signal('SIGKILL');
    },
    stop: () => signal('SIGTERM'),
    async died() {
      await ended();
    },
    arm(point) {
      if (point === undefined) rmSync(file('die-at'), { force: true });
      else writeFileSync(file('die-at'), point);
    },
    moveClock(milliseconds) {
      offset += milliseconds;
      writeFileSync(file('clock'), String(offset));
    },
    root: administrator,
    ada,
    bob,
    invite,
    async give(role = 'orders/support-read', seconds = 3600, to = ada) {
      const asked = await to.client.fileRequest({ body: { role, seconds, reason: 'a test of faults' } });
      await bob.prove({ purpose: 'approve_request', request: asked.id });
      const { items } = await to.client.listGrants({ query: { state: 'approved' } });
      const grant = items.find((candidate) => candidate.request === asked.id) ?? assert.fail('no grant was made');
      await to.prove({ purpose: 'activate_grant', grant: grant.id });
      const { user, password } = await to.client.issueCredential({ params: { id: grant.id } });
      return { grant: grant.id, user, password };
    },
    async revoke(grant) {
      await bob.client.endGrant({ params: { id: grant }, body: { word: 'a test of faults' } });
    },
    grantState: async (grant) => (await bob.client.getGrant({ params: { id: grant }, query: {} })).state,
    config: ({ user, password }, more = {}) => ({
      host: '127.0.0.1',
      port: ready.postgres.port,
      database: target.database,
      user,
      password,
      ssl: { ca: readFileSync(ready.postgres.caFile, 'utf8') },
      ...more,
    }),
    async connect(credential, more) {
      const client = new pg.Client(self.config(credential, more));
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
    async log(query = {}) {
      const found: LogEntryView[] = [];
      let cursor: string | undefined;
      do {
        const page = await administrator.client.listLog({
          query: { scope: 'all', order: 'oldest', limit: 200, ...query, ...(cursor === undefined ? {} : { cursor }) },
        });
        found.push(...page.items);
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      return found;
    },
    async verifyLog() {
      let copy = '';
      // A connection to a store that was killed a moment ago may be found broken by whoever takes it.
      await until('the log can be exported', async () => {
        try {
          copy = String(await administrator.client.exportLog());
          return true;
        } catch (error) {
          if (error instanceof ApiError && error.code === 'unavailable') return false;
          throw error;
        }
      });
      const lines = copy.trimEnd().split('\n');
      const files = new Map<string, Buffer>();
      for (const line of lines) {
        const { path, data } = JSON.parse(line) as { readonly path?: string; readonly data?: string };
        if (path !== undefined) files.set(path, Buffer.from(data ?? '', 'base64'));
      }
      return verifyCopy(
        { read: (path) => Promise.resolve(files.get(path)), list: () => Promise.resolve([...files.keys()]) },
        { vkey: ready.logKey },
      );
    },
    async reconfigure(newChange) {
      text = newChange(text);
      writeFileSync(file('sallyport.yaml'), text);
      await administrator.signIn();
      const { plan } = (await administrator.client.makePlan({
        body: { file: 'sallyport.yaml', text, policies: [...made.policies] },
      })) as { readonly plan?: { readonly id: string } };
      assert.ok(plan !== undefined, 'the configuration has faults, or says nothing new');
      await administrator.prove({ purpose: 'change_configuration', plan: plan.id });
    },
    metrics: () =>
      new Promise((done, fail) => {
        request(`${ready.console.url}/metrics`, (answer) => {
          let body = '';
          answer.setEncoding('utf8').on('data', (more: string) => (body += more));
          answer.on('end', () => done(body));
        })
          .on('error', fail)
          .end();
      }),
  };
  return self;
}

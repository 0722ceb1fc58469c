/**
 * Sallyport as it is run: `sally up` with a data folder of its own, the store, the API, the log and everything else on.
 * People with passkeys in software ask for a role, approve and activate it, and their credentials are what connects.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { newPasskeyPerson, type PasskeyPerson } from '#test/support/passkey-person.ts';
import type { Address } from './client.ts';
import type { BenchTarget } from './target.ts';
import { benchTables } from './workloads.ts';

const root = resolve(import.meta.dirname, '../..');

export type Product = AsyncDisposable & {
  /** Of `sally up`; the store's server is its child. */
  readonly pid: number;
  /** A grant of its own, asked for, approved, activated, and its credential. */
  readonly grant: (tls: boolean) => Promise<Address>;
  /** Shows that address’s person what is held for them; what it answers signs that. */
  readonly show: (address: Address, hold: string) => Promise<() => Promise<unknown>>;
  /** On the store, past the product. */
  readonly store: (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>;
  /** Journal records that the log has, of all gateways. */
  readonly shipped: () => Promise<number>;
  /** Resolves when the log has not grown for a second: everything written down is in it. Answers when it last grew. */
  readonly settled: () => Promise<number>;
};

export async function startProduct(target: BenchTarget): Promise<Product> {
  const folder = mkdtempSync(join(tmpdir(), 'sally-bench-product-'));
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  const configuration = join(folder, 'sallyport.yaml');
  writeFileSync(join(folder, 'admin-password'), target.admin.password, { mode: 0o600 });
  writeFileSync(configuration, configurationText(target));
  writeFileSync(join(folder, 'held.cedar'), heldPolicy);
  const readyFile = join(folder, 'ready.json');
  const child = spawn(
    join(root, 'bin/sally'),
    ['up', '-c', configuration, '--data', data, '--no-sample', '--ready-file', readyFile, '--log-level', 'warn'].concat(
      ['--console', '127.0.0.1:0', '--postgres', '127.0.0.1:0'],
    ),
    { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, NO_COLOR: '1' } },
  );
  // Whatever ends us ends it as well.
  const kill = () => void child.kill('SIGTERM');
  process.once('exit', kill);
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const people: PasskeyPerson[] = [];
  let store: pg.Client | undefined;
  const stop = async () => {
    process.removeListener('exit', kill);
    await store?.end().catch(() => undefined);
    for (const person of people) await person.close().catch(() => undefined);
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await exit;
      clearTimeout(timer);
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    while (!existsSync(readyFile)) {
      if (child.exitCode !== null) throw new Error(`start the product: it ended with ${child.exitCode}\n${said}`);
      await sleep(50);
    }
    const ready = JSON.parse(readFileSync(readyFile, 'utf8')) as Ready;
    const enrol = async (link: string, as?: { handle: string; name: string }) => {
      const person = await newPasskeyPerson(ready.console.url);
      people.push(person);
      await person.enrol(link, as);
      return person;
    };
    const first = await enrol(ready.enrolmentLink.url, { handle: 'root', name: 'The first administrator' });
    const invite = async (handle: string, groups: string[]) => {
      const done = await first.prove({ purpose: 'invite_principal', handle, name: handle, groups });
      return enrol(done.purpose === 'invite_principal' ? done.link.url : '');
    };
    // What one person may ask for in a while is limited, so after some grants others go on.
    const invitePair = async (number: number) => ({
      ada: await invite(`ada-${number}`, ['engineering']),
      bob: await invite(`bob-${number}`, ['dba']),
    });
    const pairs: ReturnType<typeof invitePair>[] = [];
    const owners = new Map<string, PasskeyPerson>();
    let granted = 0;
    const nextPair = () => {
      const number = Math.floor(granted / 20);
      granted += 1;
      return (pairs[number] ??= invitePair(number));
    };
    store = new pg.Client(storeAddress(data));
    store.on('error', () => undefined);
    await store.connect();
    const ask = async (text: string, values: unknown[] = []) =>
      (await store?.query<Record<string, unknown>>(text, values))?.rows ?? [];
    const count = async (text: string) => Number((await ask(text))[0]?.['count'] ?? 0);
    const shipped = () => count('select coalesce(sum(stored_up_to), 0) as count from gateway_journal');
    return {
      pid: ready.pid,
      store: ask,
      shipped,
      settled: async () => {
        let before = -1;
        let grewAt = performance.now();
        while (performance.now() - grewAt < 1000) {
          const now = (await shipped()) - (await count('select count(*) from log_waiting'));
          if (now !== before) grewAt = performance.now();
          before = now;
          await sleep(25);
        }
        return grewAt;
      },
      grant: async (tls) => {
        const { ada, bob } = await nextPair();
        const request = await ada.client.fileRequest({
          body: { role: `${tls ? 'bench-tls' : 'bench'}/all`, seconds: 7200, reason: 'measuring' },
        });
        await bob.prove({ purpose: 'approve_request', request: request.id });
        const { items } = await ada.client.listGrants({ query: { scope: 'mine', state: 'approved' } });
        const grant = items.find((one) => one.request === request.id) ?? items[0];
        if (grant === undefined) throw new Error('the grant was not made');
        await ada.prove({ purpose: 'activate_grant', grant: grant.id });
        const { user, password } = await ada.client.issueCredential({ params: { id: grant.id } });
        owners.set(user, ada);
        return { host: '127.0.0.1', port: ready.postgres.port, database: target.database, user, password, tls };
      },
      show: async ({ user }, hold) => {
        const owner = owners.get(user);
        if (owner === undefined) throw new Error(`show a hold: \`${user}\` is nobody here`);
        return owner.read({ purpose: 'do_action', hold });
      },
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Ready = {
  readonly pid: number;
  readonly console: { readonly url: string };
  readonly postgres: { readonly port: number };
  readonly enrolmentLink: { readonly url: string };
};

function storeAddress(data: string): pg.ClientConfig {
  // The second line of the file is the data directory, the fourth the port, the fifth the folder of the socket
  // (PostgreSQL, "postmaster.pid").
  const lines = readFileSync(join(data, 'store/cluster/postmaster.pid'), 'utf8').split('\n');
  return { host: lines[4] ?? '', port: Number(lines[3]), user: 'sallyport', database: 'postgres' };
}

/** Held: no other measurement updates all branches at once. */
const heldPolicy = `@id("bench:all-branches")
@cure("proof")
forbid (principal, action == PG::Action::"update", resource == PG::Table::"bench/public.pgbench_branches")
unless { context.has_where || context.proof.covers_action };
`;

function configurationText(target: BenchTarget): string {
  const resource = (name: string, tls: string) =>
    [
      `  ${name}:`,
      '    kind: postgres',
      `    address: 127.0.0.1:${target.port}`,
      `    database: ${target.database}`,
      `    tls: ${tls}`,
      '    admin: { user: sallyport_admin, password: { file: ./admin-password } }',
      '    roles:',
      '      all:',
      '        max: 4h',
      '        request: [engineering]',
      '        approve: { groups: [dba], count: 1 }',
      '        statement-timeout: 10m',
      '        connections: 100',
      '        tables:',
      ...Object.entries(benchTables).map(
        ([table, may]) => `          public.${table}: { ${may.map((one) => `${one}: all`).join(', ')} }`,
      ),
    ].join('\n');
  return [
    'version: 1',
    'policies: held.cedar',
    'resources:',
    resource('bench', '{ mode: disable }'),
    resource('bench-tls', `{ mode: verify-full, ca: ${target.caFile} }`),
    '',
  ].join('\n');
}

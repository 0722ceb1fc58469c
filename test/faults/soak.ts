/**
 * `npm run soak`: half an hour of coming and going against the real product, and a verdict whether it stays as it was. People
 * ask, approve and activate; clients connect, run things, leave, vanish, are cut; grants run out, are revoked and handed
 * back. Memory, descriptors, threads, sessions, logins and the journal are sampled; what the first third after the warm-up
 * and the last third have as their median must be about the same (memory: in runs of five minutes or more). At the end nothing may be left, and the log must verify.
 *
 *   node test/faults/soak.ts [--minutes 30] [--clients 8] [--seed 1] [--hiccups] [--json FILE]
 */
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { query, testTarget } from '../support/postgres.ts';
import type { PasskeyPerson } from '../support/passkey-person.ts';
import { leftOn, until } from '../support/wait.ts';
import { openProduct, type Credential } from './_product.ts';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
    hiccups: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const totalMs = Number(options.minutes) * 60_000;
const clientCount = Number(options.clients);

/** A small generator that can be repeated: splitmix32. */
let state = Number(options.seed) >>> 0;
const random = (below: number): number => {
  state = (state + 0x9e3779b9) >>> 0;
  let z = state;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return ((z ^ (z >>> 15)) >>> 0) % below;
};

const releases: (() => void | Promise<void>)[] = [];
const cleanup = { after: (release: () => void | Promise<void>) => void releases.push(release) };
const counts: Record<string, number> = {};
const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1);
const surprises: string[] = [];

type Complaint = { readonly message: string; readonly cause?: Complaint };
type Sample = Record<(typeof columns)[number], number>;
const columns = [
  'rss MB',
  'heap MB',
  'external MB',
  'descriptors',
  'threads',
  'sessions',
  'logins',
  'journal MB',
] as const;
/** How much more the last third may have than the first, whichever is more. */
const tolerance: Readonly<Partial<Record<(typeof columns)[number], { readonly part: number; readonly more: number }>>> =
  {
    'rss MB': { part: 0.1, more: 25 },
    'heap MB': { part: 0.1, more: 10 },
    'external MB': { part: 0.1, more: 10 },
    descriptors: { part: 0, more: 6 },
    threads: { part: 0, more: 1 },
    'journal MB': { part: 0, more: 33 },
  };

let passed = true;
try {
  passed = await soak();
} catch (error) {
  passed = false;
  console.error(error);
} finally {
  for (const release of releases) await release();
}
console.log(passed ? 'the soak passed' : 'the soak FAILED');
process.exit(passed ? 0 : 1);

async function soak(): Promise<boolean> {
  const target = await testTarget(cleanup);
  const product = await openProduct(cleanup, { target });
  const people = [product.ada];
  for (const handle of ['eve', 'ivy', 'joe']) people.push(await product.invite(handle, ['engineering']));
  const grants = new Set<Credential & { readonly of: PasskeyPerson }>();
  const started = performance.now();
  const isOver = () => performance.now() - started > totalMs;

  // --- grants come and go
  const giver = async (): Promise<void> => {
    for (let i = 0; !isOver(); i += 1) {
      const of = people[i % people.length] ?? product.ada;
      try {
        const isShort = random(3) === 0;
        const grant = {
          ...(await product.give(
            random(4) === 0 ? 'orders/fix-orders' : 'orders/support-read',
            isShort ? 60 : 600,
            of,
          )),
          of,
        };
        count('grants');
        grants.add(grant);
        const lives = isShort ? 58_000 : 20_000 + random(60_000);
        void sleep(Math.min(lives, Math.max(0, totalMs - (performance.now() - started)))).then(async () => {
          grants.delete(grant);
          if (isShort) return count('grants run out');
          await (random(2) === 0
            ? product.revoke(grant.grant)
            : of.client.endGrant({ params: { id: grant.grant }, body: {} }));
          count('grants ended by people');
        }, unexpected);
      } catch (error) {
        unexpected(error);
      }
      await sleep(7000);
    }
  };
  function unexpected(error: unknown): void {
    // While the store is away the API may say so.
    if (options.hiccups && /store|unavailable|fault|terminat|ECONN|fetch/i.test(String(error)))
      return count('refused in a hiccup');
    surprises.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }

  // --- clients come and go
  const client = async (): Promise<void> => {
    while (!isOver()) {
      const all = [...grants];
      const credential = all[random(all.length || 1)];
      if (credential === undefined) {
        await sleep(200);
        continue;
      }
      let connection: pg.Client | undefined;
      try {
        connection = await product.connect(credential);
        count('connections');
        for (let n = 1 + random(40); n > 0 && !isOver(); n -= 1) {
          await act(connection);
          await sleep(50 + random(300));
        }
        if (random(5) === 0) {
          // Without a good-bye.
          (connection as unknown as { connection: { stream: { destroy: () => void } } }).connection.stream.destroy();
          count('vanished');
        } else await connection.end();
      } catch (error) {
        const code = (error as { readonly code?: string }).code ?? '';
        const words = error instanceof Error ? error.message : '';
        if (['57P01', '28P01', '28000', '53300'].includes(code)) count(`ended with ${code}`);
        else if (/terminated|not queryable|ECONNRESET|EPIPE|closed/.test(`${words} ${code}`)) count('connection cut');
        else unexpected(error);
        await connection?.end().catch(() => undefined);
        await sleep(100);
      }
    }
  };
  const act = async (connection: pg.Client): Promise<void> => {
    const denied = (error: unknown): void => {
      const { code } = error as { readonly code?: string };
      if (code !== '42501' && code !== '57014' && code !== '25P02') throw error;
      count(`refused with ${code}`);
    };
    count('statements asked');
    switch (random(10)) {
      case 0:
        await connection.query('select count(*) from public.orders; select 1');
        break;
      case 1:
      case 2:
        await connection.query({
          name: `by-status-${random(3)}`,
          text: 'select id, status from public.orders where id < $1',
          values: [random(100)],
        });
        break;
      case 3:
        await connection.query('copy (select * from public.orders) to stdout');
        break;
      case 4:
        await connection.query(`select email from public.customers where id = ${random(60)}`).catch(denied);
        break;
      case 5: {
        await connection.query('begin');
        await connection.query(`select ${random(1_000_000)} as never_twice`);
        await connection.query(random(2) === 0 ? 'commit' : 'rollback');
        break;
      }
      case 6: {
        const long = connection.query('select pg_sleep(3)').catch(denied);
        // Awaited below; until then its failure is nobody's surprise.
        long.catch(() => undefined);
        if (random(2) === 0) {
          await sleep(100 + random(500));
          const { processID, secretKey } = connection as unknown as { processID: number; secretKey: number };
          await cancel(processID, secretKey);
        }
        await long;
        break;
      }
      case 7:
        await connection.query(`select repeat('x', 1000) from generate_series(1, ${1 + random(2000)})`);
        break;
      case 8:
        await connection
          .query(`update public.orders set note = 'soaked' where id = $1`, [1 + random(60)])
          .catch(denied);
        break;
      default:
        await connection.query('select $1::int + $2::int as sum', [random(100), random(100)]);
    }
    count('statements answered');
  };
  const cancel = async (processId: number, secretKey: number): Promise<void> => {
    const bytes = Buffer.alloc(16);
    bytes.writeInt32BE(16, 0);
    bytes.writeInt32BE(80_877_102, 4);
    bytes.writeInt32BE(processId, 8);
    bytes.writeInt32BE(secretKey, 12);
    await new Promise<void>((done) => {
      const socket = connect(product.port(), '127.0.0.1', () => socket.end(bytes));
      socket.on('error', () => done());
      socket.on('close', () => done());
      socket.resume();
    });
    count('cancels');
  };

  // --- samples
  const samples: { readonly at: number; readonly values: Sample }[] = [];
  const sampler = async (): Promise<void> => {
    while (!isOver()) {
      try {
        samples.push({ at: performance.now() - started, values: await sampleOf() });
      } catch (error) {
        unexpected(error);
      }
      await sleep(Math.min(5000, Math.max(500, totalMs / 60)));
    }
  };
  const sampleOf = async (): Promise<Sample> => {
    const status = readFileSync(`/proc/${product.pid()}/status`, 'utf8');
    const ofStatus = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    const metrics = await product.metrics();
    const metric = (name: string) => Number(new RegExp(`^sallyport_${name} ([\\d.e+]+)$`, 'm').exec(metrics)?.[1]);
    const folder = join(product.dataFolder, 'journal');
    let journal = 0;
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const file = statSync(join(folder, name), { throwIfNoEntry: false });
      if (file?.isFile() === true) journal += file.size;
    }
    return {
      'rss MB': ofStatus('VmRSS') / 1024,
      'heap MB': metric('nodejs_heap_size_used_bytes') / 2 ** 20,
      'external MB': metric('nodejs_external_memory_bytes') / 2 ** 20,
      descriptors: readdirSync(`/proc/${product.pid()}/fd`).length,
      threads: ofStatus('Threads'),
      sessions: metric('sessions_open'),
      logins: (await leftOn(target)).logins.length,
      'journal MB': journal / 2 ** 20,
    };
  };

  const hiccups = async (): Promise<void> => {
    const postmaster = join(product.dataFolder, 'store/cluster/postmaster.pid');
    while (options.hiccups && !isOver()) {
      await sleep(Math.min(120_000, totalMs / 3));
      if (isOver()) return;
      // Our own grandchild; its supervisor starts it again.
      process.kill(Number(readFileSync(postmaster, 'utf8').split('\n')[0]), 'SIGKILL');
      count('hiccups of the store');
    }
  };

  await Promise.all([giver(), sampler(), hiccups(), ...Array.from({ length: clientCount }, client)]);

  // --- the end
  for (const grant of grants) await product.revoke(grant.grant).catch(() => undefined);
  const faults: string[] = [...new Set(surprises)].slice(0, 10).map((what) => `unexpected: ${what}`);
  const leaves = async (): Promise<string | undefined> => {
    const { logins, backends } = await leftOn(target);
    const { sessions } = await sampleOf();
    return logins.length + backends.length + sessions === 0
      ? undefined
      : `left: ${logins.length} logins, ${backends.length} backends, ${sessions} sessions`;
  };
  await until('nothing is left', async () => (await leaves()) === undefined, 90_000).catch(async () => {
    faults.push((await leaves()) ?? 'something was left for too long');
  });
  const socket = join(product.dataFolder, 'store/socket');
  const store = { host: socket, port: 5432, user: 'sallyport', database: 'postgres' };
  const inStore = async (text: string): Promise<number> =>
    Number(((await query(store, text)) as { readonly n: string }[])[0]?.n);
  await until('all records are in the log', async () => {
    const waiting = await inStore('select count(*) as n from log_waiting');
    const open = await inStore('select count(*) as n from session where ended_at is null');
    return waiting + open === 0;
  }).catch((error: unknown) => faults.push(String(error)));
  const begun = await inStore(`select count(*) as n from log_entry where kind = 'statement.begun'`);
  if (begun < (counts['statements answered'] ?? 0)) faults.push(`only ${begun} statements are recorded`);
  const report = await product.verifyLog();
  if (!report.ok) faults.push(`the log doesn't verify: ${report.faults[0]?.what}`);

  // --- the verdict
  const warm = samples.filter(({ at }) => at > totalMs * 0.15);
  const third = Math.floor(warm.length / 3);
  const typical = (of: readonly { readonly values: Sample }[], column: keyof Sample): number => {
    const sorted = of.map(({ values }) => values[column]).toSorted((a, b) => a - b);
    // The median; of the heap a low value, which is what is left when garbage was just collected.
    return sorted[Math.floor(sorted.length / (column === 'heap MB' ? 5 : 2))] ?? Number.NaN;
  };
  // V8 takes some minutes until it has what it wants.
  const isLong = totalMs >= 5 * 60_000;
  console.log(
    `\n${options.minutes} minutes, ${clientCount} clients at a time, seed ${options.seed}, ${samples.length} samples`,
  );
  const row = (...cells: readonly string[]) =>
    console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(14) : cell.padStart(12))).join(''));
  row('', 'at first', 'first third', 'last third', 'most', 'may grow by');
  const table: Record<string, unknown> = {};
  for (const column of columns) {
    const [first, last] = [typical(warm.slice(0, third), column), typical(warm.slice(-third), column)];
    const most = Math.max(...warm.map(({ values }) => values[column]));
    const bound = column.endsWith('MB') && !isLong ? undefined : tolerance[column];
    const may = bound === undefined ? undefined : Math.max(first * bound.part, bound.more);
    row(
      column,
      ...[samples[0]?.values[column] ?? 0, first, last, most].map((n) => n.toFixed(1)),
      may?.toFixed(1) ?? '–',
    );
    table[column] = { first, last, most, mayGrowBy: may ?? null };
    if (may !== undefined && last - first > may)
      faults.push(`${column} grows: ${first.toFixed(1)} → ${last.toFixed(1)}`);
  }
  for (const [what, n] of Object.entries(counts).toSorted(([a], [b]) => (a < b ? -1 : 1))) row(what, '', String(n));
  row('log', '', `${report.entries} entries, ${report.ok ? 'whole' : 'broken'}`);
  for (const fault of faults) console.log(`✖ ${fault}`);
  // What the product itself has complained of.
  const complaints = new Map<string, number>();
  for (const line of product.said().split('\n')) {
    if (!/^\{"level":[456]0/.test(line)) continue;
    const { msg, err } = JSON.parse(line) as { readonly msg: string; readonly err?: Complaint };
    const what = [msg, err?.message, err?.cause?.message, err?.cause?.cause?.message].filter(Boolean).join(' ← ');
    complaints.set(what, (complaints.get(what) ?? 0) + 1);
  }
  for (const [what, n] of complaints) console.log(`complained ${n} times: ${what}`);
  if (options.json !== undefined)
    writeFileSync(
      options.json,
      `${JSON.stringify({ options, table, counts, entries: report.entries, faults }, undefined, 2)}\n`,
    );
  return faults.length === 0;
}

/**
 * The load generator, in a process of its own: all connections of all targets are open at once, and the target changes every
 * 50 ms in random order, so that whatever else the machine does meets all of them alike.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchClient, type Address } from './client.ts';
import { serve } from './child.ts';
import { cpuOf } from './process-cost.ts';
import { shuffled } from './statistics.ts';
import { workload, type Mode, type Step } from './workloads.ts';

export type SlicesAsk = {
  readonly mode: Mode;
  readonly clients: number;
  readonly cycles: number;
  readonly sliceMs: number;
  /** Which of the open targets, and the processes whose time is counted. */
  readonly targets: readonly { readonly name: string; readonly pids: readonly number[] }[];
  /** Each statement's time, too. */
  readonly withLatency?: boolean;
};

/** What one target did in each cycle, in the order of the cycles. */
export type SlicesOf = {
  readonly name: string;
  /** Round trips, or transactions for TPC-B, per second. */
  readonly perSecond: number[];
  readonly count: number[];
  /** CPU time of its processes for each round trip, in nanoseconds. */
  readonly cpuNs: number[];
  /** Microseconds, all cycles together. */
  readonly latencies: number[];
  /** Medians of the cycles, in microseconds. */
  readonly medianLatency: number[];
};

export type LoadCalls = {
  readonly open: (ask: { readonly name: string; readonly address: Address; readonly count: number }) => Promise<void>;
  readonly close: (name: string) => Promise<void>;
  readonly slices: (ask: SlicesAsk) => Promise<readonly SlicesOf[]>;
  /** Sends one query and counts the bytes of the answer. */
  readonly bulk: (ask: { readonly name: string; readonly text: string }) => Promise<{ bytes: number; ms: number }>;
  /** Sends as much data to a `copy … from stdin`. */
  readonly copyIn: (ask: { readonly name: string; readonly text: string; readonly bytes: number }) => Promise<{
    ms: number;
  }>;
  /** Opens connections and closes them again, `atOnce` at a time; each address once. */
  readonly connects: (ask: {
    readonly addresses: readonly Address[];
    readonly atOnce: number;
  }) => Promise<{ readonly ms: number; readonly each: readonly number[] }>;
  /** Opens one connection every `everyMs`, whatever the others do, and closes it. */
  readonly paced: (ask: {
    readonly addresses: readonly Address[];
    readonly everyMs: number;
    readonly count: number;
  }) => Promise<readonly (readonly number[])[]>;
  /** Opens sessions that are then left alone, by key. */
  readonly hold: (ask: {
    readonly atOnce: number;
    readonly sessions: readonly { readonly key: string; readonly address: Address; readonly count: number }[];
  }) => Promise<void>;
  /** When all sessions of a key were closed by the other side, in nanoseconds of the machine's monotonic clock. */
  readonly closed: (key: string) => Promise<{ readonly at: bigint }>;
  /** When the last session that is held was closed. */
  readonly allClosed: (input: undefined) => Promise<{ readonly at: bigint }>;
  /** Closes what is still held. */
  readonly release: (input: undefined) => Promise<void>;
};

type Held = { clients: Set<BenchClient>; over: PromiseWithResolvers<{ at: bigint }> };
const held = new Map<string, Held>();

async function holdOne(key: string, address: Address): Promise<void> {
  const client = await BenchClient.open(address);
  const of = held.get(key) ?? { clients: new Set(), over: Promise.withResolvers() };
  held.set(key, of);
  of.clients.add(client);
  client.onFailure = () => undefined;
  client.onClose = () => {
    of.clients.delete(client);
    if (of.clients.size === 0) of.over.resolve({ at: process.hrtime.bigint() });
  };
}

type Open = {
  readonly clients: BenchClient[];
  readonly prepared: Set<string>;
  /** What was run so far. */
  readonly used: Set<Mode>;
};
const open = new Map<string, Open>();
/** Of 50 ms each. V8 has made the best of a gateway after some ten thousand statements. */
const firstRounds = 60;

const clientsOf = (name: string) => {
  const found = open.get(name);
  if (found === undefined) throw new Error(`\`${name}\` is not open`);
  return found;
};

/** All these clients send for so long, and finish what they began. */
function slice(
  running: readonly { readonly client: BenchClient; readonly steps: readonly Step[]; at: number }[],
  ms: number,
  latencies: number[] | undefined,
): Promise<{ readonly trips: number; readonly ms: number }> {
  return new Promise((resolve, reject) => {
    let trips = 0;
    let busy = running.length;
    const started = performance.now();
    const until = started + ms;
    for (const one of running) {
      const { client, steps } = one;
      let sent = 0;
      const next = () => {
        sent = latencies === undefined ? 0 : performance.now();
        client.send((steps[one.at] as Step)());
        one.at = one.at + 1 === steps.length ? 0 : one.at + 1;
      };
      client.onFailure = reject;
      client.onClose = () => reject(new Error('a connection was closed'));
      client.onReady = () => {
        trips += 1;
        const now = performance.now();
        latencies?.push((now - sent) * 1000);
        // A transaction that has begun is ended, so that its locks are not held while others are measured.
        if (now < until || one.at !== 0) return next();
        busy -= 1;
        if (busy === 0) resolve({ trips, ms: now - started });
      };
      next();
    }
  });
}

/**
 * What is done a little later, such as shipping a record to the log, is part of what a statement costs, and must not disturb
 * the slice of somebody else. Answers the CPU time so far, once hardly any is taken.
 */
async function quiet(pids: readonly number[]): Promise<number> {
  let before = cpuOf(pids);
  if (pids.length === 0) return before;
  const until = performance.now() + 1000;
  for (;;) {
    await sleep(6);
    const now = cpuOf(pids);
    if (now - before < 500_000 || performance.now() > until) return now;
    before = now;
  }
}

async function slices(ask: SlicesAsk): Promise<readonly SlicesOf[]> {
  const plan = [];
  for (const { name, pids } of ask.targets) {
    const { clients, prepared, used } = clientsOf(name);
    const running = [];
    for (const client of clients.slice(0, ask.clients)) {
      const { prepare, steps } = workload(ask.mode);
      running.push({ client, steps, at: 0 });
      if (prepare !== undefined && !prepared.has(`${ask.mode} ${running.length}`)) {
        prepared.add(`${ask.mode} ${running.length}`);
        await client.run(prepare);
      }
    }
    if (running.length < ask.clients) throw new Error(`\`${name}\` has ${running.length} connections`);
    const result: SlicesOf = { name, perSecond: [], count: [], cpuNs: [], latencies: [], medianLatency: [] };
    plan.push({ running, pids, result, used, tripsPer: running[0]?.steps.length ?? 1 });
  }
  // What is compiled at first use is not what is measured; an engine is compiled in each of its threads.
  for (const { running, used } of plan) {
    const rounds = used.size === 0 ? firstRounds : used.has(ask.mode) ? 4 : 10;
    used.add(ask.mode);
    for (let round = 0; round < rounds; round += 1) await slice(running, Math.min(ask.sliceMs, 50), undefined);
  }
  for (let cycle = 0; cycle < ask.cycles; cycle += 1) {
    for (const { running, pids, result, tripsPer } of shuffled(plan, Math.random)) {
      const latencies: number[] | undefined = ask.withLatency === true ? [] : undefined;
      const before = cpuOf(pids);
      const { trips, ms } = await slice(running, ask.sliceMs, latencies);
      const cpu = (await quiet(pids)) - before;
      result.perSecond.push((trips / tripsPer / ms) * 1000);
      result.count.push(trips);
      result.cpuNs.push(cpu / trips);
      if (latencies !== undefined) {
        result.latencies.push(...latencies);
        result.medianLatency.push(latencies.toSorted((a, b) => a - b)[latencies.length >> 1] ?? 0);
      }
    }
  }
  return plan.map(({ result }) => result);
}

const query = (text: string): Buffer => {
  const body = Buffer.from(`${text}\0`);
  const head = Buffer.alloc(5);
  head.write('Q');
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};

/** One CopyData message of rows as pgbench_accounts has them. */
function copyRows(): Buffer {
  const rows = Array.from({ length: 600 }, (_, i) => `${100_000 + i}\t1\t0\t${' '.repeat(84)}\n`).join('');
  const head = Buffer.alloc(5);
  head.write('d');
  head.writeUInt32BE(rows.length + 4, 1);
  return Buffer.concat([head, Buffer.from(rows)]);
}

async function connectOnce(address: Address): Promise<number> {
  const started = performance.now();
  const client = await BenchClient.open(address);
  const took = performance.now() - started;
  client.close();
  return took;
}

serve({
  open: async ({ name, address, count }) => {
    const clients: BenchClient[] = [];
    while (clients.length < count)
      clients.push(
        ...(await Promise.all(
          Array.from({ length: Math.min(16, count - clients.length) }, () => BenchClient.open(address)),
        )),
      );
    open.set(name, { clients, prepared: new Set(), used: new Set() });
  },
  close: (name) => {
    for (const client of open.get(name)?.clients ?? []) client.close();
    open.delete(name);
    return Promise.resolve();
  },
  slices,
  bulk: async ({ name, text }) => {
    const [client] = clientsOf(name).clients;
    if (client === undefined) throw new Error('no connection');
    const before = client.received;
    const started = performance.now();
    await client.run(query(text));
    return { bytes: client.received - before, ms: performance.now() - started };
  },
  copyIn: async ({ name, text, bytes }) => {
    const [client] = clientsOf(name).clients;
    if (client === undefined) throw new Error('no connection');
    const rows = copyRows();
    const started = performance.now();
    const over = client.run(query(text));
    for (let sent = 0; sent < bytes; sent += rows.length) if (!client.send(rows)) await client.drained();
    client.send(Buffer.from([0x63, 0, 0, 0, 4]));
    await over;
    return { ms: performance.now() - started };
  },
  connects: async ({ addresses, atOnce }) => {
    const left = [...addresses];
    const each: number[] = [];
    const started = performance.now();
    const worker = async () => {
      for (let address = left.pop(); address !== undefined; address = left.pop()) each.push(await connectOnce(address));
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    return { ms: performance.now() - started, each };
  },
  paced: async ({ addresses, everyMs, count }) => {
    const took: Promise<number>[][] = addresses.map(() => []);
    const started = performance.now();
    for (let i = 0; i < count; i += 1)
      for (const [at, address] of addresses.entries()) {
        // Spread evenly, so that they don't meet.
        const due = started + everyMs * (i + at / addresses.length);
        await sleep(Math.max(0, due - performance.now()));
        took[at]?.push(connectOnce(address));
      }
    return Promise.all(took.map((times) => Promise.all(times)));
  },
  hold: async ({ sessions, atOnce }) => {
    const left = sessions.flatMap(({ key, address, count }) => Array.from({ length: count }, () => ({ key, address })));
    const worker = async () => {
      for (let one = left.pop(); one !== undefined; one = left.pop()) await holdOne(one.key, one.address);
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  },
  closed: async (key) => {
    const of = held.get(key);
    if (of === undefined) throw new Error(`nothing is held under \`${key}\``);
    return await of.over.promise;
  },
  allClosed: async () => {
    const ends = await Promise.all([...held.values()].map((of) => of.over.promise));
    return ends.reduce((last, one) => (one.at > last.at ? one : last));
  },
  release: () => {
    for (const { clients } of held.values()) for (const client of clients) client.close();
    held.clear();
    return Promise.resolve();
  },
} satisfies LoadCalls);

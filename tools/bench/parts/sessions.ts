/** What depends on the number of sessions: memory, and how fast they are cut. Against a database that only holds them. */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../client.ts';
import { startChild } from '../child.ts';
import type { FakeTargetCalls } from '../fake-target-process.ts';
import { figure, plain, TableMaker } from '../figures.ts';
import { percentile, ratios, spread } from '../statistics.ts';
import type { BenchGateway, World } from '../world.ts';
import type { Part } from './part.ts';

/** A gateway in front of the database that only holds connections. `bench` leads to the real one. */
export async function gatewayToMany(world: World) {
  const { port, certFile, keyFile, superuser } = await world.target();
  const fake = await startChild<FakeTargetCalls>('fake-target-process.ts');
  try {
    const held = await fake.call('start', { realPort: port, superuser, certFile, keyFile });
    const gateway = await world.newGateway(
      {
        targets: [
          { resource: 'bench', port, tls: false },
          { resource: 'many', port: held.port, tls: false },
          { resource: 'many-tls', port: held.port, tls: true },
        ],
      },
      ['--expose-gc'],
    );
    return {
      ...gateway,
      fakePid: fake.pid,
      [Symbol.asyncDispose]: async () => {
        await gateway[Symbol.asyncDispose]();
        await fake[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await fake[Symbol.asyncDispose]();
    throw error;
  }
}

/** Grants with so many sessions each, all open. Answers the grants. */
export async function hold(world: World, gateway: BenchGateway, ask: { grants: number; each: number; tls: boolean }) {
  const load = await world.load();
  const { database } = await world.target();
  const given = await gateway.child.call('give', { resource: ask.tls ? 'many-tls' : 'many', count: ask.grants });
  await load.call('hold', {
    atOnce: 32,
    sessions: given.map(({ user, password, grant }) => ({
      key: grant,
      count: ask.each,
      address: { host: '127.0.0.1', port: gateway.port, database, user, password, tls: ask.tls } satisfies Address,
    })),
  });
  return given.map(({ grant }) => grant);
}

export const memory: Part = {
  name: 'memory',
  run: async (world, report) => {
    const load = await world.load();
    const maker = new TableMaker({
      name: 'memory',
      title: 'Memory per idle session',
      about:
        'Resident memory that the gateway’s process gains with 1,000 idle sessions, by session (after a collection of garbage; the kernel’s buffers are not in it). Plain, and with TLS on both sides.',
      unit: 'kB',
      digits: 1,
      columns: ['per-session', 'process'],
    });
    for (const tls of [false, true]) {
      world.say(`memory${tls ? ' with TLS' : ''}`);
      await using gateway = await gatewayToMany(world);
      const settled = async () => {
        await sleep(1500);
        return await gateway.child.call('resident');
      };
      await hold(world, gateway, { grants: 1, each: 100, tls });
      const before = await settled();
      const count = world.quick ? 300 : 1000;
      await hold(world, gateway, { grants: 10, each: count / 10, tls });
      const after = await settled();
      await load.call('release');
      const row = tls ? 'tls' : 'plain';
      maker.set(row, 'per-session', plain((after - before) / count / 1000));
      maker.set(row, 'process', plain(after / 1000));
      report.table(maker.table);
    }
  },
};

export const revoke: Part = {
  name: 'revoke',
  run: async (world, report) => {
    const load = await world.load();
    const maker = new TableMaker({
      name: 'revoke',
      title: 'Revoke to closed',
      about:
        '`sessions-N`: one grant with one session is revoked while N are open; from the end of the grant to the end of the client’s connection. `cut-N`: all N at once, until the last client is out, and the longest block of the event loop meanwhile. The sessions are idle; `open` is how many there really were, where the limit of file descriptors allows no more.',
      unit: 'ms',
      digits: 1,
      columns: ['open', 'p50', 'p99', 'all', 'longest-block'],
    });
    const flat = new TableMaker({
      name: 'flatness',
      title: 'Flatness',
      about:
        'Cost (CPU) of the same work in a large installation, in relation to a small one: a statement beside 10,000 sessions (1,000 in a quick run) to one alone.',
      unit: 'ratio, 1 is flat',
      digits: 2,
      columns: ['ratio'],
    });
    for (const named of world.quick ? [1000] : [1000, 10_000]) {
      const count = Math.min(named, mostSessions());
      await using gateway = await gatewayToMany(world);
      const singles = 100;
      world.say(`revoke: opening ${count} sessions`);
      const bulkGrants = (count - singles) / 100;
      await hold(world, gateway, { grants: bulkGrants, each: 100, tls: false });
      const grants = await hold(world, gateway, { grants: singles, each: 1, tls: false });
      if (named === 10_000) await besideMany(world, gateway, flat, report);
      world.say(`revoke: one of ${count}, ${singles} times`);
      const took: number[] = [];
      for (const grant of grants) {
        const closed = load.call('closed', grant);
        const { at } = await gateway.child.call('endGrant', grant);
        took.push(Number((await closed).at - at) / 1e6);
        await sleep(5);
      }
      maker.set(`sessions-${named}`, 'open', plain(count));
      maker.set(`sessions-${named}`, 'p50', plain(percentile(took, 0.5)));
      maker.set(`sessions-${named}`, 'p99', plain(percentile(took, 0.99)));
      report.table(maker.table);
      world.say(`revoke: all ${count}`);
      await sleep(1000);
      await gateway.child.call('loop');
      const all = load.call('allClosed');
      const { at } = await gateway.child.call('suspendAll', 'bench');
      const closed = await all;
      const { max } = await gateway.child.call('loop');
      maker.set(`cut-${named}`, 'open', plain(count - singles));
      maker.set(`cut-${named}`, 'all', plain(Number(closed.at - at) / 1e6));
      maker.set(`cut-${named}`, 'longest-block', plain(max));
      report.table(maker.table);
      await load.call('release');
    }
  },
};

/** A session takes two file descriptors of the gateway, and the gateway has some others. */
function mostSessions(): number {
  const limit = Number(
    execFileSync('/bin/sh', ['-c', 'ulimit -n 65536 2>/dev/null; ulimit -Hn'], { encoding: 'utf8' }),
  );
  return Number.isFinite(limit) ? Math.floor((limit - 300) / 200) * 100 : 10_000;
}

/** The same statements through this gateway and through one that has no other session, in turns. */
async function besideMany(world: World, gateway: BenchGateway, maker: TableMaker, report: Parameters<Part['run']>[1]) {
  const load = await world.load();
  const alone = await world.way('journal', false);
  await load.call('open', { name: 'alone', address: alone.address, count: 8 });
  await load.call('open', { name: 'beside', address: await gateway.grant('bench', false), count: 8 });
  const [one, other] = await load.call('slices', {
    mode: 'prepared',
    clients: 8,
    cycles: 40,
    sliceMs: 50,
    targets: [
      { name: 'alone', pids: alone.pids() },
      { name: 'beside', pids: [gateway.child.pid] },
    ],
  });
  await load.call('close', 'alone');
  await load.call('close', 'beside');
  if (one === undefined || other === undefined) throw new Error('nothing was measured');
  maker.set('sessions-10000', 'ratio', figure(spread(ratios(other.cpuNs, one.cpuNs))));
  report.table(maker.table);
}

/** The product as a whole under load for some time: what it sustains, and pgbench's own word on it. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Address } from '../client.ts';
import { figure, plain, TableMaker } from '../figures.ts';
import { cpuOf, treeOf } from '../process-cost.ts';
import { ratios, shuffled, spread } from '../statistics.ts';
import { ways, type Way } from '../world.ts';
import type { Part } from './part.ts';

export const sustained: Part = {
  name: 'sustained',
  run: async (world, report) => {
    const load = await world.load();
    const product = await world.product();
    const { address } = await world.way('everything', false);
    await load.call('open', { name: 'sustained', address, count: 8 });
    const ask = { mode: 'prepared', clients: 8, targets: [{ name: 'sustained', pids: [] }] } as const;
    await load.call('slices', { ...ask, cycles: 10, sliceMs: 100 });
    await product.settled();
    world.say('sustained: eight clients without a pause');
    const tree = treeOf(product.pid);
    const store = tree.filter((pid) => pid !== product.pid);
    const before = { shipped: await product.shipped(), own: cpuOf([product.pid]), store: cpuOf(store) };
    const started = performance.now();
    const [slices] = await load.call('slices', { ...ask, cycles: 1, sliceMs: world.quick ? 3000 : 10_000 });
    const loadedMs = performance.now() - started;
    const lag = -(await product.shipped());
    const allMs = (await product.settled()) - started;
    await load.call('close', 'sustained');
    const trips = slices?.count[0] ?? 0;
    const shipped = (await product.shipped()) - before.shipped;
    const maker = new TableMaker({
      name: 'sustained',
      title: 'Everything on, for some seconds without a pause',
      about:
        'Eight clients with prepared selects against the product. `statements`: while the clients ran; `until-logged`: counted until the last of their records is in the signed tree; `behind`: records that were not in the store yet when the clients stopped. CPU per statement of the product’s process and of its store.',
      unit: 'per second; records; µs',
      digits: 1,
      columns: ['statements', 'until-logged', 'records', 'behind', 'cpu-process', 'cpu-store'],
    });
    maker.set('prepared-8', 'statements', plain((trips / loadedMs) * 1000));
    maker.set('prepared-8', 'until-logged', plain((trips / allMs) * 1000));
    maker.set('prepared-8', 'records', plain((shipped / allMs) * 1000));
    maker.set('prepared-8', 'behind', plain(before.shipped + shipped + lag));
    maker.set('prepared-8', 'cpu-process', plain((cpuOf([product.pid]) - before.own) / 1000 / trips));
    maker.set('prepared-8', 'cpu-store', plain((cpuOf(store) - before.store) / 1000 / trips));
    report.table(maker.table);
  },
};

function findPgbench(): string | undefined {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  return [
    ...versions.map((version) => `/usr/lib/postgresql/${version}/bin/pgbench`),
    ...(process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'pgbench')),
  ].find((path) => existsSync(path));
}

async function runPgbench(program: string, address: Address, mode: string): Promise<number> {
  const { stdout } = await promisify(execFile)(program, ['-n', '-S', '-M', mode, '-c', '8', '-j', '1', '-T', '1'], {
    env: {
      PATH: process.env['PATH'],
      PGHOST: address.host,
      PGPORT: String(address.port),
      PGUSER: address.user,
      PGPASSWORD: address.password,
      PGDATABASE: address.database,
      PGSSLMODE: 'disable',
    },
    timeout: 30_000,
  });
  const rate = Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
  if (!Number.isFinite(rate)) throw new Error(`pgbench said no rate: ${stdout}`);
  return rate;
}

export const pgbench: Part = {
  name: 'pgbench',
  run: async (world, report) => {
    const program = findPgbench();
    if (program === undefined) throw new Error('pgbench is not installed');
    const maker = new TableMaker({
      name: 'pgbench',
      title: 'pgbench itself',
      about:
        'A cross-check: `pgbench -S -c 8 -j 1`, a second at a time, each way in its turn. One second each says little on a busy machine.',
      unit: 'direct: per second; others: ratio to direct in the same round',
      digits: 2,
      columns: ways,
    });
    const opened = await Promise.all(world.ways.map(async (way) => ({ way, ...(await world.way(way, false)) })));
    for (const mode of ['prepared', 'simple']) {
      const rates = new Map<Way, number[]>();
      const rounds = world.quick ? 1 : 3;
      world.say(`pgbench: ${mode}, ${rounds} rounds`);
      for (let round = 0; round < rounds; round += 1)
        for (const { way, address } of shuffled(opened, Math.random))
          rates.set(way, [...(rates.get(way) ?? []), await runPgbench(program, address, mode)]);
      const direct = rates.get('direct') ?? [];
      for (const [way, rate] of rates)
        maker.set(`${mode}-8`, way, figure(spread(way === 'direct' ? rate : ratios(rate, direct))));
      report.table(maker.table);
    }
  },
};

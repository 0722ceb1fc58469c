/** What a statement costs on each way: throughput, CPU, and latency at one client. */
import { figure, plain, TableMaker } from '../figures.ts';
import type { SlicesOf } from '../load-process.ts';
import { median, percentile, ratios, spread } from '../statistics.ts';
import type { Mode } from '../workloads.ts';
import { ways, type Way, type World } from '../world.ts';
import type { Part } from './part.ts';

type Row = { readonly mode: Mode; readonly clients: number; readonly tls: boolean };

const rows: readonly Row[] = [false, true].flatMap((tls) => [
  ...(['prepared', 'simple', 'extended'] as const).flatMap((mode) =>
    [8, 1, 32].map((clients) => ({ mode, clients, tls })),
  ),
  { mode: 'tpcb' as const, clients: 8, tls },
]);

const nameOf = ({ mode, clients, tls }: Row) => `${mode}-${clients}${tls ? '-tls' : ''}`;

/** Goals are about these; they get more cycles. */
const weighty = new Set(['prepared-8', 'prepared-32', 'prepared-1', 'prepared-8-tls']);
const inQuickRun = new Set(['prepared-8', 'prepared-1', 'prepared-32', 'simple-8', 'prepared-8-tls', 'tpcb-8']);
const sliceMs = 50;

export async function openWays(world: World, tls: boolean, count: number, only: readonly Way[] = world.ways) {
  const load = await world.load();
  const opened: { way: Way; name: string; pids: () => readonly number[] }[] = [];
  for (const way of only) {
    const { address, pids } = await world.way(way, tls);
    const name = `${way}${tls ? '-tls' : ''}`;
    await load.call('open', { name, address, count });
    opened.push({ way, name, pids });
  }
  return {
    opened,
    close: async () => {
      for (const { name } of opened) await load.call('close', name);
    },
  };
}

export const statements: Part = {
  name: 'statements',
  run: async (world, report) => {
    const load = await world.load();
    const columns = [...ways];
    const throughput = new TableMaker({
      name: 'throughput',
      title: 'Throughput',
      about:
        'Statements per second, transactions for TPC-B (`tpcb`); `direct` in absolute terms, the others in relation to it.',
      unit: 'direct: per second; others: ratio to direct, more is better',
      digits: 2,
      columns,
    });
    const toBouncer = new TableMaker({
      name: 'to-pgbouncer',
      title: 'Throughput in relation to PgBouncer',
      about: 'The same slices, compared with those of PgBouncer in the same cycle.',
      unit: 'ratio, more is better',
      digits: 2,
      columns,
    });
    const cpu = new TableMaker({
      name: 'cpu',
      title: 'CPU per round trip',
      about: 'Of the processes between client and database; for `everything` that includes the store.',
      unit: 'µs',
      digits: 1,
      columns,
    });
    const cpuToBouncer = new TableMaker({
      name: 'cpu-to-pgbouncer',
      title: 'CPU per round trip in relation to PgBouncer',
      about: 'Compared within each cycle.',
      unit: 'ratio, less is better',
      digits: 2,
      columns,
    });
    const latency = new TableMaker({
      name: 'latency',
      title: 'Latency at one client',
      about: 'Of single round trips, all cycles together.',
      unit: 'µs',
      digits: 0,
      columns,
    });
    const added = new TableMaker({
      name: 'added-latency',
      title: 'Latency added at one client',
      about:
        'Median of a cycle less that of PgBouncer in the same cycle (`direct`: what PgBouncer itself adds, below zero).',
      unit: 'µs',
      digits: 0,
      columns,
    });
    const all = [throughput, toBouncer, cpu, cpuToBouncer, latency, added];
    for (const tls of [false, true]) {
      const { opened, close } = await openWays(world, tls, 32);
      try {
        for (const row of rows.filter((one) => one.tls === tls)) {
          const name = nameOf(row);
          if (world.quick && !inQuickRun.has(name)) continue;
          const cycles = Math.round((weighty.has(name) ? 60 : 20) / (world.quick ? 3 : 1));
          world.say(`statements: ${name}, ${cycles} cycles`);
          const measured = await load.call('slices', {
            mode: row.mode,
            clients: row.clients,
            cycles,
            sliceMs,
            targets: opened.map((one) => ({ name: one.name, pids: one.pids() })),
            withLatency: row.clients === 1,
          });
          const of = (way: Way): SlicesOf | undefined => measured[opened.findIndex((one) => one.way === way)];
          const direct = of('direct');
          const bouncer = of('pgbouncer');
          for (const { way } of opened) {
            const slices = of(way);
            if (slices === undefined || direct === undefined) continue;
            const us = slices.cpuNs.map((ns) => ns / 1000);
            throughput.set(
              name,
              way,
              way === 'direct'
                ? figure(spread(slices.perSecond))
                : figure(spread(ratios(slices.perSecond, direct.perSecond))),
            );
            if (way !== 'direct') cpu.set(name, way, figure(spread(us)));
            if (bouncer !== undefined && way !== 'pgbouncer') {
              toBouncer.set(name, way, figure(spread(ratios(slices.perSecond, bouncer.perSecond))));
              if (way !== 'direct') cpuToBouncer.set(name, way, figure(spread(ratios(slices.cpuNs, bouncer.cpuNs))));
            }
            if (row.clients === 1) {
              latency.set(`${name}-p50`, way, plain(median(slices.latencies)));
              latency.set(`${name}-p99`, way, plain(percentile(slices.latencies, 0.99)));
              if (bouncer !== undefined && way !== 'pgbouncer')
                added.set(
                  name,
                  way,
                  figure(spread(slices.medianLatency.map((us1, i) => us1 - (bouncer.medianLatency[i] ?? 0)))),
                );
            }
          }
          for (const maker of all) report.table(maker.table);
        }
      } catch (error) {
        report.failed(`statements${tls ? ' with TLS' : ''}`, error);
      } finally {
        await close();
      }
    }
  },
};

/** Big answers and COPY, one client at a time, and what they do to everybody else in the gateway meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { figure, plain, TableMaker } from '../figures.ts';
import { ratios, shuffled, spread } from '../statistics.ts';
import { ways, type Way } from '../world.ts';
import type { Part } from './part.ts';
import { openWays } from './statements.ts';

const copyOut = 'copy (select * from pgbench_accounts where aid <= 400000) to stdout';
const bigSelect = 'select * from pgbench_accounts where aid <= 200000';
const copyIn = 'copy bench_copied from stdin';
const copyInBytes = 24 << 20;

export const bulk: Part = {
  name: 'bulk',
  run: async (world, report) => {
    const load = await world.load();
    const target = await world.target();
    const maker = new TableMaker({
      name: 'bulk',
      title: 'Bulk',
      about: 'One client: `copy … to stdout` (40 MB), a big `select` (24 MB of rows) and `copy … from stdin` (24 MB).',
      unit: 'direct: MB per second; others: ratio to direct in the same round, more is better',
      digits: 2,
      columns: ways,
    });
    for (const tls of [false, true]) {
      const { opened, close } = await openWays(world, tls, 1);
      try {
        const rounds = world.quick ? 2 : 5;
        world.say(`bulk${tls ? ' with TLS' : ''}, ${rounds} rounds`);
        const speeds = new Map<string, number[]>();
        const note = (what: string, way: Way, speed: number) => {
          const key = `${what} ${way}`;
          speeds.set(key, [...(speeds.get(key) ?? []), speed]);
        };
        for (let round = 0; round < rounds; round += 1) {
          for (const { way, name } of shuffled(opened, Math.random))
            for (const [what, text] of [
              ['copy-out', copyOut],
              ['select', bigSelect],
            ] as const) {
              const { bytes, ms } = await load.call('bulk', { name, text });
              note(what, way, bytes / ms / 1000);
            }
          for (const { way, name } of shuffled(opened, Math.random)) {
            const { ms } = await load.call('copyIn', { name, text: copyIn, bytes: copyInBytes });
            note('copy-in', way, copyInBytes / ms / 1000);
          }
          await target.query('truncate bench_copied');
        }
        for (const what of ['copy-out', 'select', 'copy-in']) {
          const direct = speeds.get(`${what} direct`) ?? [];
          for (const { way } of opened) {
            const of = speeds.get(`${what} ${way}`) ?? [];
            const row = `${what}${tls ? '-tls' : ''}`;
            maker.set(row, way, figure(spread(way === 'direct' ? of : ratios(of, direct))));
          }
        }
        report.table(maker.table);
      } catch (error) {
        report.failed(`bulk${tls ? ' with TLS' : ''}`, error);
      } finally {
        await close();
      }
    }
  },
};

const gigabyte = 'copy (select a.* from pgbench_accounts a cross join pgbench_branches b) to stdout';

export const streaming: Part = {
  name: 'streaming',
  run: async (world, report) => {
    const load = await world.load();
    const maker = new TableMaker({
      name: 'streaming',
      title: 'While one client streams 1 GB',
      about:
        'Of a gateway in one thread with its journal: how late its event loop was, and how much memory it gained at most. `-tls`: with TLS on both sides.',
      unit: 'ms for the delay, MB for memory',
      digits: 1,
      columns: ['p50', 'p99', 'max', 'gained', 'streamed'],
    });
    for (const tls of [false, true]) {
      await using gateway = await world.newGateway({});
      const address = await gateway.grant(tls ? 'bench-tls' : 'bench', tls);
      await load.call('open', { name: 'streaming', address, count: 1 });
      // What is loaded and compiled at first use is there from then on.
      await load.call('bulk', { name: 'streaming', text: bigSelect });
      const before = await gateway.child.call('loop');
      let most = before.resident;
      let over = false;
      const watch = (async () => {
        while (!over) {
          most = Math.max(most, await gateway.child.call('resident'));
          await sleep(100);
        }
      })();
      world.say(`streaming 1 GB${tls ? ' with TLS' : ''}`);
      const { bytes } = await load.call('bulk', {
        name: 'streaming',
        text: world.quick ? gigabyte.replace('branches b', 'branches b where b.bid < 4') : gigabyte,
      });
      over = true;
      await watch;
      const { p50, p99, max } = await gateway.child.call('loop');
      await load.call('close', 'streaming');
      const end = tls ? '-tls' : '';
      for (const [column, value] of Object.entries({ p50, p99, max }))
        maker.set(`loop-delay${end}`, column, plain(value));
      maker.set(`memory${end}`, 'gained', plain((most - before.resident) / 1e6));
      maker.set(`memory${end}`, 'streamed', plain(bytes / 1e6));
      report.table(maker.table);
    }
  },
};

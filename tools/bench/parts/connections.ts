/** Opening connections: how many a second, and how long one takes. */
import type { Address } from '../client.ts';
import { figure, plain, TableMaker } from '../figures.ts';
import { percentile, shuffled, spread } from '../statistics.ts';
import { ways } from '../world.ts';
import type { Part } from './part.ts';

export const connections: Part = {
  name: 'connections',
  run: async (world, report) => {
    const load = await world.load();
    const maker = new TableMaker({
      name: 'connections',
      title: 'Connections opened',
      about:
        'Four at a time, each signs in with SCRAM and leaves again. `known-login`: the grant has a login on the database already. `fresh-login`: each connection is the first of its grant, whose login is made on the database.',
      unit: 'per second',
      digits: 0,
      columns: ways,
    });
    const rounds = world.quick ? 2 : 3;
    for (const tls of [false, true]) {
      const end = tls ? '-tls' : '';
      world.say(`connections${tls ? ' with TLS' : ''}`);
      const rates = new Map<string, number[]>();
      const opened = await Promise.all(world.ways.map(async (way) => ({ way, ...(await world.way(way, tls)) })));
      // The first makes the login.
      for (const { address } of opened) await load.call('connects', { addresses: [address], atOnce: 1 });
      for (let round = 0; round < rounds; round += 1)
        for (const { way, address } of shuffled(opened, Math.random)) {
          const addresses = Array.from({ length: 50 }, () => address);
          const { ms } = await load.call('connects', { addresses, atOnce: 4 });
          rates.set(way, [...(rates.get(way) ?? []), (addresses.length / ms) * 1000]);
        }
      for (const [way, rate] of rates) maker.set(`known-login${end}`, way, figure(spread(rate)));
      report.table(maker.table);

      const fresh = new Map<string, number[]>();
      for (let round = 0; round < rounds; round += 1)
        for (const way of ['journal', 'engines'] as const) {
          if (!world.ways.includes(way)) continue;
          const gateway = await world.gateway(way);
          const given = await gateway.child.call('give', { resource: tls ? 'bench-tls' : 'bench', count: 40 });
          const { database } = await world.target();
          const addresses: Address[] = given.map(({ user, password }) => ({
            host: '127.0.0.1',
            port: gateway.port,
            database,
            user,
            password,
            tls,
          }));
          const { ms } = await load.call('connects', { addresses, atOnce: 4 });
          fresh.set(way, [...(fresh.get(way) ?? []), (addresses.length / ms) * 1000]);
          for (const { grant } of given) await gateway.child.call('endGrant', grant);
        }
      const product = await world.product();
      const grants: Address[] = [];
      while (grants.length < (world.quick ? 8 : 24)) grants.push(await product.grant(tls));
      const { ms } = await load.call('connects', { addresses: grants, atOnce: 4 });
      fresh.set('everything', [(grants.length / ms) * 1000]);
      for (const [way, rate] of fresh)
        maker.set(`fresh-login${end}`, way, rate.length === 1 ? plain(rate[0] ?? 0) : figure(spread(rate)));
      report.table(maker.table);
    }
  },
};

export const connectTime: Part = {
  name: 'connect-time',
  run: async (world, report) => {
    const load = await world.load();
    const maker = new TableMaker({
      name: 'connect-time',
      title: 'Time to connect at ten a second',
      about: 'From the first packet to ReadyForQuery, one connection every 100 ms, each way in its turn.',
      unit: 'ms',
      digits: 1,
      columns: ways,
    });
    for (const tls of [false, true]) {
      const opened = await Promise.all(world.ways.map(async (way) => (await world.way(way, tls)).address));
      for (const address of opened) await load.call('connects', { addresses: [address, address], atOnce: 1 });
      const count = world.quick ? 8 : 30;
      world.say(`connect-time${tls ? ' with TLS' : ''}, ${count} each`);
      const took = await load.call('paced', { addresses: opened, everyMs: 100 * opened.length, count });
      for (const [i, way] of world.ways.entries())
        for (const [name, p] of [
          ['p50', 0.5],
          ['p90', 0.9],
        ] as const)
          maker.set(`${name}${tls ? '-tls' : ''}`, way, plain(percentile(took[i] ?? [], p)));
      report.table(maker.table);
    }
  },
};

/** Held statements: how long until the person is told, and from the touch of the passkey to the answer. */
import pg from 'pg';
import { plain, TableMaker } from '../figures.ts';
import { percentile } from '../statistics.ts';
import type { Part } from './part.ts';

export const held: Part = {
  name: 'held',
  run: async (world, report) => {
    const product = await world.product();
    const address = await product.grant(false);
    const maker = new TableMaker({
      name: 'held',
      title: 'Held statements',
      about:
        'One client, `sally up`, an `update` that policy holds until its writer’s passkey has signed it. `told`: from the statement to the notice with the address of its page. `released`: from the passkey’s signature being sent to the statement’s own answer. `plain`: the same update where it names its rows and isn’t held.',
      unit: 'ms',
      digits: 1,
      columns: ['p50', 'p99'],
    });
    const client = new pg.Client({ ...address, ssl: false });
    // Where it ends, what is asked of it fails.
    client.on('error', () => undefined);
    await client.connect();
    const took: Record<'told' | 'released' | 'plain', number[]> = { told: [], released: [], plain: [] };
    // One person may ask for no more signatures in a while.
    const count = world.quick ? 10 : 24;
    world.say(`held, ${count} statements`);
    try {
      for (let i = 0; i < count; i += 1) {
        const before = performance.now();
        await client.query('update public.pgbench_branches set filler = filler where bid > 0');
        took.plain.push(performance.now() - before);
        const notice = new Promise<string>((resolve) =>
          client.once('notice', ({ message }) => resolve(/hld_[a-z0-9]+/.exec(message ?? '')?.[0] ?? '')),
        );
        const asked = performance.now();
        const answer = client.query('update public.pgbench_branches set filler = filler').then(() => performance.now());
        const hold = await notice;
        took.told.push(performance.now() - asked);
        const sign = await product.show(address, hold);
        const touched = performance.now();
        await sign();
        took.released.push((await answer) - touched);
      }
    } finally {
      await client.end();
    }
    for (const [row, ms] of Object.entries(took)) {
      maker.set(row, 'p50', plain(percentile(ms, 0.5)));
      maker.set(row, 'p99', plain(percentile(ms, 0.99)));
    }
    report.table(maker.table);
  },
};

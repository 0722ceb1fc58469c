/** Parts of the product by themselves: the journal, decisions, and the way into the log. */
import { startChild } from '../child.ts';
import { figure, plain, TableMaker } from '../figures.ts';
import type { JournalCalls } from '../journal-process.ts';
import type { LogCalls, LogCost } from '../log-process.ts';
import type { PoliciesCalls } from '../policies-process.ts';
import { median, percentile, ratios, spread } from '../statistics.ts';
import type { Part } from './part.ts';

export const journal: Part = {
  name: 'journal',
  run: async (world, report) => {
    await using child = await startChild<JournalCalls>('journal-process.ts');
    const maker = new TableMaker({
      name: 'journal',
      title: 'The journal',
      about:
        'Records of a statement, appended to a real disk. `flat-out`: in groups of 64, from the first until all are durable. `paced-10000`: ten thousand a second, each until it is durable.',
      unit: 'records per second; µs of CPU; ms until durable',
      digits: 2,
      columns: ['records', 'cpu', 'p50', 'p99'],
    });
    await child.call('flatOut', 20_000);
    const runs = [];
    for (let i = 0; i < 3; i += 1) runs.push(await child.call('flatOut', world.quick ? 50_000 : 200_000));
    maker.set('flat-out', 'records', figure(spread(runs.map((run) => run.perSecond))));
    maker.set('flat-out', 'cpu', figure(spread(runs.map((run) => run.cpuUs))));
    const took = await child.call('paced', { perSecond: 10_000, seconds: world.quick ? 2 : 5 });
    maker.set('paced-10000', 'p50', plain(median(took)));
    maker.set('paced-10000', 'p99', plain(percentile(took, 0.99)));
    report.table(maker.table);
  },
};

export const decisions: Part = {
  name: 'decisions',
  run: async (world, report) => {
    await using child = await startChild<PoliciesCalls>('policies-process.ts', { nodeFlags: ['--liftoff-only'] });
    const maker = new TableMaker({
      name: 'decisions',
      title: 'Decisions',
      about:
        'By the policy engine, for one need, with so many policies besides the shipped ones: `uncached` about a table that has not been asked about for long, so that its policies are parsed, `parsed` about one of fifty. What was decided before for the very statement is found in a map, and shows in the CPU of a statement.',
      unit: 'µs',
      digits: 0,
      columns: ['p50', 'p99'],
    });
    for (const policies of [10, 1000])
      for (const [row, tables] of [
        ['uncached', 300],
        ['parsed', 50],
      ] as const) {
        const took = await child.call('uncached', { policies, tables, times: world.quick ? 200 : 1000 });
        maker.set(`${row}-${policies}`, 'p50', plain(median(took)));
        maker.set(`${row}-${policies}`, 'p99', plain(percentile(took, 0.99)));
      }
    report.table(maker.table);
  },
};

export const log: Part = {
  name: 'log',
  run: async (world, report) => {
    await using child = await startChild<LogCalls>('log-process.ts');
    await child.call('start');
    const maker = new TableMaker({
      name: 'log',
      title: 'Into the log',
      about:
        'Journal records taken into the log in batches as a gateway ships them, sealed, stored and put into the signed tree, without a gateway beside it; CPU of the process and of its store. `empty`: a new log; `million`: one with a million entries (a hundred thousand in a quick run).',
      unit: 'entries per second; µs of CPU per entry',
      digits: 1,
      columns: ['entries', 'process', 'store'],
    });
    const statements = world.quick ? 2000 : 5000;
    await child.call('take', 2000);
    const measure = async (row: string): Promise<readonly LogCost[]> => {
      const runs: LogCost[] = [];
      for (let i = 0; i < 5; i += 1) runs.push(await child.call('take', statements));
      maker.set(row, 'entries', figure(spread(runs.map((run) => run.perSecond))));
      maker.set(row, 'process', figure(spread(runs.map((run) => run.ownUs))));
      maker.set(row, 'store', figure(spread(runs.map((run) => run.storeUs))));
      report.table(maker.table);
      return runs;
    };
    const cost = (run: LogCost) => run.ownUs + run.storeUs;
    const empty = await measure('empty');
    world.say('log: growing it');
    await child.call('grow', world.quick ? 100_000 : 1_000_000);
    await child.call('take', 1000);
    const full = await measure('million');
    const flat = new TableMaker({
      name: 'flatness-log',
      title: 'Flatness of the log',
      about: 'CPU per entry in a log of a million entries, in relation to an empty one.',
      unit: 'ratio, 1 is flat',
      digits: 2,
      columns: ['ratio'],
    });
    flat.set('log-1000000', 'ratio', figure(spread(ratios(full.map(cost), empty.map(cost)))));
    report.table(flat.table);
  },
};

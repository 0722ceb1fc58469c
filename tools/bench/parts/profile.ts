/** Where the time of a statement goes, as text: a CPU profile of the gateway under load. */
import type { Part } from './part.ts';

export const profile: Part = {
  name: 'profile',
  run: async (world, report) => {
    const load = await world.load();
    await using gateway = await world.newGateway({});
    await load.call('open', { name: 'profile', address: await gateway.grant('bench', false), count: 8 });
    const ask = { mode: 'prepared', clients: 8, targets: [{ name: 'profile', pids: [] }] } as const;
    await load.call('slices', { ...ask, cycles: 4, sliceMs: 250 });
    const profiled = gateway.child.call('profile', 4000);
    await load.call('slices', { ...ask, cycles: 1, sliceMs: 4500 });
    const { lines, statements } = await profiled;
    await load.call('close', 'profile');
    report.text(
      'Where the time goes',
      [
        'Gateway in one thread with its journal, eight clients, prepared selects; share of the busy time by function (self time,',
        `V8's sampling profiler, ${statements} samples). What the kernel does for a call is in the native function that calls it.`,
        '',
        ...lines,
      ].join('\n'),
    );
  },
};

/** The mock's log, configuration and plans. */
import { type Handlers, Refusal } from './mock-handlers.ts';
import { at, type World } from './mock-world.ts';

export function evidenceHandlers(
  world: World,
): Pick<
  Handlers,
  'listLog' | 'proveEntry' | 'logCheckpoint' | 'exportLog' | 'getConfiguration' | 'makePlan' | 'getPlan'
> {
  return {
    listLog: ({ query }, call) => {
      if (query.scope === 'all' && !call.person.isAdministrator)
        throw new Refusal('forbidden', 'read others’ entries of the log: that needs a right');
      const found = world.log.filter(
        (entry) =>
          (query.scope === 'all' || (typeof entry.actor !== 'string' && entry.actor.id === call.person.id)) &&
          (query.kind === undefined || entry.kind === query.kind) &&
          (query.since === undefined || entry.at >= query.since) &&
          (['grant', 'session', 'request', 'principal'] as const).every(
            (name) => query[name] === undefined || entry.subject[name] === query[name],
          ),
      );
      return call.page(query.order === 'newest' ? found.toReversed() : found, query);
    },
    proveEntry: ({ params }) => {
      const entry = world.log.find(({ id }) => id === params.id);
      if (entry === undefined) throw new Refusal('not_found', 'prove an entry: there is none');
      return { leaf: entry.id, index: entry.index, proof: [], checkpoint: 'localhost\n1\n' };
    },
    logCheckpoint: () => `localhost\n${world.log.length}\n`,
    exportLog: () => '{"done":true}\n',
    getConfiguration: (_, call) => {
      if (!call.person.isAdministrator)
        throw new Refusal('forbidden', 'read the configuration: only administrators do');
      return { version: 'v7', hash: 'a'.repeat(64), appliedAt: at(-7200), files: world.files };
    },
    makePlan: () => ({ unchanged: true }),
    getPlan: ({ params }) => {
      const plan = world.plans.get(params.id);
      if (plan === undefined) throw new Refusal('not_found', 'find a plan: there is none');
      return plan;
    },
  };
}

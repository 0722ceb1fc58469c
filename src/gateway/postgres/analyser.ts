/** The worker as a function: asks it, gives up on it when it takes too long, and starts another when it dies. */
import { Worker } from 'node:worker_threads';
import type { Analysis } from '#sql/needs.ts';
import type { Snapshot } from './catalogue.ts';
import type { AskedNames, WorkerAnswer, WorkerAsk } from './judge-worker.ts';

export type Analyser = AsyncDisposable & {
  /** Throws when the worker failed or took too long: the caller denies then. */
  readonly analyse: (
    text: string,
    snapshot: Pick<Snapshot, 'version' | 'json'> & { readonly resource: string },
    names: AskedNames,
    prepared: readonly (readonly [string, string])[],
  ) => Promise<Analysis>;
};

/** How often a text is asked again after the thread has failed at one before it. */
const maxTries = 3;

/**
 * The thread takes one text after the other, so it is the oldest that it fails at, or takes too long for: that one is denied,
 * and the others are asked again in another thread.
 */
export function startAnalyser(options: { readonly timeoutMs?: number } = {}): Analyser {
  const { timeoutMs = 15_000 } = options;
  type Waiting = {
    readonly ask: Parameters<Analyser['analyse']>;
    readonly resolve: (analysis: Analysis) => void;
    readonly reject: (error: Error) => void;
    tries: number;
  };
  /** In the order in which they were asked. */
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  /** By resource: which version the worker has. */
  let known = new Map<string, string>();
  let next = 1;
  /** For the oldest. */
  let timer: NodeJS.Timeout | undefined;

  const watch = () => {
    clearTimeout(timer);
    timer = undefined;
    if (waiting.size > 0) timer = setTimeout(() => failed('the statement takes too long to parse'), timeoutMs).unref();
  };

  const abandon = (): Worker | undefined => {
    const dead = worker;
    worker = undefined;
    known = new Map();
    void dead?.terminate();
    return dead;
  };

  const failed = (message: string) => {
    abandon();
    const [oldest] = waiting.keys();
    for (const [id, one] of waiting) {
      one.tries += 1;
      if (id !== oldest && one.tries < maxTries) continue;
      waiting.delete(id);
      one.reject(new Error(message));
    }
    for (const [id, { ask }] of waiting) post(id, ask);
    watch();
  };

  const start = (): Worker => {
    const started = new Worker(new URL('./judge-worker.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 512, stackSizeMb: 8 },
    });
    started.unref();
    started.on('message', (answer: WorkerAnswer) => {
      const one = waiting.get(answer.id);
      // What was asked again is answered by the other thread.
      if (one === undefined || worker !== started) return;
      waiting.delete(answer.id);
      watch();
      if ('fault' in answer) one.reject(new Error(answer.fault));
      else one.resolve(answer.analysis);
    });
    started.on('error', () => {
      if (worker === started) failed('the parsing thread failed');
    });
    started.on('exit', () => {
      if (worker === started) failed('the parsing thread ended');
    });
    return started;
  };

  const post = (id: number, [text, snapshot, names, prepared]: Waiting['ask']) => {
    const on = (worker ??= start());
    const send = (ask: WorkerAsk) => on.postMessage(ask);
    const before = known.get(snapshot.resource);
    if (before !== snapshot.version) {
      send({ kind: 'catalogue', version: snapshot.version, json: snapshot.json });
      known.set(snapshot.resource, snapshot.version);
      if (before !== undefined && ![...known.values()].includes(before)) send({ kind: 'forget', version: before });
    }
    send({ kind: 'analyse', id, text, catalogue: snapshot.version, names, prepared });
  };

  return {
    analyse: (...ask) =>
      new Promise((resolve, reject) => {
        const id = next;
        next += 1;
        post(id, ask);
        waiting.set(id, { ask, resolve, reject, tries: 0 });
        if (waiting.size === 1) watch();
      }),
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      const running = abandon();
      for (const { reject } of waiting.values()) reject(new Error('the gateway is stopping'));
      waiting.clear();
      await running?.terminate();
    },
  };
}

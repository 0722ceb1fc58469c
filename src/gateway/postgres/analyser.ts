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

export function startAnalyser(options: { readonly timeoutMs?: number } = {}): Analyser {
  const { timeoutMs = 15_000 } = options;
  type Waiting = {
    readonly resolve: (analysis: Analysis) => void;
    readonly reject: (error: Error) => void;
    readonly timer: NodeJS.Timeout;
  };
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  /** By resource: which version the worker has. */
  let known = new Map<string, string>();
  let next = 1;

  const fail = (message: string) => {
    const dead = worker;
    worker = undefined;
    known = new Map();
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer);
      reject(new Error(message));
    }
    waiting.clear();
    void dead?.terminate();
  };

  const start = (): Worker => {
    const started = new Worker(new URL('./judge-worker.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 512, stackSizeMb: 8 },
    });
    started.unref();
    started.on('message', (answer: WorkerAnswer) => {
      const one = waiting.get(answer.id);
      if (one === undefined) return;
      waiting.delete(answer.id);
      clearTimeout(one.timer);
      if ('fault' in answer) one.reject(new Error(answer.fault));
      else one.resolve(answer.analysis);
    });
    started.on('error', () => {
      if (worker === started) fail('the parsing thread failed');
    });
    started.on('exit', () => {
      if (worker === started) fail('the parsing thread ended');
    });
    return started;
  };

  return {
    analyse(text, snapshot, names, prepared) {
      worker ??= start();
      const on = worker;
      const send = (ask: WorkerAsk) => on.postMessage(ask);
      const before = known.get(snapshot.resource);
      if (before !== snapshot.version) {
        send({ kind: 'catalogue', version: snapshot.version, json: snapshot.json });
        known.set(snapshot.resource, snapshot.version);
        if (before !== undefined && ![...known.values()].includes(before)) send({ kind: 'forget', version: before });
      }
      const id = next;
      next += 1;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          if (worker === on) fail('the statement takes too long to parse');
        }, timeoutMs);
        timer.unref();
        waiting.set(id, { resolve, reject, timer });
        send({ kind: 'analyse', id, text, catalogue: snapshot.version, names, prepared });
      });
    },
    async [Symbol.asyncDispose]() {
      const running = worker;
      fail('the gateway is stopping');
      await running?.terminate();
    },
  };
}

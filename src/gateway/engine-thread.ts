/**
 * An engine in a thread of its own, seen from the hub: starts it, watches it, and starts it again when it dies. Its sockets
 * die with it, so whatever a dead engine is asked to cut is cut.
 *
 * INVARIANT 4: an engine whose loop is blocked can't cut, so it must not keep its sockets. One that has said nothing for
 * some beats is ended; for fewer when something is to be cut.
 */
import { Worker } from 'node:worker_threads';
import type { SecureContextOptions } from 'node:tls';
import { clearRow } from './door.ts';
import type { Engine } from './engine.ts';
import type { EnginePort, EngineSetUp, EngineState, HubPort } from './engine-worker.ts';
import { openPort, type Port } from './port.ts';
import type { Timers } from './timers.ts';

export type EngineThread = Omit<Engine, 'host' | 'stop'> & {
  readonly engine: number;
  /** Of its journal. */
  readonly id: string;
  readonly state: () => EngineState;
  readonly useTls: (tls: SecureContextOptions | undefined) => void;
  readonly drain: (withinMs: number) => Promise<void>;
  /** The hub's own beat: counted, since a hub that was blocked must not take that for the engine's silence. */
  readonly beat: () => void;
  readonly stop: (shipWithinMs: number) => Promise<void>;
};

/** Beats of the hub without a word, after which an engine is ended. */
const silentBeats = { atMost: 12, whileCutting: 4 };
/** An engine that lived this long has not died "again". */
const livedMs = 60_000;
const restartMs = { first: 100, most: 30_000 };

/** Resolves when it listens. Throws when it can't start the first time; later it is tried again, without end. */
export async function startEngineThread(options: {
  readonly setUp: Omit<EngineSetUp, 'tls'>;
  readonly tls: () => SecureContextOptions | undefined;
  readonly hub: Omit<HubPort, 'ready' | 'notStarted' | 'beat'>;
  readonly timers: Timers;
  /** Its sockets are closed. `deaths` in a row so far; it is started again after that time. */
  readonly onDeath: (why: { readonly error: Error; readonly deaths: number; readonly againInMs: number }) => void;
  /** It listens again, with its journal recovered. */
  readonly onReturn: () => void;
}): Promise<EngineThread> {
  const { hub, timers } = options;
  type Life = {
    readonly worker: Worker;
    readonly port: Port<EnginePort>;
    readonly ended: Promise<void>;
    readonly isReady: () => boolean;
  };
  let life: Life | undefined;
  let id = '';
  let listensOn = options.setUp.listen.port;
  let state: EngineState = { journal: 'open', unshippedBytes: 0 };
  let silent = 0;
  let cutting = 0;
  let deaths = 0;
  let isStopping = false;
  let again: Disposable | undefined;

  const start = (): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const setUp: EngineSetUp = {
      ...options.setUp,
      listen: { ...options.setUp.listen, port: listensOn },
      tls: options.tls(),
    };
    const worker = new Worker(new URL('./engine-worker.ts', import.meta.url), {
      workerData: setUp,
      name: `engine ${setUp.engine}`,
      resourceLimits: { maxOldGenerationSizeMb: 2048 },
    });
    let failure: Error | undefined;
    let isReady = false;
    silent = 0;
    const port = openPort<EnginePort>(
      worker,
      {
        ...hub,
        ready: (is) => {
          ({ id, port: listensOn } = is);
          isReady = true;
          resolve();
        },
        notStarted: (error) => {
          failure ??= error instanceof Error ? error : new Error(String(error));
          void worker.terminate();
        },
        beat: (told) => {
          state = told;
        },
      } satisfies HubPort,
      () => {
        silent = 0;
      },
    );
    // A thread that died in between would be rejected as unhandled otherwise.
    const ended = new Promise<void>((over) => {
      worker.on('error', (error) => (failure ??= error instanceof Error ? error : new Error(String(error))));
      worker.on('exit', () => {
        over();
        if (life?.worker === worker) life = undefined;
        clearRow(setUp.door, setUp.engine);
        const error = failure ?? new Error('engine ended');
        port.close(error);
        reject(error);
        if (isReady && !isStopping) died(error);
      });
    });
    const startedAt = performance.now();
    forgive = () => performance.now() - startedAt > livedMs;
    life = { worker, port, ended, isReady: () => isReady };
    return promise;
  };
  let forgive = (): boolean => true;

  const died = (error: Error) => {
    deaths = forgive() ? 1 : deaths + 1;
    const againInMs = Math.min(restartMs.first * 2 ** (deaths - 1), restartMs.most);
    options.onDeath({ error, deaths, againInMs });
    again = timers.setTimer(againInMs, () => {
      if (isStopping) return;
      start().then(options.onReturn, (failed: Error) => {
        if (!isStopping) died(failed);
      });
    });
  };

  /** Nothing to do for one that is dead. What goes wrong in a living one is the caller's. */
  const ask = async <T>(run: (port: Port<EnginePort>) => Promise<T>, otherwise: T): Promise<T> => {
    const on = life;
    if (on === undefined) return otherwise;
    try {
      return await run(on.port);
    } catch (error) {
      if (life !== on) return otherwise;
      throw error;
    }
  };
  const askToCut = async <T>(run: (port: Port<EnginePort>) => Promise<T>, otherwise: T): Promise<T> => {
    cutting += 1;
    try {
      return await ask(run, otherwise);
    } finally {
      cutting -= 1;
    }
  };

  await start();
  return {
    engine: options.setUp.engine,
    get id() {
      return id;
    },
    get port() {
      return listensOn;
    },
    state: () => state,
    told: (change) =>
      change.kind === 'heartbeat'
        ? ask((port) => port.ask('told', change), undefined)
        : askToCut((port) => port.ask('told', change), undefined),
    cut: (which, reason, detail) => askToCut((port) => port.ask('cut', which, reason, detail), 0),
    moveDeadline: (grant, to) => askToCut((port) => port.ask('moveDeadline', grant, to), undefined),
    catalogueChanged: () => ask((port) => port.ask('catalogueChanged'), undefined),
    cancel: (processId, secretKey) => ask((port) => port.ask('cancel', processId, secretKey), undefined),
    signInFailed: (address) => life?.port.tell('signInFailed', address),
    useTls: (tls) => life?.port.tell('useTls', tls),
    drain: (withinMs) => ask((port) => port.ask('drain', withinMs), undefined),
    beat() {
      silent += 1;
      // One that still reads a long journal has no sockets.
      if (life?.isReady() !== true || silent < (cutting > 0 ? silentBeats.whileCutting : silentBeats.atMost)) return;
      silent = 0;
      void life.worker.terminate();
    },
    async stop(shipWithinMs) {
      isStopping = true;
      again?.[Symbol.dispose]();
      const on = life;
      if (on === undefined) return;
      // One that hangs is not waited for.
      await Promise.race([on.port.ask('stop', shipWithinMs).catch(() => {}), on.ended, giveUp(shipWithinMs + 5000)]);
      await on.worker.terminate();
    },
  };
}

const giveUp = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref());

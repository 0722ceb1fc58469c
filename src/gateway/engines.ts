/**
 * The engines of one gateway: one in the hub's own thread, or some in threads of their own that listen on one port. Each of
 * those has a folder below the hub's for its journal, `engine-1`, `engine-2`, … What an earlier run with more of them left
 * behind is shipped as well.
 */
import { readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { clearRow, createDoorCounts } from './door.ts';
import { startEngine, type Engine, type EngineOptions, type Hub } from './engine.ts';
import { startEngineThread, type EngineThread } from './engine-thread.ts';
import type { HubPort } from './engine-worker.ts';
import type { GatewayEvents } from './events.ts';
import type { JournalState } from './journal.ts';
import { engineOf, lastEngine } from './postgres/cancel.ts';
import type { ListenOptions } from './postgres/listener.ts';
import { startRecorder, type Recorder } from './recorder.ts';

/** What can be asked of any engine. */
export type Reachable = Omit<Engine, 'host' | 'port' | 'stop'>;

export type Engines = {
  readonly host: string;
  readonly port: number;
  readonly all: readonly Reachable[];
  /** The journal's of that engine. */
  readonly idOf: (engine: number) => string;
  /** Of every journal there is. */
  readonly ids: () => readonly string[];
  readonly cancel: Engine['cancel'];
  readonly signInFailed: Engine['signInFailed'];
  /** The hub's beat. */
  readonly beat: () => void;
  readonly journalState: () => JournalState;
  readonly unshippedBytes: () => number;
  readonly drain: (withinMs: number) => Promise<void>;
  /** Cuts, closes the listeners. In threads: ships, and ends them. The hub's own recorder goes on. */
  readonly stop: (shipWithinMs: number) => Promise<void>;
};

export type EnginesOptions = Omit<EngineOptions, 'engine' | 'door' | 'hub' | 'events' | 'recorder'> & {
  /** 0: one engine in this thread. */
  readonly threads: number;
  /** The hub's. */
  readonly recorder: Recorder;
  readonly folder: string;
  readonly hubFor: (engine: number) => Hub & Pick<HubPort, 'ship'>;
  readonly eventsFor: (engine: number) => GatewayEvents;
  readonly dieAt: string | undefined;
  readonly onDeath: Parameters<typeof startEngineThread>[0]['onDeath'] extends (why: infer W) => void
    ? (engine: number, why: W) => void
    : never;
  readonly onReturn: (engine: number) => void;
};

/** Throws when a journal can't be recovered, or the port is taken. */
export async function startEngines(options: EnginesOptions): Promise<Engines> {
  const { threads, recorder, folder, hubFor, eventsFor } = options;
  if (threads > lastEngine) throw new RangeError(`start engines: ${threads} are more than ${lastEngine}`);
  const door = createDoorCounts(threads + 1, options.random);
  const leftovers = engineFolders(folder)
    .filter((number) => number > threads)
    .map((number) => {
      const path = engineFolder(folder, number);
      return {
        path,
        recorder: startRecorder({ ...options, folder: path, ship: hubFor(0).ship, events: eventsFor(0) }),
      };
    });
  const recorders = [recorder, ...leftovers.map((one) => one.recorder)];
  const drainOurs = async (withinMs: number) => {
    await Promise.all(recorders.map((one) => one.drain(AbortSignal.timeout(withinMs))));
    for (const one of leftovers.splice(0)) {
      if (!one.recorder.isDrained()) leftovers.push(one);
      else {
        recorders.splice(recorders.indexOf(one.recorder), 1);
        await one.recorder.stop(0);
        rmSync(one.path, { recursive: true, force: true });
      }
    }
  };
  const stopLeftovers = () => Promise.all(leftovers.map((one) => one.recorder.stop(0)));
  const worst = (states: readonly JournalState[]): JournalState =>
    states.find((state) => state === 'failed') ?? states.find((state) => state === 'full') ?? 'open';
  const stateOfOurs = () => recorders.map((one) => one.journal.state);
  const bytesOfOurs = () => recorders.reduce((sum, one) => sum + one.journal.unshippedBytes, 0);
  const idsOfOurs = () => recorders.map((one) => one.id);

  try {
    if (threads === 0) {
      const engine = await startEngine({ ...options, engine: 0, door, hub: hubFor(0), events: eventsFor(0) });
      return {
        host: engine.host,
        port: engine.port,
        all: [engine],
        idOf: () => recorder.id,
        ids: idsOfOurs,
        cancel: () => Promise.resolve(),
        signInFailed: (address) => engine.signInFailed(address),
        beat: () => {},
        journalState: () => worst(stateOfOurs()),
        unshippedBytes: bytesOfOurs,
        drain: drainOurs,
        async stop() {
          await engine.stop();
          await stopLeftovers();
        },
      };
    }

    const { tls = () => undefined, ...listen } = options.listen;
    const { port, canShare } = await findPort(listen);
    const { limits, strict, graceMs, mockSecret, dieAt, timers } = options;
    // Without a port that can be shared one engine has it for itself.
    const numbers = Array.from({ length: canShare ? threads : 1 }, (_, i) => i + 1);
    const engines: EngineThread[] = [];
    const stopAll = (shipWithinMs: number) => Promise.all(engines.map((engine) => engine.stop(shipWithinMs)));
    const start = (engine: number) => {
      const { engineDied: _, ...events } = eventsFor(engine);
      const journalFolder = engineFolder(folder, engine);
      const shared = { ...listen, port, reusePort: canShare };
      return startEngineThread({
        setUp: { engine, journalFolder, listen: shared, limits, strict, graceMs, mockSecret, door, dieAt },
        tls,
        hub: { ...hubFor(engine), ...events },
        timers,
        onDeath: (why) => options.onDeath(engine, why),
        onReturn: () => options.onReturn(engine),
      });
    };
    const started = await Promise.allSettled(numbers.map(start));
    for (const one of started) if (one.status === 'fulfilled') engines.push(one.value);
    for (const one of started)
      if (one.status === 'rejected') {
        await stopAll(0);
        throw one.reason as Error;
      }
    const find = (engine: number) => engines.find((one) => one.engine === engine);
    let certificate = described(tls());
    return {
      host: listen.host,
      port,
      all: engines,
      idOf: (engine) => find(engine)?.id ?? recorder.id,
      ids: () => [...idsOfOurs(), ...engines.map((engine) => engine.id)],
      cancel: async (processId, secretKey) => find(engineOf(processId))?.cancel(processId, secretKey),
      signInFailed: (address) => {
        for (const engine of engines) engine.signInFailed(address);
      },
      beat() {
        for (const engine of engines) engine.beat();
        const now = tls();
        if (described(now) === certificate) return;
        certificate = described(now);
        for (const engine of engines) engine.useTls(now);
      },
      journalState: () => worst([...stateOfOurs(), ...engines.map((engine) => engine.state().journal)]),
      unshippedBytes: () => engines.reduce((sum, engine) => sum + engine.state().unshippedBytes, bytesOfOurs()),
      async drain(withinMs) {
        await Promise.all([drainOurs(withinMs), ...engines.map((engine) => engine.drain(withinMs))]);
      },
      async stop(shipWithinMs) {
        await stopAll(shipWithinMs);
        await stopLeftovers();
      },
    };
  } catch (error) {
    clearRow(door, 0);
    await stopLeftovers();
    throw error;
  }
}

const engineFolder = (folder: string, engine: number) => join(folder, `engine-${engine}`);

const engineFolders = (folder: string): readonly number[] =>
  readdirSync(folder).flatMap((name) => {
    const number = /^engine-([1-9]\d?)$/.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });

/** To see whether it is another one. */
const described = (tls: ReturnType<NonNullable<ListenOptions['tls']>>): string =>
  JSON.stringify([tls?.cert, tls?.key].map(String));

/**
 * The port that all engines will listen on. Tried alone first: among those who share a port would be somebody else's server
 * without anybody noticing.
 */
async function findPort(listen: {
  readonly host: string;
  readonly port: number;
}): Promise<{ readonly port: number; readonly canShare: boolean }> {
  const tryOut = (port: number, reusePort: boolean) =>
    new Promise<number>((resolve, reject) => {
      const server = createServer();
      server.once('error', reject);
      server.listen({ host: listen.host, port, reusePort }, () => {
        const address = server.address();
        server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port));
      });
    });
  const port = await tryOut(listen.port, false);
  const canShare = await tryOut(port, true).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      // Sharing among listeners is Linux's and FreeBSD's; where it isn't to be had the system says so.
      if (error.code === 'ENOTSUP' || error.code === 'EINVAL') return false;
      throw error;
    },
  );
  return { port, canShare };
}

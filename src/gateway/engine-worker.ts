/** The thread of an engine: what its hub has given it becomes an engine with a recorder of its own, and a port to the hub. */
import { randomBytes } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import type { SecureContextOptions } from 'node:tls';
import type { Clock, Instant } from '#core/instant.ts';
import type { DoorCounts } from './door.ts';
import { startEngine, type Engine, type Hub } from './engine.ts';
import type { GatewayEvents } from './events.ts';
import { breakAt, diskWithPoints } from './fault-points.ts';
import type { JournalState } from './journal.ts';
import { openJournalDisk } from './journal-disk.ts';
import type { Limits } from './postgres/link.ts';
import type { ListenOptions } from './postgres/listener.ts';
import { openPort } from './port.ts';
import { startRecorder } from './recorder.ts';
import type { Ship } from './shipper.ts';
import { realTimers } from './timers.ts';

/** What a thread starts from. */
export type EngineSetUp = {
  readonly engine: number;
  readonly journalFolder: string;
  readonly listen: Omit<ListenOptions, 'tls'>;
  readonly tls: SecureContextOptions | undefined;
  readonly limits: Limits;
  readonly strict: boolean;
  readonly graceMs: number;
  readonly mockSecret: Uint8Array;
  readonly door: DoorCounts;
  readonly dieAt: string | undefined;
};

export type EngineState = { readonly journal: JournalState; readonly unshippedBytes: number };

/** What the hub serves an engine in a thread: all that an engine asks, and all that it tells. */
export type HubPort = Hub & { readonly ship: Ship } & Omit<GatewayEvents, 'engineDied'> & {
    readonly ready: (is: { readonly id: string; readonly host: string; readonly port: number }) => void;
    readonly notStarted: (error: unknown) => void;
    /** Once a second: the loop still turns. */
    readonly beat: (state: EngineState) => void;
  };

/** What an engine in a thread serves the hub. */
export type EnginePort = Omit<Engine, 'host' | 'port' | 'stop'> & {
  readonly useTls: (tls: SecureContextOptions | undefined) => void;
  /** Resolves when what was written down so far has been shipped, or it takes too long. */
  readonly drain: (withinMs: number) => Promise<void>;
  /** Cuts, closes the listener, ships as far as it can. The thread has nothing left to do then. */
  readonly stop: (shipWithinMs: number) => Promise<void>;
};

const beatMs = 1000;
const clock: Clock = { now: () => Date.now() as Instant };
const random = (length: number) => new Uint8Array(randomBytes(length));

if (parentPort !== null) {
  const setUp = workerData as EngineSetUp;
  const reached = setUp.dieAt === undefined ? undefined : breakAt(setUp.dieAt);
  let { tls } = setUp;
  let engine: Engine | undefined;
  const started = (): Engine => {
    if (engine === undefined) throw new Error('use an engine: it has not started');
    return engine;
  };

  const port = openPort<HubPort>(parentPort, {
    // Before it listens there is nobody whom a change could concern.
    told: (change) => engine?.told(change) ?? Promise.resolve(),
    cut: (which, reason, detail) => started().cut(which, reason, detail),
    moveDeadline: (grant, to) => started().moveDeadline(grant, to),
    catalogueChanged: () => started().catalogueChanged(),
    cancel: (processId, secretKey) => started().cancel(processId, secretKey),
    signInFailed: (address) => started().signInFailed(address),
    useTls: (other) => {
      tls = other;
    },
    drain: (withinMs) => recorder.drain(AbortSignal.timeout(withinMs)),
    stop: async (shipWithinMs) => {
      clearInterval(pulse);
      await engine?.stop();
      await recorder.stop(shipWithinMs);
    },
  } satisfies EnginePort);
  const events: GatewayEvents = {
    connectionRefused: (...args) => port.tell('connectionRefused', ...args),
    sessionOpened: (...args) => port.tell('sessionOpened', ...args),
    sessionEnded: (...args) => port.tell('sessionEnded', ...args),
    journalFailed: (...args) => port.tell('journalFailed', ...args),
    shipFailed: (...args) => port.tell('shipFailed', ...args),
    controlPlaneLost: () => port.tell('controlPlaneLost'),
    controlPlaneBack: () => port.tell('controlPlaneBack'),
    targetFailed: (...args) => port.tell('targetFailed', ...args),
    fault: (...args) => port.tell('fault', ...args),
    // The hub's alone.
    engineDied: () => {},
  };
  const hub: Hub = {
    findCredential: (...args) => port.ask('findCredential', ...args),
    openSession: (...args) => port.ask('openSession', ...args),
    decide: (...args) => port.ask('decide', ...args),
    hold: (...args) => port.ask('hold', ...args),
    withdrawHold: (...args) => port.ask('withdrawHold', ...args),
    holdStates: (...args) => port.ask('holdStates', ...args),
    reportPreview: (...args) => port.ask('reportPreview', ...args),
    route: (...args) => port.ask('route', ...args),
    login: (...args) => port.ask('login', ...args),
    renewLogin: (...args) => port.tell('renewLogin', ...args),
    analyse: (...args) => port.ask('analyse', ...args),
    reloadCatalogue: (...args) => port.ask('reloadCatalogue', ...args),
    connected: (...args) => port.tell('connected', ...args),
    cancelElsewhere: (...args) => port.ask('cancelElsewhere', ...args),
    signInFailed: (...args) => port.tell('signInFailed', ...args),
  };
  const disk = openJournalDisk(setUp.journalFolder);
  const recorder = startRecorder({
    folder: setUp.journalFolder,
    disk: reached === undefined ? disk : diskWithPoints(disk, reached),
    ship: (...args) => port.ask('ship', ...args),
    clock,
    random,
    events,
  });
  const beat = () =>
    port.tell('beat', { journal: recorder.journal.state, unshippedBytes: recorder.journal.unshippedBytes });
  const pulse = setInterval(beat, beatMs);

  startEngine({
    ...setUp,
    hub,
    events,
    recorder,
    clock,
    random,
    timers: realTimers,
    listen: { ...setUp.listen, tls: () => tls },
    reached,
  }).then(
    (made) => {
      engine = made;
      port.tell('ready', { id: recorder.id, host: made.host, port: made.port });
    },
    (error: unknown) => port.tell('notStarted', error),
  );
}

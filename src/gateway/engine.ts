/**
 * An engine moves bytes: a listener, the judge's caches, the supervisor and the proxies, on one thread. All that it needs of
 * the world around it is its `Hub`, and the hub has the `Engine` to cut with; both are asynchronous and speak in data that
 * can be cloned, so that an engine may run in the hub's own thread or in one of its own.
 *
 * What lets a session in is made by the control plane and only carried by the hub. An engine never sees what administers a
 * target: it gets the route to it and the login of a session that the hub has opened.
 */
import type { GrantId, Random, ResourceName, SessionId } from '#core/ids.ts';
import type { Clock, Instant } from '#core/instant.ts';
import { steadyClock } from '#core/steady-clock.ts';
import type { Analysis } from '#sql/needs.ts';
import { orAway } from './control-plane-away.ts';
import type { ControlPlane, EndReason, GatewayChange, TargetRoute } from './control-plane.ts';
import type { DoorCounts } from './door.ts';
import type { GatewayEvents } from './events.ts';
import type { Reached } from './fault-points.ts';
import { createHolds } from './holds.ts';
import { createCancelRegistry } from './postgres/cancel.ts';
import type { AskedNames } from './postgres/judge-worker.ts';
import { createJudge } from './postgres/judge.ts';
import type { Limits } from './postgres/link.ts';
import { listen, type ListenOptions } from './postgres/listener.ts';
import type { Login } from './postgres/provision.ts';
import type { Recorder } from './recorder.ts';
import { createSupervisor, type Supervisor, type Which } from './supervisor.ts';
import type { Timers } from './timers.ts';

/** What an engine asks for. Every function may throw: the engine then denies, and never allows. */
export type Hub = Pick<
  ControlPlane,
  'findCredential' | 'openSession' | 'decide' | 'hold' | 'withdrawHold' | 'holdStates' | 'reportPreview'
> & {
  /** How to get to the target of an open session. */
  readonly route: (session: SessionId) => Promise<TargetRoute>;
  /** The session's login there, made when it isn't there. The hub has begun with that when it opened the session. */
  readonly login: (session: SessionId) => Promise<Login>;
  /** The target did not take that login of the session: another is made when it is asked for again. */
  readonly renewLogin: (session: SessionId, number: number) => void;
  /** By the catalogue of the resource as it is now. Throws when the text can't be analysed in time. */
  readonly analyse: (ask: AnalyseAsk) => Promise<Analysis>;
  /** Something was defined or dropped: resolves when the catalogue has been loaded anew, and engines have heard of it. */
  readonly reloadCatalogue: (resource: ResourceName) => Promise<void>;
  /** The session's backend on the target, to be ended there if we can't do it any more. */
  readonly connected: (session: SessionId, processId: number) => void;
  /** A cancel request for a session of another engine. Resolves when it has been carried out, or was of no use. */
  readonly cancelElsewhere: (processId: number, secretKey: Uint8Array) => Promise<void>;
  /** A wrong password came from there: all engines hear of it. */
  readonly signInFailed: (address: string) => void;
};

export type AnalyseAsk = {
  readonly resource: ResourceName;
  readonly text: string;
  readonly names: AskedNames;
  /** The session's prepared statements, where the text may run one. */
  readonly prepared: readonly (readonly [name: string, text: string])[];
};

export type Engine = {
  readonly host: string;
  readonly port: number;
  /** Something has changed, or only a heartbeat. Resolves when all of its sessions that must go have been cut. */
  readonly told: (change: GatewayChange) => Promise<void>;
  /** Resolves with the number of sessions cut. */
  readonly cut: (which: Which, reason: EndReason, detail?: string) => Promise<number>;
  /** The sessions of a grant end then, if nothing ends them before. */
  readonly moveDeadline: (grant: GrantId, to: Instant) => Promise<void>;
  /** Another catalogue: nothing that was judged by the one before holds. */
  readonly catalogueChanged: () => Promise<void>;
  readonly cancel: (processId: number, secretKey: Uint8Array) => Promise<void>;
  readonly signInFailed: (address: string) => void;
  /** Cuts the sessions, tells them why, and closes the listener. The journal goes on. */
  readonly stop: () => Promise<void>;
};

export type EngineOptions = {
  /** Which one it is: 0 in the hub's own thread. */
  readonly engine: number;
  readonly door: DoorCounts;
  readonly hub: Hub;
  readonly events: GatewayEvents;
  readonly recorder: Pick<Recorder, 'id' | 'journal' | 'whenFailed'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly listen: ListenOptions;
  readonly limits: Limits;
  /** Wait for the disk before each statement is forwarded. */
  readonly strict: boolean;
  /** Without a word from the hub for this long, sessions are cut. */
  readonly graceMs: number;
  /** The same for all engines, or the salt would tell who exists (INVARIANT 14). */
  readonly mockSecret: Uint8Array;
  readonly reached?: Reached | undefined;
};

const beatMs = 1000;

/** Throws when the port is taken. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const { hub, events, recorder, random, timers, graceMs } = options;
  const clock = steadyClock(options.clock, () => performance.now());
  const supervisor = createSupervisor({ clock, timers, reached: options.reached });
  const judge = createJudge({ hub, onFault: events.fault });
  const holds = createHolds({ hub, clock, timers, onFault: events.fault });

  // What the sessions stand on, and when it was last heard of.
  // Counted in our own beats and not by the clock, which may jump: a jump ends grants, not the connection.
  let beatsSinceHeard = 0;
  let isLost = false;
  let isStopping = false;

  const cut: Engine['cut'] = (which, reason, detail) => supervisor.cut(which, reason, detail);
  const cutOrTell = (...[which, reason]: Parameters<Engine['cut']>) => {
    cut(which, reason).catch((error: unknown) => events.fault('sessions could not be cut', error));
  };

  const told = async (change: GatewayChange): Promise<void> => {
    beatsSinceHeard = 0;
    if (isLost) {
      isLost = false;
      events.controlPlaneBack();
    }
    switch (change.kind) {
      case 'heartbeat':
        return;
      case 'grant_ended': {
        const done = cut({ grant: change.grant }, change.reason, change.message);
        judge.forgetGrant(change.grant);
        await done;
        return;
      }
      case 'grant_extended':
        // A policy may look at when a grant ends: to the judge that is part of the grant.
        judge.forgetDecisions();
        return supervisor.moveDeadline(change.grant, change.deadline);
      case 'principal_suspended':
        await cut({ principal: change.principal }, 'suspended', change.message);
        return;
      case 'session_ended':
        await cut({ session: change.session }, change.reason, change.message);
        return;
      case 'policy_changed':
        judge.policyChanged(change.policyVersion);
        return holds.changed();
      case 'principal_changed':
        judge.forgetDecisionsFor(change.principal);
        return holds.changed();
      case 'resource_changed':
        return judge.catalogueChanged();
      case 'missed':
        judge.forgetDecisions();
        return holds.changed();
      case 'hold_settled':
      case 'hold_progress':
        return holds.told(change);
      default:
        change satisfies never;
    }
  };

  let pulse = timers.setTimer(beatMs, beat);
  function beat(): void {
    if (isStopping) return;
    pulse = timers.setTimer(beatMs, beat);
    supervisor.sweep();
    // INVARIANT 4: without the control plane nobody would tell us of a revocation, nor would a hub that hangs.
    beatsSinceHeard += 1;
    if (beatsSinceHeard * beatMs > graceMs && !isLost) {
      isLost = true;
      events.controlPlaneLost();
      cutOrTell('all', 'control_plane_lost');
    }
  }

  // INVARIANT 6: what can't be recorded isn't done.
  const failing = recorder.whenFailed(() => cutOrTell('all', 'journal_failed'));

  // INVARIANT 4: who was being let in while all others were cut goes with them.
  const admit: Supervisor['admit'] = (entry) => {
    const admitted = supervisor.admit(entry);
    const { id } = entry.session;
    if (isStopping) cutOrTell({ session: id }, 'gateway_stopped');
    else if (isLost) cutOrTell({ session: id }, 'control_plane_lost');
    return admitted;
  };
  const away = () => Promise.reject(new Error('nothing was heard of it for too long'));
  const openWhenHeard: Hub['openSession'] = (ask) => orAway(isLost ? away() : hub.openSession(ask));
  const findWhenHeard: Hub['findCredential'] = (user) => orAway(isLost ? away() : hub.findCredential(user), 8000);

  const cancels = createCancelRegistry({ random, engine: options.engine, elsewhere: hub.cancelElsewhere });
  const listener = await listen(options.listen, {
    hub: { ...hub, openSession: openWhenHeard, findCredential: findWhenHeard },
    journal: recorder.journal,
    judge,
    holds,
    supervisor: { ...supervisor, admit },
    cancels,
    engine: options.engine,
    door: options.door,
    clock,
    random,
    events,
    gatewayId: recorder.id,
    mockSecret: options.mockSecret,
    reached: options.reached,
    limits: options.limits,
    strict: options.strict,
  }).catch((error: unknown) => {
    pulse[Symbol.dispose]();
    failing[Symbol.dispose]();
    throw error;
  });

  return {
    host: listener.host,
    port: listener.port,
    told,
    cut,
    moveDeadline: (grant, to) => Promise.resolve(supervisor.moveDeadline(grant, to)),
    catalogueChanged: () => Promise.resolve(judge.catalogueChanged()),
    cancel: (processId, secretKey) => cancels.request(processId, Buffer.from(secretKey)),
    signInFailed: (address) => listener.noteFailure(address),
    async stop() {
      if (isStopping) return;
      isStopping = true;
      pulse[Symbol.dispose]();
      await cut('all', 'gateway_stopped');
      // Half a second for clients to take our last words.
      await new Promise<void>((resolve) => setTimeout(resolve, supervisor.sessions().length === 0 ? 50 : 500));
      await listener[Symbol.asyncDispose]();
      failing[Symbol.dispose]();
    },
  };
}

/**
 * A gateway. This file is its hub: what there is once, however many engines move the bytes (`engine.ts`). It follows the
 * control plane, which it knows by an interface, and the database not at all; it makes and drops the logins on the targets,
 * knows what exists there and has statements parsed. Many gateways can run beside each other.
 *
 * Newcomers: `postgres/listener.ts` takes a connection, `postgres/open-session.ts` is the one way in, `postgres/proxy.ts` and
 * its two sides move the bytes, `postgres/judge.ts` decides, `journal.ts` writes down, `supervisor.ts` cuts.
 */
import type { GrantId, Random, ResourceName, SessionId } from '#core/ids.ts';
import { after, seconds, type Clock, type Instant } from '#core/instant.ts';
import { isReadOnly, type Role } from '#core/role.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { steadyClock } from '#core/steady-clock.ts';
import type { ControlPlane, GatewayChange, TargetAccess, TargetRoute } from './control-plane.ts';
import type { Hub } from './engine.ts';
import { startEngines, type Engines, type EnginesOptions, type Reachable } from './engines.ts';
import { silentEvents, type GatewayEvents } from './events.ts';
import { controlPlaneWithPoints, dieAt, diskWithPoints } from './fault-points.ts';
import type { JournalState } from './journal.ts';
import { openJournalDisk, type JournalDisk } from './journal-disk.ts';
import { startAnalyser } from './postgres/analyser.ts';
import { createCatalogues } from './postgres/catalogue.ts';
import { namesUnknown } from './postgres/judge.ts';
import { defaultLimits, type Limits } from './postgres/link.ts';
import type { ListenOptions } from './postgres/listener.ts';
import { createProvisioner, type Login } from './postgres/provision.ts';
import { TargetFault } from './postgres/target-address.ts';
import { startRecorder } from './recorder.ts';
import { shipTo, type Ship } from './shipper.ts';
import { realTimers, type Timers } from './timers.ts';

export type GatewayOptions = {
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  readonly random: Random;
  /** Private to this gateway; holds its identity and what has not been shipped. */
  readonly journalFolder: string;
  readonly listen: ListenOptions;
  /**
   * How many engines share the port, each in a thread of its own (1 to 15); they have the system's clock and disk. 0: one in
   * this thread. Where the system can't share a port there is one.
   */
  readonly threads?: number;
  readonly timers?: Timers;
  readonly events?: Partial<GatewayEvents>;
  readonly limits?: Partial<Limits>;
  /** Wait for the disk before each statement is forwarded. */
  readonly strict?: boolean;
  /** Without a word from the control plane for this long, sessions are cut. */
  readonly graceMs?: number;
  readonly reconcileEveryMs?: number;
  /** How often to look whether definitions on a target in use have changed. */
  readonly catalogueEveryMs?: number;
  /** For tests: another disk. */
  readonly disk?: JournalDisk;
  /** For tests: a file that names the point (fault-points.ts) at which the process dies. */
  readonly dieAt?: string;
};

export type Gateway = {
  /** Of the hub's own journal. */
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly sessions: () => readonly AuthorizedSession[];
  readonly journalState: () => JournalState;
  /** Bytes in the journal that the control plane doesn't have yet. */
  readonly unshippedBytes: () => number;
  /** Resolves when everything written down so far has reached the control plane, or `signal` aborts. */
  readonly drain: (signal: AbortSignal) => Promise<void>;
  /**
   * After a start: waits until what earlier lives wrote down has been taken in, or `signal` aborts, and ends in the record
   * the sessions that they can't have ended. Answers how many.
   */
  readonly recover: (signal: AbortSignal) => Promise<number>;
  /** Drops what is left on all targets; also done at the start and every minute. */
  readonly reconcile: () => Promise<void>;
  /** Cuts the sessions, drops their logins, ships the journal as far as it can within `shipWithinMs`, and closes. */
  readonly stop: (options?: { readonly shipWithinMs?: number }) => Promise<void>;
};

const beatMs = 1000;
/** After this a session that could not be opened has been, or never will be. */
const doubtMs = seconds(60);
/** How long a drain goes on, whoever still waits for it. */
const drainMs = 60_000;

/** What the hub knows of a session that an engine holds. */
type Held = {
  readonly session: AuthorizedSession;
  readonly database: string;
  readonly engine: number;
  deadline: Instant;
  /** How many changes there had been when it was asked for. */
  readonly since: number;
  /** Of its backend on the target. */
  processId: number | undefined;
};

/** Throws when the journal can't be recovered or the port is taken. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { random, graceMs = 15_000, reconcileEveryMs = 60_000, strict = false } = options;
  const { catalogueEveryMs = 5000, threads = 0 } = options;
  const timers = options.timers ?? realTimers;
  const clock = steadyClock(options.clock, () => performance.now());
  const reached = options.dieAt === undefined ? undefined : dieAt(options.dieAt);
  const controlPlane =
    reached === undefined ? options.controlPlane : controlPlaneWithPoints(options.controlPlane, reached);
  const disk = options.disk ?? openJournalDisk(options.journalFolder);
  const told: GatewayEvents = { ...silentEvents, ...options.events };
  const events: GatewayEvents = {
    ...told,
    sessionEnded(session, reason, totals) {
      held.delete(session.id);
      told.sessionEnded(session, reason, totals);
      // The clock has ended the grant, whether or not anybody has told us.
      if (reason === 'expired') endGrant(session.grant);
    },
  };
  /** Engines that have lost the control plane. */
  const lost = new Set<number>();
  const eventsFor = (engine: number): GatewayEvents => ({
    ...events,
    controlPlaneLost() {
      if (lost.size === 0) told.controlPlaneLost();
      lost.add(engine);
    },
    controlPlaneBack() {
      lost.delete(engine);
      if (lost.size > 0) return;
      told.controlPlaneBack();
      own(recheck(), 'sessions could not be checked');
    },
  });

  const ship = shipTo(controlPlane);
  const recorder = startRecorder({
    folder: options.journalFolder,
    disk: reached === undefined ? disk : diskWithPoints(disk, reached),
    ship,
    clock,
    random,
    events,
  });
  const provisioner = createProvisioner({
    controlPlane,
    clock,
    random,
    timers,
    record: (event) => void recorder.journal.append(event),
    reached,
  });
  const analyser = startAnalyser();
  const catalogues = createCatalogues({
    admin: provisioner.admin,
    clock,
    onChange: () => onEngines('catalogue could not be changed', (engine) => engine.catalogueChanged()),
  });

  /** Every session that the control plane has opened for us and that hasn't ended. */
  const held = new Map<SessionId, Held>();
  let engines: Engines | undefined;
  /** How often each engine has died. */
  const deaths = new Map<number, number>();
  /** Sessions that went down with an engine and that the record shows open. */
  const orphans = new Map<number, SessionId[]>();
  /** When an engine was last told that a session could not be opened, which isn't certain. */
  const doubtful = new Map<number, Instant>();
  const startedAt = clock.now();
  let isStopping = false;
  /** What was told so far that may end a session, or move its end. */
  let changes = 0;
  /** Grants whose login was dropped, and behind how many changes. */
  const endings = new Map<GrantId, number>();
  const background = new Set<Promise<unknown>>();
  const own = (work: Promise<unknown>, what: string) => {
    const tracked = work.catch((error: unknown) => events.fault(what, error)).finally(() => background.delete(tracked));
    background.add(tracked);
  };
  const onEngines = (what: string, run: (engine: Reachable) => Promise<unknown>) => {
    for (const engine of engines?.all ?? []) own(run(engine), what);
  };

  const accessOf = async (resource: ResourceName): Promise<TargetAccess> => {
    const access = await controlPlane.resourceTarget(resource);
    if (access === undefined) throw new TargetFault('target_misconfigured', 'resource is not registered');
    return access;
  };

  const heldOne = (id: SessionId): Held => {
    const one = held.get(id);
    if (one === undefined) throw new Error(`reach a target: session \`${id}\` is not open`);
    return one;
  };
  const accessFor = async (id: SessionId): Promise<TargetAccess> => {
    const { session, database } = heldOne(id);
    const access = await accessOf(session.role.resource);
    if (database === access.database) return access;
    throw new TargetFault('wrong_database', `database \`${database}\` is not the one of the resource`);
  };

  const loginOf = async (id: SessionId): Promise<Login> => {
    const access = await accessFor(id);
    const { session, since } = heldOne(id);
    // INVARIANT 12: one made behind the drop would stay. What was dropped before the session was asked for has been looked at
    // by the control plane, which may have moved its end meanwhile.
    if (isStopping || (endings.get(session.grant) ?? 0) > since)
      throw new TargetFault('target_refused', 'the grant has ended, so no login is made for it');
    return await provisioner.login(session, access);
  };

  const hubFor = (engine: number): Hub & { readonly ship: Ship } => ({
    ship,
    findCredential: (userName) => controlPlane.findCredential(userName),
    decide: (ask) => controlPlane.decide(ask),
    hold: (ask) => controlPlane.hold(ask),
    withdrawHold: (hold, because) => controlPlane.withdrawHold(hold, because),
    holdStates: (ids) => controlPlane.holdStates(ids),
    reportPreview: (hold, preview) => controlPlane.reportPreview(hold, preview),
    async openSession(ask) {
      // INVARIANT 6: of what happens to logins and roles the hub keeps the record.
      if (recorder.journal.state === 'failed')
        return { kind: 'refused', message: 'sallyport: the gateway can not record what is done' };
      const life = deaths.get(engine);
      const since = changes;
      const answer = await controlPlane.openSession(ask).catch((error: unknown) => {
        // It may have happened all the same: then the record shows a session open that nobody holds.
        doubtful.set(engine, clock.now());
        throw error;
      });
      if (answer.kind !== 'opened') return answer;
      const { session } = answer;
      // The engine that asked is gone, and nobody will ever end what was opened for it.
      if (deaths.get(engine) !== life) orphans.set(engine, [...(orphans.get(engine) ?? []), session.id]);
      else {
        const { database } = ask;
        const one: Held = { session, database, engine, deadline: session.endsAt, since, processId: undefined };
        held.set(session.id, one);
        // Begun with while the engine has yet to hear of the session; it asks for it, and hears then what went wrong.
        loginOf(session.id).catch(() => {});
        // INVARIANT 4: what was told while it was being opened has reached all sessions but this one. Looked at when its
        // engine has it.
        if (changes !== since) setImmediate(() => own(recheck([one]), 'session could not be checked'));
      }
      return answer;
    },
    // INVARIANT 11 and 12: an engine names a session, and what it gets is that session's alone.
    route: async (id) => routeOf(await accessFor(id)),
    login: (id) => loginOf(id),
    renewLogin(id, number) {
      const session = held.get(id)?.session;
      if (session !== undefined) provisioner.renew(session.grant, number);
    },
    async analyse({ resource, text, names, prepared }) {
      if (names.kind === 'known' && names.definitions !== undefined) {
        const { definitions, ...rest } = names;
        return await analyser.analyse(text, { resource: `own ${resource}`, ...definitions }, rest, prepared);
      }
      const access = await accessOf(resource);
      const snapshot = await catalogues.get(access);
      const analysis = await analyser.analyse(text, snapshot, names, prepared);
      if (!namesUnknown(analysis)) return analysis;
      const fresh = await catalogues.refresh(access);
      return fresh.version === snapshot.version ? analysis : analyser.analyse(text, fresh, names, prepared);
    },
    async reloadCatalogue(resource) {
      catalogues.invalidate(resource);
      await catalogues.get(await accessOf(resource));
    },
    connected(id, processId) {
      const one = held.get(id);
      if (one !== undefined) one.processId = processId;
    },
    cancelElsewhere: async (processId, secretKey) => engines?.cancel(processId, secretKey),
    signInFailed: (address) => engines?.signInFailed(address),
  });

  const endGrant = (grant: GrantId) => {
    changes += 1;
    endings.delete(grant);
    endings.set(grant, changes);
    const [oldest] = endings.keys();
    if (endings.size > 10_000 && oldest !== undefined) endings.delete(oldest);
    const drop = async () => {
      // Made by an earlier life of this gateway, or by another one.
      if (!(await provisioner.drop(grant))) await reconcile();
    };
    own(drop(), 'login could not be dropped');
  };
  const moveDeadline = (grant: GrantId, to: Instant) => {
    for (const one of held.values()) if (one.session.grant === grant) one.deadline = to;
    provisioner.extend(grant, to);
  };

  const onChange = (change: GatewayChange): void => {
    if (change.kind !== 'heartbeat' && change.kind !== 'hold_settled' && change.kind !== 'hold_progress') changes += 1;
    onEngines('sessions could not be cut', (engine) => engine.told(change));
    switch (change.kind) {
      case 'grant_ended':
        return endGrant(change.grant);
      case 'grant_extended':
        return moveDeadline(change.grant, change.deadline);
      case 'principal_suspended': {
        const theirs = [...held.values()].filter(({ session }) => session.principal.id === change.principal);
        for (const grant of new Set(theirs.map(({ session }) => session.grant))) endGrant(grant);
        return;
      }
      case 'policy_changed':
        return own(recheck(), 'sessions could not be checked');
      case 'principal_changed':
        if ([...held.values()].some(({ session }) => session.principal.id === change.principal))
          own(recheck(), 'sessions could not be checked');
        return;
      case 'heartbeat':
      case 'session_ended':
      case 'resource_changed':
      case 'hold_settled':
      case 'hold_progress':
        return;
      case 'missed':
        own(recheck(), 'sessions could not be checked');
        // Also the logins of grants that have ended, with no session to be cut.
        return own(reconcile(), 'targets could not be reconciled');
      default:
        change satisfies never;
    }
  };

  /** The poll behind the push: whoever may not go on is cut. */
  const recheck = async (asked: readonly Held[] = [...held.values()]): Promise<void> => {
    if (asked.length === 0) return;
    const live = new Map(
      (await controlPlane.liveSessions(asked.map(({ session }) => session.id))).map((s) => [s.session, s]),
    );
    for (const one of asked) {
      const { id, grant } = one.session;
      const going = live.get(id);
      if (going === undefined) {
        // Not live any more: by the clock, or because somebody has ended it and we didn't hear.
        const reason = clock.now() >= one.deadline ? 'expired' : 'revoked';
        onEngines('session could not be cut', (engine) => engine.cut({ session: id }, reason));
      } else {
        if (going.deadline !== one.deadline) {
          moveDeadline(grant, going.deadline);
          onEngines('deadline could not be moved', (engine) => engine.moveDeadline(grant, going.deadline));
        }
        provisioner.follow(grant, going.role);
        // INVARIANT 9: what a session began with is all that it is held by on the target and here, and it can't be tightened.
        if (isStricter(going.role, one.session.role))
          onEngines('session could not be cut', (engine) => engine.cut({ session: id }, 'role_changed'));
      }
    }
  };

  const reconcile = async (): Promise<void> => {
    for (const resource of await controlPlane.postgresResources())
      await provisioner.reconcile(resource).catch((error: unknown) => events.targetFailed(resource, error));
  };

  /** An engine's sockets are closed. What its sessions left running on the targets is ended, their logins stay. */
  const onDeath: EnginesOptions['onDeath'] = (engine, why) => {
    deaths.set(engine, (deaths.get(engine) ?? 0) + 1);
    lost.delete(engine);
    const gone = [...held.values()].filter((one) => one.engine === engine);
    told.engineDied(engine, { ...why, sessions: gone.length });
    const byGrant = Map.groupBy(gone, ({ session }) => session.grant);
    for (const [grant, theirs] of byGrant) {
      const processIds = theirs.flatMap(({ processId }) => (processId === undefined ? [] : [processId]));
      own(provisioner.endBackends(grant, processIds), 'backends could not be ended');
    }
    for (const { session } of gone) {
      held.delete(session.id);
      told.sessionEnded(session, 'gateway_died', { bytesIn: 0, bytesOut: 0, statements: 0 });
    }
    orphans.set(engine, [...(orphans.get(engine) ?? []), ...gone.map(({ session }) => session.id)]);
  };
  const endOrphans = async (): Promise<void> => {
    for (const [engine, since] of doubtful) {
      const id = engines?.idOf(engine);
      const until = after(since, doubtMs);
      if (id === undefined || clock.now() < until) continue;
      const except = [...held.values()].filter((one) => one.engine === engine).map(({ session }) => session.id);
      // What has ended meanwhile says so itself.
      await engines?.drain(10_000);
      await controlPlane.endOrphans(id, { openedBefore: until, except });
      if (doubtful.get(engine) === since) doubtful.delete(engine);
    }
    for (const [engine, sessions] of orphans) {
      const id = engines?.idOf(engine);
      if (id === undefined || sessions.length === 0) continue;
      // What the engine wrote down itself comes first.
      await engines?.drain(10_000);
      await controlPlane.endOrphans(id, { sessions });
      orphans.set(engine, orphans.get(engine)?.filter((session) => !sessions.includes(session)) ?? []);
    }
  };

  let pulse = timers.setTimer(beatMs, beat);
  let orphansAt = 0;
  let recheckAt = clock.now() + 30_000;
  let catalogueAt = clock.now() + catalogueEveryMs;
  let reconcileAt = clock.now() + reconcileEveryMs;
  function beat(): void {
    if (isStopping) return;
    pulse = timers.setTimer(beatMs, beat);
    engines?.beat();
    const now = clock.now();
    // Tried again until it is done; at once when the engine is back.
    if ((orphansAt = (orphansAt + 1) % 10) === 0) own(endOrphans(), 'sessions could not be ended in the record');
    if (now >= recheckAt) {
      recheckAt = now + 30_000;
      own(recheck(), 'sessions could not be checked');
    }
    if (now >= catalogueAt) {
      catalogueAt = now + catalogueEveryMs;
      if (held.size > 0) own(catalogues.check(), 'catalogue could not be checked');
    }
    if (now >= reconcileAt) {
      reconcileAt = now + reconcileEveryMs;
      own(reconcile(), 'targets could not be reconciled');
    }
  }

  const subscription = controlPlane.subscribe(onChange);
  engines = await startEngines({
    threads,
    hubFor,
    eventsFor,
    recorder,
    folder: options.journalFolder,
    dieAt: options.dieAt,
    onDeath,
    onReturn: () => own(endOrphans(), 'sessions could not be ended in the record'),
    clock,
    random,
    timers,
    listen: options.listen,
    limits: { ...defaultLimits, ...options.limits },
    strict,
    graceMs,
    mockSecret: recorder.mockSecret,
    reached,
  }).catch(async (error: unknown) => {
    pulse[Symbol.dispose]();
    subscription[Symbol.dispose]();
    await Promise.all([recorder.stop(0), provisioner[Symbol.asyncDispose](), analyser[Symbol.asyncDispose]()]);
    throw error;
  });
  const running = engines;
  // Whoever came in before the engine could be told of anything.
  own(recheck(), 'sessions could not be checked');
  own(reconcile(), 'targets could not be reconciled');

  return {
    id: recorder.id,
    host: running.host,
    port: running.port,
    sessions: () => [...held.values()].map(({ session }) => session),
    journalState: running.journalState,
    unshippedBytes: running.unshippedBytes,
    drain: (signal) => untilAborted(running.drain(drainMs), signal),
    async recover(signal) {
      const ids = running.ids();
      await untilAborted(running.drain(drainMs), signal);
      let count = 0;
      for (const id of ids) count += await controlPlane.endOrphans(id, { openedBefore: startedAt });
      return count;
    },
    reconcile,
    async stop({ shipWithinMs = 3000 } = {}) {
      if (isStopping) return;
      isStopping = true;
      pulse[Symbol.dispose]();
      subscription[Symbol.dispose]();
      await running.stop(shipWithinMs);
      // INVARIANT 12: a login that nobody can use through us is of no use to anybody.
      await Promise.allSettled(provisioner.grants().map((grant) => provisioner.drop(grant)));
      await Promise.allSettled(background);
      await recorder.stop(shipWithinMs);
      await Promise.all([provisioner, analyser].map((part) => part[Symbol.asyncDispose]()));
    },
  };
}

const untilAborted = (work: Promise<void>, signal: AbortSignal): Promise<void> =>
  Promise.race([
    work,
    new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  ]);

/** Of what is judged and given by statement nothing: that follows by itself. */
const isStricter = (now: Role, before: Role): boolean =>
  now.statementTimeout < before.statementTimeout ||
  (isReadOnly(now) && !isReadOnly(before)) ||
  // PostgreSQL doesn't look again at who is one already.
  (before.permissions.setRole !== undefined && now.permissions.setRole !== before.permissions.setRole);

/** INVARIANT 10: an engine never sees what administers a target. */
function routeOf({ admin: _, ...route }: TargetAccess): TargetRoute {
  return route;
}

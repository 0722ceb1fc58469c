/**
 * A gateway: listeners, the journal and its shipper, the supervisor and the provisioning of targets, put together. It knows
 * the control plane by an interface and the database not at all; many can run beside each other.
 *
 * Newcomers: `postgres/listener.ts` takes a connection, `postgres/open-session.ts` is the one way in, `postgres/proxy.ts` and
 * its two sides move the bytes, `postgres/judge.ts` decides, `journal.ts` writes down, `supervisor.ts` cuts.
 */
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GrantId, Random } from '#core/ids.ts';
import type { Clock } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import type { ControlPlane, GatewayChange } from './control-plane.ts';
import { silentEvents, type GatewayEvents } from './events.ts';
import { controlPlaneWithPoints, dieAt, diskWithPoints } from './fault-points.ts';
import { Journal, type JournalState } from './journal.ts';
import { openJournalDisk, type JournalDisk } from './journal-disk.ts';
import { startAnalyser } from './postgres/analyser.ts';
import { createCancelRegistry } from './postgres/cancel.ts';
import { createCatalogues } from './postgres/catalogue.ts';
import { createJudge } from './postgres/judge.ts';
import { defaultLimits, type Limits } from './postgres/link.ts';
import { listen, type ListenOptions } from './postgres/listener.ts';
import { createProvisioner } from './postgres/provision.ts';
import { startShipper } from './shipper.ts';
import { createSupervisor } from './supervisor.ts';
import { realTimers, type Timers } from './timers.ts';

export type GatewayOptions = {
  readonly controlPlane: ControlPlane;
  readonly clock: Clock;
  readonly random: Random;
  /** Private to this gateway; holds its identity and what has not been shipped. */
  readonly journalFolder: string;
  readonly listen: ListenOptions;
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
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly sessions: () => readonly AuthorizedSession[];
  readonly journalState: () => JournalState;
  /** Bytes in the journal that the control plane doesn't have yet. */
  readonly unshippedBytes: () => number;
  /** Resolves when everything written down so far has reached the control plane, or `signal` aborts. */
  readonly drain: (signal: AbortSignal) => Promise<void>;
  /** Drops what is left on all targets; also done at the start and every minute. */
  readonly reconcile: () => Promise<void>;
  /** Cuts the sessions, drops their logins, ships the journal as far as it can within `shipWithinMs`, and closes. */
  readonly stop: (options?: { readonly shipWithinMs?: number }) => Promise<void>;
};

const beatMs = 1000;

/** Throws when the journal can't be recovered or the port is taken. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { clock, random, graceMs = 15_000, reconcileEveryMs = 60_000, strict = false } = options;
  const { catalogueEveryMs = 5000 } = options;
  const timers = options.timers ?? realTimers;
  const reached = options.dieAt === undefined ? undefined : dieAt(options.dieAt);
  const controlPlane =
    reached === undefined ? options.controlPlane : controlPlaneWithPoints(options.controlPlane, reached);
  const disk = options.disk ?? openJournalDisk(options.journalFolder);
  const events: GatewayEvents = { ...silentEvents, ...options.events };
  const { id, mockSecret } = identityOf(options.journalFolder, random);

  const journal = new Journal({
    disk: reached === undefined ? disk : diskWithPoints(disk, reached),
    clock,
    onFailure: (error) => {
      events.journalFailed(error);
      // INVARIANT 6: what can't be recorded isn't done.
      void supervisor.cut('all', 'journal_failed');
    },
  });
  const shipper = startShipper({ journal, controlPlane, gatewayId: id, onFailure: events.shipFailed });
  const supervisor = createSupervisor({ clock, timers, reached });
  const provisioner = createProvisioner({
    controlPlane,
    clock,
    random,
    timers,
    record: (event) => void journal.append(event),
    reached,
  });
  const analyser = startAnalyser();
  const catalogues = createCatalogues({
    admin: provisioner.admin,
    clock,
    onChange: () => judge.catalogueChanged(),
  });
  const judge = createJudge({ controlPlane, analyser, catalogues, onFault: events.fault });

  // What the sessions stand on, and when it was last heard of.
  // Counted in our own beats and not by the clock, which may jump: a jump ends grants, not the connection.
  let beatsSinceHeard = 0;
  let isLost = false;
  let isStopping = false;
  const background = new Set<Promise<unknown>>();
  const own = (work: Promise<unknown>, what: string) => {
    const tracked = work.catch((error: unknown) => events.fault(what, error)).finally(() => background.delete(tracked));
    background.add(tracked);
  };

  const endGrant = (grant: GrantId) => {
    judge.forgetGrant(grant);
    const drop = async () => {
      // Made by an earlier life of this gateway, or by another one.
      if (!(await provisioner.drop(grant))) await reconcile();
    };
    own(drop(), 'login could not be dropped');
  };
  const onChange = (change: GatewayChange): void => {
    beatsSinceHeard = 0;
    if (isLost) {
      isLost = false;
      events.controlPlaneBack();
      own(recheck(), 'sessions could not be checked');
    }
    switch (change.kind) {
      case 'heartbeat':
        return;
      case 'grant_ended':
        own(supervisor.cut({ grant: change.grant }, change.reason, change.message), 'sessions could not be cut');
        return endGrant(change.grant);
      case 'grant_extended':
        supervisor.moveDeadline(change.grant, change.deadline);
        return provisioner.extend(change.grant, change.deadline);
      case 'principal_suspended': {
        const grants = new Set(
          supervisor.sessions().flatMap((s) => (s.principal.id === change.principal ? [s.grant] : [])),
        );
        own(supervisor.cut({ principal: change.principal }, 'suspended', change.message), 'sessions could not be cut');
        for (const grant of grants) endGrant(grant);
        return;
      }
      case 'session_ended':
        own(supervisor.cut({ session: change.session }, change.reason, change.message), 'session could not be cut');
        return;
      case 'policy_changed':
        judge.policyChanged(change.policyVersion);
        own(recheck(), 'sessions could not be checked');
        return;
      case 'principal_changed':
        if (supervisor.sessions().some((session) => session.principal.id === change.principal)) {
          judge.forgetDecisions();
          own(recheck(), 'sessions could not be checked');
        }
        return;
      case 'resource_changed':
        return judge.catalogueChanged();
      case 'missed':
        judge.forgetDecisions();
        own(recheck(), 'sessions could not be checked');
        // Also the logins of grants that have ended, with no session to be cut.
        return own(reconcile(), 'targets could not be reconciled');
      default:
        change satisfies never;
    }
  };

  /** The poll behind the push: whoever may not go on is cut. */
  const recheck = async (): Promise<void> => {
    const running = supervisor.sessions();
    if (running.length === 0) return;
    const live = new Map((await controlPlane.liveSessions(running.map((s) => s.id))).map((s) => [s.session, s]));
    for (const session of running) {
      const going = live.get(session.id);
      const deadline = going?.deadline;
      // Not live any more: by the clock, or because somebody has ended it and we didn't hear.
      const isOver = clock.now() >= (supervisor.deadlineOf(session.id) ?? session.endsAt);
      if (deadline === undefined) await supervisor.cut({ session: session.id }, isOver ? 'expired' : 'revoked');
      else if (deadline !== supervisor.deadlineOf(session.id)) {
        supervisor.moveDeadline(session.grant, deadline);
        provisioner.extend(session.grant, deadline);
      }
      if (going !== undefined) provisioner.follow(session.grant, going.role);
    }
  };

  const reconcile = async (): Promise<void> => {
    for (const resource of await controlPlane.postgresResources())
      await provisioner.reconcile(resource).catch((error: unknown) => events.targetFailed(resource, error));
  };

  const subscription = controlPlane.subscribe(onChange);
  let pulse = timers.setTimer(beatMs, beat);
  let recheckAt = clock.now() + 30_000;
  let catalogueAt = clock.now() + catalogueEveryMs;
  let reconcileAt = clock.now() + reconcileEveryMs;
  function beat(): void {
    if (isStopping) return;
    pulse = timers.setTimer(beatMs, beat);
    const now = clock.now();
    supervisor.sweep();
    // INVARIANT 4: without the control plane nobody would tell us of a revocation.
    beatsSinceHeard += 1;
    if (beatsSinceHeard * beatMs > graceMs && !isLost) {
      isLost = true;
      events.controlPlaneLost();
      own(supervisor.cut('all', 'control_plane_lost'), 'sessions could not be cut');
    }
    if (now >= recheckAt) {
      recheckAt = now + 30_000;
      own(recheck(), 'sessions could not be checked');
    }
    if (now >= catalogueAt) {
      catalogueAt = now + catalogueEveryMs;
      if (supervisor.sessions().length > 0) own(catalogues.check(), 'catalogue could not be checked');
    }
    if (now >= reconcileAt) {
      reconcileAt = now + reconcileEveryMs;
      own(reconcile(), 'targets could not be reconciled');
    }
  }

  const openWhenHeard: ControlPlane['openSession'] = (ask) =>
    isLost
      ? Promise.resolve({ kind: 'refused', message: 'sallyport: the gateway has lost the control plane' })
      : controlPlane.openSession(ask);

  const listener = await listen(options.listen, {
    controlPlane: { ...controlPlane, openSession: openWhenHeard },
    journal,
    judge,
    supervisor,
    provisioner,
    cancels: createCancelRegistry({ random }),
    clock,
    random,
    events: {
      ...events,
      sessionEnded(session, reason, totals) {
        events.sessionEnded(session, reason, totals);
        // The clock has ended the grant, whether or not anybody has told us.
        if (reason === 'expired') endGrant(session.grant);
      },
    },
    gatewayId: id,
    mockSecret,
    reached,
    limits: { ...defaultLimits, ...options.limits },
    strict,
  }).catch(async (error: unknown) => {
    subscription[Symbol.dispose]();
    pulse[Symbol.dispose]();
    await Promise.all([shipper, journal, provisioner, analyser].map((part) => part[Symbol.asyncDispose]()));
    throw error;
  });
  own(reconcile(), 'targets could not be reconciled');

  return {
    id,
    host: listener.host,
    port: listener.port,
    sessions: () => supervisor.sessions(),
    journalState: () => journal.state,
    unshippedBytes: () => journal.unshippedBytes,
    drain: (signal) => shipper.drain(signal),
    reconcile,
    async stop({ shipWithinMs = 3000 } = {}) {
      if (isStopping) return;
      isStopping = true;
      pulse[Symbol.dispose]();
      subscription[Symbol.dispose]();
      await supervisor.cut('all', 'gateway_stopped');
      await listenerClosed();
      // INVARIANT 12: a login that nobody can use through us is of no use to anybody.
      await Promise.allSettled(provisioner.grants().map((grant) => provisioner.drop(grant)));
      await Promise.allSettled(background);
      journal.flush();
      await new Promise<void>((resolve) => {
        journal.whenDurable(journal.lastNumber, resolve);
        setTimeout(resolve, 1000).unref();
      });
      await shipper.drain(AbortSignal.timeout(shipWithinMs));
      await shipper[Symbol.asyncDispose]();
      await Promise.all([provisioner, analyser].map((part) => part[Symbol.asyncDispose]()));
      await journal[Symbol.asyncDispose]();
    },
  };

  async function listenerClosed(): Promise<void> {
    // Half a second for clients to take our last words.
    await new Promise<void>((resolve) => setTimeout(resolve, supervisor.sessions().length === 0 ? 50 : 500));
    await listener[Symbol.asyncDispose]();
  }
}

/**
 * The gateway's name and its secret for mock salts live with the journal: a journal that is lost takes the name along, so
 * that numbers which start anew are never mistaken for ones that the control plane has.
 */
function identityOf(folder: string, random: Random): { readonly id: string; readonly mockSecret: Buffer } {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'identity');
  let secret: string;
  try {
    secret = readFileSync(file, 'utf8');
    if (!/^[0-9a-f]{64}$/.test(secret)) throw new Error(`\`${file}\` is not a gateway's identity`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    secret = Buffer.from(random(32)).toString('hex');
    writeFileSync(file, secret, { mode: 0o600, flag: 'wx' });
  }
  return {
    id: `gw_${hash('sha256', `id ${secret}`, 'hex').slice(0, 24)}`,
    mockSecret: Buffer.from(hash('sha256', `mock ${secret}`, 'hex')),
  };
}

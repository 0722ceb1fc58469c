/**
 * Who is inside, and who has to go. Live sessions are indexed by grant, principal and resource; each has a timer for its
 * own deadline, so that expiry needs no message from anybody (INVARIANT 4). A revocation marks all its sessions at once
 * (a mark is checked for each message), and then cuts them for some milliseconds of each turn of the loop, so that
 * everybody else's bytes still move. Ten thousand deadlines at the same moment go the same way.
 *
 * What can be reached is always recomputed from the live grants: cutting goes by grant, so ending one of two overlapping
 * grants leaves the sessions of the other alone (INVARIANT 8).
 */
import type { GrantId, PrincipalId, ResourceName, SessionId } from '#core/ids.ts';
import { formatInstant, type Clock, type Instant } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import type { EndReason } from './control-plane.ts';
import type { Reached } from './fault-points.ts';
import { createPacer } from './pacer.ts';
import type { Timers } from './timers.ts';

/** What the supervisor can do with a running session; the protocol supplies it. */
export type Cuttable = {
  readonly session: AuthorizedSession;
  /** From now on no message is forwarded. Cheap. */
  readonly mark: () => void;
  /**
   * Cancels what runs, tells the client why and closes its socket. What it answers closes the target's, which is done when
   * all clients are out.
   */
  readonly cut: (reason: EndReason, message: string) => (() => void) | undefined;
};

export type Which =
  | { readonly grant: GrantId }
  | { readonly principal: PrincipalId }
  | { readonly resource: ResourceName }
  | { readonly session: SessionId }
  | 'all';

export type Supervisor = {
  /** Takes charge of a session until `release`. Cuts at once when its deadline has passed. */
  readonly admit: (entry: Cuttable) => { readonly release: () => void };
  /** Resolves with the number of sessions cut. */
  readonly cut: (which: Which, reason: EndReason, detail?: string) => Promise<number>;
  /** The deadline of all sessions under a grant moves, in either direction. */
  readonly moveDeadline: (grant: GrantId, to: Instant) => void;
  /** Cuts whoever is behind the deadline although the timer hasn't fired: a clock may be set, a machine may sleep. */
  readonly sweep: () => void;
  readonly sessions: () => readonly AuthorizedSession[];
  readonly deadlineOf: (session: SessionId) => Instant | undefined;
};

type Entry = Cuttable & { deadline: Instant; timer: Disposable; isGoing: boolean };

export function createSupervisor(context: {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly reached?: Reached | undefined;
}): Supervisor {
  const { clock, timers } = context;
  const byId = new Map<SessionId, Entry>();
  const byGrant = new Map<GrantId, Set<Entry>>();
  const byPrincipal = new Map<PrincipalId, Set<Entry>>();
  const byResource = new Map<ResourceName, Set<Entry>>();
  /** Grants that have ended: a session that was being opened meanwhile must not come in behind the cut. */
  const ended = new Map<GrantId, { readonly reason: EndReason; readonly detail: string | undefined }>();

  const expire = (entry: Entry) => {
    entry.timer[Symbol.dispose]();
    const left = entry.deadline - clock.now();
    if (left > 0) {
      entry.timer = timers.setTimer(left, () => expire(entry));
      return;
    }
    cutAll([entry], 'expired', (session) => endedMessage(session, 'expired', entry.deadline));
  };

  const pacer = createPacer();
  /** Marks them all now, and cuts them in that order, as fast as others can bear it. */
  const cutAll = (
    entries: readonly Entry[],
    reason: EndReason,
    message: (session: AuthorizedSession) => string,
    then?: () => void,
  ) => {
    const going = entries.filter((entry) => !entry.isGoing);
    for (const entry of going) {
      entry.isGoing = true;
      entry.mark();
    }
    if (going.length > 0) context.reached?.('marked');
    // It may have ended by itself meanwhile.
    const left: (() => void)[] = [];
    const cutOne = (entry: Entry) => {
      const rest = byId.get(entry.session.id) === entry ? entry.cut(reason, message(entry.session)) : undefined;
      if (rest !== undefined) left.push(rest);
    };
    pacer.add(going, cutOne, () => pacer.addLater(left, (rest) => rest(), then));
  };

  const find = (which: Which): readonly Entry[] => {
    if (which === 'all') return [...byId.values()];
    if ('session' in which) {
      const one = byId.get(which.session);
      return one === undefined ? [] : [one];
    }
    if ('grant' in which) return [...(byGrant.get(which.grant) ?? [])];
    if ('principal' in which) return [...(byPrincipal.get(which.principal) ?? [])];
    return [...(byResource.get(which.resource) ?? [])];
  };

  return {
    admit(cuttable) {
      const { session } = cuttable;
      const entry: Entry = { ...cuttable, deadline: session.endsAt, timer: { [Symbol.dispose]() {} }, isGoing: false };
      const { principal, grant, role } = session;
      byId.set(session.id, entry);
      addTo(byGrant, grant, entry);
      addTo(byPrincipal, principal.id, entry);
      addTo(byResource, role.resource, entry);
      const late = ended.get(grant);
      if (late === undefined) expire(entry);
      else {
        entry.mark();
        entry.cut(late.reason, endedMessage(session, late.reason, clock.now(), late.detail))?.();
      }
      return {
        release() {
          entry.timer[Symbol.dispose]();
          byId.delete(session.id);
          removeFrom(byGrant, grant, entry);
          removeFrom(byPrincipal, principal.id, entry);
          removeFrom(byResource, role.resource, entry);
        },
      };
    },
    async cut(which, reason, detail) {
      if (which !== 'all' && 'grant' in which) {
        ended.set(which.grant, { reason, detail });
        const [oldest] = ended.keys();
        if (ended.size > 10_000 && oldest !== undefined) ended.delete(oldest);
      }
      // The nearest deadline last: who had the longest time left would do the most with it.
      const byDeadline = [...Map.groupBy(find(which), ({ deadline }) => deadline)];
      const entries = byDeadline.toSorted(([a], [b]) => b - a).flatMap(([, those]) => those);
      await new Promise<void>((done) => {
        cutAll(entries, reason, (session) => endedMessage(session, reason, clock.now(), detail), done);
      });
      return entries.length;
    },
    moveDeadline(grant, to) {
      for (const entry of byGrant.get(grant) ?? []) {
        entry.deadline = to;
        expire(entry);
      }
    },
    sweep() {
      const now = clock.now();
      for (const entry of byId.values()) if (entry.deadline <= now) expire(entry);
    },
    sessions: () => [...byId.values()].map(({ session }) => session),
    deadlineOf: (session) => byId.get(session)?.deadline,
  };
}

const words: Readonly<Record<EndReason, string>> = {
  expired: 'the time is over',
  revoked: 'it was revoked',
  completed: 'the task is done',
  handed_back: 'you handed it back',
  suspended: 'the account is suspended',
  role_changed: 'the role has stricter limits now, so connect again',
  control_plane_lost: 'the gateway has lost the control plane',
  gateway_stopped: 'the gateway is stopping',
  journal_failed: 'the gateway can not record what is done',
  client_closed: 'the client closed the connection',
  target_closed: 'the target closed the connection',
  protocol_violation: 'the client broke the protocol',
  gateway_died: 'the gateway stopped without a word',
  fault: 'something in the gateway failed',
};

/** Reasons after which asking again makes no sense, or isn't needed. */
const withoutAdvice = new Set<EndReason>([
  'role_changed',
  'control_plane_lost',
  'gateway_stopped',
  'journal_failed',
  'suspended',
  'gateway_died',
  'fault',
]);

/** Shown by the client when its session ends. `detail` says who did it, and their word: `by bob: the incident is over`. */
export function endedMessage(session: AuthorizedSession, reason: EndReason, at: Instant, detail?: string): string {
  const time = reason === 'expired' ? ` (${formatInstant(at).slice(11, 16)}Z)` : '';
  const advice = withoutAdvice.has(reason) ? '' : `; ask again with \`sally request ${session.role.name}\``;
  const what = withoutAdvice.has(reason) && reason !== 'suspended' ? 'your session on' : 'your access to';
  return `sallyport: ${what} \`${session.role.name}\` has ended: ${words[reason]}${detail === undefined ? '' : ` ${detail}`}${time}${advice}`;
}

function addTo<K>(index: Map<K, Set<Entry>>, key: K, entry: Entry): void {
  const set = index.get(key);
  if (set === undefined) index.set(key, new Set([entry]));
  else set.add(entry);
}

function removeFrom<K>(index: Map<K, Set<Entry>>, key: K, entry: Entry): void {
  const set = index.get(key);
  set?.delete(entry);
  if (set?.size === 0) index.delete(key);
}

/**
 * A control plane in memory for tests: small, but it works. Grants are given and ended, statements are decided by what the
 * role declares, journal records are stored exactly once. It fails on command: away, slow to ship, "failed, yet it
 * happened".
 */
import { createHash } from 'node:crypto';
import type { Allow, Cure, VariesWith } from '#core/decision.ts';
import { activate, createGrant, end, type ActiveGrant, type Grant } from '#core/grant.ts';
import {
  newId,
  type CoverId,
  type CredentialId,
  type GrantId,
  type HoldId,
  type PrincipalId,
  type Random,
  type ResourceName,
  type SessionId,
} from '#core/ids.ts';
import { after, type Clock, type Duration, type Instant } from '#core/instant.ts';
import type { HoldState } from '#core/hold.ts';
import type { Columns, Role } from '#core/role.ts';
import { authorizeSession } from '#core/session.ts';
import type { Need } from '#sql/needs.ts';
import { makeScramVerifier } from '#wire/postgres/scram.ts';
import type {
  ControlPlane,
  DecideAsk,
  EndReason,
  GatewayChange,
  HoldAsk,
  HoldPreview,
  TargetAccess,
} from './control-plane.ts';
import type { GatewayEvent, JournalRecord } from './records.ts';

export type TestingControlPlane = ControlPlane & {
  /** While true every call fails, and there are no heartbeats. */
  isAway: boolean;
  /** `ship` stores, and then fails. */
  storesAndFails: boolean;
  readonly records: JournalRecord[];
  /** Sessions whose end nobody has recorded but the control plane itself. */
  readonly orphans: ReadonlySet<SessionId>;
  readonly events: () => GatewayEvent[];
  readonly decisions: () => number;
  readonly give: (handle: string, role: Role, forMs: number) => { user: string; password: string; grant: GrantId };
  readonly endGrant: (grant: GrantId, reason?: EndReason, message?: string) => void;
  readonly extend: (grant: GrantId, byMs: number) => void;
  readonly suspend: (handle: string) => void;
  readonly change: (change: GatewayChange) => void;
  /** The role is another from now on, for who has it already. Nobody is told. */
  readonly declare: (role: Role) => void;
  /** Sessions that are told that they have no access any more, whatever they ask. */
  readonly gone: Set<SessionId>;
  /** Ends a grant in the store without telling anybody. */
  readonly endSilently: (grant: GrantId) => void;
  policyVersion: string;
  /** What is declared now. */
  roles: readonly Role[];
  /** Nothing is allowed any more under the next policy version. */
  denyAll: boolean;
  /** What a statement that the role gives needs besides. */
  cures: (ask: DecideAsk) => readonly Cure[];
  /** What an earlier proof goes on covering: asked with the digest. */
  cover: (ask: DecideAsk) => CoverId | undefined;
  variesWith: VariesWith;
  wantsEstimate: boolean;
  wantsPreview: boolean;
  rowsAtMost: number | undefined;
  /** Every hold there ever was, in order. */
  readonly holds: TestingHold[];
  /** Resolves with the hold of that number, from 0, as soon as there is one. */
  readonly held: (number: number) => Promise<TestingHold>;
  /** Somebody does what it waits for, or says no. `tells` false: only who asks hears of it. */
  readonly settle: (
    hold: HoldId,
    how: { readonly state: 'cured' | 'denied' | 'ended'; readonly message?: string },
    tells?: boolean,
  ) => void;
  readonly progress: (hold: HoldId, message: string, tells?: boolean) => void;
};

export type TestingHold = {
  readonly id: HoldId;
  readonly ask: HoldAsk;
  state: HoldState;
  message?: string | undefined;
  /** Why it was withdrawn. */
  because?: string;
  preview?: HoldPreview;
};

export function createTestingControlPlane(context: {
  readonly clock: Clock;
  readonly random: Random;
  readonly targets: readonly TargetAccess[];
  /** Named in denials as what would help. */
  readonly roles: readonly Role[];
  readonly heartbeatMs?: number;
}): TestingControlPlane {
  const { clock, random, targets, roles } = context;
  const credentials = new Map<string, { credential: CredentialId; verifier: string; grant: GrantId; handle: string }>();
  const grants = new Map<GrantId, { grant: Grant; role: Role; handle: string }>();
  const sessions = new Map<SessionId, GrantId>();
  const openedBy = new Map<SessionId, { readonly gateway: string; readonly at: Instant }>();
  const listeners = new Set<(change: GatewayChange) => void>();
  const records: JournalRecord[] = [];
  const stored = new Map<string, number>();
  const orphans = new Set<SessionId>();
  let decided = 0;
  const holds: TestingHold[] = [];
  let holdMade = Promise.withResolvers<void>();
  const holdOf = (id: HoldId): TestingHold => {
    const found = holds.find((one) => one.id === id);
    if (found === undefined) throw new Error('no such hold');
    return found;
  };

  const id = <K extends Parameters<typeof newId>[0]>(kind: K) => newId(kind, { now: clock.now(), random });
  const principalOf = (handle: string) =>
    `usr_${createHash('sha256').update(handle).digest('hex').slice(0, 26)}` as PrincipalId;
  const tell = (change: GatewayChange) => {
    if (!plane.isAway) for (const on of listeners) on(change);
  };
  const reach = () => {
    if (plane.isAway) throw new Error('control plane is away');
  };
  const isLive = (grantId: GrantId): boolean => {
    const known = grants.get(grantId)?.grant;
    return known?.state === 'active' && clock.now() < known.endsAt;
  };
  const endNow = (grantId: GrantId) => {
    const known = grants.get(grantId);
    if (known === undefined) return;
    const outcome = end(known.grant, { how: 'revoked', who: principalOf('bob') }, clock.now());
    if (outcome.kind === 'ended') grants.set(grantId, { ...known, grant: outcome.grant });
  };

  const plane: TestingControlPlane = {
    isAway: false,
    storesAndFails: false,
    policyVersion: 'v1',
    roles,
    denyAll: false,
    cures: () => [],
    cover: () => undefined,
    variesWith: 'nothing',
    wantsEstimate: false,
    wantsPreview: false,
    rowsAtMost: undefined,
    holds,
    async held(number) {
      for (;;) {
        const one = holds[number];
        if (one !== undefined) return one;
        await holdMade.promise;
      }
    },
    settle(holdId, { state, message }, tells = true) {
      const one = holdOf(holdId);
      if (one.state !== 'waiting') throw new Error(`hold is ${one.state}`);
      Object.assign(one, { state, message });
      const word = message === undefined ? {} : { message };
      if (tells) tell({ kind: 'hold_settled', hold: holdId, session: one.ask.session, outcome: state, ...word });
    },
    progress(holdId, message, tells = true) {
      const one = holdOf(holdId);
      one.message = message;
      if (tells) tell({ kind: 'hold_progress', hold: holdId, session: one.ask.session, message });
    },
    records,
    orphans,
    events: () => records.map(({ event }) => event),
    decisions: () => decided,
    give(handle, role, forMs) {
      // A grant is of a role that is declared; what isn't is dropped from the target.
      if (!plane.roles.some(({ name }) => name === role.name)) plane.roles = [...plane.roles, role];
      const approved = createGrant({
        id: id('grant'),
        request: id('request'),
        principal: principalOf(handle),
        role: role.name,
        duration: forMs as Duration,
        notBefore: clock.now(),
      });
      const outcome = activate(approved, principalOf(handle), clock.now());
      if (outcome.kind !== 'activated') throw new Error('not activated');
      const { grant } = outcome;
      const password = Buffer.from(random(24)).toString('base64url');
      const user = `${handle}.${Buffer.from(random(4)).toString('hex')}`;
      grants.set(grant.id, { grant, role, handle });
      const verifier = makeScramVerifier(password, random(16));
      credentials.set(user, { credential: id('credential'), verifier, grant: grant.id, handle });
      return { user, password, grant: grant.id };
    },
    endGrant(grant, reason = 'revoked', message) {
      endNow(grant);
      tell({ kind: 'grant_ended', grant, reason, ...(message === undefined ? {} : { message }) });
    },
    endSilently: endNow,
    extend(grantId, byMs) {
      const known = grants.get(grantId);
      if (known?.grant.state !== 'active') throw new Error('not active');
      const grant: ActiveGrant = { ...known.grant, endsAt: after(known.grant.endsAt, byMs as Duration) };
      grants.set(grantId, { ...known, grant });
      tell({ kind: 'grant_extended', grant: grantId, deadline: grant.endsAt });
    },
    suspend(handle) {
      for (const [grantId, known] of grants) if (known.handle === handle) endNow(grantId);
      tell({ kind: 'principal_suspended', principal: principalOf(handle) });
    },
    change: tell,
    declare(role) {
      for (const [grantId, known] of grants) if (known.role.name === role.name) grants.set(grantId, { ...known, role });
    },
    gone: new Set(),

    findCredential(userName) {
      reach();
      return Promise.resolve(credentials.get(userName));
    },
    openSession({ credential, gatewayId }) {
      reach();
      const found = [...credentials.values()].find((c) => c.credential === credential);
      const known = found === undefined ? undefined : grants.get(found.grant);
      if (found === undefined || known === undefined)
        return Promise.resolve({ kind: 'refused', message: 'sallyport: no such grant' });
      const outcome = authorizeSession(
        {
          id: id('session'),
          grant: known.grant,
          credential,
          principal: { id: principalOf(found.handle), handle: found.handle },
          role: known.role,
          reason: 'test',
          decision: { kind: 'allow', policies: ['connect'], version: plane.policyVersion } as unknown as Allow,
        },
        clock.now(),
      );
      if (outcome.kind === 'refused')
        return Promise.resolve({
          kind: 'refused',
          message: `sallyport: your access to \`${known.role.name}\` is not active`,
          hint: `sally request ${known.role.name}`,
        });
      sessions.set(outcome.session.id, found.grant);
      openedBy.set(outcome.session.id, { gateway: gatewayId, at: clock.now() });
      return Promise.resolve({ kind: 'opened', session: outcome.session });
    },
    async decide(ask) {
      reach();
      decided += 1;
      await new Promise((resolve) => setImmediate(resolve));
      const { session, needs } = ask;
      const { policyVersion, variesWith } = plane;
      const nothing = { kind: 'deny', policyVersion, variesWith, policies: [], roles: [] } as const;
      if (plane.gone.has(session)) return { ...nothing, missing: needs, message: 'your access has ended' };
      const grant = grants.get(sessions.get(session) ?? ('' as GrantId));
      const gives = (role: Role | undefined) => (need: Need) =>
        role !== undefined && !plane.denyAll && permits(role, need);
      const missing = needs.filter((need) => !gives(grant?.role)(need));
      if (missing.length > 0) {
        const helpful = roles.filter((role) => needs.every(gives(role))).map((role) => role.name);
        return { ...nothing, missing, roles: helpful };
      }
      const allow = { kind: 'allow', policyVersion, variesWith, policies: [`role:${grant?.role.name}`] } as const;
      const cures = plane.cures(ask);
      if (cures.length === 0) return allow;
      if (ask.hold !== undefined) {
        const one = holdOf(ask.hold);
        const isFor = one.state === 'cured' && one.ask.session === session && one.ask.digest === ask.digest;
        if (!isFor) return { ...nothing, missing: needs, because: 'not what the hold was for' };
        one.state = 'released';
        const { rowsAtMost } = plane;
        return { ...allow, hold: one.id, ...(rowsAtMost === undefined ? {} : { rowsAtMost }) };
      }
      const cover = ask.digest === undefined ? undefined : plane.cover(ask);
      if (cover !== undefined) return { ...allow, cover };
      const wants = plane.wantsEstimate && ask.estimatedRows === undefined ? ({ wantsEstimate: true } as const) : {};
      return { kind: 'curable', policyVersion, variesWith, policies: ['held'], missing: needs, cures, ...wants };
    },
    hold(ask) {
      reach();
      const one: TestingHold = { id: id('hold'), ask, state: 'waiting' };
      holds.push(one);
      holdMade.resolve();
      holdMade = Promise.withResolvers();
      const cures = plane.cures(ask);
      const words = cures.map(({ kind }) => (kind === 'proof' ? 'your passkey' : `an ${kind}`)).join(' and ');
      const { wantsPreview } = plane;
      const expiresAt = after(clock.now(), (ask.maxSeconds * 1000) as Duration);
      return Promise.resolve({
        kind: 'held',
        hold: one.id,
        url: `https://sally.test/h/${one.id}`,
        expiresAt,
        words,
        wantsPreview,
      });
    },
    withdrawHold(holdId, because) {
      reach();
      const one = holdOf(holdId);
      if (one.state === 'waiting' || one.state === 'cured') Object.assign(one, { state: 'withdrawn', because });
      return Promise.resolve();
    },
    holdStates(ids) {
      reach();
      return Promise.resolve(
        ids.map(holdOf).map(({ id: hold, state, message }) => ({
          hold,
          state,
          ...(message === undefined ? {} : { message }),
        })),
      );
    },
    reportPreview(holdId, preview) {
      reach();
      holdOf(holdId).preview = preview;
      return Promise.resolve();
    },
    ship(gatewayId, batch) {
      if (plane.isAway) return Promise.reject(new Error('control plane is away'));
      for (const record of batch) {
        const last = stored.get(gatewayId) ?? 0;
        if (record.number <= last) continue;
        if (record.number !== last + 1) return Promise.reject(new Error(`gap: ${record.number} after ${last}`));
        records.push(record);
        stored.set(gatewayId, record.number);
      }
      if (plane.storesAndFails) return Promise.reject(new Error('failed, yet it happened'));
      return Promise.resolve({ storedUpTo: stored.get(gatewayId) ?? 0 });
    },
    endOrphans(gatewayId, which) {
      reach();
      const ended = new Set(records.flatMap(({ event }) => (event.kind === 'session.ended' ? [event.on.session] : [])));
      const gone =
        'sessions' in which
          ? which.sessions
          : [...openedBy].flatMap(([id, { gateway, at }]) =>
              gateway === gatewayId && at < which.openedBefore ? [id] : [],
            );
      const before = orphans.size;
      for (const id of gone) if (!ended.has(id)) orphans.add(id);
      return Promise.resolve(orphans.size - before);
    },
    subscribe(on) {
      listeners.add(on);
      const beat = setInterval(() => tell({ kind: 'heartbeat', at: clock.now() }), context.heartbeatMs ?? 200);
      beat.unref();
      return {
        [Symbol.dispose]() {
          clearInterval(beat);
          listeners.delete(on);
        },
      };
    },
    liveSessions(ids) {
      reach();
      return Promise.resolve(
        ids.flatMap((session) => {
          const grantId = sessions.get(session);
          const known = grantId === undefined ? undefined : grants.get(grantId);
          return grantId !== undefined && isLive(grantId) && known?.grant.state === 'active'
            ? [{ session, deadline: known.grant.endsAt, role: known.role }]
            : [];
        }),
      );
    },
    resourceTarget(resource) {
      reach();
      return Promise.resolve(targets.find((target) => target.resource === resource));
    },
    postgresResources() {
      reach();
      return Promise.resolve(targets.map((target) => target.resource) as ResourceName[]);
    },
    knownGrants(ids) {
      reach();
      return Promise.resolve(ids.flatMap((grant) => (grants.has(grant) ? [{ grant, isOver: !isLive(grant) }] : [])));
    },
    declaredRoles() {
      reach();
      return Promise.resolve(plane.roles.map(({ name }) => name));
    },
  };
  return plane;
}

function permits(role: Role, { action, object, columns }: Need): boolean {
  const { tables, functions, channels = [] } = role.permissions;
  if (object.kind === 'channel' || object.kind === 'any channel') {
    const name = object.kind === 'channel' ? object.name : undefined;
    return channels.some(
      (given) =>
        (action === 'listen' || action === 'notify') &&
        given[action] === true &&
        (given.channel === 'any' || given.channel.name === name),
    );
  }
  if (object.kind === 'function') return functions.some((f) => f.schema === object.schema && f.name === object.name);
  // Policies of somebody's own may permit it to a role; here a name says so.
  if (object.kind === 'database') return action === 'ddl' && role.name.endsWith('/migrate');
  if (object.kind !== 'table') return false;
  const table = tables.find((t) => t.schema === object.schema && t.name === object.name);
  if (table === undefined) return object.schema === 'pg_catalog' || object.schema === 'information_schema';
  const covers = (given: Columns | undefined) =>
    given === 'all' || (given !== undefined && columns.every((column) => given.includes(column)));
  switch (action) {
    case 'select':
    case 'copy':
      return covers(table.select) || (action === 'copy' && covers(table.insert));
    case 'insert':
      return covers(table.insert);
    case 'update':
      return covers(table.update);
    case 'delete':
      return table.delete === true;
    case 'truncate':
      return table.truncate === true;
    default:
      return false;
  }
}

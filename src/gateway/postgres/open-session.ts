/**
 * The one way into a target: who is it (credential, SCRAM), may they (`openSession` of the control plane, which alone makes
 * an `AuthorizedSession`), then a login of their own on the target, a connection under it, and the proxy between the two.
 * Every step that fails leaves nothing open and says why, in the client's own words.
 */
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Random } from '#core/ids.ts';
import type { Clock } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import {
  encodeAuthenticationOk,
  encodeBackendKeyData,
  encodeErrorResponse,
  encodeParameterStatus,
  encodeReadyForQuery,
} from '#wire/postgres/backend.ts';
import { ControlPlaneAway } from '../control-plane-away.ts';
import type { EndReason } from '../control-plane.ts';
import type { DoorCounts } from '../door.ts';
import type { Hub } from '../engine.ts';
import type { GatewayEvents, RefusedWhy } from '../events.ts';
import type { Reached } from '../fault-points.ts';
import type { Holds } from '../holds.ts';
import type { Journal } from '../journal.ts';
import { endedMessage, type Supervisor } from '../supervisor.ts';
import { authenticate } from './authenticate.ts';
import type { CancelRegistry } from './cancel.ts';
import { dial } from './dial.ts';
import { Endpoint } from './endpoint.ts';
import type { HandshakeReader } from './handshake-reader.ts';
import { quoteLiteral } from './admin.ts';
import { refusalOf, type Denied, type Judge } from './judge.ts';
import { unknownNames, type Limits } from './link.ts';
import { recordText } from './recorded-text.ts';
import { identityOf } from './provision.ts';
import type { Outcome } from './exchange.ts';
import { startProxy, type Proxy } from './proxy.ts';
import type { StartupAsk } from './startup-parameters.ts';
import { dialOptions, TargetFault } from './target-address.ts';
import { explainTargetTrouble, type TargetTrouble } from './target-trouble.ts';
import { openUpstream, sendCancel, type CancelKey, type Upstream } from './upstream.ts';

export type OpenContext = {
  readonly hub: Hub;
  readonly journal: Journal;
  readonly judge: Judge;
  readonly holds: Holds;
  readonly supervisor: Supervisor;
  readonly cancels: CancelRegistry;
  /** Which one we are: 0 in the hub's own thread. */
  readonly engine: number;
  readonly door: DoorCounts;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: GatewayEvents;
  readonly gatewayId: string;
  readonly mockSecret: Uint8Array;
  readonly limits: Limits;
  readonly strict: boolean;
  readonly reached?: Reached | undefined;
};

export type Arrival = {
  readonly socket: Socket;
  readonly reader: HandshakeReader;
  readonly startup: StartupAsk;
  readonly minorVersion: number;
  readonly isTls: boolean;
  readonly binding: Buffer | undefined;
  readonly address: string;
  readonly port: number;
  /** A password was right or wrong: the door need not be kept for who says nothing any more. */
  readonly proven: () => void;
  /** A wrong password waits for its refusal as long as this; resolves with what it is called. */
  readonly refused: () => Promise<Extract<RefusedWhy, 'wrong_password' | 'too_many_failures'>>;
};

/** How long the target may take from dial to ready. */
const openTimeoutMs = 15_000;

/** Resolves when the session runs, or has been refused. Throws what broke the handshake. */
export async function openSession(
  arrival: Arrival,
  context: OpenContext,
): Promise<
  | 'opened'
  | Extract<
      RefusedWhy,
      | 'wrong_password'
      | 'too_many_failures'
      | 'not_authorized'
      | 'target_failed'
      | 'journal_failed'
      | 'control_plane_away'
    >
> {
  const { socket, reader, startup } = arrival;
  const { hub, journal } = context;
  const startedAt = performance.now();
  const send = (bytes: Buffer) => void socket.write(bytes);
  const refuse = (sqlState: string, message: string, hint?: string) =>
    socket.end(encodeErrorResponse({ severity: 'FATAL', sqlState, message, ...(hint === undefined ? {} : { hint }) }));

  const orRefused = async <T>(asked: Promise<T>): Promise<T | undefined> => {
    try {
      return await asked;
    } catch (error) {
      if (!(error instanceof ControlPlaneAway)) throw error;
      context.events.fault('nobody can come in', error);
      refuse(
        '57P03',
        'sallyport: the gateway has lost the control plane, so it opens no sessions',
        'Try again in a while.',
      );
      return undefined;
    }
  };

  const who = await orRefused(authenticate({ user: startup.user, reader, send, binding: arrival.binding }, context));
  if (who === undefined) return 'control_plane_away';
  arrival.proven();
  if (who.kind === 'refused') {
    const because = await arrival.refused();
    refuse('28P01', `password authentication failed for user "${startup.user}"`);
    return because;
  }
  context.reached?.('password_proven');
  if (journal.state === 'failed') {
    refuse('53100', 'sallyport: the gateway can not record what is done, so it opens no sessions');
    return 'journal_failed';
  }
  const opened = hub.openSession({
    credential: who.credential,
    client: {
      address: arrival.address,
      port: arrival.port,
      ...(startup.applicationName === undefined ? {} : { applicationName: startup.applicationName }),
      tls: arrival.isTls,
    },
    database: startup.database,
    gatewayId: context.gatewayId,
  });
  const answer = await orRefused(opened);
  if (answer === undefined) return 'control_plane_away';
  if (answer.kind === 'refused') {
    refuse('28000', answer.message, answer.hint);
    return 'not_authorized';
  }
  const { session } = answer;
  // From here on the session exists, so whatever ends it is written down, and a revocation reaches it.
  const admitted = admit(session, context.supervisor);
  let reached: Upstream | undefined;
  let forgetKey = (): void => {};
  context.reached?.('supervisor_admitted');
  const neverStarted = (reason: EndReason, message: string) => {
    admitted.release();
    journal.append({
      kind: 'session.ended',
      on: refOf(session),
      reason,
      message,
      statements: 0,
      bytesIn: 0,
      bytesOut: 0,
    });
    journal.flush();
    const totals = { bytesIn: 0, bytesOut: 0, statements: 0 };
    context.events.sessionEnded(session, reason, totals);
  };

  let settingsEnded = (_outcome: Outcome): void => {};
  try {
    const signal = AbortSignal.any([admitted.signal, AbortSignal.timeout(openTimeoutMs)]);
    const settings = await settingsOf(session, startup, context);
    if (settings.kind === 'refused') {
      const { sqlState, message, hint } = settings.verdict;
      neverStarted('protocol_violation', message);
      refuse(sqlState, message, hint);
      return 'not_authorized';
    }
    settingsEnded = settings.ended;
    const { upstream, databaseRole } = await reach(session, startup, context, signal);
    reached = upstream;
    settingsEnded({ kind: 'completed', tag: 'SELECT 1', rows: 1 });
    settingsEnded = () => {};
    hub.connected(session.id, upstream.cancelKey.processId);
    context.reached?.('target_signed_in');
    // Not awaited when there is none: that would leave a moment in which a mark isn't seen.
    const going = admitted.going();
    if (going !== undefined) await going;
    if (admitted.cutBefore() !== undefined) throw new TargetFault('target_refused', 'cut');
    if (socket.destroyed) throw new Error('client closed the connection');
    const key = registerCancel(admitted, upstream.cancelKey, arrival.minorVersion >= 2 ? 32 : 4, context);
    forgetKey = key.release;
    const hello = [encodeAuthenticationOk()];
    for (const [name, value] of upstream.parameters) hello.push(encodeParameterStatus(name, value));
    hello.push(encodeBackendKeyData(key.processId, key.secretKey), ...upstream.notices, encodeReadyForQuery('I'));
    socket.write(Buffer.concat(hello));
    context.reached?.('client_told_ready');
    const early = reader.detach();
    const client = arrival.isTls ? Endpoint.stream(socket) : Endpoint.adopt(socket);
    const statementsBefore = startup.judged.length;
    const { user, database } = startup;
    begin({ session, admitted, key, client, upstream, early, databaseRole, statementsBefore, user, database }, context);
    context.events.sessionOpened(session, performance.now() - startedAt);
    return 'opened';
  } catch (error) {
    reached?.endpoint.destroy();
    forgetKey();
    settingsEnded({ kind: 'cut' });
    const cutBefore = admitted.cutBefore();
    if (cutBefore !== undefined) {
      neverStarted(cutBefore.reason, cutBefore.message);
      refuse('57P01', cutBefore.message);
      return 'not_authorized';
    }
    if (socket.destroyed) {
      neverStarted('client_closed', endedMessage(session, 'client_closed', context.clock.now()));
      throw error;
    }
    // The person gets the outcome; what the target said is for the operator.
    if (!isWrongDatabase(error)) context.events.targetFailed(session.role.resource, error);
    const { sqlState, message, hint } = explain(error, session, startup);
    neverStarted('target_closed', message);
    refuse(sqlState, message, hint);
    return 'target_failed';
  }
}

type Admitted = {
  readonly release: () => void;
  /** Aborted when it is cut before it runs. */
  readonly signal: AbortSignal;
  /** Once it has to go: resolves when the supervisor says why. */
  readonly going: () => Promise<void> | undefined;
  readonly cutBefore: () => { readonly reason: EndReason; readonly message: string } | undefined;
  readonly proxy: () => Proxy | undefined;
  readonly runs: (proxy: Proxy) => void;
};

/**
 * The session as the supervisor holds it, from its first moment. A function of its own, as are the next two: what they make
 * is kept for as long as the session runs, and the login's sockets, buffers and messages would be kept with it.
 */
function admit(session: AuthorizedSession, supervisor: Supervisor): Admitted {
  const opening = new AbortController();
  let proxy: Proxy | undefined;
  let going: PromiseWithResolvers<void> | undefined;
  let cutBefore: ReturnType<Admitted['cutBefore']>;
  const { release } = supervisor.admit({
    session,
    mark: () => {
      if (proxy === undefined) going ??= Promise.withResolvers();
      else proxy.mark();
    },
    cut: (reason, message) => {
      if (proxy !== undefined) return proxy.cut(reason, message);
      cutBefore = { reason, message };
      going?.resolve();
      opening.abort(new TargetFault('target_unreachable', message));
      return undefined;
    },
  });
  return {
    release,
    signal: opening.signal,
    going: () => going?.promise,
    cutBefore: () => cutBefore,
    proxy: () => proxy,
    runs: (started) => (proxy = started),
  };
}

function registerCancel({ proxy: running }: Admitted, target: CancelKey, bytes: number, context: OpenContext) {
  const cancel = async () => {
    const proxy = running();
    if (proxy?.giveUp() === true) return;
    const cycle = proxy?.running();
    // What can't be recorded isn't done, a cancel neither.
    if (proxy === undefined || cycle === undefined || !proxy.noteCancel()) return;
    await cancelQuietly(target, () => proxy.running() === cycle, context);
  };
  return context.cancels.register(cancel, bytes);
}

/** Of a connection beside a session's, on which nothing is changed. */
const besides = new Map([
  ['default_transaction_read_only', 'on'],
  ['application_name', 'sallyport'],
]);

function begin(
  ask: {
    readonly session: AuthorizedSession;
    readonly admitted: Admitted;
    readonly key: { readonly release: () => void };
    readonly client: Endpoint;
    readonly upstream: Upstream;
    readonly early: Buffer;
    readonly databaseRole: string;
    readonly statementsBefore: number;
    readonly user: string;
    readonly database: string;
  },
  context: OpenContext,
): void {
  const { session, key, client, upstream, early, databaseRole, statementsBefore, user, database } = ask;
  const { release, runs } = ask.admitted;
  const { cancelKey } = upstream;
  const proxy = startProxy({
    session,
    client,
    target: upstream.endpoint,
    early,
    earlyOfTarget: upstream.early,
    databaseRole,
    statementsBefore,
    journal: context.journal,
    judge: context.judge,
    holds: context.holds,
    clock: context.clock,
    random: context.random,
    backend: cancelKey.processId,
    dialBeside: async (signal) => {
      const startup = { user, database, applicationName: undefined, settings: besides, judged: [], unknownOptions: [] };
      return (await reach(session, startup, context, signal)).upstream;
    },
    onNote: context.events.fault,
    limits: context.limits,
    strict: context.strict,
    cancelUpstream: (isWanted) => void cancelQuietly(cancelKey, isWanted, context),
    reached: context.reached,
    onFault: (error) => context.events.fault('session failed', error),
    onEnd: (reason, totals) => {
      release();
      key.release();
      context.events.sessionEnded(session, reason, totals);
    },
  });
  runs(proxy);
}

/** The hub says so, from wherever it is: known by the code. */
const isWrongDatabase = (error: unknown): boolean => (error as { readonly code?: unknown }).code === 'wrong_database';

/** What the client is told of a target that it has not reached. */
function explain(error: unknown, session: AuthorizedSession, startup: StartupAsk): TargetTrouble {
  if (isWrongDatabase(error)) {
    const message = `sallyport: \`${session.role.resource}\` has no database \`${startup.database.slice(0, 63)}\``;
    const hint = 'A resource is one database: the one in the connection string that `sally connect` prints.';
    return { sqlState: '3D000', message, hint, isLoginInDoubt: false };
  }
  const said = error instanceof TargetFault ? error.sqlState : undefined;
  if (startup.judged.length > 0 && error instanceof TargetFault && said !== undefined && /^(?:22|42)/.test(said))
    // About what the client itself has written.
    return { sqlState: said, message: `sallyport: ${error.message}`, hint: undefined, isLoginInDoubt: false };
  return explainTargetTrouble(error, session.role);
}

/**
 * INVARIANT 6 and 7: what is set at the start is judged and recorded as the `set_config` that it amounts to, before the
 * target hears of it.
 */
async function settingsOf(
  session: AuthorizedSession,
  startup: StartupAsk,
  context: OpenContext,
): Promise<
  | { readonly kind: 'refused'; readonly verdict: Denied }
  | { readonly kind: 'settings'; readonly ended: (outcome: Outcome) => void }
> {
  const { journal } = context;
  const on = refOf(session);
  const written: number[] = [];
  const ended = (outcome: Outcome) => {
    for (const statement of written)
      journal.append({
        kind: 'statement.ended',
        on,
        statement,
        command: 0,
        outcome,
        durationMs: 0,
        bytesOut: 0,
        bytesIn: 0,
      });
  };
  for (const name of startup.judged) {
    const value = startup.settings.get(name) ?? '';
    const text = `select pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`;
    const judged = await context.judge.judge({ session, names: unknownNames, text, prepared: () => [] });
    const verdict =
      judged.kind === 'curable' ? refusalOf(session, judged, 'Set it when you have connected, not before.') : judged;
    const statement = written.length + 1;
    const { policyVersion, policies } = verdict;
    const common = { on, statement, protocol: 'simple', text: recordText(text), policyVersion, policies } as const;
    if (verdict.kind === 'deny') {
      journal.append({ kind: 'statement.denied', ...common, sqlState: verdict.sqlState, message: verdict.message });
      ended({ kind: 'skipped' });
      return { kind: 'refused', verdict };
    }
    journal.append({ kind: 'statement.begun', ...common });
    written.push(statement);
  }
  if (!journal.flush()) throw new TargetFault('target_refused', 'the journal can not be written');
  return { kind: 'settings', ended };
}

/** Gets the session's login and connects with it. INVARIANT 11: the route is the hub's, from what is registered. */
async function reach(session: AuthorizedSession, startup: StartupAsk, context: OpenContext, signal: AbortSignal) {
  for (let tries = 1; ; tries += 1) {
    // A grant that has ended meanwhile gets no login.
    signal.throwIfAborted();
    const route = await orAborted(context.hub.route(session.id), signal);
    // The way there and the login are made at the same time; nothing is said on the connection before both are there.
    const connected = dial(dialOptions(route), signal);
    // Looked at below; until then its failure must not be an unhandled one.
    connected.catch(() => {});
    const login = await orAborted(context.hub.login(session.id), signal).catch((error: unknown) => {
      connected.then(
        ({ endpoint }) => endpoint.destroy(),
        () => {},
      );
      throw error;
    });
    try {
      const upstream = await openUpstream(
        route,
        { ...identityOf(login), startup: startup.settings },
        { random: context.random, signal, reached: context.reached, connected },
      );
      return { upstream, databaseRole: login.databaseRole };
    } catch (error) {
      // A login that was changed or dropped by somebody, or that a new primary has never heard of, is made anew, once.
      if (!explain(error, session, startup).isLoginInDoubt) throw error;
      context.hub.renewLogin(session.id, login.number);
      if (tries > 1) throw error;
    }
  }
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** If it doesn't get through, the end of the login ends the statement as well. */
async function cancelQuietly(
  key: CancelKey,
  isWanted: () => boolean,
  context: Pick<OpenContext, 'reached'>,
): Promise<void> {
  try {
    await sendCancel(key, isWanted, AbortSignal.timeout(5000));
    context.reached?.('cancel_sent');
  } catch {
    // As said.
  }
}

const refOf = (session: AuthorizedSession) => ({
  session: session.id,
  grant: session.grant,
  principal: session.principal.id,
  resource: session.role.resource,
  role: session.role.name,
});

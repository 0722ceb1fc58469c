/**
 * One session between its client and its target, from the moment both have logged in until both sockets are closed. The
 * two directions are `client-side.ts` (with `client-messages.ts`) and `target-side.ts`; this is what holds them together,
 * and the one way out.
 */
import { performance } from 'node:perf_hooks';
import type { Random } from '#core/ids.ts';
import type { Clock } from '#core/instant.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { encodeErrorResponse } from '#wire/postgres/backend.ts';
import { encodeTerminate } from '#wire/postgres/frontend.ts';
import type { EndReason } from '../control-plane.ts';
import type { Reached } from '../fault-points.ts';
import type { Holds } from '../holds.ts';
import type { Journal } from '../journal.ts';
import type { SessionRef } from '../records.ts';
import { endedMessage, type Cuttable } from '../supervisor.ts';
import { ClientSide, maxHeldBytes } from './client-side.ts';
import type { Endpoint } from './endpoint.ts';
import { Exchange, type Pending, type Portal, type Prepared } from './exchange.ts';
import type { Judge } from './judge.ts';
import { Ledger } from './ledger.ts';
import { unknownNames, type Limits, type Link } from './link.ts';
import { createSideConnection, type SideConnection } from './side-connection.ts';
import { TargetSide } from './target-side.ts';

/** A client that waits for a verdict is read on a little, this often, so that its end is noticed. */
const lookAtHeldMs = 5000;
/** How long a target may stop in the middle of a message for a client that has ended its side. */
const maxSilence = 40;
const probeMs = 250;

export type Proxy = Cuttable & {
  readonly ref: SessionRef;
  /**
   * What a cancel would reach now, if anything: everything up to the server's next ReadyForQuery counts as one, and has
   * the same number as long as it runs.
   */
  readonly running: () => number | undefined;
  /** The client's cancel request, where nothing runs yet: what waits for a verdict fails, and is never run. False: nothing waits. */
  readonly giveUp: () => boolean;
  /** The client's cancel request is about to be passed on. */
  readonly noteCancel: () => boolean;
};

export function startProxy(options: {
  readonly session: AuthorizedSession;
  readonly client: Endpoint;
  readonly target: Endpoint;
  /** What the client had sent behind its last message of the login. */
  readonly early: Buffer;
  /** What the target had sent behind its. */
  readonly earlyOfTarget: Buffer;
  readonly databaseRole: string;
  /** How many statements the start-up packet amounted to. */
  readonly statementsBefore: number;
  readonly journal: Journal;
  readonly judge: Judge;
  readonly holds: Holds;
  readonly clock: Clock;
  readonly random: Random;
  /** The process on the target. */
  readonly backend: number;
  /** Another connection of the same login, that changes nothing. */
  readonly dialBeside?: Parameters<typeof createSideConnection>[0];
  readonly limits: Limits;
  readonly strict: boolean;
  /** Cancels upstream what runs, without waiting for it; if it is still wanted when the way there is open. */
  readonly cancelUpstream: (isWanted: () => boolean) => void;
  readonly reached?: Reached | undefined;
  readonly onFault: (error: unknown) => void;
  /** Something of ours failed, and the session goes on. */
  readonly onNote: (what: string, error: unknown) => void;
  readonly onEnd: (reason: EndReason, totals: { bytesIn: number; bytesOut: number; statements: number }) => void;
}): Proxy {
  const { session, client, target, journal, judge, clock } = options;
  const ref: SessionRef = {
    session: session.id,
    grant: session.grant,
    principal: session.principal.id,
    resource: session.role.resource,
    role: session.role.name,
  };
  const exchange = new Exchange(journal, ref, options.statementsBefore);
  const watch = watchStatements(exchange, session.role.statementTimeout, () => {
    journal.append({ kind: 'statement.cancelled', on: ref, by: 'gateway' });
    journal.flush();
    const { cycle } = exchange;
    options.cancelUpstream(() => exchange.cycle === cycle);
  });
  // A client that is held isn't read, so that its end would go unnoticed for as long.
  const watchHeld = setInterval(() => {
    if (!clientSide.isHolding) return;
    if (clientSide.heldBytes < maxHeldBytes) client.resume();
    // Who sends and sends behind what is held is read no more; whether they are still there shows when they are told something.
    else if (clientSide.isHeld) targetSide.probe();
  }, lookAtHeldMs).unref();
  let side: SideConnection | undefined;
  let hasEnded = false;
  let hasLeft = false;
  /** It sends no more, and has not said good-bye: it may be gone, or read on. */
  let isHalfOpen = false;

  /** What is left may wait: the target's connection is idle, or its statement is being cancelled. */
  const cut = (reason: EndReason, message?: string): (() => void) => {
    if (hasEnded) return () => {};
    hasEnded = true;
    let mayWait = true;
    let isWaiting = false;
    link.isMarked = true;
    clearInterval(watch);
    clearInterval(watchHeld);
    clientSide.abandon();
    side?.close();
    const wasAsked = !exchange.isEmpty;
    if (exchange.isRunning && !target.isClosed) {
      journal.append({ kind: 'statement.cancelled', on: ref, by: 'gateway' });
      options.cancelUpstream(() => true);
    }
    exchange.abandon();
    const { bytesIn, bytesOut } = link;
    const { statements } = exchange;
    const because =
      reason === 'target_closed' && link.farewell !== undefined
        ? `sallyport: the target has ended the session: ${link.farewell}`
        : endedMessage(session, reason, clock.now());
    const said = reason === 'client_closed' ? {} : { message: message ?? because };
    const heard = targetSide.notifications === 0 ? {} : { notifications: targetSide.notifications };
    journal.append({ kind: 'session.ended', on: ref, reason, ...said, statements, bytesIn, bytesOut, ...heard });
    // Nothing is forwarded for it: when thousands are cut, one write is enough for those of a turn.
    journal.flushSoon();
    const closeTarget = () => {
      isWaiting = mayWait;
      if (mayWait) return target.pause();
      if (options.reached !== undefined) target.socket.once('close', () => options.reached?.('sockets_closed'));
      if (target.isClosed) target.finish(500);
      // A server in the midst of an answer would complain of one who has gone.
      else if (wasAsked) {
        target.write(encodeTerminate());
        target.finish(500);
      } else target.leave(encodeTerminate(), 500);
    };
    if (reason === 'client_closed' || client.isClosed) {
      // Who has ended only its own side still gets what was asked for.
      client.finish(5000);
      closeTarget();
    } else {
      // A row that is half sent must end first, or the client would take our words for the rest of it.
      let isTold = false;
      const tell = () => {
        if (isTold) return;
        isTold = true;
        clearTimeout(impatience);
        // A server that closes says why by itself; one that has crashed could not.
        if (reason !== 'target_closed' || message !== undefined || link.farewell === undefined) {
          const sqlState = reason === 'protocol_violation' ? '08P01' : '57P01';
          const words = message ?? endedMessage(session, reason, clock.now());
          client.write(encodeErrorResponse({ severity: 'FATAL', sqlState, message: words }));
        }
        options.reached?.('client_told');
        client.finish(2000);
        closeTarget();
      };
      const impatience = setTimeout(() => {
        isTold = true;
        client.destroy();
        closeTarget();
      }, 500);
      if (!target.isClosed) target.resume();
      targetSide.finishFrame(tell);
    }
    options.onEnd(reason, { bytesIn, bytesOut, statements });
    return () => {
      mayWait = false;
      if (isWaiting) closeTarget();
    };
  };
  const end = (reason: EndReason, message?: string): void => cut(reason, message)();

  const link: Link = {
    session,
    journal,
    judge,
    holds: options.holds,
    clock,
    random: options.random,
    backend: options.backend,
    get side() {
      if (options.dialBeside !== undefined) side ??= createSideConnection(options.dialBeside);
      return side;
    },
    say: (bytes) => targetSide.say(bytes),
    fault: options.onNote,
    databaseRole: options.databaseRole,
    exchange,
    statements: new Ledger<Prepared>(),
    portals: new Ledger<Portal>(),
    client,
    target,
    limits: options.limits,
    strict: options.strict,
    names: {
      asked: unknownNames,
      changedInTransaction: false,
      failures: 0,
      book: undefined,
      own: new Map(),
      generation: 0,
    },
    status: 'I',
    farewell: undefined,
    isMarked: false,
    isCopyIn: false,
    isSkipping: false,
    segment: 1,
    ownDefinitions: 'unchanged',
    isCatalogueStale: false,
    bytesIn: 0,
    bytesOut: 0,
    leave: () => {
      if (hasEnded || hasLeft) return;
      if (exchange.isEmpty) return end('client_closed');
      hasLeft = true;
      clientSide.send(encodeTerminate());
    },
    failed: (error) => {
      options.onFault(error);
      end('fault');
    },
    end,
  };
  // The first message to somebody who is gone brings the reset, the second shows it.
  let silence = 0;
  let heard = 0;
  const probe = (): void => {
    if (hasEnded) return;
    silence = targetSide.probe() || client.isCongested || link.bytesOut !== heard ? 0 : silence + 1;
    heard = link.bytesOut;
    if (silence > maxSilence) return end('client_closed');
    setTimeout(probe, probeMs).unref();
  };
  const clientSide = new ClientSide(link);
  const targetSide = new TargetSide(link, clientSide);

  client.handle({
    chunk: (chunk, length) => !hasLeft && clientSide.chunk(chunk, length),
    ended: () => {
      if (hasLeft || hasEnded) return;
      isHalfOpen = true;
      clientSide.ended();
      if (!hasEnded) probe();
    },
    closed: () => {
      if (!hasLeft || isHalfOpen) end('client_closed');
    },
    drained: () => {
      if (!target.isClosed) target.resume();
    },
  });
  target.handle({
    chunk: (chunk, length) => targetSide.chunk(chunk, length),
    closed: () => end(hasLeft ? 'client_closed' : 'target_closed'),
    drained: () => {
      if (!clientSide.isHolding && !link.isMarked) client.resume();
    },
  });
  if (options.earlyOfTarget.length > 0) targetSide.chunk(options.earlyOfTarget, options.earlyOfTarget.length);
  clientSide.start();
  if (options.early.length > 0 && !clientSide.chunk(options.early, options.early.length)) client.pause();

  return {
    session,
    ref,
    mark: () => {
      link.isMarked = true;
    },
    cut,
    running: () => (exchange.isRunning ? exchange.cycle : undefined),
    giveUp: () => !hasEnded && !exchange.hasRuns && clientSide.giveUp(),
    noteCancel() {
      journal.append({ kind: 'statement.cancelled', on: ref, by: 'client' });
      return journal.flush();
    },
  };
}

/**
 * INVARIANT 9: the role's time for a statement holds whatever `set statement_timeout` has made of the target's own. Calls
 * `cancel` for one that runs longer, and again as often as it goes on. The target is first, by up to a quarter.
 */
function watchStatements(exchange: Exchange, timeoutMs: number, cancel: () => void): NodeJS.Timeout {
  let seen: Pending | undefined;
  let command = 0;
  let since = 0;
  const timer = setInterval(
    () => {
      const { head } = exchange;
      const run = head !== undefined && 'run' in head ? head.run : undefined;
      const now = performance.now();
      if (head !== seen || run === undefined || run.command !== command) {
        seen = head;
        command = run?.command ?? 0;
        since = now;
      } else if (now - since > timeoutMs) {
        since = now;
        cancel();
      }
    },
    Math.min(Math.max(timeoutMs / 8, 20), 60_000),
  );
  return timer.unref();
}

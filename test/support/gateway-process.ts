/**
 * A gateway in a process of its own, with a control plane in memory: the fuzzer and the tests of hostile clients look at it
 * from outside, as an operator would. It answers questions over the channel of `fork`; a crash is the end of the process.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ResourceName } from '#core/ids.ts';
import type { Duration } from '#core/instant.ts';
import type { Role } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import { createTestingControlPlane } from '#gateway/_testing-control-plane.ts';
import { testingInstallation, wallClock } from '#gateway/_testing-gateway.ts';
import type { TargetAccess } from '#gateway/control-plane.ts';
import { startGateway, type GatewayOptions } from '#gateway/gateway.ts';
import type { GatewayEvent } from '#gateway/records.ts';

/** What the parent says at the start; all of it survives JSON. */
export type GatewayProcessOptions = {
  readonly target: {
    readonly host: string;
    readonly port: number;
    readonly database: string;
    readonly adminUser: string;
    readonly adminPassword: string;
    /** Absent: without TLS, on this machine. */
    readonly ca?: string;
  };
  /** All that may be given; what nobody declares is swept off the target. */
  readonly roles: readonly Role[];
  readonly listen?: Partial<Omit<GatewayOptions['listen'], 'tls'>>;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly limits?: GatewayOptions['limits'];
  readonly strict?: boolean;
};

export type Login = { readonly user: string; readonly password: string };

export type GatewayState = {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly descriptors: number;
  /** Timers, sockets and whatever else keeps the loop alive, by type. */
  readonly resources: Readonly<Record<string, number>>;
  readonly sessions: number;
  readonly unshippedBytes: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
  /** Why a target could not be reached the last time. */
  readonly lastFailure: string | undefined;
};

export type Asked =
  | { readonly ask: 'give'; readonly role: Role; readonly handle: string }
  | { readonly ask: 'state' }
  /** Answered when the control plane has opened a session with this application name. */
  | { readonly ask: 'opened'; readonly name: string }
  /** The events of the session with this application name, when it has ended; they are forgotten then. */
  | { readonly ask: 'session'; readonly name: string }
  /** Collects garbage first. */
  | { readonly ask: 'settled' }
  | { readonly ask: 'stop' };

export type Told =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'fault'; readonly what: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown };

const tell = (told: Told) => void process.send?.(told);

async function run(options: GatewayProcessOptions): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { target } = options;
  const access: TargetAccess = {
    resource: 'orders' as ResourceName,
    installation: testingInstallation,
    address: { host: target.host, port: target.port },
    database: target.database,
    tls: target.ca === undefined ? { mode: 'disable' } : { mode: 'verify-full', ca: target.ca },
    admin: { user: target.adminUser, password: new Secret(target.adminPassword) },
    connectTimeout: 5000 as Duration,
  };
  const plane = createTestingControlPlane({
    clock: wallClock,
    random: randomBytes,
    targets: [access],
    roles: options.roles,
  });
  const faults: string[] = [];
  const refusals: Record<string, number> = {};
  /** By session id. */
  const events = new Map<string, GatewayEvent[]>();
  const named = new Map<string, string>();
  const opening = new Map<string, () => void>();
  const waiting = new Map<string, (events: readonly GatewayEvent[]) => void>();

  const answerWhenOver = (name: string) => {
    const wake = waiting.get(name);
    const session = named.get(name);
    const known = session === undefined ? undefined : events.get(session);
    if (wake === undefined || session === undefined || known?.at(-1)?.kind !== 'session.ended') return;
    waiting.delete(name);
    named.delete(name);
    events.delete(session);
    wake(known);
  };

  let lastFailure: string | undefined;
  let takenUpTo = 0;
  const journalFolder = mkdtempSync(join(tmpdir(), 'sally-gateway-'));
  process.once('exit', () => rmSync(journalFolder, { recursive: true, force: true }));
  const fault = (what: string, error: unknown) => {
    const text = `${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    if (faults.length < 100) faults.push(text);
    tell({ kind: 'fault', what: text });
  };
  const gateway = await startGateway({
    controlPlane: {
      ...plane,
      async openSession(ask) {
        const answer = await plane.openSession(ask);
        const name = ask.client.applicationName;
        if (answer.kind === 'opened' && name !== undefined) {
          named.set(name, answer.session.id);
          events.set(answer.session.id, []);
          opening.get(name)?.();
          opening.delete(name);
        }
        return answer;
      },
      async ship(gatewayId, batch) {
        const answer = await plane.ship(gatewayId, batch);
        for (const { number, event } of batch) {
          if (number <= takenUpTo) continue;
          takenUpTo = number;
          if ('on' in event) take(event);
        }
        // The last one stays: the next must follow it.
        plane.records.splice(0, plane.records.length - 1);
        return answer;
      },
    },
    clock: wallClock,
    random: randomBytes,
    journalFolder,
    listen: {
      host: '127.0.0.1',
      port: 0,
      ...options.listen,
      ...(options.tls === undefined ? {} : { tls: () => options.tls }),
    },
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(options.strict === undefined ? {} : { strict: options.strict }),
    events: {
      fault,
      journalFailed: (error) => fault('journal failed', error),
      shipFailed: (error) => fault('shipping failed', error),
      targetFailed: (_resource, error) => {
        const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
        lastFailure = `${error instanceof Error ? error.message : String(error)}${cause}`;
      },
      connectionRefused: (why) => (refusals[why] = (refusals[why] ?? 0) + 1),
    },
  });

  function take(event: GatewayEvent & { readonly on: { readonly session: string } }): void {
    events.get(event.on.session)?.push(event);
    if (event.kind !== 'session.ended') return;
    for (const [name, session] of named) if (session === event.on.session) answerWhenOver(name);
  }

  const state = (): GatewayState => {
    const { rss, heapUsed, external } = process.memoryUsage();
    const resources: Record<string, number> = {};
    for (const type of process.getActiveResourcesInfo()) resources[type] = (resources[type] ?? 0) + 1;
    const descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
    const sessions = gateway.sessions().length;
    return {
      rss,
      heapUsed,
      external,
      descriptors,
      resources,
      sessions,
      unshippedBytes: gateway.unshippedBytes(),
      refusals,
      faults,
      lastFailure,
    };
  };

  const answer = async (asked: Asked): Promise<unknown> => {
    switch (asked.ask) {
      case 'give':
        return plane.give(asked.handle, asked.role, 8 * 3_600_000);
      case 'state':
        return state();
      case 'opened':
        return named.has(asked.name) || new Promise<void>((resolve) => opening.set(asked.name, resolve));
      case 'session':
        return new Promise((resolve) => {
          waiting.set(asked.name, resolve);
          answerWhenOver(asked.name);
        });
      case 'settled':
        for (let i = 0; i < 3; i += 1) {
          collect();
          await new Promise((resolve) => setImmediate(resolve));
        }
        return state();
      case 'stop':
        await gateway.stop();
        return undefined;
      default:
        return asked satisfies never;
    }
  };
  process.on('message', ({ id, asked }: { id: number; asked: Asked }) => {
    void answer(asked).then((value) => {
      tell({ kind: 'answer', id, value });
      if (asked.ask === 'stop') process.disconnect();
    });
  });
  process.once('disconnect', () => process.exit(0));
  tell({ kind: 'ready', port: gateway.port });
}

process.once('message', (options: GatewayProcessOptions) => void run(options));

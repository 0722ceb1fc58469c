/**
 * A gateway in a process of its own, with a control plane in memory: what the gateway costs without store, API and log.
 * `journal` says how much of the record is kept: `none` (statements are judged and forwarded, nothing is written down) or
 * `disk` (as ever; nothing is shipped before the end).
 *
 * Nothing here may import `node:test`: it listens to every asynchronous thing that Node makes, several for each statement.
 */
import { randomBytes } from 'node:crypto';
import { Session, type Profiler } from 'node:inspector/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { GrantId, ResourceName, RoleName } from '#core/ids.ts';
import { hours, parseInstant, seconds, type Duration, type Instant } from '#core/instant.ts';
import type { Role } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import type { TargetAccess } from '#gateway/control-plane.ts';
import { startGateway } from '#gateway/gateway.ts';
import { Journal } from '#gateway/journal.ts';
import { createTestingControlPlane } from '#test/support/control-plane.ts';
import { serve } from './child.ts';
import { benchTables } from './workloads.ts';

export type GatewaySetup = {
  readonly journal: 'none' | 'disk';
  /** Worker threads; 0: one engine in the main thread. */
  readonly threads: number;
  /** Where sessions lead, by resource name. */
  readonly targets: readonly {
    readonly resource: string;
    readonly port: number;
    readonly tls: boolean;
  }[];
  readonly database: string;
  readonly admin: { readonly user: string; readonly password: string };
  readonly ca: string;
  readonly certFile: string;
  readonly keyFile: string;
};

export type Given = { readonly user: string; readonly password: string; readonly grant: string };

export type GatewayCalls = {
  readonly start: (setup: GatewaySetup) => Promise<{ readonly port: number }>;
  /** Grants of an hour with a credential each. */
  readonly give: (ask: { readonly resource: string; readonly count: number }) => Promise<readonly Given[]>;
  /** Ends a grant. Answers when, in nanoseconds of the machine's monotonic clock. */
  readonly endGrant: (grant: string) => Promise<{ readonly at: bigint }>;
  /** Cuts everybody, as a stopping gateway does. */
  readonly suspendAll: (handle: string) => Promise<{ readonly at: bigint }>;
  /** Memory in bytes, after a collection of garbage if the process was started so that it can be asked for. */
  readonly resident: (input: undefined) => Promise<number>;
  /** A CPU profile of the next so many milliseconds: the functions with the most self time, as text. */
  readonly profile: (ms: number) => Promise<{ readonly lines: readonly string[]; readonly statements: number }>;
  /** Delays of the event loop since the last call, in milliseconds, and memory in bytes. */
  readonly loop: (input: undefined) => Promise<{
    readonly p50: number;
    readonly p99: number;
    readonly max: number;
    readonly resident: number;
    readonly sessions: number;
  }>;
};

/** All statements of the measurements are about these. */
export const benchHandle = 'bench';
/** Resolves when the measurements are over. */
const ending = Promise.withResolvers<void>();

function roleOf(resource: string): Role {
  return {
    name: `${resource}/all` as RoleName,
    resource: resource as ResourceName,
    description: 'what the measurements do',
    maxDuration: hours(8),
    permissions: {
      tables: Object.entries(benchTables).map(([name, may]) => ({
        schema: 'public',
        name,
        select: 'all',
        ...((may as readonly string[]).includes('insert') ? { insert: 'all' as const } : {}),
        ...((may as readonly string[]).includes('update') ? { update: 'all' as const } : {}),
      })),
      functions: [],
    },
    statementTimeout: seconds(600),
    maxConnections: 20_000,
    requesters: { groups: ['engineers'] },
    approvers: { groups: ['dba'], count: 1 },
  };
}

const journalFolder = mkdtempSync(join(tmpdir(), 'sally-bench-gateway-'));
const clock = { now: () => parseInstant(Date.now()) as Instant };
const delays = monitorEventLoopDelay({ resolution: 1 });
let plane: ReturnType<typeof createTestingControlPlane> | undefined;
let gateway: Awaited<ReturnType<typeof startGateway>> | undefined;
const roles = new Map<string, Role>();

const controlPlane = () => {
  if (plane === undefined) throw new Error('the gateway has not been started');
  return plane;
};

serve(
  {
    start: async (setup) => {
      const targets: TargetAccess[] = setup.targets.map(({ resource, port, tls }) => ({
        resource: resource as ResourceName,
        installation: 'bench000',
        address: { host: '127.0.0.1', port },
        database: setup.database,
        tls: tls ? { mode: 'verify-full', ca: setup.ca } : { mode: 'disable' },
        admin: { user: setup.admin.user, password: new Secret(setup.admin.password) },
        connectTimeout: 10_000 as Duration,
      }));
      for (const { resource } of setup.targets) roles.set(resource, roleOf(resource));
      plane = createTestingControlPlane({ clock, random: randomBytes, targets, roles: [...roles.values()] });
      if (setup.journal === 'none') keepNoRecord();
      const tls = { cert: readFileSync(setup.certFile), key: readFileSync(setup.keyFile) };
      gateway = await startGateway({
        controlPlane: {
          ...plane,
          // Several gateways share the target here: none of them may drop the logins of the others.
          postgresResources: () => Promise.resolve([]),
          // Not taken before the end: what the log costs is measured with the real one.
          ship: async (_, batch) => {
            await ending.promise;
            return { storedUpTo: batch.at(-1)?.number ?? 0 };
          },
        },
        clock,
        random: randomBytes,
        journalFolder,
        listen: {
          host: '127.0.0.1',
          port: 0,
          tls: () => tls,
          maxHandshakesPerAddress: 1000,
          maxFailuresPerMinute: 1e6,
        },
        ...(setup.threads === 0 ? {} : { threads: setup.threads }),
      });
      return { port: gateway.port };
    },
    give: ({ resource, count }) => {
      const role = roles.get(resource);
      if (role === undefined) throw new Error(`there is no resource \`${resource}\``);
      return Promise.resolve(Array.from({ length: count }, () => controlPlane().give(benchHandle, role, 3_600_000)));
    },
    endGrant: (grant) => {
      const at = process.hrtime.bigint();
      controlPlane().endGrant(grant as GrantId);
      return Promise.resolve({ at });
    },
    suspendAll: (handle) => {
      const at = process.hrtime.bigint();
      controlPlane().suspend(handle);
      return Promise.resolve({ at });
    },
    resident: () => {
      globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
      return Promise.resolve(process.memoryUsage.rss());
    },
    profile: async (ms) => {
      const session = new Session();
      session.connect();
      try {
        await session.post('Profiler.enable');
        await session.post('Profiler.setSamplingInterval', { interval: 200 });
        await session.post('Profiler.start');
        await sleep(ms);
        return selfTimes((await session.post('Profiler.stop')).profile);
      } finally {
        session.disconnect();
      }
    },
    loop: () => {
      // From the first call on: it wakes the thread each millisecond.
      delays.enable();
      // What is recorded is the time between two ticks of its timer, which are a millisecond apart when all is quiet.
      const ms = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 1);
      const seen = {
        p50: ms(delays.percentile(50)),
        p99: ms(delays.percentile(99)),
        max: ms(delays.max),
        resident: process.memoryUsage().rss,
        sessions: gateway?.sessions().length ?? 0,
      };
      delays.reset();
      return Promise.resolve(seen);
    },
  } satisfies GatewayCalls,
  async () => {
    ending.resolve();
    await gateway?.stop({ shipWithinMs: 0 });
    rmSync(journalFolder, { recursive: true, force: true });
  },
);

/**
 * The gateway has no switch that turns the record off, and must not have one. Here it is taken out from outside, to see
 * what it costs.
 */
function keepNoRecord(): void {
  let number = 0;
  Journal.prototype.append = () => (number += 1);
  Journal.prototype.appendJson = () => (number += 1);
}

function selfTimes(profile: Profiler.Profile): { lines: string[]; statements: number } {
  const named = new Map<string, number>();
  let busy = 0;
  for (const { callFrame, hitCount = 0 } of profile.nodes) {
    const { functionName, url, lineNumber } = callFrame;
    if (functionName === '(idle)' || functionName === '(root)') continue;
    const where = url.replace(/^.*\/(src|node_modules)\//, '$1/');
    const name = `${functionName === '' ? '(anonymous)' : functionName} ${where}${lineNumber >= 0 && where !== '' ? `:${lineNumber + 1}` : ''}`;
    named.set(name.trim(), (named.get(name.trim()) ?? 0) + hitCount);
    busy += hitCount;
  }
  const lines = [...named]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, 40)
    .map(([name, hits]) => `${((hits / busy) * 100).toFixed(1).padStart(5)} %  ${name}`);
  return { lines, statements: busy };
}

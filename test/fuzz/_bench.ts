/** What all areas of the fuzzer stand on: a real server, the target in front of it, and a gateway in a process of its own. */
import { hours, seconds } from '#core/instant.ts';
import type { ResourceName, RoleName } from '#core/ids.ts';
import type { Role } from '#core/role.ts';
import type { GatewayEvent } from '#gateway/records.ts';
import { startGatewayChild, type GatewayChild } from '../support/gateway-child.ts';
import type { Login } from '../support/gateway-process.ts';
import { testCertificates, testTarget, type Cleanup, type TestTarget } from '../support/postgres.ts';
import { readFileSync } from 'node:fs';
import { Client, signIn } from './_client.ts';
import { startFuzzTarget, type FuzzTarget } from './_target.ts';

/** Reads and writes `orders`, and nothing else. */
export const fuzzRole: Role = {
  name: 'orders/fuzz' as RoleName,
  resource: 'orders' as ResourceName,
  description: 'for the fuzzer',
  maxDuration: hours(8),
  permissions: {
    tables: [{ schema: 'public', name: 'orders', select: 'all', insert: 'all', update: 'all' }],
    functions: [],
  },
  statementTimeout: seconds(60),
  maxConnections: 1000,
  requesters: { groups: ['engineers'] },
  approvers: { groups: ['dba'], count: 1 },
};

/** No session and no connection may take longer than this to end after its client has gone. */
export const patienceMs = 8000;
/** As the gateway under test is told. */
export const handshakeMs = 3000;

export type Bench = AsyncDisposable & {
  readonly real: TestTarget;
  readonly target: FuzzTarget;
  readonly gateway: () => GatewayChild;
  readonly login: () => Login;
  readonly database: string;
  /** A new application name: what a session is known by on both sides. */
  readonly name: () => string;
  /** An address of this machine, another one each time: caps count by address. */
  readonly address: () => string;
  /** Called at the end. */
  readonly onEnd: (release: () => Promise<void>) => void;
  /** Another gateway, after a crash. */
  readonly renew: () => Promise<void>;
};

export async function startBench(t: Cleanup): Promise<Bench> {
  const real = await testTarget(t, { major: 15 });
  const target = await startFuzzTarget(real);
  const certificates = await testCertificates(t);
  const tls = { cert: readFileSync(certificates.certFile, 'utf8'), key: readFileSync(certificates.keyFile, 'utf8') };
  const start = () =>
    startGatewayChild({
      target: {
        host: '127.0.0.1',
        port: target.port,
        database: real.database,
        adminUser: real.adminUser,
        adminPassword: real.adminPassword,
      },
      roles: [fuzzRole],
      listen: { handshakeMs, maxFailuresPerMinute: 1_000_000 },
      limits: { maxStatementBytes: 1 << 20, maxWholeBindBytes: 16_384 },
      tls,
    });
  let gateway = await start();
  let login = await gateway.give(fuzzRole);
  let named = 0;
  let addressed = 0;
  const releases: (() => Promise<void>)[] = [];
  return {
    real,
    target,
    gateway: () => gateway,
    login: () => login,
    database: real.database,
    name: () => `fuzz-${(named += 1)}`,
    address() {
      addressed += 1;
      return `127.${1 + ((addressed >> 16) % 250)}.${(addressed >> 8) % 256}.${1 + (addressed % 250)}`;
    },
    onEnd: (release) => void releases.push(release),
    async renew() {
      await within(10_000, gateway.stop());
      gateway = await start();
      login = await gateway.give(fuzzRole);
    },
    async [Symbol.asyncDispose]() {
      for (const release of releases) await within(10_000, release());
      await within(10_000, gateway.stop());
      await target[Symbol.asyncDispose]();
    },
  };
}

export const late = Symbol('late');
/** The longest that this process itself was held up for, in milliseconds. */
export const heldUp = { most: 0 };
const tickMs = 100;

/**
 * The value, or `late`. Counted are ticks, of which one that is late is still one: after this process was held up (48 clients
 * at once, a machine with other work) the timers come first, and what has long arrived comes behind them.
 */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | typeof late> {
  let timer: NodeJS.Timeout | undefined;
  const bell = new Promise<typeof late>((resolve) => {
    const tick = (left: number, since: number): void => {
      const step = Math.min(tickMs, left);
      timer = setTimeout(() => {
        const now = performance.now();
        heldUp.most = Math.max(heldUp.most, Math.round(now - since - step));
        if (left > step) tick(left - step, now);
        else setImmediate(resolve, late);
      }, step);
    };
    tick(ms, performance.now());
  });
  try {
    return await Promise.race([promise, bell]);
  } finally {
    clearTimeout(timer);
  }
}

/** After each batch: a client that does nothing wrong gets in and gets its answer. */
export async function goodClient(bench: Bench): Promise<string | undefined> {
  const name = bench.name();
  const client = new Client(bench.gateway().port);
  try {
    const signed = await within(patienceMs, signIn(client, bench.login(), { name, database: bench.database }));
    if (signed === late) return 'a good client waited in vain to be let in';
    if (typeof signed === 'string') return `afterwards ${signed}`;
    client.write(Buffer.concat([Buffer.from('510000000d73656c656374203100', 'hex'), Buffer.from('5800000004', 'hex')]));
    if ((await within(patienceMs, client.closed)) === late) return 'a good client waited in vain for its answer';
    if (!client.take().includes('SELECT 1')) return 'a good client got no answer';
    const events = await within(patienceMs, bench.gateway().session(name));
    return events === late ? 'the session of a good client did not end' : undefined;
  } finally {
    client.socket.destroy();
    bench.target.forget(name);
  }
}

/**
 * INVARIANT 6 and 7, from outside: what the target was made to run, in the order in which it ran, has its record each, with
 * the same text; and nothing that is refused ever arrived.
 */
export function unjudged(bench: Bench, name: string, events: readonly GatewayEvent[], forbidden: readonly string[]) {
  const seen = bench.target.seen(name);
  if (seen === undefined) return undefined;
  if (seen.broken !== undefined) return `the target was sent what it does not understand: ${seen.broken}`;
  for (const text of seen.told)
    if (forbidden.some((word) => text.includes(word))) return `the target was told \`${text}\``;
  const begun = events.filter((event) => event.kind === 'statement.begun');
  let at = 0;
  for (const { protocol, text } of seen.executed) {
    while (at < begun.length && !(begun[at]?.protocol === protocol && begun[at]?.text.text === text)) at += 1;
    if (at === begun.length) return `the target ran \`${text}\` (${protocol}), and no record says so`;
    at += 1;
  }
  const open = new Set<number>();
  for (const event of events) {
    if (event.kind === 'statement.begun') open.add(event.statement);
    else if (event.kind === 'statement.ended') open.delete(event.statement);
  }
  if (open.size > 0) return `${open.size} statements have no outcome in the record`;
  return undefined;
}

/**
 * What the parts measure, started when first asked for and ended with the run: the target, PgBouncer, gateways in processes of
 * their own, the product, and the load generator.
 */
import { availableParallelism } from 'node:os';
import type { Address } from './client.ts';
import { startChild, type Child } from './child.ts';
import type { GatewayCalls, GatewaySetup } from './gateway-process.ts';
import type { LoadCalls } from './load-process.ts';
import { findPgBouncer, startPgBouncer, type PgBouncer } from './pgbouncer.ts';
import { treeOf } from './process-cost.ts';
import { startProduct, type Product } from './product.ts';
import { startTarget, type BenchTarget } from './target.ts';

/** A way to the target, as the columns of the tables are called. */
export type Way = 'direct' | 'pgbouncer' | 'judged' | 'journal' | 'engines' | 'everything';
export const ways: readonly Way[] = ['direct', 'pgbouncer', 'judged', 'journal', 'engines', 'everything'];

export type BenchGateway = {
  readonly child: Child<GatewayCalls>;
  readonly port: number;
  /** A grant of its own with its credential. */
  readonly grant: (resource: string, tls: boolean) => Promise<Address>;
};

export type World = AsyncDisposable & {
  readonly quick: boolean;
  readonly say: (text: string) => void;
  readonly target: () => Promise<BenchTarget>;
  readonly load: () => Promise<Child<LoadCalls>>;
  /** Undefined: not installed. */
  readonly bouncer: (tls: boolean) => Promise<PgBouncer | undefined>;
  /** Kept and shared between the parts. */
  readonly gateway: (way: 'judged' | 'journal' | 'engines') => Promise<BenchGateway>;
  /** Of the caller's own, with other targets or a fresh start; it ends with the run or before. */
  readonly newGateway: (
    setup: Partial<GatewaySetup>,
    flags?: readonly string[],
  ) => Promise<BenchGateway & AsyncDisposable>;
  readonly product: () => Promise<Product>;
  /** Ways that there are on this machine. */
  readonly ways: readonly Way[];
  /** The address by which a way is gone, and the processes that it costs. One grant per way, for all. */
  readonly way: (
    way: Way,
    tls: boolean,
  ) => Promise<{ readonly address: Address; readonly pids: () => readonly number[] }>;
};

/** What the gateways can do is looked up: engines in threads came later than this. */
export function openWorld(options: {
  readonly quick: boolean;
  readonly say: (text: string) => void;
  readonly hasEngines: boolean;
}): World {
  const { quick, say, hasEngines } = options;
  const parts = new AsyncDisposableStack();
  const once = <T>(what: string, start: () => Promise<T>): (() => Promise<T>) => {
    let started: Promise<T> | undefined;
    return () => {
      if (started === undefined) {
        say(`starting ${what}`);
        started = start();
      }
      return started;
    };
  };
  const keyed = <K, T>(make: (key: K) => Promise<T>): ((key: K) => Promise<T>) => {
    const made = new Map<K, Promise<T>>();
    return (key) => {
      const found = made.get(key) ?? make(key);
      made.set(key, found);
      return found;
    };
  };
  const target = once('the database', async () => parts.use(await startTarget()));
  const load = once('the load generator', async () => parts.use(await startChild<LoadCalls>('load-process.ts')));
  const product = once('the product', async () => {
    // With a database server of its own: logins that it doesn't know are dropped there.
    const own = parts.use(await startTarget());
    return parts.use(await startProduct(own));
  });
  const program = findPgBouncer();
  const bouncer = keyed(async (tls: boolean) =>
    program === undefined ? undefined : parts.use(await startPgBouncer(program, await target(), tls)),
  );
  const newGateway = async (setup: Partial<GatewaySetup>, flags: readonly string[] = []) => {
    const { port, database, admin, ca, certFile, keyFile } = await target();
    const child = parts.use(
      await startChild<GatewayCalls>('gateway-process.ts', { nodeFlags: ['--liftoff-only', ...flags] }),
    );
    const started = await child.call('start', {
      journal: 'disk',
      threads: 0,
      targets: [
        { resource: 'bench', port, tls: false },
        { resource: 'bench-tls', port, tls: true },
      ],
      database,
      admin,
      ca,
      certFile,
      keyFile,
      ...setup,
    });
    return {
      child,
      port: started.port,
      grant: async (resource: string, tls: boolean): Promise<Address> => {
        const [given] = await child.call('give', { resource, count: 1 });
        if (given === undefined) throw new Error('no grant was given');
        return { host: '127.0.0.1', port: started.port, database, user: given.user, password: given.password, tls };
      },
      [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
    };
  };
  const gateway = keyed((way: 'judged' | 'journal' | 'engines') => {
    say(`starting the gateway \`${way}\``);
    return newGateway({
      journal: way === 'judged' ? 'none' : 'disk',
      threads: way === 'engines' ? availableParallelism() : 0,
    });
  });
  const wayOf = keyed(async (key: string) => {
    const [way, kind] = key.split(' ') as [Way, string];
    const tls = kind === 'tls';
    switch (way) {
      case 'direct':
        return { address: (await target()).login(tls), pids: () => [] };
      case 'pgbouncer': {
        const found = await bouncer(tls);
        if (found === undefined) throw new Error('PgBouncer is not installed');
        return { address: found.address, pids: () => [found.pid] };
      }
      case 'judged':
      case 'journal':
      case 'engines': {
        const found = await gateway(way);
        return { address: await found.grant(tls ? 'bench-tls' : 'bench', tls), pids: () => [found.child.pid] };
      }
      case 'everything': {
        const found = await product();
        return { address: await found.grant(tls), pids: () => treeOf(found.pid) };
      }
      default:
        return way satisfies never;
    }
  });
  return {
    quick,
    say,
    target,
    load,
    bouncer,
    gateway,
    newGateway,
    product,
    ways: ways.filter((way) => (way !== 'pgbouncer' || program !== undefined) && (way !== 'engines' || hasEngines)),
    way: (way, tls) => wayOf(`${way} ${tls ? 'tls' : 'plain'}`),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

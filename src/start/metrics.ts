/** What `/metrics` answers, in the text form of Prometheus. Names are documented in docs/operating.md. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { Db } from '#store/database.ts';
import { sql } from 'kysely';

export type Metrics = {
  readonly text: () => Promise<string>;
  readonly gatewayEvents: Counter<'what'>;
};

export function createMetrics(from: {
  readonly db: Db;
  readonly openSessions: () => number;
  readonly unshippedBytes: () => number;
  readonly policyFaults: () => number;
}): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'sallyport_' });
  const registers = [registry];
  new Gauge({
    name: 'sallyport_sessions_open',
    help: 'sessions that this gateway holds open',
    registers,
    collect() {
      this.set(from.openSessions());
    },
  });
  new Gauge({
    name: 'sallyport_journal_unshipped_bytes',
    help: 'bytes in the journals of this gateway that are not in the log yet',
    registers,
    collect() {
      this.set(from.unshippedBytes());
    },
  });
  new Gauge({
    name: 'sallyport_policy_evaluator_faults',
    help: 'how often the policy evaluator had to be replaced',
    registers,
    collect() {
      this.set(from.policyFaults());
    },
  });
  const counted = (name: string, help: string, query: () => Promise<number>) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await query());
      },
    });
  const count = async (query: ReturnType<typeof sql<{ count: number }>>) =>
    (await query.execute(from.db)).rows[0]?.count ?? 0;
  counted('sallyport_requests_pending', 'requests that wait for an answer', () =>
    count(sql`select count(*) from access_request where state = 'pending'`),
  );
  counted('sallyport_grants_active', 'grants that are active', () =>
    count(sql`select count(*) from access_grant where state = 'active'`),
  );
  counted('sallyport_log_size', 'entries in the signed tree', () =>
    count(sql`select coalesce(max(size), 0) as count from log_checkpoint`),
  );
  counted('sallyport_log_waiting', 'entries that the tree hasn’t taken in yet', () =>
    count(sql`select count(*) from log_waiting`),
  );
  return {
    text: () => registry.metrics(),
    gatewayEvents: new Counter({
      name: 'sallyport_gateway_events_total',
      help: 'events of the gateway',
      labelNames: ['what'],
      registers,
    }),
  };
}

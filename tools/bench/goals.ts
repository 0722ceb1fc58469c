/** What we want of each figure. Ratios mean the same on another machine; the absolute ones are for two cores of this kind. */
import { find, type Results } from './figures.ts';

export type Goal = {
  readonly what: string;
  /** Which figure: `table.row.column`. */
  readonly figure: string;
  readonly at: 'least' | 'most';
  readonly value: number;
  readonly unit: string;
};

const least = (what: string, figure: string, value: number, unit = '×'): Goal => ({
  what,
  figure,
  at: 'least',
  value,
  unit,
});
const most = (what: string, figure: string, value: number, unit: string): Goal => ({
  what,
  figure,
  at: 'most',
  value,
  unit,
});

export const goals: readonly Goal[] = [
  least('prepared selects, 8 clients, judged, one thread, to PgBouncer', 'to-pgbouncer.prepared-8.judged', 0.85),
  least('the same with the journal', 'to-pgbouncer.prepared-8.journal', 0.75),
  least('the same, 32 clients, an engine per core, to PgBouncer', 'to-pgbouncer.prepared-32.engines', 1.1),
  most('CPU per prepared select, judged, to PgBouncer', 'cpu-to-pgbouncer.prepared-8.judged', 1.7, '×'),
  most('latency added over PgBouncer at one client', 'added-latency.prepared-1.journal', 40, 'µs'),
  least('TLS on both sides, 8 clients, to PgBouncer with TLS', 'to-pgbouncer.prepared-8-tls.journal', 0.75),
  least('COPY to the client, to direct', 'bulk.copy-out.journal', 0.95),
  least('COPY to the client with TLS, to direct', 'bulk.copy-out-tls.journal', 0.95),
  least('sessions opened a second, a fresh database login each', 'connections.fresh-login.journal', 60, '/s'),
  most('connecting, ten a second, nine of ten within', 'connect-time.p90.everything', 30, 'ms'),
  most('one grant of 10,000 sessions revoked, to closed, p99', 'revoke.sessions-10000.p99', 50, 'ms'),
  most('10,000 sessions cut at once', 'revoke.cut-10000.all', 1000, 'ms'),
  most('the loop’s longest block meanwhile', 'revoke.cut-10000.longest-block', 30, 'ms'),
  most('a decision that isn’t, 1,000 policies, p99', 'decisions.uncached-1000.p99', 6000, 'µs'),
  least('journal, records a second flat out', 'journal.flat-out.records', 50_000, '/s'),
  most('journal, until durable at 10,000 a second, p99', 'journal.paced-10000.p99', 5, 'ms'),
  most('memory of an idle session', 'memory.plain.per-session', 40, 'kB'),
  most('memory of an idle session with TLS', 'memory.tls.per-session', 160, 'kB'),
  most('the loop’s delay while one client streams 1 GB, p99', 'streaming.loop-delay.p99', 20, 'ms'),
  most('memory gained meanwhile', 'streaming.memory.gained', 64, 'MB'),
  most('cost of a statement beside 10,000 sessions, to alone', 'flatness.sessions-10000.ratio', 1.3, '×'),
  most('log entries taken in by a log of a million, to an empty one', 'flatness-log.log-1000000.ratio', 1.3, '×'),
];

export type Verdict =
  | { readonly kind: 'met' | 'missed'; readonly value: number; readonly by: number }
  | { readonly kind: 'not_measured' };

/** `by`: how far it is from the goal, as a fraction of the goal; positive is better than asked. */
export function judge(goal: Goal, results: Pick<Results, 'tables'>): Verdict {
  const found = find(results, goal.figure);
  if (found === undefined) return { kind: 'not_measured' };
  const by = (goal.at === 'least' ? found.value - goal.value : goal.value - found.value) / goal.value;
  return { kind: by >= 0 ? 'met' : 'missed', value: found.value, by };
}

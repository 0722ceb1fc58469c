/**
 * A gateway as drivers meet it, for the tests of drivers: over TLS with a certificate of its own authority, with the
 * shipped policies, in front of a real server that logs each statement.
 */
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after } from 'node:test';
import { startTestingGateway, type TestingGateway } from '#gateway/_testing-gateway.ts';
import type { Role } from '#core/role.ts';
import type { GatewayEvent } from '#gateway/records.ts';
import { namesQuery } from '#sql/catalogue.ts';
import { configuration, engineWith, now, person, role } from './policy.ts';
import { testTarget, type TestTarget } from './postgres.ts';

const schema = `
set role orders_owner;
create table driver_values (
  driver text, small int2, whole int4, big int8, num numeric, word text, bytes bytea, at timestamptz, uid uuid, doc jsonb,
  list int4[], words text[], yes bool, nothing text
);
create table driver_rows (n int primary key, word text);
create table driver_copies (n int primary key, word text);
create table driver_notes (n int generated always as identity primary key, word text);
create table driver_secrets (id int primary key, word text);
reset role;
`;

const table = (name: string) => ({ schema: 'public', name });
const all = { select: 'all', insert: 'all', update: 'all', delete: true, truncate: true } as const;

const basicRole = role('orders/driver', {
  maxConnections: 110,
  permissions: {
    tables: [
      ...['driver_values', 'driver_rows', 'driver_copies', 'driver_notes'].map((name) => ({ ...table(name), ...all })),
      // What a restore sets the key's sequence by.
      { ...table('driver_notes_n_seq'), select: 'all', update: 'all' },
      ...['orders', 'order_items', 'payments', 'products'].map((name) => ({ ...table(name), select: 'all' as const })),
      { ...table('customers'), select: ['id', 'name', 'city'] },
    ],
    functions: [],
    // Libraries send `select pg_notify($1, $2)`, which is about any channel.
    channels: [
      { channel: { name: 'driver_news' }, listen: true },
      { channel: 'any', notify: true },
    ],
  },
});
const secretsRole = role('orders/secrets', {
  permissions: { tables: [{ ...table('driver_secrets'), select: 'all' }], functions: [] },
});

export type House = {
  readonly gateway: TestingGateway;
  readonly target: TestTarget;
  /** A login under the role of the tests. */
  readonly login: { readonly user: string; readonly password: string };
  readonly ca: string;
  /** For programs: libpq's variables and `DRIVER_CA`. */
  readonly env: NodeJS.ProcessEnv;
  /** Waits until a statement with this in its text is on its way to the server. */
  readonly begun: (part: string) => Promise<void>;
  /** Ends everything, and compares what was recorded with what the server logged. */
  readonly record: () => Promise<Recorded>;
};

export type Recorded = {
  /** How many statements the server logged. */
  readonly count: number;
  /** Texts that the server ran and that aren't in the record, and the other way round. */
  readonly onlyRan: readonly string[];
  readonly onlyRecorded: readonly string[];
  readonly begun: readonly (GatewayEvent & { readonly kind: 'statement.begun' })[];
  readonly denied: readonly string[];
};

/** A gateway for one driver's tests, with the target behind it. */
export async function openHouse(
  more: { readonly schema?: string; readonly tables?: readonly string[] } = {},
): Promise<House> {
  const cleanup = { after };
  const target = await testTarget(cleanup, {
    settings: {
      max_connections: '130',
      log_statement: 'all',
      log_error_verbosity: 'default',
      log_line_prefix: '¦%u¦%p¦ ',
    },
  });
  await target.query(schema);
  if (more.schema !== undefined) await target.query(more.schema);
  const driverRole: Role = {
    ...basicRole,
    permissions: {
      ...basicRole.permissions,
      tables: [...basicRole.permissions.tables, ...(more.tables ?? []).map((name) => ({ ...table(name), ...all }))],
    },
  };
  // As in production, so that what a driver asks when it starts meets the policies that are shipped.
  const engine = await engineWith(configuration([driverRole, secretsRole]));
  const gateway = await startTestingGateway(target, tmpdir(), {
    listen: {
      host: '127.0.0.1',
      port: 0,
      tls: () => ({ cert: readFileSync(target.certificates.certFile), key: readFileSync(target.certificates.keyFile) }),
    },
  });
  after(() => gateway.stop());
  const ada = person('ada', ['engineering']);
  const decide: TestingGateway['controlPlane']['decide'] = ({ needs, context }) => {
    const question = { now, needs, context: { ...context, hasWhere: context.hasWhere ?? false } };
    const answer = engine.decide({ action: 'statement', principal: ada, role: driverRole.name, ...question });
    const explained = { policyVersion: answer.version, policies: answer.policies, variesWith: 'nothing' } as const;
    if (answer.kind === 'allow') return Promise.resolve({ kind: 'allow', ...explained });
    if (answer.kind === 'curable') throw new Error('no policy here has a cure');
    const roles = engine.rolesThatGive({ principal: ada, resource: driverRole.resource, ...question });
    return Promise.resolve({ kind: 'deny', ...explained, missing: answer.missing, roles });
  };
  Object.assign(gateway.controlPlane, { decide });
  const { grant, ...login } = gateway.give(driverRole);
  return {
    gateway,
    target,
    login,
    ca: target.caFile,
    env: {
      ...process.env,
      ...gateway.env(login),
      PGHOST: 'localhost',
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: target.caFile,
      DRIVER_CA: target.caFile,
      LC_ALL: 'C.UTF-8',
    },
    begun: async (part) => {
      await gateway.event('statement.begun', ({ text }) => text.text.includes(part));
      // It is recorded before it is forwarded: what cancels it now might overtake it.
      for (let isRunning = false; !isRunning;) {
        const rows = await target.query(
          `select from pg_stat_activity where strpos(query, $1) > 0 and state = 'active' and usename like 'sally_l_%'`,
          [part],
        );
        isRunning = rows.length > 0;
      }
    },
    record: () => compareRecord(gateway, target, grant),
  };
}

async function compareRecord(gateway: TestingGateway, target: TestTarget, grant: string): Promise<Recorded> {
  const of = <K extends GatewayEvent['kind']>(kind: K) =>
    gateway.controlPlane
      .events()
      .filter((event): event is GatewayEvent & { kind: K } => event.kind === kind && 'on' in event)
      .filter((event) => 'on' in event && event.on.grant === grant);
  gateway.controlPlane.endGrant(grant as Parameters<typeof gateway.controlPlane.endGrant>[0]);
  while (gateway.gateway.sessions().length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await gateway.gateway.stop();
  const begun = of('statement.begun');
  const failed = new Set<string>();
  for (const { on, statement, outcome } of of('statement.ended'))
    if (outcome.kind === 'skipped' || outcome.kind === 'failed') failed.add(`${on.session} ${statement}`);
  const ran = statementsIn(target.log());
  const left = new Map<string, number>();
  for (const text of ran) left.set(text, (left.get(text) ?? 0) + 1);
  const onlyRecorded: string[] = [];
  const isFailed = ({ on, statement }: (typeof begun)[number]) => failed.has(`${on.session} ${statement}`);
  for (const event of begun.toSorted((a, b) => Number(isFailed(a)) - Number(isFailed(b)))) {
    const { text } = event.text;
    const count = left.get(text) ?? 0;
    if (count > 0) left.set(text, count - 1);
    // What fails before its execution, when its parameters are read for instance, and what is empty, the server doesn't log.
    else if (!isFailed(event) && text !== '') onlyRecorded.push(text);
  }
  const onlyRan = [...left].flatMap(([text, count]) => (count === 0 ? [] : [text]));
  return { count: ran.length, onlyRan, onlyRecorded, begun, denied: of('statement.denied').map((e) => e.text.text) };
}

/** The texts that the server says it has run for logins of the gateway, without what the gateway itself asks. */
function statementsIn(log: string): string[] {
  const found: string[] = [];
  for (const entry of log.split(/^(?=¦)/m)) {
    const match = /^¦sally_l_[^¦]*¦\d+¦ LOG: {2}(?:statement|execute [^\n]*?): (.*)$/s.exec(entry.replace(/\n$/, ''));
    if (match === null) continue;
    const text = (match[1] ?? '').replaceAll('\n\t', '\n');
    if (text !== namesQuery && !text.startsWith('sallyport refused')) found.push(text);
  }
  return found;
}

/**
 * One suite for every driver: each does the same with its own means, through a gateway with the shipped policies in front
 * of a real server, over TLS with the certificate verified. What came of it is compared with one list; then the record is
 * compared with what the server itself says it ran.
 *
 * A driver in another language is a script beside its test that prints one JSON line for each check: `{"check": …,
 * "value": …}`. It finds the gateway in the environment variables of libpq, and `DRIVER_CA` is the authority's certificate.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { after, describe, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { namesQuery } from '#sql/catalogue.ts';
import { startTestingGateway, type TestingGateway } from '#gateway/_testing-gateway.ts';
import type { GatewayEvent, RecordedParameter } from '#gateway/records.ts';
import { configuration, engineWith, person, role } from '#test/support/policy.ts';
import { testTarget, type TestTarget } from '#test/support/postgres.ts';
import { isLeftOut } from '../../tools/needs.ts';

/** What is inserted with parameters, as PostgreSQL writes it. */
export const values = {
  small: '-7',
  whole: '2147483647',
  big: '9007199254740993',
  num: '12345678901234567890.123456789',
  word: `Grüße, 世界 🐘 'quoted' "twice" \\ \n end`,
  bytes: '\\x00ff107f80',
  at: '2026-11-22 13:14:15.123456+00',
  uid: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  doc: '{"a": [1, 2, {"b": null}], "ü": "ß"}',
  list: '{1,NULL,3}',
  words: '{"a,b","\\"q\\"",NULL,ü}',
  yes: 'true',
  nothing: null,
} as const;

/** What each check must come to; a driver leaves out what it doesn't have. */
export const expected = {
  /** The role it runs as, and whether its connection is encrypted. */
  connect: 'sally_r_ over TLS',
  /** The row that it inserted with parameters, read back by its own means. */
  parameters: 'as sent',
  /** Rows inserted in a batch or pipeline. */
  batch: 500,
  'copy in': 1000,
  'copy out': 1000,
  /** SQLSTATE of a statement that it cancels. */
  cancel: '57014',
  notification: ['driver_news', 'Grüße'],
  /** What is there after commit, rollback, and an error behind a savepoint that was gone back to. */
  transaction: ['committed', 'before the savepoint', 'after the error'],
  'errors of the server': ['22012', '23505'],
  refused: ['42501', 'orders/secrets would give it: sally request orders/secrets --for 1h --reason "…"'],
  'refused in a transaction': ['42501', '25P02', 'usable after rollback'],
  /** Rows and their sum, read in portions. */
  'big result': [200_000, 20_000_100_000],
  /** Connections open at the same time, each of which answered. */
  'many connections': 100,
} as const;
type Check = keyof typeof expected;
export type Outcome = Readonly<Record<string, unknown>>;

export const bigQuery = 'select n::int8 as n from generate_series(1, 200000) n';

/** What a query failed with; nothing when it didn't. */
export function failureOf(query: PromiseLike<unknown>): Promise<{ readonly code?: string; readonly hint?: string }> {
  return Promise.resolve(query).then(
    () => ({}),
    (error: { readonly code?: string; readonly hint?: string }) => error,
  );
}

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

const driverRole = role('orders/driver', {
  maxConnections: 110,
  permissions: {
    tables: [
      ...['driver_values', 'driver_rows', 'driver_copies', 'driver_notes'].map((name) => ({ ...table(name), ...all })),
      { ...table('driver_notes_n_seq'), select: 'all' },
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
  /** The texts that were recorded, and those that the server logged: equal when the record is whole. */
  readonly record: () => Promise<Recorded>;
};

export type Recorded = {
  readonly recorded: readonly string[];
  readonly ran: readonly string[];
  readonly begun: readonly (GatewayEvent & { readonly kind: 'statement.begun' })[];
  readonly denied: readonly string[];
};

/** A gateway for one driver's tests, with the target behind it. */
export async function openHouse(): Promise<House> {
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
    const question = { needs, context: { ...context, hasWhere: context.hasWhere ?? false } };
    const answer = engine.decide({ action: 'statement', principal: ada, role: driverRole.name, ...question });
    const explained = { policyVersion: answer.version, policies: answer.policies };
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
      DRIVER_VALUES: JSON.stringify(values),
      LC_ALL: 'C.UTF-8',
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
  // A statement that fails before its execution, for instance when its parameters are read, isn't in the server's log.
  const left = new Map<string, number>();
  for (const text of ran) left.set(text, (left.get(text) ?? 0) + 1);
  const recorded: string[] = [];
  const sorted = begun.toSorted((a, b) => Number(isFailed(a)) - Number(isFailed(b)));
  function isFailed({ on, statement }: (typeof begun)[number]): boolean {
    return failed.has(`${on.session} ${statement}`);
  }
  for (const event of sorted) {
    const { text } = event.text;
    const count = left.get(text) ?? 0;
    if (count === 0 && isFailed(event)) continue;
    left.set(text, count - 1);
    recorded.push(text);
  }
  return {
    recorded: recorded.toSorted(),
    ran: ran.toSorted(),
    begun,
    denied: of('statement.denied').map((e) => e.text.text),
  };
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

/** Runs a program to its end, and answers with what it printed; a failure shows all that it said. */
export async function runProgram(
  house: House,
  [program = '', ...args]: readonly string[],
  more: { readonly env?: Readonly<Record<string, string>>; readonly stdin?: string } = {},
): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(program, args, { env: { ...house.env, ...more.env }, timeout: 120_000 });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(more.stdin ?? '');
  const status = await new Promise<number | null>((done, fail) => {
    child.once('error', fail);
    child.once('close', done);
  });
  return { status, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** Runs a script that lies beside the tests, and gathers what it says of each check. */
export async function runScript(house: House, program: readonly string[], script: string): Promise<Outcome> {
  const { status, stdout, stderr } = await runProgram(house, [...program, join(import.meta.dirname, script)]);
  const outcome: Record<string, unknown> = {};
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { check, value } = JSON.parse(line) as { check: string; value: unknown };
    outcome[check] = value;
  }
  if (status !== 0) outcome['failure'] = `\`${script}\` ended with ${String(status)}\n${stdout}\n${stderr}`;
  return outcome;
}

export type Driver = {
  /** As tools/needs.ts calls it. */
  readonly name: string;
  readonly run: (house: House) => Promise<Outcome>;
  /** What the driver doesn't have, with the reason. */
  readonly without?: Readonly<Partial<Record<Check, string>>>;
  /** Checks of its own beside the common ones, with what they must come to. */
  readonly also?: Readonly<Record<string, unknown>>;
  /** What the driver itself makes of a value on its way. */
  readonly stores?: Readonly<Partial<Record<keyof typeof values, string>>>;
  /** It puts values into the text instead of sending parameters. */
  readonly putsValuesIntoText?: true;
};

/** Runs a driver, and declares its tests. */
export async function testDriver(driver: Driver): Promise<void> {
  if (isLeftOut(driver.name)) {
    test(driver.name, { skip: 'it isn’t installed' });
    return;
  }
  const house = await openHouse();
  const outcome = await driver.run(house);
  await describe(driver.name, () => {
    test('it comes to its end', () => assert.equal(outcome['failure'], undefined, String(outcome['failure'])));
    for (const [check, value] of Object.entries({ ...expected, ...driver.also })) {
      if (driver.without !== undefined && check in driver.without) continue;
      test(check, () => assert.deepEqual(outcome[check], value));
    }
    if (driver.without?.parameters === undefined)
      test('what it inserted is there, exactly', async () => {
        const columns = Object.keys(values).map((name) => `${name}::text`);
        assert.deepEqual(await house.target.query(`select ${columns.join(', ')} from driver_values`), [
          { ...values, ...driver.stores },
        ]);
      });
    test('the record has every statement that the server ran, and nothing else', async () => {
      const { recorded, ran, begun, denied } = await house.record();
      assert.ok(ran.length > 10, `${ran.length}`);
      assert.deepEqual(recorded, ran);
      assert.ok(
        denied.some((text) => text.includes('driver_secrets')),
        denied.join('\n'),
      );
      const insert = begun.find(({ text }) => /^\s*insert into driver_values/i.test(text.text));
      if (driver.without?.parameters !== undefined) return;
      assert.ok(insert !== undefined);
      if (driver.putsValuesIntoText === true) {
        for (const value of [values.big, values.num, values.uid]) assert.ok(insert.text.text.includes(value), value);
        assert.equal(insert.parameters?.length ?? 0, 0);
      } else assertParameters(insert.parameters ?? []);
    });
  });
}

/** The parameters of the insert were recorded in words that stand for the values, in whatever format they were sent. */
function assertParameters(parameters: readonly RecordedParameter[]): void {
  const shown = parameters.map((parameter) =>
    parameter === null ? null : 'text' in parameter ? parameter.text : `\\x${parameter.hex}`,
  );
  for (const value of [values.small, values.whole, values.big, values.num, values.word, values.uid])
    assert.ok(shown.includes(value), `\`${value}\` is not in ${JSON.stringify(shown)}`);
  assert.ok(shown.includes(null));
  // In the binary format and without a type it is what it is, and that is right for `bytea` alone.
  const hex = shown.filter((text) => text?.startsWith('\\x') === true);
  assert.ok(
    hex.every((text) => text === values.bytes),
    JSON.stringify(shown),
  );
}

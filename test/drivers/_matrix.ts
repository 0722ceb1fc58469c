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
import { describe, test } from 'node:test';
import type { RecordedParameter } from '#gateway/records.ts';
import { openHouse, type House } from '#test/support/driver-house.ts';
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
  refused: ['42501', 'orders/secrets would give it: sally request --from-denial den_…'],
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

/** Runs a program to its end, and answers with what it printed; a failure shows all that it said. */
export async function runProgram(
  house: House,
  [program = '', ...args]: readonly string[],
  more: { readonly env?: Readonly<Record<string, string>>; readonly stdin?: string } = {},
): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(program, args, {
    env: { ...house.env, DRIVER_VALUES: JSON.stringify(values), ...more.env },
    timeout: 120_000,
  });
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
  /** What there is on the target for it, and may be read and written by its role. */
  readonly schema?: string;
  readonly tables?: readonly string[];
  /** What the driver doesn't have, with the reason. */
  readonly without?: Readonly<Partial<Record<Check, string>>>;
  /** Checks of its own beside the common ones, with what they must come to. */
  readonly also?: Readonly<Record<string, unknown>>;
  /** What the driver itself makes of a value on its way. */
  readonly stores?: Readonly<Partial<Record<keyof typeof values, string>>>;
  /** It puts values into the text instead of sending parameters. */
  readonly putsValuesIntoText?: true;
};

/** For tools that are no drivers: they do what they do, and all of it is in `also`. */
export function withoutCommonChecks(because: string): Readonly<Record<Check, string>> {
  return Object.fromEntries(Object.keys(expected).map((check) => [check, because])) as Record<Check, string>;
}

/** Ids of denials are others each time. */
const withoutIds = (value: unknown): unknown =>
  value === undefined ? value : JSON.parse(JSON.stringify(value).replaceAll(/den_[0-9a-z]{26}/g, 'den_…'));

/** Runs a driver, and declares its tests. */
export async function testDriver(driver: Driver): Promise<void> {
  if (isLeftOut(driver.name)) {
    test(driver.name, { skip: 'it isn’t installed' });
    return;
  }
  const house = await openHouse(driver);
  const outcome = await driver.run(house);
  await describe(driver.name, () => {
    test('it comes to its end', () => assert.equal(outcome['failure'], undefined, String(outcome['failure'])));
    for (const [check, value] of Object.entries({ ...expected, ...driver.also })) {
      if (driver.without !== undefined && check in driver.without && !(check in (driver.also ?? {}))) continue;
      test(check, () => assert.deepEqual(withoutIds(outcome[check]), value));
    }
    if (driver.without?.parameters === undefined)
      test('what it inserted is there, exactly', async () => {
        const columns = Object.keys(values).map((name) => `${name}::text`);
        assert.deepEqual(await house.target.query(`select ${columns.join(', ')} from driver_values`), [
          { ...values, ...driver.stores },
        ]);
      });
    test('the record has every statement that the server ran, and nothing else', async () => {
      const { count, onlyRan, onlyRecorded, begun, denied } = await house.record();
      assert.ok(count > 10, `${count}`);
      assert.deepEqual({ onlyRan, onlyRecorded }, { onlyRan: [], onlyRecorded: [] });
      assert.ok(denied.length > 0);
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

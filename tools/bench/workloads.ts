/**
 * What the load generator sends: the statements of pgbench's two built-in scripts as libpq puts them on the wire. A step is one
 * round trip; its bytes are made once and only the digits of the random account change, so that the client costs
 * little. Accounts are drawn from 100,000 to 999,999: always six digits.
 */
import {
  encodeBind,
  encodeExecute,
  encodeParse,
  encodeQuery,
  encodeSync,
  encodeTarget,
} from '#wire/postgres/frontend.ts';

export type Mode = 'simple' | 'extended' | 'prepared' | 'tpcb';
export const modes: readonly Mode[] = ['simple', 'extended', 'prepared', 'tpcb'];

/** pgbench scale: accounts are 100,000 times this. */
export const scale = 10;

/** What is granted to the gateway's administrator, and by it to the roles. */
export const benchTables = {
  pgbench_branches: ['select', 'insert', 'update'],
  pgbench_tellers: ['select', 'insert', 'update'],
  pgbench_accounts: ['select', 'insert', 'update'],
  pgbench_history: ['select', 'insert'],
  bench_copied: ['select', 'insert'],
} as const;

/** The bytes of the next round trip. They may be written over at the next call. */
export type Step = () => Buffer;

export type Workload = {
  /** Sent once per connection. */
  readonly prepare: Buffer | undefined;
  /** Sent one after the other, round and round; all of them together are one transaction of pgbench. */
  readonly steps: readonly Step[];
};

const selectText = 'SELECT abalance FROM pgbench_accounts WHERE aid = ';
const preparedName = 'P0_1';
const placeholder = '999999';

/** Every connection needs one of its own: the bytes are written over. */
export function workload(mode: Mode, random: () => number = Math.random): Workload {
  const from = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const account = () => from(100_000, 999_999);
  switch (mode) {
    case 'simple':
      return { prepare: undefined, steps: [varied(encodeQuery(`${selectText}${placeholder};`), account)] };
    case 'extended':
      return { prepare: undefined, steps: [varied(Buffer.concat([parse(''), run('')]), account)] };
    case 'prepared':
      return {
        prepare: Buffer.concat([parse(preparedName), encodeSync()]),
        steps: [varied(run(preparedName), account)],
      };
    case 'tpcb': {
      // The script `tpcb-like`: one account, teller, branch and amount for the whole transaction.
      let aid = 0;
      let tid = 0;
      let bid = 0;
      let delta = 0;
      const begin = encodeQuery('BEGIN;');
      const end = encodeQuery('END;');
      return {
        prepare: undefined,
        steps: [
          () => {
            aid = account();
            tid = from(1, scale * 10);
            bid = from(1, scale);
            delta = from(-5000, 5000);
            return begin;
          },
          () => encodeQuery(`UPDATE pgbench_accounts SET abalance = abalance + ${delta} WHERE aid = ${aid};`),
          () => encodeQuery(`${selectText}${aid};`),
          () => encodeQuery(`UPDATE pgbench_tellers SET tbalance = tbalance + ${delta} WHERE tid = ${tid};`),
          () => encodeQuery(`UPDATE pgbench_branches SET bbalance = bbalance + ${delta} WHERE bid = ${bid};`),
          () =>
            encodeQuery(
              `INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (${tid}, ${bid}, ${aid}, ${delta}, CURRENT_TIMESTAMP);`,
            ),
          () => end,
        ],
      };
    }
    default:
      return mode satisfies never;
  }
}

function varied(bytes: Buffer, account: () => number): Step {
  const at = bytes.lastIndexOf(placeholder);
  return () => {
    bytes.write(String(account()), at, 'latin1');
    return bytes;
  };
}

function parse(name: string): Buffer {
  return encodeParse({ statement: name, text: `${selectText}$1;`, parameterTypes: [] });
}

/** Bind, Describe, Execute and Sync, as PQsendQueryParams and PQsendQueryPrepared send them. */
function run(statement: string): Buffer {
  return Buffer.concat([
    encodeBind({ portal: '', statement, values: [placeholder] }),
    encodeTarget('D', { on: 'portal', name: '' }),
    encodeExecute({ portal: '', maxRows: 0 }),
    encodeSync(),
  ]);
}

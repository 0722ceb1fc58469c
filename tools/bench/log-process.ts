/** The way from a journal to the log, without a gateway: what an entry costs here and in the store. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sequenceLog } from '#app/sequence-log.ts';
import { shipJournal, type JournalEvent, type ShippedRecord } from '#app/ship-journal.ts';
import { active, session } from '#test/support/access.ts';
import { testApp, type TestApp } from '#test/support/app.ts';
import { query } from '#test/support/postgres.ts';
import { serve } from './child.ts';
import { cpuOf, treeOf } from './process-cost.ts';

export type LogCost = {
  /** Entries a second, shipped and in the tree. */
  readonly perSecond: number;
  /** CPU in this process and in the store's, in microseconds an entry. */
  readonly ownUs: number;
  readonly storeUs: number;
};

export type LogCalls = {
  readonly start: (input: undefined) => Promise<void>;
  /** Ships so many statements, two records each, and sequences them. */
  readonly take: (statements: number) => Promise<LogCost>;
  /** As if so many entries had been written before. */
  readonly grow: (entries: number) => Promise<void>;
};

const releases: (() => void | Promise<void>)[] = [];
let app: TestApp | undefined;
let on: Extract<JournalEvent, { kind: 'statement.begun' }>['on'] | undefined;
let next = 1;
const gateway = 'gw_measured';

/** The store's processes; connections come and go. */
const storeOf = () => treeOf(process.pid).filter((pid) => pid !== process.pid);

function records(count: number): ShippedRecord[] {
  if (app === undefined || on === undefined) throw new Error('not started');
  const out: ShippedRecord[] = [];
  const at = app.clock.now();
  for (let i = 0; i < count; i += 1) {
    const statement = (next + 1) >> 1;
    out.push({
      number: next,
      at,
      event: {
        kind: 'statement.begun',
        on,
        statement,
        protocol: 'extended',
        text: { text: 'SELECT abalance FROM pgbench_accounts WHERE aid = $1;' },
        parameters: [{ text: String(100_000 + (i % 1000)) }],
        policyVersion: 'a'.repeat(64),
        policies: ['role:bench/all:public.pgbench_accounts:select'],
      },
    });
    out.push({
      number: next + 1,
      at,
      event: {
        kind: 'statement.ended',
        on,
        statement,
        command: 0,
        outcome: { kind: 'completed', tag: 'SELECT 1', rows: 1 },
        durationMs: 0.123,
        bytesOut: 12,
        bytesIn: 0,
        transaction: { number: statement, state: 'committed' },
      },
    });
    next += 2;
  }
  return out;
}

serve(
  {
    start: async () => {
      app = await testApp({ after: (release) => releases.push(release) });
      const ada = await app.person('ada', ['engineering']);
      const bob = await app.person('bob', ['dba']);
      const of = await session(app, ada, await active(app, ada, bob));
      on = { session: of.id, grant: of.grant, principal: of.principal.id, resource: 'orders', role: of.role.name };
      while ((await sequenceLog(app.ctx)) > 0);
    },
    take: async (statements) => {
      if (app === undefined) throw new Error('not started');
      const { ctx } = app;
      // The gateway reads up to 256 kB of its journal at once.
      const batches: ShippedRecord[][] = [];
      for (let left = statements; left > 0; left -= 250) batches.push(records(Math.min(left, 250)));
      const cpu = process.cpuUsage();
      const store = storeOf();
      const storeCpu = cpuOf(store);
      const started = performance.now();
      for (const batch of batches) await shipJournal(ctx, gateway, batch);
      while ((await sequenceLog(ctx)) > 0);
      const ms = performance.now() - started;
      const { user, system } = process.cpuUsage(cpu);
      const entries = statements * 2;
      return {
        perSecond: (entries / ms) * 1000,
        ownUs: (user + system) / entries,
        storeUs: (cpuOf(store) - storeCpu) / 1000 / entries,
      };
    },
    grow: async (entries) => {
      if (app === undefined || on === undefined) throw new Error('not started');
      // Copies of an entry that is there, far behind the places that the sequencer gives.
      await query(
        app.address,
        `insert into log_entry (id, at, kind, actor, subjects, leaf, about)
         select 'ent_' || lpad(n::text, 26, '0'), at, kind, actor,
                jsonb_build_object('session', 'ses_' || lpad((n / 100)::text, 26, '0'), 'grant', 'grt_' || lpad((n / 1000)::text, 26, '0'),
                                   'principal', subjects ->> 'principal', 'role', subjects ->> 'role', 'resource', subjects ->> 'resource',
                                   'statement', n::text),
                leaf, about
         from (select * from log_entry where kind = 'statement.begun' limit 1) one, generate_series(1, $1::int) n`,
        [entries],
      );
      await query(
        app.address,
        `with gone as (delete from log_waiting returning seq) insert into log_place select 1000000000 + seq, seq from gone`,
      );
      await query(
        app.address,
        `insert into log_content select e.id, c.key, c.blob from log_entry e, (select * from log_content limit 1) c
         where e.kind = 'statement.begun' on conflict do nothing`,
      );
      await query(app.address, 'vacuum analyze');
      await query(app.address, 'checkpoint');
      // What the server does by itself after so much has been written is not what an entry costs.
      for (const until = performance.now() + 30_000; performance.now() < until;) {
        const before = cpuOf(storeOf());
        await sleep(1000);
        if (cpuOf(storeOf()) - before < 20e6) break;
      }
    },
  } satisfies LogCalls,
  async () => {
    for (const release of releases) await release();
  },
);

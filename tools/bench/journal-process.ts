/** The journal alone, on a real disk: how many records it takes, and how soon they would survive a power cut. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { GrantId, PrincipalId, ResourceName, RoleName, SessionId } from '#core/ids.ts';
import { parseInstant, type Instant } from '#core/instant.ts';
import { openJournalDisk } from '#gateway/journal-disk.ts';
import { Journal } from '#gateway/journal.ts';
import type { GatewayEvent } from '#gateway/records.ts';
import { serve } from './child.ts';

export type JournalCalls = {
  /** Records per second from the first to the last being durable, and what one costs of this process. */
  readonly flatOut: (records: number) => Promise<{ readonly perSecond: number; readonly cpuUs: number }>;
  /** Milliseconds from each record to its being durable. */
  readonly paced: (ask: { readonly perSecond: number; readonly seconds: number }) => Promise<readonly number[]>;
};

const letters = 'abcdefghjkmnpqrstvwxyz0123';
const event: GatewayEvent = {
  kind: 'statement.begun',
  on: {
    session: `ses_${letters}` as SessionId,
    grant: `grt_${letters}` as GrantId,
    principal: `usr_${letters}` as PrincipalId,
    resource: 'bench' as ResourceName,
    role: 'bench/all' as RoleName,
  },
  statement: 123_456,
  protocol: 'extended',
  text: { text: 'SELECT abalance FROM pgbench_accounts WHERE aid = $1;' },
  parameters: [{ text: '123456' }],
  policyVersion: 'a'.repeat(64),
  policies: ['role:bench/all:public.pgbench_accounts:select'],
};

async function withJournal<T>(work: (journal: Journal) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'sally-bench-journal-'));
  const journal = new Journal({
    disk: openJournalDisk(folder),
    clock: { now: () => parseInstant(Date.now()) as Instant },
    // Nobody ships here.
    maxUnshippedBytes: 8 * 2 ** 30,
  });
  try {
    return await work(journal);
  } finally {
    await journal[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

const durable = (journal: Journal, number: number) =>
  new Promise<void>((resolve) => journal.whenDurable(number, resolve));

serve({
  flatOut: (records) =>
    withJournal(async (journal) => {
      const started = performance.now();
      const cpu = process.cpuUsage();
      for (let left = records; left > 0; left -= 64) {
        for (let i = 0; i < 64; i += 1) if (journal.append(event) === 0) throw new Error('the journal is full');
        journal.flush();
        await turn();
      }
      await durable(journal, journal.lastNumber);
      const { user, system } = process.cpuUsage(cpu);
      return { perSecond: (records / (performance.now() - started)) * 1000, cpuUs: (user + system) / records };
    }),
  paced: ({ perSecond, seconds }) =>
    withJournal(async (journal) => {
      const took: number[] = [];
      const started = performance.now();
      let appended = 0;
      for (let elapsed = 0; elapsed < seconds * 1000; elapsed = performance.now() - started) {
        for (; appended < (elapsed / 1000) * perSecond; appended += 1) {
          const at = performance.now();
          const number = journal.append(event);
          journal.flush();
          journal.whenDurable(number, () => took.push(performance.now() - at));
        }
        await sleep(1);
      }
      await durable(journal, journal.lastNumber);
      return took;
    }),
} satisfies JournalCalls);

import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseInstant, type Instant } from '#core/instant.ts';
import type { ResourceName } from '#core/ids.ts';
import { createTestingDisk } from './_testing-disk.ts';
import { chain, chainAt } from './_segment.ts';
import { Journal, type JournalOptions } from './journal.ts';
import { openJournalDisk } from './journal-disk.ts';
import type { GatewayEvent, JournalRecord } from './records.ts';
import { shipTo, startShipper } from './shipper.ts';

const clock = { now: () => parseInstant(1_700_000_000_000) as Instant };
const event = (detail: string): GatewayEvent => ({
  kind: 'target.alarm',
  resource: 'orders' as ResourceName,
  what: 'test',
  detail,
});
const open = (options: Partial<JournalOptions> & Pick<JournalOptions, 'disk'>) =>
  new Journal({ clock, syncEveryMs: 0, ...options });
const durable = (journal: Journal) =>
  new Promise<void>((resolve) => journal.whenDurable(journal.lastNumber, () => resolve()));
const details = (records: readonly JournalRecord[]) =>
  records.map(({ event: e }) => (e.kind === 'target.alarm' ? e.detail : ''));

function takeAll(journal: Journal): JournalRecord[] {
  const out: JournalRecord[] = [];
  for (let batch = journal.unshipped(); batch.length > 0; batch = journal.unshipped()) {
    out.push(...batch);
    journal.shipped(batch.at(-1)?.number ?? 0);
  }
  return out;
}

test('records are numbered from one, without gaps, over a restart and over segments', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-journal-'));
  try {
    for (const round of [0, 1, 2]) {
      const journal = open({ disk: openJournalDisk(folder), segmentBytes: 2000 });
      for (let i = 1; i <= 50; i += 1) {
        assert.equal(journal.append(event(`é${round * 50 + i}`)), round * 50 + i);
        if (i % 3 === 0) assert.ok(journal.flush());
      }
      await journal[Symbol.asyncDispose]();
    }
    const journal = open({ disk: openJournalDisk(folder), segmentBytes: 2000 });
    assert.deepEqual(
      details(takeAll(journal)),
      Array.from({ length: 150 }, (_, i) => `é${i + 1}`),
    );
    assert.deepEqual(journal.unshipped(), []);
    await journal[Symbol.asyncDispose]();
    assert.equal(openJournalDisk(folder).list().length, 1, 'shipped segments are removed');
    const again = open({ disk: openJournalDisk(folder) });
    assert.equal(again.append(event('next')), 151);
    await again[Symbol.asyncDispose]();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('INVARIANT 6: what was acknowledged as durable is there after a power cut at any moment, and nothing half', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ size: fc.nat(5000), flush: fc.boolean(), wait: fc.boolean() }), { maxLength: 40 }),
      fc.nat(),
      async (steps, seed) => {
        const disk = createTestingDisk();
        const journal = open({ disk, segmentBytes: 10_000 });
        let acknowledged = 0;
        const sizes: number[] = [];
        for (const step of steps) {
          sizes.push(step.size);
          const number = journal.append(event('x'.repeat(step.size)));
          if (step.flush) assert.ok(journal.flush());
          if (step.wait) journal.whenDurable(number, () => (acknowledged = Math.max(acknowledged, number)));
          if (step.wait) await new Promise((resolve) => setImmediate(resolve));
        }
        const found = disk.afterPowerCut((unsynced) => (unsynced === 0 ? 0 : seed % (unsynced + 1)));
        const recovered = open({ disk: found });
        const records = takeAll(recovered);
        assert.ok(records.length >= acknowledged, `${records.length} of ${acknowledged} acknowledged`);
        for (const [i, record] of records.entries()) {
          assert.equal(record.number, i + 1);
          assert.equal(details([record])[0]?.length, sizes[i]);
        }
        assert.equal(recovered.append(event('next')), records.length + 1);
      },
    ),
    { numRuns: 100 },
  );
});

test('INVARIANT 6: a full disk means that nothing is acknowledged, and what was half written is not there', async () => {
  const disk = createTestingDisk();
  let failures = 0;
  const journal = open({ disk, onFailure: () => (failures += 1) });
  journal.append(event('first'));
  assert.equal(journal.flush(), true);
  disk.room = 30;
  journal.append(event('second'));
  assert.equal(journal.flush(), false);
  assert.equal(journal.state, 'failed');
  assert.equal(journal.flush(), false);
  assert.equal(failures, 1);
  let isWritable = false;
  journal.whenWritable(() => (isWritable = true));
  assert.equal(journal.retry(), false);
  disk.room = Infinity;
  assert.equal(isWritable, false);
  assert.equal(journal.retry(), true);
  assert.equal(isWritable, true);
  assert.equal(journal.state, 'open');
  await durable(journal);
  assert.deepEqual(details(takeAll(journal)), ['first', 'second']);
  await journal[Symbol.asyncDispose]();
});

test('a failed sync is final: the kernel may have dropped what it could not write', async () => {
  const disk = createTestingDisk();
  let failed: () => void = () => {};
  const failure = new Promise<void>((resolve) => (failed = resolve));
  const journal = open({ disk, onFailure: () => failed() });
  disk.failNextSync = true;
  journal.append(event('one'));
  journal.flush();
  await failure;
  assert.equal(journal.state, 'failed');
  assert.equal(journal.retry(), false);
  journal.append(event('two'));
  assert.equal(journal.flush(), false);
  assert.deepEqual(journal.unshipped(), [], 'what is not durable is not shipped: its number could be given again');
});

test('a changed byte in a sealed segment stops the start; in the last segment the rest is cut and kept aside', async () => {
  const disk = createTestingDisk();
  const journal = open({ disk, segmentBytes: 500 });
  for (let i = 0; i < 20; i += 1) {
    journal.append(event(`number ${i}`));
    journal.flush();
  }
  await journal[Symbol.asyncDispose]();
  const names = disk.list().toSorted();
  assert.ok(names.length > 3);
  const flip = (name: string) =>
    disk.edit(name, (bytes) => {
      const copy = Buffer.from(bytes);
      const at = copy.length - 20;
      copy[at] = (copy[at] ?? 0) ^ 1;
      return copy;
    });
  const last = names.at(-1) ?? '';
  flip(last);
  const cut = open({ disk });
  assert.ok(cut.lastNumber < 20);
  assert.ok(disk.bytes(`${last}.torn`).length > 0);
  await cut[Symbol.asyncDispose]();
  flip(names[1] ?? '');
  assert.throws(() => open({ disk }), { code: 'journal_corrupt' });
});

test('too much that waits for the control plane: statements wait until there is room', async () => {
  const journal = open({ disk: createTestingDisk(), maxUnshippedBytes: 3000, segmentBytes: 1000 });
  for (let i = 0; i < 20; i += 1) journal.append(event('x'.repeat(100)));
  journal.flush();
  assert.equal(journal.state, 'full');
  let isWritable = false;
  journal.whenWritable(() => (isWritable = true));
  await durable(journal);
  takeAll(journal);
  assert.equal(journal.state, 'open');
  assert.equal(isWritable, true);
  await journal[Symbol.asyncDispose]();
});

test('the shipper delivers each record once and in order to a control plane that fails, also when it failed yet stored', async () => {
  const disk = createTestingDisk();
  const stored: string[] = [];
  let storedUpTo = 0;
  let call = 0;
  const controlPlane = {
    ship(_gateway: string, batch: readonly JournalRecord[]) {
      call += 1;
      if (call % 3 === 1) return Promise.reject(new Error('away'));
      // Stores a part only, and exactly once, as the contract says.
      for (const record of batch.slice(0, 7)) {
        if (record.number <= storedUpTo) continue;
        assert.equal(record.number, storedUpTo + 1);
        storedUpTo = record.number;
        stored.push(...details([record]));
      }
      if (call % 3 === 2) return Promise.reject(new Error('failed, yet it happened'));
      return Promise.resolve({ storedUpTo });
    },
  };
  const journal = open({ disk, segmentBytes: 1000 });
  const shipper = startShipper({ journal, ship: shipTo(controlPlane), gatewayId: 'g', retryMs: 1 });
  for (let i = 0; i < 60; i += 1) journal.append(event(String(i)));
  journal.flush();
  await durable(journal);
  await shipper.drain(AbortSignal.timeout(10_000));
  assert.deepEqual(
    stored,
    Array.from({ length: 60 }, (_, i) => String(i)),
  );
  await shipper[Symbol.asyncDispose]();
  await journal[Symbol.asyncDispose]();
});

test('what is appended in one turn is written once at its end, whoever asked for it', async () => {
  const disk = createTestingDisk();
  let writes = 0;
  const counted = {
    ...disk,
    open(name: string) {
      const file = disk.open(name);
      return {
        ...file,
        append: (bytes: Buffer, from: number, length: number) => {
          writes += 1;
          return file.append(bytes, from, length);
        },
      };
    },
  };
  const journal = open({ disk: counted });
  writes = 0;
  for (let i = 1; i <= 20; i += 1) {
    journal.append(event(`statement ${i} of 20`));
    journal.flushSoon();
  }
  assert.equal(writes, 0);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(writes, 1);
  assert.match(disk.bytes(disk.list()[0] ?? '').toString(), /statement 20 of 20/);
  journal.append(event('another'));
  journal.flushSoon();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(writes, 2);
  await journal[Symbol.asyncDispose]();
});

test('more than fits the buffer within one turn is written before it ends, and nothing is lost', async () => {
  const disk = createTestingDisk();
  const journal = open({ disk, segmentBytes: 300_000 });
  const sizes = Array.from({ length: 40 }, (_, i) => (i % 5 === 0 ? 400_000 : 9000) + i);
  for (const size of sizes) assert.ok(journal.append(event('é'.repeat(size))) > 0);
  assert.ok(journal.flush());
  await durable(journal);
  assert.deepEqual(
    details(takeAll(journal)).map((detail) => detail.length),
    sizes,
  );
  await journal[Symbol.asyncDispose]();
  const again = open({ disk });
  assert.equal(again.lastNumber, 40, 'the chain holds');
});

test('a line made in place is the same as one made of strings', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 9 }), (detail, previous) => {
      const json = JSON.stringify(event(detail));
      const before = hash('sha256', previous, 'hex');
      const buffer = Buffer.alloc(1000);
      const end = 100 + buffer.write(json, 100);
      assert.equal(chainAt(buffer, 100, end, before), chain(before, json));
    }),
  );
});

test('INVARIANT 6: ends of sessions are kept while nothing can be written, however much else there is', async () => {
  const disk = createTestingDisk();
  const journal = open({ disk, maxBufferedBytes: 300_000 });
  disk.room = 0;
  while (journal.append(event('x'.repeat(10_000))) > 0);
  const on = { session: 'ses_1', grant: 'grt_1', principal: 'usr_1', resource: 'orders', role: 'orders/read' };
  const ended = { kind: 'session.ended', on, reason: 'journal_failed', statements: 1, bytesIn: 0, bytesOut: 0 };
  for (let i = 0; i < 1000; i += 1) assert.ok(journal.append(ended as GatewayEvent) > 0);
  disk.room = Infinity;
  assert.ok(journal.retry());
  await durable(journal);
  const kinds = takeAll(journal).map((record) => record.event.kind);
  assert.equal(kinds.filter((kind) => kind === 'session.ended').length, 1000);
  await journal[Symbol.asyncDispose]();
});

import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseInstant, type Instant } from '#core/instant.ts';
import { openJournalDisk } from './journal-disk.ts';
import { Journal } from './journal.ts';
import type { GatewayEvent } from './records.ts';

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sally-disk-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const event = (detail: string) =>
  ({ kind: 'target.alarm', resource: 'orders', what: 'test', detail }) as unknown as GatewayEvent;
const journalIn = (folder: string) =>
  new Journal({ disk: openJournalDisk(folder), clock: { now: () => parseInstant(0) as Instant } });

test('what is written ahead is not there for whoever reads, and gone when the file is closed', (t) => {
  const folder = folderFor(t);
  const file = openJournalDisk(folder).open('one');
  assert.equal(file.append(Buffer.from('xhellox'), 1, 5), 5);
  assert.ok(statSync(join(folder, 'one')).size > 5);
  assert.equal(file.size(), 5);
  assert.equal(file.read(0, 100).toString(), 'hello');
  assert.equal(file.read(7, 100).length, 0);
  file.close();
  assert.equal(statSync(join(folder, 'one')).size, 5);
});

test('a file that was not closed ends behind its last byte, however much lies ahead', (t) => {
  const folder = folderFor(t);
  openJournalDisk(folder).open('one').append(Buffer.from('hello'), 0, 5);
  const again = openJournalDisk(folder).open('one');
  assert.equal(again.size(), 5);
  again.append(Buffer.from(' again'), 0, 6);
  assert.equal(again.read(0, 100).toString(), 'hello again');
  again.close();
  assert.equal(readFileSync(join(folder, 'one'), 'utf8'), 'hello again');
});

test('a journal on a real disk goes on where a killed one ended', async (t) => {
  const folder = folderFor(t);
  const killed = journalIn(folder);
  for (let i = 1; i <= 5000; i += 1) killed.append(event(`${i} ${'x'.repeat(500)}`));
  assert.ok(killed.flush());
  await new Promise<void>((resolve) => killed.whenDurable(killed.lastNumber, resolve));
  const next = journalIn(folder);
  assert.equal(next.lastNumber, 5000);
  next.append(event('6'));
  next.flush();
  await next[Symbol.asyncDispose]();
  const last = journalIn(folder);
  assert.equal(last.lastNumber, 5001);
  assert.equal(last.unshipped(1 << 30).length, 5001);
  await last[Symbol.asyncDispose]();
});

test('what a power cut has left behind a hole is cut off, and what was before it stays', async (t) => {
  const folder = folderFor(t);
  const first = journalIn(folder);
  for (let i = 1; i <= 3; i += 1) first.append(event(String(i)));
  first.flush();
  const [name = ''] = openJournalDisk(folder).list();
  // A later page has reached the disk, an earlier one has not.
  const fd = openSync(join(folder, name), 'r+');
  writeSync(fd, Buffer.from('f'.repeat(64) + ' {"number":9}\n'), 0, null, 100_000);
  closeSync(fd);
  const next = journalIn(folder);
  assert.equal(next.lastNumber, 3);
  next.append(event('4'));
  next.flush();
  await next[Symbol.asyncDispose]();
  assert.equal(journalIn(folder).lastNumber, 4);
});

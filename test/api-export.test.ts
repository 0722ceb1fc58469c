import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { test } from 'node:test';
import { sequenceLog } from '#app/sequence-log.ts';
import { writeEntries } from '#app/write-entry.ts';
import { verifyCopy } from '#log/verify-copy.ts';
import { transaction } from '#store/database.ts';
import { testApi, web } from './support/api.ts';

test('the log comes out whole over HTTP, verifies with its public key alone, and shows the flipped byte', async (t) => {
  const api = await testApi(t);
  const root = await api.person('root', ['administrators']);
  const ada = await api.person('ada', ['engineering']);
  await api.call(web(ada), 'fileRequest', {
    body: { role: 'orders/support-read', seconds: 600, reason: 'to be exported' },
  });
  const reply = await api.call(web(root), 'exportLog');
  assert.equal(reply.headers['content-type'], 'application/x-ndjson; charset=utf-8');
  const lines = reply.text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(lines.pop(), { done: true });
  const files = new Map(lines.map(({ path, data }) => [String(path), Buffer.from(String(data), 'base64')]));
  const copy = {
    read: (path: string) => Promise.resolve(files.get(path)),
    list: () => Promise.resolve([...files.keys()]),
  };
  const vkey = (await api.call(web(root), 'about')).json()['logKey'] as string;
  const report = await verifyCopy(copy, { vkey });
  assert.deepEqual(report.faults, []);
  assert.ok(report.ok && report.entries >= 6 && report.contentsOpened > 0);

  const [path, bytes] = [...files].find(([name]) => name.startsWith('tile/entries/')) ?? assert.fail('no entries');
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  const bent = await verifyCopy(copy, { vkey });
  assert.equal(bent.ok, false);
  assert.ok(bent.faults.some((fault) => fault.path === path));

  const entries = await api.call(web(root), 'listLog', { query: { scope: 'all', kind: 'log.exported' } });
  assert.equal((entries.json()['items'] as unknown[]).length, 1, 'that it was exported is in the log');
});

test('an export goes as fast as its reader; one that is left ends, and makes place for the next', async (t) => {
  const api = await testApi(t);
  const root = await api.person('root', ['administrators']);
  // More than the buffers of a loopback connection hold.
  for (let i = 0; i < 6; i += 1)
    await transaction(api.ctx.db, async (trx) => {
      const drafts = Array.from({ length: 200 }, () => ({
        kind: 'request.filed' as const,
        actor: root.principal.id,
        content: { filler: randomBytes(9000).toString('base64') },
      }));
      await writeEntries(api.ctx, trx, drafts);
    });
  while ((await sequenceLog(api.ctx)) > 0);
  const path = '/api/v1/log/copy';
  const headers = { ...(await api.headersOf(web(root), 'GET', path)), host: new URL(api.publicUrl).host };
  const reading = request({ host: '127.0.0.1', port: api.running.port, path, headers, agent: false });
  reading.on('error', () => undefined);
  reading.end();
  await new Promise<void>((resolve) => {
    reading.on('response', (reply) => {
      reply.on('error', () => undefined);
      reply.once('data', () => {
        reply.pause();
        resolve();
      });
    });
  });
  const second = await api.call(web(root), 'exportLog');
  assert.deepEqual([second.status, second.code], [429, 'too_many_tries'], 'the first waits for its reader');

  reading.destroy();
  for (;;) {
    const reply = await api.call(web(root), 'exportLog');
    if (reply.status === 429) continue;
    assert.equal(reply.status, 200);
    assert.ok(reply.text.endsWith('{"done":true}\n'));
    break;
  }
  assert.deepEqual(api.faults, []);
});

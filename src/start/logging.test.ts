import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Secret } from '#core/secret.ts';
import { createLogger } from './logging.ts';

test('INVARIANT 10: the operator’s log holds no secret, whoever puts one into it', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sally-log-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'log');
  const log = createLogger({ level: 'info', file });
  // A driver's error carries its connection, and with it what authenticates.
  const fault = Object.assign(new Error('the connection broke', { cause: new Error('reset by peer') }), {
    code: '57P01',
    client: { connectionParameters: { password: 'hunter2' } },
  });
  log.error({ err: fault, password: 'hunter2', request: { authorization: 'hunter2', cookie: 'hunter2' } }, 'it broke');
  log.info({ given: new Secret('hunter2'), deep: { inside: { token: 'hunter2' } } }, 'ready');
  const text = readFileSync(file, 'utf8');
  assert.ok(!text.includes('hunter2'), text);
  assert.match(text, /the connection broke/);
  assert.match(text, /57P01/);
  assert.match(text, /reset by peer/);
});

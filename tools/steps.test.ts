import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startStep } from './steps.ts';

for (const [name, script, passes] of [
  ['passes when it ends well', '', true],
  ['has failed when it ends badly', 'process.exit(3)', false],
  ['has failed when it dies', 'process.kill(process.pid)', false],
] as const)
  test(`a step that runs beside others ${name}`, async () => {
    assert.equal(await startStep({ name: 'trial', command: [process.execPath, '-e', script] })(), passes);
  });

test('a step that can’t be started has failed', async () => {
  assert.equal(await startStep({ name: 'trial', command: ['no-such-program-here'] })(), false);
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { cpuOf, residentOf, treeOf } from './process-cost.ts';

const isLinux = process.platform === 'linux';

test(
  'a tree holds the children of children, and their time is counted',
  { skip: !isLinux && 'Linux only' },
  async (t) => {
    const busy = 'const end = performance.now() + 50; while (performance.now() < end); console.log(process.pid)';
    const child = spawn('/bin/sh', ['-c', `${process.execPath} -e '${busy}; setInterval(() => {}, 1000)' & wait`], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    t.after(() => process.kill(-(child.pid ?? 0), 'SIGKILL'));
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const tree = treeOf(child.pid ?? 0);
    assert.ok(tree.includes(Number(said.toString())));
    assert.ok(cpuOf(tree) > 40e6, `${cpuOf(tree)} ns`);
    assert.ok(residentOf(Number(said.toString())) > 10e6);
  },
);

test('a process that is gone has cost nothing more', () => {
  assert.equal(cpuOf([2 ** 22 + 1]), 0);
  assert.equal(residentOf(2 ** 22 + 1), 0);
});

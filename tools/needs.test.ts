import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { describeUnmet, type Need, needs, packagesFor, unmet } from './needs.ts';

const frobnicate: Need = {
  programs: ['frobnicate'],
  variable: 'FROB',
  why: 'tests frob',
  debian: ['frob', 'frob-data'],
};

function folderWith(t: TestContext, name: string, mode: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-needs-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, name), '#!/bin/sh\n');
  chmodSync(join(folder, name), mode);
  return folder;
}

test('a program in any folder of the PATH meets the need', (t) => {
  const folder = folderWith(t, 'frobnicate', 0o755);
  assert.deepEqual(unmet([frobnicate], { PATH: ['/nowhere', folder].join(delimiter) }), []);
});

test('a file that can’t be run is no program', (t) => {
  const folder = folderWith(t, 'frobnicate', 0o644);
  assert.deepEqual(unmet([frobnicate], { PATH: folder }), [frobnicate]);
});

test('the variable names a program elsewhere, and a wrong one is found at once', (t) => {
  const folder = folderWith(t, 'other-name', 0o755);
  assert.deepEqual(unmet([frobnicate], { FROB: join(folder, 'other-name') }), []);
  assert.deepEqual(unmet([frobnicate], { FROB: join(folder, 'absent'), PATH: folder }), [frobnicate]);
});

test('what is missing is said with its reason and one command that brings all of it', () => {
  const said = describeUnmet([frobnicate, { ...frobnicate, programs: ['frob2'], debian: ['frob'] }]);
  assert.match(said, /`frobnicate` \(or the one that FROB names\): tests frob/);
  assert.match(said, /apt-get install --no-install-recommends frob frob-data$/m);
});

test('a probe that fails says that a module is missing, whatever program there is', () => {
  const python: Need = {
    ...frobnicate,
    programs: [process.execPath],
    probe: [process.execPath, '-e', 'process.exit(1)'],
  };
  assert.deepEqual(unmet([python], {}), [python]);
  assert.deepEqual(unmet([{ ...python, probe: [process.execPath, '-e', ''] }], {}), []);
});

test('two needs that one package meets ask for it once', () => {
  const packages = packagesFor(needs);
  assert.equal(packages.length, new Set(packages).size);
  assert.ok(packages.includes('postgresql-client'));
});

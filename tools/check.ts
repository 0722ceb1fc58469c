/** `npm run check`: everything that must hold at each commit, fastest first. Each step's output is shown as it comes. */
import { spawnSync } from 'node:child_process';
import { delimiter, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const env = { ...process.env, PATH: `${root}/node_modules/.bin${delimiter}${process.env['PATH'] ?? ''}` };

const steps: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['format', 'oxfmt', '--check', '.'],
  ['lint', 'oxlint', 'src', 'tools', 'test', 'web'],
  ['types', 'tsc'],
  ['types of the console', 'tsc', '-p', 'web'],
  ['imports', 'node', 'tools/check-imports.ts'],
  ['unit tests', 'node', 'tools/test.ts', 'unit'],
];

for (const [name, command, ...args] of steps) {
  const started = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`check: ${name} failed (${[command, ...args].join(' ')})`);
    process.exit(1);
  }
  console.log(`check: ${name} ok, ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

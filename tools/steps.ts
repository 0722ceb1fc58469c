/**
 * The steps of `npm run check` that aren't tests: everything that must hold at each commit, quickest first. `npm test` runs
 * the same ones, so that nothing fails in one place only.
 */
import { spawnSync } from 'node:child_process';
import { delimiter, resolve } from 'node:path';

export type Step = { readonly name: string; readonly command: readonly [program: string, ...args: string[]] };

export const steps: readonly Step[] = [
  { name: 'format', command: ['oxfmt', '--check', '.'] },
  { name: 'types', command: ['tsc'] },
  { name: 'types of the console', command: ['tsc', '-p', 'web'] },
  { name: 'lint', command: ['oxlint', 'src', 'web/src', 'web/test', 'tools', 'test'] },
  { name: 'imports', command: ['node', 'tools/check-imports.ts'] },
  { name: 'invariants', command: ['node', 'tools/check-invariants.ts'] },
  { name: 'unused code', command: ['knip'] },
  { name: 'generated files', command: ['node', 'tools/generate.ts', '--check'] },
];

const root = resolve(import.meta.dirname, '..');

/** Runs one step with its output on ours, and says whether it passed and how long it took. */
export function runStep({ name, command: [program, ...args] }: Step): boolean {
  const started = performance.now();
  const env = { ...process.env, PATH: `${root}/node_modules/.bin${delimiter}${process.env['PATH'] ?? ''}` };
  const { status, error } = spawnSync(program, args, { cwd: root, env, stdio: 'inherit' });
  const passed = status === 0;
  if (error !== undefined) console.error(error.message);
  const command = passed ? '' : ` (\`${[program, ...args].join(' ')}\`)`;
  console.log(`${passed ? 'ok  ' : 'FAIL'} ${name}${command}, ${inSeconds(performance.now() - started)}`);
  return passed;
}

/** Milliseconds as seconds for people. */
export function inSeconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

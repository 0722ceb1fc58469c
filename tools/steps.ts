/**
 * The steps of `npm run check` that aren't tests: everything that must hold at each commit, quickest first. `npm test` runs
 * the same ones, so that nothing fails in one place only.
 */
import { spawn, spawnSync } from 'node:child_process';
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

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${root}/node_modules/.bin${delimiter}${process.env['PATH'] ?? ''}`,
});

function report({ name, command }: Step, passed: boolean, took: number): boolean {
  const shown = passed ? '' : ` (\`${command.join(' ')}\`)`;
  console.log(`${passed ? 'ok  ' : 'FAIL'} ${name}${shown}, ${inSeconds(took)}`);
  return passed;
}

/** Runs one step with its output on ours, and says whether it passed and how long it took. */
export function runStep(step: Step): boolean {
  const [program, ...args] = step.command;
  const started = performance.now();
  const { status, error } = spawnSync(program, args, { cwd: root, env: environment(), stdio: 'inherit' });
  if (error !== undefined) console.error(error.message);
  return report(step, status === 0, performance.now() - started);
}

/**
 * Starts a step beside others. The function that comes back waits for its end; only then does it print what the step said,
 * in one piece, and says whether it passed.
 */
export function startStep(step: Step): () => Promise<boolean> {
  const [program, ...args] = step.command;
  const started = performance.now();
  const chunks: Buffer[] = [];
  const ended = new Promise<{ readonly passed: boolean; readonly took: number }>((done) => {
    const end = (passed: boolean): void => done({ passed, took: performance.now() - started });
    const child = spawn(program, args, { cwd: root, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.once('error', (error) => {
      chunks.push(Buffer.from(`${error.message}\n`));
      end(false);
    });
    child.once('close', (status) => end(status === 0));
  });
  return async () => {
    const { passed, took } = await ended;
    process.stdout.write(Buffer.concat(chunks));
    return report(step, passed, took);
  };
}

/** Milliseconds as seconds for people. */
export function inSeconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

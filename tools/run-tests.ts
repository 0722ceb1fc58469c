/**
 * Runs test files of node:test, each in a process of its own, and prints a line per file as it ends, with everything it said
 * when it failed. What was skipped is listed: a test that nobody ran holds nothing.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { inSeconds } from './steps.ts';

const root = resolve(import.meta.dirname, '..');

/** A file that takes longer than this hangs. */
const longest = 8 * 60_000;

export type Totals = { readonly passed: number; readonly failed: number; readonly skipped: number };

/** The tests beside the code. */
export function unitTests(): readonly string[] {
  return testFiles('src/**/*.test.ts', 'tools/**/*.test.ts');
}

/** Files that match, sorted, relative to the root. Finding none is a fault: a pattern that has gone wrong must not pass. */
export function testFiles(...patterns: readonly string[]): readonly string[] {
  return patterns.flatMap((pattern) => {
    const found = globSync(pattern, { cwd: root }).toSorted();
    if (found.length === 0) throw new Error(`find tests: no file matches \`${pattern}\``);
    return found;
  });
}

/**
 * Runs the files, at most `concurrency` at a time. Without a number: as many as there are cores, up to four. More would be
 * quicker, but tests that hold a deadline against a real server then fail for want of time.
 */
export async function runTests(
  phase: string,
  files: readonly string[],
  {
    concurrency = Math.min(availableParallelism(), 4),
    say = console.log,
  }: { readonly concurrency?: number; readonly say?: (line: string) => void } = {},
): Promise<Totals> {
  say(`\n${phase}: ${files.length} files, ${concurrency} at a time`);
  const started = performance.now();
  const totals = { passed: 0, failed: 0, skipped: 0 };
  const left = [...files];
  const worker = async (): Promise<void> => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      const outcome = await runFile(file);
      totals.passed += outcome.passed;
      totals.failed += outcome.failed;
      totals.skipped += outcome.skipped.length;
      const skips = outcome.skipped.length === 0 ? '' : `, ${outcome.skipped.length} skipped`;
      say(
        `${outcome.failed === 0 ? 'ok  ' : 'FAIL'} ${file}: ${outcome.passed} passed${
          outcome.failed === 0 ? '' : `, ${outcome.failed} failed`
        }${skips}, ${inSeconds(outcome.took)}`,
      );
      for (const skipped of outcome.skipped) say(`       skipped: ${skipped}`);
      if (outcome.failed > 0) say(outcome.output.replaceAll(/^/gm, '  | '));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  say(`${phase}: ${describeTotals(totals)} in ${inSeconds(performance.now() - started)}`);
  return totals;
}

type FileOutcome = {
  readonly passed: number;
  readonly failed: number;
  /** Names of the tests that were skipped or are still to do, with the reason that they give. */
  readonly skipped: readonly string[];
  readonly output: string;
  readonly took: number;
};

async function runFile(file: string): Promise<FileOutcome> {
  const started = performance.now();
  const chunks: Buffer[] = [];
  let hung = false;
  const status = await new Promise<number | null>((done, fail) => {
    const child = spawn(process.execPath, ['--test-reporter=spec', file], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    const timer = setTimeout(() => {
      hung = true;
      child.kill('SIGKILL');
    }, longest);
    child.once('error', fail);
    child.once('close', (code) => {
      clearTimeout(timer);
      done(code);
    });
  });
  const output = Buffer.concat(chunks).toString('utf8');
  const counts = readOutput(output);
  const took = performance.now() - started;
  if (hung) return { ...counts, failed: counts.failed + 1, output: `${output}\nkilled after ${inSeconds(took)}`, took };
  // A file that dies, or that has no test, has failed whatever it printed before.
  const ended = status === 0 && counts.passed + counts.failed + counts.skipped.length > 0;
  const failed = ended ? counts.failed : Math.max(counts.failed, 1);
  return {
    ...counts,
    failed,
    output: failed === counts.failed ? output : `${output}\nended with ${String(status)}, without a failed test`,
    took,
  };
}

/** Reads the counts that node's spec reporter ends with, and the names of what was skipped. */
export function readOutput(output: string): Pick<FileOutcome, 'passed' | 'failed' | 'skipped'> {
  const count = (what: string): number => Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  const skipped = [...output.matchAll(/^\s*﹣ (.*?)(?: \([\d.]+ms\))?( # .*)?$/gm)].map(
    ([, name = '', why = '']) => `${name}${why}`,
  );
  return { passed: count('pass'), failed: count('fail') + count('cancelled'), skipped: [...new Set(skipped)] };
}

export function describeTotals({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
}

export function addTotals(a: Totals, b: Totals): Totals {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

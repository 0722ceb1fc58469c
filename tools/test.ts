/**
 * `npm test`: everything. It gets what the machine lacks or says what that is, builds the console, runs the steps of
 * `npm run check`, the tests beside the code, other people's drivers and tools against the gateway, faults, those of the
 * console in a real browser, those that cross folders, and the story. The fuzzer runs beside the first of them. It goes
 * on after a failure, so that one run shows all of them, and ends with `N passed, N failed`.
 *
 *   npm test              everything
 *   npm test -- unit      the tests beside the code
 *   npm test -- web e2e   the console's, and those that cross folders
 */
import { ensureConsole } from './build-console.ts';
import { meetNeeds } from './needs.ts';
import { addTotals, describeTotals, runTests, testFiles, type Totals, unitTests } from './run-tests.ts';
import { inSeconds, runStep, startStep, steps } from './steps.ts';

const one = (passed: boolean): Totals => ({ passed: Number(passed), failed: Number(!passed), skipped: 0 });

const nothing: Totals = { passed: 0, failed: 0, skipped: 0 };

const fuzzer = 'test/fuzz/fuzz.ts';
/** One seed for every run: what the fuzzer might still find must not hold up a change. `npm run fuzz` has a new one each time. */
const fuzzerSeed = '20261122';

/** Files in test/ are in the part that their folder names, and all others in `e2e`. Each file has servers of its own. */
const parts = { drivers: ['test/drivers/'], faults: ['test/faults/', 'test/fuzz/'] };

function runPart(name: string, folders?: readonly string[]): Promise<Totals> {
  const within = (file: string, of: readonly string[]) => of.some((folder) => file.startsWith(folder));
  const files = testFiles('test/**/*.test.ts').filter((file) =>
    folders === undefined ? !within(file, Object.values(parts).flat()) : within(file, folders),
  );
  return runTests(name, files, { concurrency: 2 });
}

/** In this order. Browsers and whole servers are heavy: two of them at a time disturb each other on two cores. */
const phases = {
  steps: async () => {
    console.log('\nsteps of `npm run check`');
    return steps.map((step) => one(runStep(step))).reduce(addTotals);
  },
  unit: () => runTests('unit tests', unitTests()),
  drivers: () => runPart('drivers', parts.drivers),
  faults: () => runPart('faults', parts.faults),
  fuzz: async () => {
    console.log('\nfuzzer');
    return one((await fuzzing?.()) ?? false);
  },
  web: () => runTests('console', testFiles('web/test/*.test.ts'), { concurrency: 1 }),
  e2e: () => runPart('across folders'),
  story: async () => {
    console.log('\nstory');
    return one(runStep({ name: 'story', command: ['node', 'test/e2e/story.ts'] }));
  },
} satisfies Record<string, () => Promise<Totals>>;

const asked = process.argv.slice(2);
for (const name of asked)
  if (!(name in phases)) {
    console.error(`run the tests: there is no part \`${name}\`; there are ${Object.keys(phases).join(', ')}`);
    process.exit(2);
  }

const started = performance.now();
const outcome = meetNeeds(console.log, { drivers: asked.length === 0 || asked.includes('drivers') });
if (!outcome.met) {
  console.error(outcome.because);
  process.exit(1);
}

console.log((await ensureConsole()) ? 'the console was built' : 'the console is up to date');

// Five minutes that are mostly its own: they pass beside the parts before it, out of their way.
const fuzzing =
  asked.length === 0 || asked.includes('fuzz')
    ? startStep({
        name: 'fuzzer',
        command: ['nice', '-n', '5', 'node', fuzzer, '--minutes', '5', '--seed', fuzzerSeed],
      })
    : undefined;

let totals = nothing;
const took: string[] = [];
for (const [name, phase] of Object.entries(phases)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const begun = performance.now();
  totals = addTotals(totals, await phase());
  took.push(`${name} ${inSeconds(performance.now() - begun)}`);
}

console.log(`\ntook ${inSeconds(performance.now() - started)}: ${took.join(', ')}`);
if (outcome.leftOut.length > 0) console.log(`left out, not on this machine: ${outcome.leftOut.join(', ')}`);
console.log(describeTotals(totals));
process.exit(totals.failed === 0 ? 0 : 1);

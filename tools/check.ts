/** `npm run check`: the steps, then the tests beside the code. It goes on after a failure, and fails at the end. */
import { runStep, steps } from './steps.ts';
import { runTests, unitTests } from './run-tests.ts';

const failed = steps.filter((step) => !runStep(step)).map(({ name }) => name);
const unit = await runTests('unit tests', unitTests());
if (unit.failed > 0) failed.push('unit tests');

console.log(`${unit.passed} passed, ${unit.failed} failed`);
if (failed.length > 0) {
  console.error(`check failed: ${failed.join(', ')}`);
  process.exit(1);
}

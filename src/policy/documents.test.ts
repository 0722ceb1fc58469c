import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { openPolicyEngine, readConfigurationFiles, shippedPolicies } from '#test/support/policy.ts';
import { runCases } from './cases.ts';
import { parseConfiguration } from './configuration.ts';

let engine: Awaited<ReturnType<typeof openPolicyEngine>>;
before(async () => {
  engine = await openPolicyEngine();
});

/** Loads a configuration with one policy file and runs one file of cases; answers what failed. */
function failures(yaml: string, policies: readonly { name: string; text: string }[], cases: string): readonly string[] {
  const shipped = shippedPolicies();
  const parsed = parseConfiguration({ file: 'sallyport.yaml', text: yaml, policies, shipped, engine });
  assert.ok(parsed.kind === 'ok', JSON.stringify(parsed));
  assert.deepEqual(parsed.warnings, []);
  assert.equal(engine.load({ shipped, configuration: parsed.configuration }).kind, 'loaded');
  const outcome = runCases(engine, { file: 'cases', text: cases });
  assert.ok(outcome.kind === 'ran', JSON.stringify(outcome));
  assert.ok(outcome.results.length > 2);
  return outcome.results.flatMap((result) =>
    result.kind === 'failed' ? [`${result.name}: expected ${result.expected}, got ${result.got}`] : [],
  );
}

const page = readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8');
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, code = '']) => code);
const [, worked = ''] = page.split('## Six worked examples');
const [introduction = '', ...examples] = (worked.split(/^## /m)[0] ?? '').split(/^### /m);
const base = blocks(introduction, 'yaml')[0] ?? '';

test('the page has six worked examples, each with a policy and cases', () => {
  assert.equal(examples.length, 6);
  for (const example of examples)
    assert.deepEqual([blocks(example, 'cedar').length, blocks(example, 'yaml').length], [1, 1]);
});

for (const example of examples) {
  const title = example.slice(0, example.indexOf('\n'));
  test(`the worked example holds: ${title}`, () => {
    const [cedar = ''] = blocks(example, 'cedar');
    const [cases = ''] = blocks(example, 'yaml');
    assert.deepEqual(failures(base, [{ name: 'shop.cedar', text: cedar }], cases), []);
  });
}

test('the cases of examples/payroll hold', () => {
  const files = readConfigurationFiles(new URL('../../examples/payroll/sallyport.yaml', import.meta.url).pathname);
  assert.equal(files.cases.length, 1);
  for (const { text } of files.cases) assert.deepEqual(failures(files.text, files.policies, text), []);
});

test('the policies on the pages of cures are sound', () => {
  const kinds = ['activation', 'approval', 'fresh_sign_in', 'preview', 'proof', 'reason'];
  const files = readConfigurationFiles(new URL('../../examples/orders/sallyport.yaml', import.meta.url).pathname);
  for (const kind of kinds) {
    const [text = ''] = blocks(readFileSync(new URL(`../../docs/cures/${kind}.md`, import.meta.url), 'utf8'), 'cedar');
    assert.ok(text.includes(`@cure("${kind}`), kind);
    const policies = [{ name: `${kind}.cedar`, text }];
    const parsed = parseConfiguration({ file: 'x', text: files.text, policies, shipped: shippedPolicies(), engine });
    assert.equal(parsed.kind, 'ok', JSON.stringify(parsed));
  }
});

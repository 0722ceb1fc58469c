/**
 * Makes a policy engine with what `src/policy` may not fetch for itself: the WebAssembly file, a hash, and the shipped
 * policies from `policies/`. Used by the server, by `sally policy test` and `sally validate`, and by tests.
 */
import { createHash } from 'node:crypto';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { policyPatternsOf } from '#policy/configuration.ts';
import { createPolicyEngine } from '#policy/decide.ts';
import type { PolicyFile } from '#policy/engine.ts';

export function openPolicyEngine(): ReturnType<typeof createPolicyEngine> {
  const bindings = import.meta.resolve('@cedar-policy/cedar-wasm/web');
  return createPolicyEngine({
    wasm: readFileSync(new URL('./cedar_wasm_bg.wasm', bindings)),
    sha256: (text) => createHash('sha256').update(text, 'utf8').digest('hex'),
  });
}

/** `policies/*.cedar` of this program. */
export function shippedPolicies(): readonly PolicyFile[] {
  return readShipped('.cedar');
}

/** `policies/*.cases.yaml` of this program. */
export function shippedCases(): readonly PolicyFile[] {
  return readShipped('.cases.yaml');
}

function readShipped(ending: string): readonly PolicyFile[] {
  const folder = new URL('../policies/', import.meta.url);
  return readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .toSorted()
    .map((name) => ({ name: `policies/${name}`, text: readFileSync(new URL(name, folder), 'utf8') }));
}

export type ConfigurationFiles = {
  readonly file: string;
  readonly text: string;
  readonly policies: readonly PolicyFile[];
  /** The `*.cases.yaml` beside the policies. */
  readonly cases: readonly PolicyFile[];
};

/** `sallyport.yaml` with the policy files it names; names are relative to its folder, with `/`. Throws what `readFileSync` throws. */
export function readConfigurationFiles(path: string): ConfigurationFiles {
  const text = readFileSync(path, 'utf8');
  const folder = dirname(path);
  const read = (name: string): PolicyFile => ({ name, text: readFileSync(join(folder, name), 'utf8') });
  const found = (pattern: string) => globSync(pattern, { cwd: folder }).map((name) => name.replaceAll('\\', '/'));
  const patterns = policyPatternsOf(text);
  const names = [...new Set(patterns.flatMap((pattern) => (pattern.includes('*') ? found(pattern) : [pattern])))];
  const folders = [...new Set(patterns.map((pattern) => posix.dirname(pattern)))];
  const cases = [...new Set(folders.flatMap((place) => found(posix.join(place, '*.cases.yaml'))))];
  return { file: path, text, policies: names.toSorted().map(read), cases: cases.toSorted().map(read) };
}

/** `examples/orders`, from which the sample's configuration is made. */
export function exampleConfiguration(): ConfigurationFiles {
  return readConfigurationFiles(fileURLToPath(new URL('../examples/orders/sallyport.yaml', import.meta.url)));
}

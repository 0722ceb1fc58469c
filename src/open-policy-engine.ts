/**
 * Makes a policy engine with what `src/policy` may not fetch for itself: the WebAssembly file, a hash, and the shipped
 * policies from `policies/`. Used by the server, by `sally policy test` and `sally validate`, and by tests.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
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

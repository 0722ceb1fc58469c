/**
 * The `@cure("…")` annotation of a forbid: what would lift it. `proof`, `reason`, `activation`, `fresh_sign_in`, or
 * `approval by GROUP, GROUP` with ` count N` after it when one person is not enough.
 */
import type { Cure } from '#core/decision.ts';
import { parseGroup } from '#core/principal.ts';
import type { Cured } from './question.ts';

export const cureHelp =
  'a cure is `proof`, `reason`, `activation`, `fresh_sign_in`, or `approval by group, group count 2` (the count may be left out)';

const approval = /^approval by ([^,\s]+(?:, ?[^,\s]+)*?)(?: count ([1-9]))?$/;

export function parseCure(text: string): Cure | undefined {
  if (text === 'proof' || text === 'reason' || text === 'activation' || text === 'fresh_sign_in') return { kind: text };
  const match = approval.exec(text);
  if (match === null) return undefined;
  const groups: string[] = [];
  for (const name of (match[1] ?? '').split(',')) {
    const group = parseGroup(name.trim());
    if (group === undefined || groups.includes(group)) return undefined;
    groups.push(group);
  }
  return { kind: 'approval', groups, count: Number(match[2] ?? 1) };
}

/** The question's context as it would be once these were obtained. */
export function assumeCured(cured: Cured | undefined, cures: readonly Cure[]): Cured {
  const next: { -readonly [K in keyof Cured]: Cured[K] } = { ...cured };
  for (const { kind } of cures) next[kind === 'fresh_sign_in' ? 'freshSignIn' : kind] = true;
  return next;
}

/** Each cure once, in the order they were met. */
export function distinctCures(cures: readonly Cure[]): readonly Cure[] {
  const seen = new Map<string, Cure>();
  for (const cure of cures) seen.set(JSON.stringify(cure), cure);
  return [...seen.values()];
}

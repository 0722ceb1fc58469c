/**
 * What of the context a policy looks at. An answer can be used again as long as nothing that a policy with a say in it looks
 * at has changed; what isn't understood here counts as a look at everything, so this can cost time and never an answer.
 */
import type { VariesWith } from '#core/decision.ts';
import type { Circumstances } from './question.ts';

/** Paths of one or two names below `context`, like `time` or `proof.age`; `*` is all of it. */
export type Mentions = ReadonlySet<string>;

/** Reads the conditions of a policy in Cedar's JSON form. */
export function mentionsOf(conditions: unknown): Mentions {
  const found = new Set<string>();
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) for (const item of value as readonly unknown[]) visit(item);
    else if (typeof value === 'object' && value !== null) {
      const path = pathOf(value);
      if (path !== undefined) found.add(path.slice(0, 2).join('.') || '*');
      else for (const item of Object.values(value) as readonly unknown[]) visit(item);
    }
  };
  visit(conditions);
  return found;
}

/** The names after `context` in `context.a.b` and `context has a`; undefined when it isn't one of these. */
function pathOf(value: object): readonly string[] | undefined {
  const node = value as Readonly<Record<string, unknown>>;
  if (node['Var'] === 'context') return [];
  const access = (node['.'] ?? node['has']) as { readonly left?: unknown; readonly attr?: unknown } | undefined;
  if (typeof access !== 'object' || access === null || typeof access.left !== 'object' || access.left === null)
    return undefined;
  const before = pathOf(access.left);
  return before === undefined || typeof access.attr !== 'string' ? undefined : [...before, access.attr];
}

/** The networks that conditions ask the client to be in, as far as they are written out. */
export function networksIn(conditions: unknown): readonly string[] {
  const found: string[] = [];
  const literals = (value: unknown): readonly string[] => {
    const node = (value ?? {}) as { readonly Value?: unknown; readonly Set?: unknown };
    if (typeof node.Value === 'string') return [node.Value];
    return Array.isArray(node.Set) ? (node.Set as readonly unknown[]).flatMap(literals) : [];
  };
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, item] of Object.entries(value) as [string, unknown][]) {
      const { left, right } = (item ?? {}) as { readonly left?: unknown; readonly right?: unknown };
      const isNetworks = (side: unknown) =>
        typeof side === 'object' && side !== null && pathOf(side)?.join('.') === 'client.networks';
      if (/^contains(?:All|Any)?$/.test(key)) {
        if (isNetworks(left)) found.push(...literals(right));
        if (isNetworks(right)) found.push(...literals(left));
      }
      visit(item);
    }
  };
  visit(conditions);
  return found;
}

/** These change while nobody does anything, or belong to the one run that was asked about. */
const momentary = new Set([
  '*',
  'time',
  'working_hours',
  'estimated_rows',
  'device',
  'device.age',
  'sign_in',
  'sign_in.age',
  // Whether it is fresh is worked out from its age.
  'sign_in.fresh',
  'proof.age',
  'proof.authenticator_age',
]);

/** What a cure sets: false in every question about a run for which nothing was obtained. */
const obtained = new Set(['proof', 'approval', 'reason', 'activation', 'preview']);

/** Of one connection. */
const ofSession = new Set(['client', 'device', 'sign_in', 'acts_for']);

/** How far an answer that these policies had a say in can be used again. `grant` is the same for all who share it. */
export function variesWith(mentions: Iterable<Mentions>, { cured }: Circumstances): VariesWith {
  const wasCured = cured !== undefined && Object.values(cured).some((value) => value !== undefined && value !== false);
  let varies: VariesWith = 'nothing';
  for (const mentioned of mentions)
    for (const path of mentioned) {
      const first = path.split('.')[0] ?? path;
      if (momentary.has(path)) return 'moment';
      if (wasCured && obtained.has(first)) return 'moment';
      if (ofSession.has(first)) varies = 'session';
    }
  return varies;
}

/** Do they look at the rows that the target's planner expects? */
export function mentionsEstimate(mentions: Iterable<Mentions>): boolean {
  for (const mentioned of mentions) if (mentioned.has('estimated_rows') || mentioned.has('*')) return true;
  return false;
}

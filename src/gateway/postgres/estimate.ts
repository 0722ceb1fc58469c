/**
 * How many rows a statement would touch or read, as the target's planner expects: `explain`, never `analyze`, on the side
 * connection. Not asked for where planning could run somebody's function, nor where the side connection would see another
 * catalogue than the session does.
 */
import type { Curable } from './judge.ts';
import type { Link } from './link.ts';
import type { RawParameters } from './statement-digest.ts';

const withinMs = 2000;
const explainable = /^(?:SELECT|INSERT|UPDATE|DELETE|MERGE)$/;

export async function estimateRows(
  link: Link,
  text: string,
  parameters: RawParameters,
  { context, mayRunWhenBound, allowed }: Curable,
): Promise<number | undefined> {
  const { asked } = link.names;
  if (context.statementCount !== 1 || !explainable.test(context.tag) || mayRunWhenBound) return undefined;
  if (allowed.executes.length > 0 || asked.kind === 'unknown' || link.ownDefinitions !== 'unchanged') return undefined;
  try {
    const { searchPath } = asked;
    const rows = await link.side?.ask(`explain (format json) ${text}`, { parameters, searchPath, withinMs });
    return planRows(rows?.[0]?.[0]);
  } catch {
    // Policy is told that it isn't known.
    return undefined;
  }
}

type Plan = { readonly 'Node Type'?: unknown; readonly 'Plan Rows'?: unknown; readonly Plans?: readonly Plan[] };

/** What changes rows expects to return none: what it reads them from says how many. Undefined: not what `explain` says. */
export function planRows(json: string | null | undefined): number | undefined {
  if (typeof json !== 'string') return undefined;
  try {
    const [{ Plan: top }] = JSON.parse(json) as [{ Plan: Plan }];
    const from = top['Node Type'] === 'ModifyTable' ? (top.Plans ?? []) : [top];
    const rows = from.map((plan) => Number(plan['Plan Rows']));
    const sum = rows.reduce((all, one) => all + one, 0);
    return Number.isSafeInteger(Math.round(sum)) && rows.length > 0 ? Math.round(sum) : undefined;
  } catch {
    return undefined;
  }
}

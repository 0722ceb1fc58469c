/** The few statistics that the measurements need. Samples are plain numbers in whatever unit; an empty sample is a fault. */

/** A median with its quartiles: what a table shows of a sample. */
export type Spread = { readonly median: number; readonly q1: number; readonly q3: number; readonly samples: number };

/** The value below which the fraction `p` (0 to 1) of the sample lies, interpolated between neighbours. */
export function percentile(sample: readonly number[], p: number): number {
  const sorted = Float64Array.from(sample).sort();
  if (sorted.length === 0) throw new Error('take a percentile: the sample is empty');
  const at = (sorted.length - 1) * p;
  const low = sorted[Math.floor(at)] ?? 0;
  const high = sorted[Math.ceil(at)] ?? 0;
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (sample: readonly number[]): number => percentile(sample, 0.5);

export function spread(sample: readonly number[]): Spread {
  return {
    median: median(sample),
    q1: percentile(sample, 0.25),
    q3: percentile(sample, 0.75),
    samples: sample.length,
  };
}

/** Element by element: what was measured side by side is compared side by side. A pair with a zero below is left out. */
export function ratios(above: readonly number[], below: readonly number[]): number[] {
  return above.flatMap((value, i) => {
    const base = below[i] ?? 0;
    return base > 0 && value > 0 ? [value / base] : [];
  });
}

/** The same numbers in an order that `random` (0 to 1) decides: Fisher and Yates. */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    const kept = out[i] as T;
    out[i] = out[j] as T;
    out[j] = kept;
  }
  return out;
}

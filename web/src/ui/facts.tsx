import type { ReactNode } from 'react';

export type Fact = readonly [label: string, value: ReactNode];

/** Labels and values, side by side where there is room. */
export function Facts({ facts }: { readonly facts: readonly (Fact | false | undefined)[] }) {
  return (
    <dl className="grid grid-cols-1 gap-x-6 gap-y-3 sm:grid-cols-[10rem_1fr] sm:items-baseline">
      {facts
        .filter((fact) => fact !== false && fact !== undefined)
        .map(([label, value]) => (
          <div key={label} className="contents">
            <dt className="text-sm text-soft">{label}</dt>
            <dd className="-mt-2.5 min-w-0 sm:mt-0">{value}</dd>
          </div>
        ))}
    </dl>
  );
}

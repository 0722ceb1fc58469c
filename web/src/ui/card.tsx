import type { ReactNode } from 'react';
import { cx } from './class.ts';

export function Card({ children, className }: { readonly children: ReactNode; readonly className?: string }) {
  return <div className={cx('rounded-xl border border-line bg-card p-5', className)}>{children}</div>;
}

/** Rows between hairlines, for lists of things that are links. */
export function Rows({ label, children }: { readonly label: string; readonly children: ReactNode }) {
  return (
    <ul aria-label={label} className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-card">
      {children}
    </ul>
  );
}

import type { ReactNode } from 'react';
import { cx } from './class.ts';

export type Tone = 'neutral' | 'good' | 'warn' | 'bad';

const tones: Readonly<Record<Tone, string>> = {
  neutral: 'bg-sunken text-soft',
  good: 'bg-accent-wash text-accent-strong',
  warn: 'bg-warn-wash text-warn',
  bad: 'bg-danger-wash text-danger',
};

export function Badge({ tone = 'neutral', children }: { readonly tone?: Tone; readonly children: ReactNode }) {
  return (
    <span className={cx('inline-block rounded-full px-2.5 py-0.5 text-xs font-medium whitespace-nowrap', tones[tone])}>
      {children}
    </span>
  );
}

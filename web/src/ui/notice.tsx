import type { ReactNode } from 'react';
import { errorWords } from '../api/error-words.ts';
import { Button } from './button.tsx';
import { cx } from './class.ts';

/** Something to know, in the place where it matters. */
export function Notice(props: {
  readonly tone?: 'calm' | 'good' | 'warn' | 'bad';
  readonly title: string;
  readonly children?: ReactNode;
}) {
  const { tone = 'calm', title, children } = props;
  return (
    <div
      role={tone === 'bad' ? 'alert' : 'status'}
      className={cx(
        'fade-in rounded-xl border px-4 py-3 text-sm',
        tone === 'calm' && 'border-line bg-sunken text-ink',
        tone === 'good' && 'border-accent/30 bg-accent-wash text-ink',
        tone === 'warn' && 'border-warn/30 bg-warn-wash text-ink',
        tone === 'bad' && 'border-danger/30 bg-danger-wash text-ink',
      )}
    >
      <p className="font-medium">{title}</p>
      {children !== undefined && <div className="mt-1 text-soft">{children}</div>}
    </div>
  );
}

/** An error, with what would help and, where it makes sense, another try. */
export function ErrorNotice({ error, onRetry }: { readonly error: unknown; readonly onRetry?: () => void }) {
  const { title, help } = errorWords(error);
  if (help === undefined && onRetry === undefined) return <Notice tone="bad" title={title} />;
  return (
    <Notice tone="bad" title={title}>
      {help}
      {onRetry !== undefined && (
        <div className="mt-3">
          <Button onClick={onRetry}>Try again</Button>
        </div>
      )}
    </Notice>
  );
}

/** Nothing to list: says so, and what to do about it if anything. */
export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className="rounded-xl border border-dashed border-strong-line px-6 py-10 text-center">
      <p className="font-medium">{title}</p>
      {children !== undefined && <div className="mx-auto mt-1.5 max-w-md text-sm text-soft">{children}</div>}
    </div>
  );
}

/** Grey lines while something loads. */
export function Loading({ lines = 3, label = 'Loading' }: { readonly lines?: number; readonly label?: string }) {
  return (
    <div role="status" aria-label={label} className="pulse flex flex-col gap-3">
      {Array.from({ length: lines }, (_, index) => (
        <div key={index} className="h-16 rounded-xl bg-sunken" />
      ))}
    </div>
  );
}

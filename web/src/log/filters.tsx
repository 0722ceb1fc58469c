import { useNavigate } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import type { LogSearch } from '../search.ts';
import { Button } from '../ui/button.tsx';
import { inputClass } from '../ui/field.tsx';
import { cx } from '../ui/class.ts';
import { kinds } from './kinds.ts';

/** The filters of the log. Each change is a new URL, so that a view can be sent to somebody and gone back from. */
export function LogFilters({ search }: { readonly search: LogSearch }) {
  const navigate = useNavigate();
  // A cursor belongs to one set of filters, and an opened entry to one page.
  const set = (change: Partial<LogSearch>) =>
    void navigate({ to: '/log', search: { ...search, ...change, cursor: undefined, entry: undefined } });
  const subjects = (['request', 'grant', 'session', 'principal'] as const).filter((name) => search[name] !== undefined);
  return (
    <div role="search" aria-label="Log" className="flex flex-col gap-3">
      <div className="grid grid-cols-2 gap-3 sm:grid-cols-3">
        <Labelled label="Kind" isWide>
          <select
            value={search.kind ?? ''}
            onChange={(event) => set({ kind: event.target.value || undefined })}
            className={cx(inputClass, 'cursor-pointer')}
          >
            <option value="">every kind</option>
            {Object.entries(kinds).map(([group, names]) => (
              <optgroup key={group} label={group}>
                {names.map((name) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </optgroup>
            ))}
          </select>
        </Labelled>
        <Labelled label="Since">
          <input
            type="date"
            value={search.since ?? ''}
            onChange={(event) => set({ since: event.target.value || undefined })}
            className={inputClass}
          />
        </Labelled>
        <Labelled label="Order">
          <select
            value={search.order ?? 'newest'}
            onChange={(event) => set({ order: event.target.value === 'oldest' ? 'oldest' : undefined })}
            className={cx(inputClass, 'cursor-pointer')}
          >
            <option value="newest">newest first</option>
            <option value="oldest">oldest first</option>
          </select>
        </Labelled>
      </div>
      {subjects.length > 0 && (
        <p className="flex flex-wrap items-center gap-2 text-sm">
          {subjects.map((name) => (
            <span key={name} className="inline-flex max-w-full items-center gap-1 rounded-lg bg-sunken pl-3">
              <span className="min-w-0 truncate">
                {name} <code className="font-mono text-xs">{search[name]}</code>
              </span>
              <Button look="quiet" label={`Any ${name}`} onClick={() => set({ [name]: undefined })}>
                ×
              </Button>
            </span>
          ))}
        </p>
      )}
    </div>
  );
}

function Labelled(props: { readonly label: string; readonly isWide?: boolean; readonly children: ReactNode }) {
  const { label, isWide, children } = props;
  return (
    <label className={cx('flex min-w-0 flex-col gap-1.5 text-sm font-medium', isWide && 'col-span-2 sm:col-span-1')}>
      {label}
      {children}
    </label>
  );
}

import { Link } from '@tanstack/react-router';
import type { LogEntryView } from '#contract/views.ts';
import type { LogSearch } from '../search.ts';
import { Ago } from '../ui/time.tsx';
import { EntryDetail } from './entry-detail.tsx';

/** One entry of the log: a line, and everything about it when it is opened. Which one is open is in the URL. */
export function Entry(props: { readonly entry: LogEntryView; readonly search: LogSearch }) {
  const { entry, search } = props;
  const isOpen = search.entry === entry.id;
  const place = entry.index === null ? 'soon' : `#${entry.index}`;
  return (
    <li>
      <Link
        to="/log"
        search={{ ...search, entry: isOpen ? undefined : entry.id }}
        resetScroll={false}
        aria-expanded={isOpen}
        className="flex gap-x-4 px-5 py-3 -outline-offset-2 hover:bg-sunken"
      >
        <span className="hidden w-12 shrink-0 pt-0.5 text-sm text-faint tabular-nums sm:block">{place}</span>
        <span className="min-w-0 flex-1">
          <span className="block">{entry.summary}</span>
          <span className="flex flex-wrap gap-x-3 text-xs text-faint">
            <span className="tabular-nums sm:hidden">{place}</span>
            <span className="font-mono">{entry.kind}</span>
            <span className="sm:hidden">
              <Ago at={entry.at} />
            </span>
          </span>
        </span>
        <span className="hidden text-sm text-soft sm:block">
          <Ago at={entry.at} />
        </span>
      </Link>
      {isOpen && <EntryDetail entry={entry} />}
    </li>
  );
}

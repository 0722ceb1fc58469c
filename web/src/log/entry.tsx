import { Link } from '@tanstack/react-router';
import type { LogEntryView } from '#contract/views.ts';
import type { LogSearch } from '../search.ts';
import { Ago } from '../ui/time.tsx';
import { EntryDetail } from './entry-detail.tsx';

/** One entry of the log: a line, and everything about it when it is opened. Which one is open is in the URL. */
export function Entry(props: { readonly entry: LogEntryView; readonly search: LogSearch }) {
  const { entry, search } = props;
  const isOpen = search.entry === entry.id;
  return (
    <li>
      <Link
        to="/log"
        search={{ ...search, entry: isOpen ? undefined : entry.id }}
        resetScroll={false}
        aria-expanded={isOpen}
        className="grid grid-cols-[1fr_auto] gap-x-4 gap-y-0.5 px-5 py-3 -outline-offset-2 hover:bg-sunken sm:grid-cols-[4rem_1fr_auto]"
      >
        <span className="order-3 text-xs text-faint tabular-nums sm:order-none sm:pt-0.5 sm:text-sm">
          {entry.index === null ? 'soon' : `#${entry.index}`}
        </span>
        <span className="min-w-0">
          <span className="block">{entry.summary}</span>
          <span className="block font-mono text-xs text-faint">{entry.kind}</span>
        </span>
        <span className="text-sm text-soft">
          <Ago at={entry.at} />
        </span>
      </Link>
      {isOpen && <EntryDetail entry={entry} />}
    </li>
  );
}

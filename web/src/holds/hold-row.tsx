import { Link } from '@tanstack/react-router';
import type { HoldView } from '#contract/views.ts';
import { Exact } from '../ui/exact.tsx';
import { HoldState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';
import { isLive, missing } from './hold-words.ts';

/** Something held, in a list: who, where, its first line, and what it waits for. */
export function HoldRow({ hold }: { readonly hold: HoldView }) {
  const waitsFor = isLive(hold) ? missing(hold).join(', ') : '';
  return (
    <li>
      <Link
        to="/holds/$id"
        params={{ id: hold.id }}
        className="flex flex-col gap-1 px-5 py-4 -outline-offset-2 hover:bg-sunken"
      >
        <span className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
          <span>
            <span className="font-medium">{hold.requester.handle}</span>
            {hold.resource !== null && (
              <>
                <span className="text-soft"> on </span>
                <span className="font-medium">{hold.resource}</span>
              </>
            )}
          </span>
          <HoldState state={hold.state} />
        </span>
        <span className={hold.subject === 'statement' ? 'truncate font-mono text-sm' : 'truncate text-sm'}>
          <Exact text={hold.title} />
        </span>
        <span className="flex justify-between gap-x-4 text-sm text-soft">
          <span className="min-w-0 truncate">
            {waitsFor === '' ? (hold.grant?.reason ?? '') : `waits for ${waitsFor}`}
          </span>
          <Ago at={hold.openedAt} />
        </span>
      </Link>
    </li>
  );
}

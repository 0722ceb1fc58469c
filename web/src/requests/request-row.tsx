import { Link } from '@tanstack/react-router';
import type { RequestView } from '#contract/views.ts';
import { durationText } from '../format/duration.ts';
import { RequestState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';

/** A request in a list: who wants what, for how long, and why. */
export function RequestRow({ request }: { readonly request: RequestView }) {
  return (
    <li>
      <Link
        to="/requests/$id"
        params={{ id: request.id }}
        className="flex flex-col gap-1 px-5 py-4 -outline-offset-2 hover:bg-sunken"
      >
        <span className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
          <span>
            <span className="font-medium">{request.requester.handle}</span>
            <span className="text-soft"> asks for </span>
            <span className="font-medium">{request.role}</span>
            <span className="whitespace-nowrap text-soft"> for {durationText(request.seconds)}</span>
          </span>
          <RequestState state={request.state} />
        </span>
        <span className="flex justify-between gap-x-4 text-sm text-soft">
          <span className="min-w-0 truncate">{request.reason}</span>
          <Ago at={request.filedAt} />
        </span>
      </Link>
    </li>
  );
}

import { Link } from '@tanstack/react-router';
import type { GrantView } from '#contract/views.ts';
import { durationText } from '../format/duration.ts';
import { GrantState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';

/** A grant in a list. */
export function GrantRow({ grant, showWho }: { readonly grant: GrantView; readonly showWho: boolean }) {
  return (
    <li>
      <Link
        to="/grants/$id"
        params={{ id: grant.id }}
        className="flex flex-col gap-1 px-5 py-4 -outline-offset-2 hover:bg-sunken"
      >
        <span className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
          <span>
            <span className="font-medium">{grant.role}</span>
            {showWho && <span className="text-soft"> · {grant.principal.handle}</span>}
          </span>
          <GrantState grant={grant} />
        </span>
        <span className="flex justify-between gap-x-4 text-sm text-soft">
          <span className="min-w-0 truncate">{grant.reason}</span>
          <When grant={grant} />
        </span>
      </Link>
    </li>
  );
}

function When({ grant }: { readonly grant: GrantView }) {
  if (grant.state === 'ended')
    return grant.endedAt === null ? null : (
      <span className="whitespace-nowrap">
        ended <Ago at={grant.endedAt} />
      </span>
    );
  if (grant.state === 'active')
    return grant.endsAt === null ? null : (
      <span className="whitespace-nowrap">
        ends <Ago at={grant.endsAt} />
      </span>
    );
  return <span className="whitespace-nowrap">{durationText(grant.seconds)} once activated</span>;
}

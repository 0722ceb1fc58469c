import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { Me } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { holdsQuery, requestsQuery } from '../api/queries.ts';

const item =
  'flex min-h-10 items-center justify-between gap-3 rounded-lg px-3 py-2 text-sm text-soft hover:bg-sunken hover:text-ink';
const active = { className: 'bg-sunken !text-ink font-medium', 'aria-current': 'page' } as const;

/** Where one can go. What somebody can't use isn't shown; the server refuses it all the same. */
export function Navigation({ me, onGo }: { readonly me: Me; readonly onGo?: () => void }) {
  const api = useApi();
  const inbox = useQuery(requestsQuery(api, { box: 'inbox' })).data;
  const held = useQuery(holdsQuery(api, { box: 'inbox', state: 'live' })).data;
  const waiting = (inbox?.items.length ?? 0) + (held?.items.length ?? 0);
  const more = (inbox?.next ?? held?.next ?? null) === null ? '' : '+';
  const link = { className: item, activeProps: active, ...(onGo === undefined ? {} : { onClick: onGo }) };
  return (
    <nav aria-label="Main" className="flex flex-col gap-0.5">
      <Link to="/" activeOptions={{ exact: true }} {...link}>
        Home
      </Link>
      <Link to="/requests" activeOptions={{ includeSearch: false }} {...link}>
        Requests
        {waiting > 0 && (
          <span
            aria-label={`${waiting}${more} waiting for you`}
            className="rounded-full bg-accent px-1.5 text-xs leading-5 font-semibold text-on-accent"
          >
            {waiting}
            {more}
          </span>
        )}
      </Link>
      <Link to="/grants" activeOptions={{ includeSearch: false }} {...link}>
        Grants
      </Link>
      <Link to="/sessions" activeOptions={{ includeSearch: false }} {...link}>
        Sessions
      </Link>
      <Link to="/log" activeOptions={{ includeSearch: false }} {...link}>
        Log
      </Link>
      {me.may.administerPrincipals && (
        <Link to="/people" activeOptions={{ includeSearch: false }} {...link}>
          People
        </Link>
      )}
      {me.may.administerConfiguration && (
        <Link to="/configuration" activeOptions={{ includeSearch: false }} {...link}>
          Configuration
        </Link>
      )}
    </nav>
  );
}

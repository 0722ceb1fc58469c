import { Link } from '@tanstack/react-router';
import type { SessionView } from '#contract/views.ts';
import { SessionState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';

/** A session in a list. */
export function SessionRow({ session, showWho }: { readonly session: SessionView; readonly showWho: boolean }) {
  const { client } = session;
  return (
    <li>
      <Link
        to="/sessions/$id"
        params={{ id: session.id }}
        className="flex flex-col gap-1 px-5 py-4 -outline-offset-2 hover:bg-sunken"
      >
        <span className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
          <span>
            <span className="font-medium">{client.application ?? 'unnamed client'}</span>
            <span className="text-soft">
              {showWho && ` · ${session.principal.handle}`} · {session.role}
            </span>
          </span>
          <SessionState state={session.state} />
        </span>
        <span className="flex flex-wrap justify-between gap-x-4 text-sm text-soft">
          <span>
            {session.statements} {session.statements === 1 ? 'statement' : 'statements'} · from {client.address}
          </span>
          <Ago at={session.openedAt} />
        </span>
      </Link>
    </li>
  );
}

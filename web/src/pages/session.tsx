import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import type { SessionView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { sessionQuery } from '../api/queries.ts';
import { Statements } from '../sessions/statements.tsx';
import { Card } from '../ui/card.tsx';
import { Facts } from '../ui/facts.tsx';
import { Page } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';
import { SessionState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';

const route = getRouteApi('/_app/sessions/$id');

export function SessionPage() {
  const { id } = route.useParams();
  const { cursor } = route.useSearch();
  const query = useQuery(sessionQuery(useApi(), id));
  return (
    <Page
      title={query.data === undefined ? 'Session' : `${query.data.principal.handle} on ${query.data.resource}`}
      above={
        <Link to="/sessions" className="hover:underline">
          Sessions
        </Link>
      }
    >
      <Queried query={query}>
        {(session) => (
          <div className="flex flex-col gap-7">
            <Card>
              <SessionFacts session={session} />
            </Card>
            <Statements session={session} cursor={cursor} />
          </div>
        )}
      </Queried>
    </Page>
  );
}

function SessionFacts({ session }: { readonly session: SessionView }) {
  const end = [session.how?.replaceAll('_', ' '), session.word].filter(Boolean).join(': ');
  return (
    <Facts
      facts={[
        ['State', <SessionState key="state" state={session.state} />],
        ['Client', `${session.client.application ?? 'unnamed'}, from ${session.client.address}`],
        [
          'Under the grant of',
          <Link
            key="grant"
            to="/grants/$id"
            params={{ id: session.grant }}
            className="text-accent underline-offset-2 hover:underline"
          >
            {session.role}
          </Link>,
        ],
        ['Opened', <Ago key="opened" at={session.openedAt} />],
        session.endedAt !== null && ['Ended', <Ago key="ended" at={session.endedAt} />],
        end !== '' && ['Why it ended', end],
      ]}
    />
  );
}

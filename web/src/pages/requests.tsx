import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { holdsQuery, requestsQuery } from '../api/queries.ts';
import { HoldRow } from '../holds/hold-row.tsx';
import { RequestRow } from '../requests/request-row.tsx';
import { ButtonLink } from '../ui/button.tsx';
import { Rows } from '../ui/card.tsx';
import { Choices } from '../ui/choices.tsx';
import { Empty } from '../ui/notice.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';

const route = getRouteApi('/_app/requests');

const boxes = [
  ['inbox', 'Inbox'],
  ['mine', 'Mine'],
  ['all', 'All'],
] as const;
const states = [undefined, 'pending', 'approved', 'denied', 'withdrawn', 'expired'] as const;

export function RequestsPage() {
  const { box = 'inbox', state, cursor } = route.useSearch();
  const api = useApi();
  const inbox = useQuery(requestsQuery(api, { box: 'inbox' }));
  const requests = useQuery(requestsQuery(api, { box, state, cursor }));
  const held = useQuery(holdsQuery(api, { box: 'inbox', state: 'live' }));
  const holds = useQuery(holdsQuery(api, { box, ...(box === 'inbox' ? { state: 'live' } : {}), limit: 20 }));
  const shown = cursor === undefined && state === undefined ? (holds.data?.items ?? []) : [];
  return (
    <Page
      title="Requests"
      actions={
        <ButtonLink look="primary" to="/requests/new">
          New request
        </ButtonLink>
      }
    >
      <div className="flex flex-col gap-3">
        <Choices
          label="Boxes"
          look="tabs"
          choices={boxes.map(([key, label]) => ({
            key,
            label,
            current: key === box,
            ...(key === 'inbox' ? { count: (inbox.data?.items.length ?? 0) + (held.data?.items.length ?? 0) } : {}),
            link: { to: '/requests', search: { box: key } },
          }))}
        />
        {box !== 'inbox' && (
          <Choices
            label="States"
            look="filter"
            choices={states.map((key) => ({
              key: key ?? 'any',
              label: key ?? 'any state',
              current: key === state,
              link: { to: '/requests', search: { box, state: key } },
            }))}
          />
        )}
      </div>
      {shown.length > 0 && (
        <Section title={box === 'inbox' ? 'Held: somebody waits at a terminal' : 'Held statements and acts'}>
          <Rows label="Held">
            {shown.map((hold) => (
              <HoldRow key={hold.id} hold={hold} />
            ))}
          </Rows>
        </Section>
      )}
      <Queried query={requests}>
        {({ items, next }) => (
          <>
            {items.length === 0 && shown.length > 0 ? null : items.length === 0 ? (
              <Nothing box={box} isFiltered={state !== undefined || cursor !== undefined} />
            ) : (
              <Rows label="Requests">
                {items.map((request) => (
                  <RequestRow key={request.id} request={request} />
                ))}
              </Rows>
            )}
            <Pager cursor={cursor} next={next} shown={items.length} />
          </>
        )}
      </Queried>
    </Page>
  );
}

function Nothing({ box, isFiltered }: { readonly box: 'inbox' | 'mine' | 'all'; readonly isFiltered: boolean }) {
  if (isFiltered) return <Empty title="No request matches">Choose another state.</Empty>;
  if (box === 'inbox')
    return <Empty title="Nothing waits for you">Requests that you may decide appear here by themselves.</Empty>;
  if (box === 'all') return <Empty title="No requests yet" />;
  return (
    <Empty title="You have not asked for anything yet">
      <Link to="/requests/new" className="text-accent underline underline-offset-2">
        Ask for a role
      </Link>
    </Empty>
  );
}

import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { meQuery, sessionsQuery } from '../api/queries.ts';
import { SessionRow } from '../sessions/session-row.tsx';
import { ScopeChoice } from '../shell/scope-choice.tsx';
import { Rows } from '../ui/card.tsx';
import { Choices } from '../ui/choices.tsx';
import { Empty, Notice } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';

const route = getRouteApi('/_app/sessions');

const states = [
  [undefined, 'any state'],
  ['open', 'open'],
  ['ended', 'ended'],
] as const;

export function SessionsPage() {
  const { scope = 'mine', state, grant, cursor } = route.useSearch();
  const api = useApi();
  const me = useQuery(meQuery(api)).data;
  const sessions = useQuery(sessionsQuery(api, { scope, state, grant, cursor }));
  const all = scope === 'all' ? scope : undefined;
  return (
    <Page title="Sessions" lead="Each connection of a client to a resource, with every statement that ran in it.">
      <div className="flex flex-col gap-3">
        {me !== undefined && (
          <ScopeChoice to="/sessions" scope={scope} seesEverything={me.may.seeAllGrants} search={{ state, grant }} />
        )}
        <Choices
          label="States"
          look="filter"
          choices={states.map(([key, label]) => ({
            key: label,
            label,
            current: key === state,
            link: { to: '/sessions', search: { scope: all, state: key, grant } },
          }))}
        />
      </div>
      {grant !== undefined && (
        <Notice title="Only sessions under one grant">
          <Link to="/sessions" search={{ scope: all, state }} className="underline underline-offset-2">
            Show the others as well
          </Link>
        </Notice>
      )}
      <Queried query={sessions}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <Empty title={state === undefined && grant === undefined ? 'No sessions yet' : 'No session matches'} />
            ) : (
              <Rows label="Sessions">
                {items.map((session) => (
                  <SessionRow key={session.id} session={session} showWho={scope === 'all'} />
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

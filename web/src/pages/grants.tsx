import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { grantsQuery, meQuery } from '../api/queries.ts';
import { GrantRow } from '../grants/grant-row.tsx';
import { ScopeChoice } from '../shell/scope-choice.tsx';
import { Rows } from '../ui/card.tsx';
import { Choices } from '../ui/choices.tsx';
import { Empty } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';

const route = getRouteApi('/_app/grants');

const states = [
  [undefined, 'any state'],
  ['live', 'live'],
  ['approved', 'to activate'],
  ['active', 'active'],
  ['ended', 'ended'],
] as const;

export function GrantsPage() {
  const { scope = 'mine', state, cursor } = route.useSearch();
  const api = useApi();
  const me = useQuery(meQuery(api)).data;
  const grants = useQuery(grantsQuery(api, { scope, state, cursor }));
  return (
    <Page title="Grants" lead="An approved request becomes a grant. Its clock starts when it is activated.">
      <div className="flex flex-col gap-3">
        {me !== undefined && (
          <ScopeChoice to="/grants" scope={scope} seesEverything={me.may.seeAllGrants} search={{ state }} />
        )}
        <Choices
          label="States"
          look="filter"
          choices={states.map(([key, label]) => ({
            key: label,
            label,
            current: key === state,
            link: { to: '/grants', search: { scope: scope === 'all' ? scope : undefined, state: key } },
          }))}
        />
      </div>
      <Queried query={grants}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <Empty title={state === undefined ? 'No grants yet' : 'No grant matches'} />
            ) : (
              <Rows label="Grants">
                {items.map((grant) => (
                  <GrantRow key={grant.id} grant={grant} showWho={scope === 'all'} />
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

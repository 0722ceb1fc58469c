import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { logQuery, meQuery } from '../api/queries.ts';
import { Entry } from '../log/entry.tsx';
import { LogFilters } from '../log/filters.tsx';
import type { LogSearch } from '../search.ts';
import { ScopeChoice } from '../shell/scope-choice.tsx';
import { Rows } from '../ui/card.tsx';
import { Empty } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';

const route = getRouteApi('/_app/log');

/** Everything that matters is one entry in one log. Mine unless asked otherwise, for reading others' is logged too. */
export function LogPage() {
  const search = route.useSearch();
  const api = useApi();
  const mayReadAll = useQuery(meQuery(api)).data?.may.readLog === 'all';
  const { entry: _, cursor, since, scope: asked, ...filters } = search;
  const isAboutSomething = [search.request, search.grant, search.session, search.principal].some(Boolean);
  const scope = asked ?? (mayReadAll && isAboutSomething ? 'all' : 'mine');
  const log = useQuery(
    logQuery(api, {
      ...filters,
      scope,
      cursor,
      limit: 30,
      // The start of that day where the reader is.
      ...(since === undefined ? {} : { since: new Date(`${since}T00:00:00`).toISOString() }),
    }),
  );
  return (
    <Page title="Log" lead="Every entry is part of a signed tree: nothing in it can be changed or left out unnoticed.">
      <div className="flex flex-col gap-4">
        {mayReadAll && <ScopeChoice to="/log" scope={scope} seesEverything search={{ ...withoutPage(search) }} />}
        <LogFilters search={search} />
      </div>
      <Queried query={log}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <Empty title="No entry matches">Choose fewer filters.</Empty>
            ) : (
              <Rows label="Log entries">
                {items.map((entry) => (
                  <Entry key={entry.id} entry={entry} search={search} />
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

const withoutPage = ({ cursor: _, entry: __, scope: ___, ...rest }: LogSearch) => rest;

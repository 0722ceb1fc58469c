import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import type { PrincipalView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { meQuery, principalsQuery } from '../api/queries.ts';
import { Invite } from '../people/invite.tsx';
import { Button } from '../ui/button.tsx';
import { Rows } from '../ui/card.tsx';
import { TextField } from '../ui/field.tsx';
import { Empty } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';
import { PersonState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';

const route = getRouteApi('/_app/people');

export function PeoplePage() {
  const { search, invite, cursor } = route.useSearch();
  const api = useApi();
  const navigate = useNavigate();
  const me = useQuery(meQuery(api)).data;
  const people = useQuery(principalsQuery(api, { search, cursor }));
  const go = (next: { search?: string | undefined; invite?: '1' | undefined }, replace = false) =>
    void navigate({ to: '/people', search: next, replace });
  return (
    <Page
      title="People"
      actions={
        invite === undefined && (
          <Button
            look="primary"
            onClick={() => go({ search, invite: '1' })}
            disabledBecause={me?.may.administerPrincipals === false ? 'Only administrators invite people.' : undefined}
          >
            Invite somebody
          </Button>
        )
      }
    >
      {invite === '1' && <Invite onClose={() => go({ search })} />}
      <TextField
        label="Search"
        type="search"
        value={search ?? ''}
        placeholder="Handle, name or group"
        onChange={(next) => go({ search: next === '' ? undefined : next, invite }, true)}
      />
      <Queried query={people}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <Empty title="Nobody matches" />
            ) : (
              <Rows label="People">
                {items.map((person) => (
                  <PersonRow key={person.id} person={person} />
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

function PersonRow({ person }: { readonly person: PrincipalView }) {
  return (
    <li>
      <Link
        to="/people/$id"
        params={{ id: person.id }}
        className="flex flex-col gap-1 px-5 py-4 -outline-offset-2 hover:bg-sunken"
      >
        <span className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
          <span>
            <span className="font-medium">{person.name}</span>
            <span className="text-soft"> · {person.handle}</span>
          </span>
          <PersonState state={person.state} />
        </span>
        <span className="flex flex-wrap justify-between gap-x-4 text-sm text-soft">
          <span>{person.groups.length === 0 ? 'no groups' : person.groups.join(', ')}</span>
          {person.lastSignInAt !== null && (
            <span>
              seen <Ago at={person.lastSignInAt} />
            </span>
          )}
        </span>
      </Link>
    </li>
  );
}

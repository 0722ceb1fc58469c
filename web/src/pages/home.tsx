import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { grantsQuery, holdsQuery, meQuery, requestsQuery, rolesQuery } from '../api/queries.ts';
import { AccessCard, ToActivateCard } from '../grants/access-card.tsx';
import { HoldRow } from '../holds/hold-row.tsx';
import { RequestRow } from '../requests/request-row.tsx';
import { RoleRow } from '../requests/role-card.tsx';
import { ButtonLink } from '../ui/button.tsx';
import { Rows } from '../ui/card.tsx';
import { Empty } from '../ui/notice.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';

const more = 'text-sm text-accent underline-offset-2 hover:underline';

/** What I have, what I wait for, and what I can ask for. */
export function HomePage() {
  const api = useApi();
  const grants = useQuery(grantsQuery(api, { scope: 'mine', state: 'live', limit: 50 }));
  const pending = useQuery(requestsQuery(api, { box: 'mine', state: 'pending', limit: 20 }));
  const inbox = useQuery(requestsQuery(api, { box: 'inbox' }));
  const held = useQuery(holdsQuery(api, { box: 'inbox', state: 'live' })).data?.items ?? [];
  const roles = useQuery(rolesQuery(api));
  const invites = useQuery(meQuery(api)).data?.may.administerPrincipals === true;
  const waiting = inbox.data?.items ?? [];
  return (
    <Page
      title="Home"
      actions={
        <ButtonLink look="primary" to="/requests/new">
          New request
        </ButtonLink>
      }
    >
      <div className="flex flex-col gap-9">
        {held.length > 0 && (
          <Section title="Held, and waiting for your passkey">
            <Rows label="Held, and waiting for your passkey">
              {held.slice(0, 3).map((hold) => (
                <HoldRow key={hold.id} hold={hold} />
              ))}
            </Rows>
          </Section>
        )}
        {waiting.length > 0 && (
          <Section
            title="Waiting for you"
            aside={
              <Link to="/requests" search={{ box: 'inbox' }} className={more}>
                Open the inbox
              </Link>
            }
          >
            <Rows label="Requests that wait for you">
              {waiting.slice(0, 3).map((request) => (
                <RequestRow key={request.id} request={request} />
              ))}
            </Rows>
          </Section>
        )}
        <Queried query={grants} lines={1}>
          {({ items }) => {
            const active = items.filter(({ state }) => state === 'active');
            const approved = items.filter(({ state }) => state === 'approved');
            return (
              <>
                {approved.length > 0 && (
                  <Section title="Approved, to activate">
                    {approved.map((grant) => (
                      <ToActivateCard key={grant.id} grant={grant} />
                    ))}
                  </Section>
                )}
                <Section title="My access now">
                  {active.length === 0 ? (
                    <Empty title="You have no access right now">
                      That is how it should be most of the time. Ask for a role when you need it.
                    </Empty>
                  ) : (
                    active.map((grant) => <AccessCard key={grant.id} grant={grant} />)
                  )}
                </Section>
              </>
            );
          }}
        </Queried>
        {pending.data !== undefined && pending.data.items.length > 0 && (
          <Section title="My pending requests">
            <Rows label="My pending requests">
              {pending.data.items.map((request) => (
                <RequestRow key={request.id} request={request} />
              ))}
            </Rows>
          </Section>
        )}
        <Section title="What I can ask for">
          <Queried query={roles} lines={2}>
            {({ items }) => {
              const mine = items.filter(({ mayRequest }) => mayRequest);
              return mine.length === 0 ? (
                <Empty title="There is nothing you may ask for">
                  Roles are given to groups in the configuration.{' '}
                  {invites
                    ? 'Under People you invite others into them.'
                    : 'If you need one, ask an administrator to put you into the right one.'}
                </Empty>
              ) : (
                <Rows label="Roles I can ask for">
                  {mine.slice(0, 6).map((role) => (
                    <RoleRow key={role.role} role={role} />
                  ))}
                  {mine.length > 6 && (
                    <li className="px-5 py-3">
                      <Link to="/requests/new" className={more}>
                        All {mine.length} roles
                      </Link>
                    </li>
                  )}
                </Rows>
              );
            }}
          </Queried>
        </Section>
      </div>
    </Page>
  );
}

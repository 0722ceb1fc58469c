import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import type { PrincipalView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { meQuery, principalQuery } from '../api/queries.ts';
import { ChangePerson } from '../people/change-person.tsx';
import { Card } from '../ui/card.tsx';
import { Facts } from '../ui/facts.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';
import { PersonState } from '../ui/state-badge.tsx';
import { Ago } from '../ui/time.tsx';

const route = getRouteApi('/_app/people/$id');

export function PersonPage() {
  const { id } = route.useParams();
  const api = useApi();
  const query = useQuery(principalQuery(api, id));
  const me = useQuery(meQuery(api)).data;
  return (
    <Page
      title={query.data === undefined ? 'Person' : query.data.name}
      above={
        <Link to="/people" className="hover:underline">
          People
        </Link>
      }
    >
      <Queried query={query}>
        {(person) => (
          <div className="flex flex-col gap-7">
            <Card>
              <Facts
                facts={[
                  [
                    'Handle',
                    <code key="handle" className="font-mono text-sm">
                      {person.handle}
                    </code>,
                  ],
                  ['State', <PersonState key="state" state={person.state} />],
                  ['Groups', person.groups.length === 0 ? 'none' : person.groups.join(', ')],
                  ['Added', <Ago key="added" at={person.createdAt} />],
                  [
                    'Last sign-in',
                    person.lastSignInAt === null ? 'never' : <Ago key="seen" at={person.lastSignInAt} />,
                  ],
                ]}
              />
            </Card>
            {me?.may.administerPrincipals === true && <ChangePerson person={person} />}
            <Passkeys person={person} />
            <p className="text-sm">
              <Link
                to="/log"
                search={{ principal: person.id }}
                className="text-accent underline-offset-2 hover:underline"
              >
                What the log says about {person.handle}
              </Link>
            </p>
          </div>
        )}
      </Queried>
    </Page>
  );
}

function Passkeys({ person }: { readonly person: PrincipalView }) {
  return (
    <Section title="Passkeys">
      <Card>
        {person.authenticators.length === 0 ? (
          <p className="text-sm text-soft">None yet.</p>
        ) : (
          <ul aria-label="Passkeys" className="flex flex-col gap-3">
            {person.authenticators.map((key) => (
              <li key={key.id} className="flex flex-wrap items-baseline justify-between gap-x-4 text-sm">
                <span className={key.revokedAt === null ? 'font-medium' : 'text-faint line-through'}>{key.name}</span>
                <span className="text-soft">
                  {key.revokedAt !== null ? (
                    <>
                      removed <Ago at={key.revokedAt} />
                    </>
                  ) : key.lastUsedAt === null ? (
                    'never used'
                  ) : (
                    <>
                      used <Ago at={key.lastUsedAt} />
                    </>
                  )}
                </span>
              </li>
            ))}
          </ul>
        )}
      </Card>
    </Section>
  );
}

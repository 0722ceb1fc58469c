import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { sessionsQuery } from '../api/queries.ts';
import { SessionRow } from '../sessions/session-row.tsx';
import { Rows } from '../ui/card.tsx';
import { Empty } from '../ui/notice.tsx';
import { Section } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';

const link = 'text-sm text-accent underline-offset-2 hover:underline';

/** The sessions under one grant. */
export function GrantSessions({ grant }: { readonly grant: string }) {
  const sessions = useQuery(sessionsQuery(useApi(), { scope: 'all', grant, limit: 10 }));
  return (
    <Section
      title="Sessions"
      aside={
        <Link to="/log" search={{ grant }} className={link}>
          In the log
        </Link>
      }
    >
      <Queried query={sessions} lines={1}>
        {({ items, next }) =>
          items.length === 0 ? (
            <Empty title="Nobody has connected under this grant" />
          ) : (
            <Rows label="Sessions">
              {items.map((session) => (
                <SessionRow key={session.id} session={session} showWho={false} />
              ))}
              {next !== null && (
                <li className="px-5 py-3">
                  <Link to="/sessions" search={{ grant, scope: 'all' }} className={link}>
                    All sessions under this grant
                  </Link>
                </li>
              )}
            </Rows>
          )
        }
      </Queried>
    </Section>
  );
}

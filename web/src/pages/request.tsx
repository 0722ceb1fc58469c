import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { RequestView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { requestQuery } from '../api/queries.ts';
import { durationText } from '../format/duration.ts';
import { Approve } from '../requests/approve.tsx';
import { Decide } from '../requests/decide.tsx';
import { Outcome } from '../requests/outcome.tsx';
import { Card } from '../ui/card.tsx';
import { Facts } from '../ui/facts.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Permissions } from '../ui/permissions.tsx';
import { Queried } from '../ui/queried.tsx';
import { RequestState } from '../ui/state-badge.tsx';
import { Ago, At } from '../ui/time.tsx';

const route = getRouteApi('/_app/requests/$id');

export function RequestPage() {
  const { id } = route.useParams();
  const query = useQuery(requestQuery(useApi(), id));
  return (
    <Page
      title={query.data === undefined ? 'Request' : `${query.data.requester.handle} asks for ${query.data.role}`}
      above={
        <Link to="/requests" className="hover:underline">
          Requests
        </Link>
      }
    >
      <Queried query={query}>{(request) => <Request request={request} />}</Queried>
    </Page>
  );
}

function Request({ request }: { readonly request: RequestView }) {
  const [isSigning, setSigning] = useState(false);
  // While somebody signs, the page shows what is signed and nothing that could be taken for it.
  if (isSigning && request.state === 'pending') return <Approve request={request} onClose={() => setSigning(false)} />;
  return (
    <div className="flex flex-col gap-7">
      <Outcome request={request} />
      <Card>
        <Facts
          facts={[
            ['State', <RequestState key="state" state={request.state} />],
            [
              'Reason',
              <span key="reason" className="whitespace-pre-wrap">
                {request.reason}
              </span>,
            ],
            ['For how long', durationText(request.seconds)],
            request.startsAt !== null && ['Not before', <At key="start" at={request.startsAt} />],
            request.ticket !== null && ['Ticket', request.ticket],
            ['Resource', request.resource],
            ['Asked', <Ago key="asked" at={request.filedAt} />],
            request.state === 'pending' && ['Runs out', <Ago key="expires" at={request.expiresAt} />],
            ['Approvals', <Approvals key="approvals" request={request} />],
          ]}
        />
      </Card>
      <Decide request={request} onApprove={() => setSigning(true)} />
      <Section title="What the role permits">
        <Card>
          <Permissions permissions={request.permissions} />
        </Card>
      </Section>
      <p className="text-sm">
        <Link to="/log" search={{ request: request.id }} className="text-accent underline-offset-2 hover:underline">
          What the log says about this request
        </Link>
      </p>
    </div>
  );
}

function Approvals({ request }: { readonly request: RequestView }) {
  const { approvals, approvalsNeeded, approverGroups } = request;
  return (
    <>
      <span>
        {approvals.length} of {approvalsNeeded}
      </span>
      <span className="text-soft"> · by {approverGroups.join(' or ')}</span>
      {approvals.map(({ by, at, proof }) => (
        <span key={proof} className="block text-sm text-soft">
          {by.handle}, with a passkey, <Ago at={at} />
        </span>
      ))}
    </>
  );
}

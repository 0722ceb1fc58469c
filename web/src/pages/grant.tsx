import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { GrantView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { grantQuery, meQuery } from '../api/queries.ts';
import { Ceremony } from '../ceremony/ceremony.tsx';
import { durationText } from '../format/duration.ts';
import { useNow } from '../format/use-now.ts';
import { ConnectHelp } from '../grants/connect-help.tsx';
import { EndGrant } from '../grants/end-grant.tsx';
import { GrantSessions } from '../grants/grant-sessions.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Facts } from '../ui/facts.tsx';
import { Notice } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';
import { GrantState, howEnded } from '../ui/state-badge.tsx';
import { Ago, At } from '../ui/time.tsx';
import { TimeLeft } from '../ui/time-left.tsx';

const route = getRouteApi('/_app/grants/$id');

export function GrantPage() {
  const { id } = route.useParams();
  const api = useApi();
  const query = useQuery(grantQuery(api, id));
  const me = useQuery(meQuery(api)).data;
  const isMine = me?.principal.id === query.data?.principal.id;
  return (
    <Page
      title={query.data === undefined ? 'Grant' : query.data.role}
      lead={query.data === undefined || isMine ? undefined : `held by ${query.data.principal.handle}`}
      above={
        <Link to="/grants" className="hover:underline">
          Grants
        </Link>
      }
    >
      <Queried query={query}>{(grant) => <Grant grant={grant} isMine={isMine} />}</Queried>
    </Page>
  );
}

function Grant({ grant, isMine }: { readonly grant: GrantView; readonly isMine: boolean }) {
  const [isSigning, setSigning] = useState(false);
  const queryClient = useQueryClient();
  // While somebody signs, the page shows what is signed and nothing that could be taken for it.
  if (isSigning && grant.state === 'approved')
    return (
      <Ceremony
        ask={{ purpose: 'activate_grant', grant: grant.id }}
        title="Activate this grant"
        onDone={(done) => {
          queryClient.setQueryData(['grant', grant.id], done.grant);
          setSigning(false);
        }}
        onClose={() => setSigning(false)}
      />
    );
  return (
    <div className="flex flex-col gap-7">
      {grant.state === 'ended' && <Ended grant={grant} />}
      {grant.state === 'approved' && isMine && <Activate grant={grant} onActivate={() => setSigning(true)} />}
      {grant.state === 'active' && grant.endsAt !== null && (
        <Card>
          <TimeLeft until={grant.endsAt} of={grant.seconds} />
        </Card>
      )}
      {grant.you.mayConnect && <ConnectHelp grant={grant} />}
      <Card>
        <Facts
          facts={[
            ['State', <GrantState key="state" grant={grant} />],
            ['Reason', grant.reason],
            ['For how long', durationText(grant.seconds)],
            ['Not before', <At key="from" at={grant.notBefore} />],
            grant.state === 'approved' && ['To be activated before', <At key="by" at={grant.activateBy} />],
            grant.activatedAt !== null && ['Activated', <Ago key="since" at={grant.activatedAt} />],
            grant.state === 'active' && grant.endsAt !== null && ['Ends', <At key="until" at={grant.endsAt} />],
            [
              'Request',
              <Link
                key="request"
                to="/requests/$id"
                params={{ id: grant.request }}
                className="text-accent underline-offset-2 hover:underline"
              >
                See what was asked and approved
              </Link>,
            ],
          ]}
        />
      </Card>
      {grant.state !== 'ended' && <EndGrant grant={grant} isMine={isMine} />}
      <GrantSessions grant={grant.id} />
    </div>
  );
}

function Activate({ grant, onActivate }: { readonly grant: GrantView; readonly onActivate: () => void }) {
  const tooEarly = Date.parse(grant.notBefore) > useNow(10_000);
  const refusal = tooEarly ? 'It does not start yet.' : 'You may not activate it now.';
  return (
    <Card className="flex flex-col items-start gap-4">
      <p>
        The clock starts when you activate it: you then have <strong>{durationText(grant.seconds)}</strong>.
      </p>
      <Button look="primary" onClick={onActivate} disabledBecause={grant.you.mayActivate ? undefined : refusal}>
        Activate
      </Button>
    </Card>
  );
}

function Ended({ grant }: { readonly grant: GrantView }) {
  const by = grant.endedBy === null ? '' : ` by ${grant.endedBy.handle}`;
  return (
    <Notice title={`This grant was ${howEnded(grant.how)}${by}`}>
      {grant.endedAt !== null && <Ago at={grant.endedAt} />} · nothing of it works any more; sessions under it were cut.
    </Notice>
  );
}

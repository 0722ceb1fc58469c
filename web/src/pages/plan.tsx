import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { PlanView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { meQuery, planQuery } from '../api/queries.ts';
import { Ceremony } from '../ceremony/ceremony.tsx';
import { PlanChanges } from '../configuration/plan-changes.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Facts } from '../ui/facts.tsx';
import { Empty, Notice } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';
import { Ago } from '../ui/time.tsx';

const route = getRouteApi('/_app/plans/$id');

export function PlanPage() {
  const { id } = route.useParams();
  const query = useQuery(planQuery(useApi(), id));
  return (
    <Page
      title="Plan"
      lead="What applying these files changes."
      above={
        <Link to="/configuration" className="hover:underline">
          Configuration
        </Link>
      }
    >
      <Queried query={query}>{(plan) => <Plan plan={plan} />}</Queried>
    </Page>
  );
}

function Plan({ plan }: { readonly plan: PlanView }) {
  const isEmpty = plan.added.length + plan.changed.length + plan.removed.length === 0;
  return (
    <div className="flex flex-col gap-7">
      {plan.state === 'applied' && (
        <Notice tone="good" title="Applied">
          This is the configuration in force, unless a later plan was applied since.
        </Notice>
      )}
      {plan.state === 'expired' && (
        <Notice tone="warn" title="This plan ran out">
          Nothing was changed. Make a new one with sally apply.
        </Notice>
      )}
      <Card>
        <Facts
          facts={[
            ['Made by', plan.by.handle],
            ['Made', <Ago key="made" at={plan.createdAt} />],
            plan.state === 'open' && ['Runs out', <Ago key="out" at={plan.expiresAt} />],
            [
              'SHA-256',
              <code key="hash" className="font-mono text-xs break-all">
                {plan.configurationHash}
              </code>,
            ],
          ]}
        />
      </Card>
      <PlanChanges title="Removed" tone="bad" changes={plan.removed} />
      <PlanChanges title="Changed" tone="warn" changes={plan.changed} />
      <PlanChanges title="Added" tone="good" changes={plan.added} />
      {isEmpty && <Empty title="Nothing changes" />}
      {plan.state === 'open' && <Apply plan={plan} />}
    </div>
  );
}

function Apply({ plan }: { readonly plan: PlanView }) {
  const [isSigning, setSigning] = useState(false);
  const me = useQuery(meQuery(useApi())).data;
  if (isSigning)
    return (
      <Ceremony
        ask={{ purpose: 'change_configuration', plan: plan.id }}
        title="Apply this plan"
        onDone={() => setSigning(false)}
        onClose={() => setSigning(false)}
      />
    );
  return (
    <div>
      <Button
        look="primary"
        onClick={() => setSigning(true)}
        disabledBecause={
          me?.may.administerConfiguration === false
            ? 'Only administrators of the configuration apply plans.'
            : undefined
        }
      >
        Apply
      </Button>
    </div>
  );
}

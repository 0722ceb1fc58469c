import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { HoldView, ProofAsk } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { holdQuery } from '../api/queries.ts';
import { Ceremony } from '../ceremony/ceremony.tsx';
import { Cures } from '../holds/cures.tsx';
import { DecideHold, type Signing } from '../holds/decide-hold.tsx';
import { holdTitle, isLive } from '../holds/hold-words.ts';
import { OutcomeOfHold } from '../holds/outcome-of-hold.tsx';
import { Preview } from '../holds/preview.tsx';
import { Card } from '../ui/card.tsx';
import { Exact } from '../ui/exact.tsx';
import { Facts } from '../ui/facts.tsx';
import { Page, Section } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';
import { HoldState } from '../ui/state-badge.tsx';
import { TimeLeft } from '../ui/time-left.tsx';
import { Ago, At } from '../ui/time.tsx';

const route = getRouteApi('/_app/holds/$id');
const link = 'text-accent underline-offset-2 hover:underline';

/** Something held: exactly what it is, what it needs, and what can be done about it. */
export function HoldPage() {
  const { id } = route.useParams();
  const query = useQuery(holdQuery(useApi(), id));
  return (
    <Page
      title={query.data === undefined ? 'Held' : holdTitle(query.data)}
      above={
        <Link to="/requests" className="hover:underline">
          Requests
        </Link>
      }
    >
      <Queried query={query}>{(hold) => <Hold hold={hold} />}</Queried>
    </Page>
  );
}

function Hold({ hold }: { readonly hold: HoldView }) {
  const queryClient = useQueryClient();
  const [signing, setSigning] = useState<Signing | undefined>();
  // While somebody signs, the page shows what is signed and nothing that could be taken for it.
  if (signing !== undefined && isLive(hold))
    return (
      <Ceremony
        ask={askFor(hold, signing)}
        title={
          signing.as === 'owner'
            ? 'Run this statement'
            : hold.subject === 'act'
              ? 'Approve this'
              : 'Approve this statement'
        }
        onDone={(done) => {
          queryClient.setQueryData(['hold', hold.id], done.hold);
          setSigning(undefined);
        }}
        onClose={() => setSigning(undefined)}
      />
    );
  return (
    <div className="flex flex-col gap-7">
      <OutcomeOfHold hold={hold} />
      <What hold={hold} />
      <DecideHold hold={hold} onSign={setSigning} />
      <Section title="What it needs">
        <Card>
          <Cures hold={hold} />
        </Card>
      </Section>
      {hold.preview !== null && (
        <Section title="What it would change">
          <Card>
            <Preview preview={hold.preview} />
          </Card>
        </Section>
      )}
      <Section title="Who, and why">
        <Card>
          <Context hold={hold} />
        </Card>
      </Section>
      {hold.earlier.length > 0 && (
        <Section title="Before it in this session">
          <Card>
            <ol aria-label="Earlier statements" className="flex flex-col gap-2 text-sm">
              {hold.earlier.map(({ at, summary }) => (
                <li key={`${at} ${summary}`} className="flex justify-between gap-4">
                  <span className="min-w-0 truncate font-mono">
                    <Exact text={summary} />
                  </span>
                  <span className="text-soft">
                    <At at={at} />
                  </span>
                </li>
              ))}
            </ol>
          </Card>
        </Section>
      )}
    </div>
  );
}

type HoldAsk = Extract<ProofAsk, { readonly purpose: 'do_action' | 'approve_action' | 'approve_act' }>;

function askFor(hold: HoldView, signing: Signing): HoldAsk {
  if (signing.as === 'owner') return { purpose: 'do_action', hold: hold.id };
  if (hold.subject === 'act') return { purpose: 'approve_act', hold: hold.id };
  const { conditions } = signing;
  const has = Object.keys(conditions).length > 0;
  return { purpose: 'approve_action', hold: hold.id, ...(has ? { conditions } : {}) };
}

/** The statement exactly as it came, with what is bound to it; or the act in words. */
function What({ hold }: { readonly hold: HoldView }) {
  const total = (Date.parse(hold.expiresAt) - Date.parse(hold.openedAt)) / 1000;
  return (
    <Card className="flex flex-col gap-4">
      {hold.text !== null && (
        <pre tabIndex={0} aria-label="Statement" className="overflow-x-auto font-mono text-sm whitespace-pre-wrap">
          <Exact text={hold.text} />
        </pre>
      )}
      {hold.words.map((words) => (
        <p key={words} className="whitespace-pre-wrap">
          <Exact text={words} />
        </p>
      ))}
      {hold.parameters.length > 0 && (
        <ul aria-label="Parameters" className="flex flex-col gap-1 font-mono text-xs">
          {hold.parameters.map((value) => (
            <li key={value} className="break-all whitespace-pre-wrap">
              <Exact text={value} />
            </li>
          ))}
        </ul>
      )}
      {hold.needs.length > 0 && (
        <ul aria-label="What it does" className="flex flex-wrap gap-x-4 gap-y-1 text-sm text-soft">
          {hold.needs.map((need) => (
            <li key={need}>{need}</li>
          ))}
        </ul>
      )}
      {hold.inTransaction && isLive(hold) && (
        <p className="text-sm text-warn">Its transaction is open and may hold locks while this waits.</p>
      )}
      {isLive(hold) && <TimeLeft until={hold.expiresAt} of={total} />}
    </Card>
  );
}

function Context({ hold }: { readonly hold: HoldView }) {
  const chain = hold.actsFor.map(({ handle }) => handle).join(', for ');
  return (
    <Facts
      facts={[
        ['State', <HoldState key="state" state={hold.state} />],
        ['Who', chain === '' ? hold.requester.handle : `${hold.requester.handle}, for ${chain}`],
        hold.grant !== null && [
          'Under the grant of',
          <Link key="grant" to="/grants/$id" params={{ id: hold.grant.id }} className={link}>
            {hold.role ?? hold.grant.id}
          </Link>,
        ],
        hold.grant !== null && [
          'Reason of the grant',
          <span key="why" className="whitespace-pre-wrap">
            {hold.grant.reason}
          </span>,
        ],
        hold.grant?.ticket !== undefined && hold.grant.ticket !== null && ['Ticket', hold.grant.ticket],
        hold.reason !== null && [
          'Reason for this',
          <span key="reason" className="whitespace-pre-wrap">
            {hold.reason}
          </span>,
        ],
        hold.session !== null && [
          'Session',
          <Link key="session" to="/sessions/$id" params={{ id: hold.session }} className={link}>
            What was run in it
          </Link>,
        ],
        ['Held', <Ago key="opened" at={hold.openedAt} />],
      ]}
    />
  );
}

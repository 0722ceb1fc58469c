import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import { endpoints } from '#contract/endpoints.ts';
import { useApi } from '../api/context.tsx';
import { meQuery } from '../api/queries.ts';
import { isLoopback } from '../loopback.ts';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Facts } from '../ui/facts.tsx';
import { ErrorNotice, Notice } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';

const route = getRouteApi('/_app/authorize');

/** Consent to a sign-in of the CLI on this machine. */
export function AuthorizePage() {
  const search = route.useSearch();
  const api = useApi();
  const me = useQuery(meQuery(api)).data;
  const [isRefused, setRefused] = useState(false);
  const body = endpoints.authorizeCli.body.safeParse({
    redirectUri: search.redirect_uri,
    codeChallenge: search.code_challenge,
    codeChallengeMethod: search.code_challenge_method,
    state: search.state,
    dpopJkt: search.dpop_jkt,
    machine: search.machine,
  });
  const consent = useMutation({
    mutationFn: (to: NonNullable<typeof body.data>) => api.authorizeCli({ body: to }),
    onSuccess: ({ redirectTo }) => {
      if (!isLoopback(redirectTo)) throw new Error('the server named an address that is not on this machine');
      window.location.assign(redirectTo);
    },
  });
  if (!body.success || !isLoopback(body.data.redirectUri))
    return (
      <Page title="Sign in at the CLI">
        <Notice tone="bad" title="This sign-in is not well-formed">
          Start it again with <code className="font-mono">sally login</code>, on the machine that you sit at.
        </Notice>
      </Page>
    );
  if (isRefused)
    return (
      <Page title="Sign in at the CLI">
        <Notice title="Nobody was signed in">You can close this page; sally login gives up by itself.</Notice>
      </Page>
    );
  return (
    <Page title="Sign in at the CLI?" lead="The command sally login asks to act for you from the machine named here.">
      <Card className="flex flex-col gap-6">
        <Facts
          facts={[
            ['You', me === undefined ? '' : `${me.name} (${me.principal.handle})`],
            ['Machine', body.data.machine],
            ['For', 'up to 12 hours, with a key that stays on that machine'],
          ]}
        />
        <Notice title="Did you just run sally login on that machine?">
          If not, somebody else may have sent you here. Then refuse.
        </Notice>
        {consent.error !== null && <ErrorNotice error={consent.error} />}
        {consent.isSuccess ? (
          <Notice tone="good" title="Signed in">
            Go back to your shell; you can close this page.
          </Notice>
        ) : (
          <div className="flex flex-wrap gap-2">
            <Button look="primary" busy={consent.isPending && 'Signing in…'} onClick={() => consent.mutate(body.data)}>
              Sign in the CLI
            </Button>
            <Button onClick={() => setRefused(true)}>Refuse</Button>
          </div>
        )}
      </Card>
    </Page>
  );
}

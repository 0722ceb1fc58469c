import { useMutation, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useRouter } from '@tanstack/react-router';
import { useContextOfApp } from '../api/context.tsx';
import { meQuery } from '../api/queries.ts';
import { signInWithPasskey } from '../ceremony/passkey.ts';
import { StrangerPage } from '../shell/stranger-page.tsx';
import { Button } from '../ui/button.tsx';
import { ErrorNotice } from '../ui/notice.tsx';

const route = getRouteApi('/sign-in');

/** Only a path of our own: `to` comes with the link, and may have been written by anybody. */
export function safePath(to: string | undefined): string {
  if (to === undefined) return '/';
  const url = URL.canParse(to, window.location.origin) ? new URL(to, window.location.origin) : undefined;
  if (url === undefined || url.origin !== window.location.origin || !to.startsWith('/')) return '/';
  return url.pathname === '/sign-in' ? '/' : `${url.pathname}${url.search}${url.hash}`;
}

export function SignInPage() {
  const { to } = route.useSearch();
  const { api, plainApi } = useContextOfApp();
  const queryClient = useQueryClient();
  const router = useRouter();
  const signIn = useMutation({
    mutationFn: () => signInWithPasskey(plainApi),
    onSuccess: (me) => {
      queryClient.clear();
      queryClient.setQueryData(meQuery(api).queryKey, me);
      router.history.replace(safePath(to));
    },
  });
  return (
    <StrangerPage title="Sign in">
      <p className="text-sm text-soft">
        Your passkey says who you are; there is no password. On a new device, ask an administrator for a one-time link.
      </p>
      {signIn.error !== null && <ErrorNotice error={signIn.error} />}
      <Button
        look="primary"
        full
        busy={signIn.isPending && 'Waiting for your passkey…'}
        onClick={() => signIn.mutate()}
      >
        Sign in with a passkey
      </Button>
    </StrangerPage>
  );
}

import { useMutation, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, useRouter } from '@tanstack/react-router';
import { useContextOfApp } from '../api/context.tsx';
import { meQuery } from '../api/queries.ts';
import { signInWithPasskey } from '../ceremony/passkey.ts';
import { safePath } from '../safe-path.ts';
import { StrangerPage } from '../shell/stranger-page.tsx';
import { Button } from '../ui/button.tsx';
import { ErrorNotice } from '../ui/notice.tsx';

const route = getRouteApi('/sign-in');

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
      router.history.replace(safePath(to, window.location.origin));
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

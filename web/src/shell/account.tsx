import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useRouter } from '@tanstack/react-router';
import type { Me } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { Button } from '../ui/button.tsx';
import { ErrorNotice } from '../ui/notice.tsx';

/** Who is signed in, and the way out. */
export function Account({ me }: { readonly me: Me }) {
  const api = useApi();
  const queryClient = useQueryClient();
  const router = useRouter();
  const signOut = useMutation({
    mutationFn: () => api.signOut(),
    onSuccess: async () => {
      await router.navigate({ to: '/sign-in' });
      queryClient.clear();
    },
  });
  return (
    <div className="flex flex-col gap-2 border-t border-line pt-4 text-sm">
      <div className="px-3">
        <p className="truncate font-medium">{me.name}</p>
        <p className="truncate text-soft">
          {me.principal.handle}
          {me.groups.length > 0 && ` · ${me.groups.join(', ')}`}
        </p>
      </div>
      {signOut.error !== null && <ErrorNotice error={signOut.error} />}
      <div className="-mt-1 flex *:px-3">
        <Button look="quiet" onClick={() => signOut.mutate()} busy={signOut.isPending && 'Signing out…'}>
          Sign out
        </Button>
      </div>
    </div>
  );
}

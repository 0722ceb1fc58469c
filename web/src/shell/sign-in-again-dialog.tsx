import { Dialog } from '@base-ui/react/dialog';
import { useMutation } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { useContextOfApp } from '../api/context.tsx';
import { signInWithPasskey } from '../ceremony/passkey.ts';
import { Button } from '../ui/button.tsx';
import { backdropClass, popupClass } from '../ui/confirm.tsx';
import { ErrorNotice } from '../ui/notice.tsx';

/** Signs in again in place, for acts that want a sign-in of the last minutes; then the act goes on. */
export function SignInAgainDialog() {
  const { plainApi, signInAgain } = useContextOfApp();
  const isAsking = useSyncExternalStore(signInAgain.subscribe, signInAgain.isAsking);
  const signIn = useMutation({
    mutationFn: () => signInWithPasskey(plainApi),
    onSuccess: () => signInAgain.answer(true),
  });
  const close = () => {
    signIn.reset();
    signInAgain.answer(false);
  };
  return (
    <Dialog.Root open={isAsking} onOpenChange={(open) => (open ? undefined : close())}>
      <Dialog.Portal>
        <Dialog.Backdrop className={backdropClass} />
        <Dialog.Popup className={popupClass}>
          <Dialog.Title className="text-lg font-semibold">Is it still you?</Dialog.Title>
          <Dialog.Description className="text-sm text-soft">
            This needs a sign-in from the last few minutes. Use your passkey once more and it goes on by itself.
          </Dialog.Description>
          {signIn.error !== null && <ErrorNotice error={signIn.error} />}
          <div className="flex flex-wrap justify-end gap-2">
            <Button look="quiet" onClick={close}>
              Not now
            </Button>
            <Button
              look="primary"
              busy={signIn.isPending && 'Waiting for your passkey…'}
              onClick={() => signIn.mutate()}
            >
              Sign in again
            </Button>
          </div>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

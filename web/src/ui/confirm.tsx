import { AlertDialog } from '@base-ui/react/alert-dialog';
import type { ReactNode } from 'react';
import { Button } from './button.tsx';

export const backdropClass = 'fixed inset-0 z-40 bg-black/40 fade-in';
export const popupClass =
  'fixed top-1/2 left-1/2 z-50 flex max-h-[90dvh] w-[min(28rem,calc(100vw-2rem))] -translate-x-1/2 -translate-y-1/2 flex-col gap-4 overflow-y-auto rounded-2xl border border-line bg-card p-6 shadow-xl';

/** Asks before something that can't be taken back. The body may hold a field. */
export function Confirm(props: {
  readonly open: boolean;
  readonly title: string;
  readonly children: ReactNode;
  readonly act: string;
  readonly busy: string | false;
  readonly onAct: () => void;
  readonly onClose: () => void;
}) {
  return (
    <AlertDialog.Root open={props.open} onOpenChange={(open) => (open ? undefined : props.onClose())}>
      <AlertDialog.Portal>
        <AlertDialog.Backdrop className={backdropClass} />
        <AlertDialog.Popup className={popupClass}>
          <AlertDialog.Title className="text-lg font-semibold">{props.title}</AlertDialog.Title>
          <div className="flex flex-col gap-4 text-sm text-soft">{props.children}</div>
          <div className="flex flex-wrap justify-end gap-2">
            <Button look="quiet" onClick={props.onClose}>
              Cancel
            </Button>
            <Button look="danger" busy={props.busy} onClick={props.onAct}>
              {props.act}
            </Button>
          </div>
        </AlertDialog.Popup>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  );
}

import { Copyable } from '../ui/copy.tsx';
import { Notice } from '../ui/notice.tsx';
import { Ago } from '../ui/time.tsx';

/** A fresh one-time link. It is shown once: who holds it can enrol as this person. */
export function OneTimeLink(props: { readonly url: string; readonly expiresAt: string; readonly name: string }) {
  return (
    <div className="fade-in flex flex-col gap-3">
      <Notice tone="good" title={`Send this link to ${props.name}, and to nobody else`}>
        It works once, stops working <Ago at={props.expiresAt} />, and can’t be shown again.
      </Notice>
      <Copyable text={props.url} what="one-time link" />
    </div>
  );
}

import { clockText, exactText, relativeText } from '../format/moment.ts';
import { useNow } from '../format/use-now.ts';

/** A moment: relative on screen, exact on hover. */
export function Ago({ at }: { readonly at: string }) {
  const now = useNow(10_000);
  return (
    <time dateTime={at} title={exactText(at)} className="whitespace-nowrap">
      {relativeText(at, now)}
    </time>
  );
}

/** A moment by the clock, `14:05` or `Tue 3 Mar, 14:05`, exact on hover. */
export function At({ at }: { readonly at: string }) {
  const now = useNow(60_000);
  return (
    <time dateTime={at} title={exactText(at)} className="whitespace-nowrap">
      {clockText(at, now)}
    </time>
  );
}

import { durationText, timeLeftText } from '../format/duration.ts';
import { exactText } from '../format/moment.ts';
import { useNow } from '../format/use-now.ts';
import { cx } from './class.ts';

/** How long something still lasts, with a thin bar: minutes while there are many, seconds for the last five. */
export function TimeLeft({ until, of }: { readonly until: string; readonly of: number }) {
  const now = useNow(1000);
  const left = Math.max(0, (Date.parse(until) - now) / 1000);
  const isShort = left < 300;
  // An attribute, not a style: the content security policy has no inline styles, and SVG scales by itself.
  const share = Math.max(0, Math.min(100, (left / of) * 100));
  return (
    <span className="block" title={exactText(until)}>
      <span className={cx('tabular-nums font-medium', isShort ? 'text-warn' : 'text-ink')}>
        {left === 0 ? 'Time is over' : `${timeLeftText(left)} left`}
      </span>
      <span className="text-soft"> of {durationText(of)}</span>
      <svg
        viewBox="0 0 100 2"
        preserveAspectRatio="none"
        className="mt-2 block h-1 w-full overflow-hidden rounded-full"
        role="presentation"
      >
        <rect width="100" height="2" className="fill-line" />
        <rect width={share} height="2" className={isShort ? 'fill-warn' : 'fill-accent'} />
      </svg>
    </span>
  );
}

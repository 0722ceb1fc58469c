import { Link, type LinkComponentProps } from '@tanstack/react-router';
import { type ReactNode, useId } from 'react';
import { cx } from './class.ts';

type Look = 'primary' | 'plain' | 'quiet' | 'danger';

const base =
  'inline-flex min-h-10 items-center justify-center gap-2 rounded-lg px-4 py-2 text-sm font-medium transition-colors select-none';
const looks: Readonly<Record<Look, string>> = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong',
  plain: 'border border-strong-line bg-card text-ink hover:bg-sunken',
  quiet: 'text-soft hover:bg-sunken hover:text-ink',
  danger: 'border border-danger/40 bg-card text-danger hover:bg-danger-wash',
};
const off = 'border border-line bg-sunken text-faint cursor-not-allowed';

export type ButtonProps = {
  readonly children: ReactNode;
  readonly look?: Look;
  readonly type?: 'button' | 'submit';
  readonly onClick?: () => void;
  /** Work is under way: the button says so and does nothing. */
  readonly busy?: string | false | undefined;
  /** Why it can't be pressed. It stays reachable by keyboard so that the reason can be read. */
  readonly disabledBecause?: string | undefined;
  readonly label?: string;
  readonly full?: boolean;
};

/** A button. One that can't be pressed always says why, beside it and to a screen reader. */
export function Button(props: ButtonProps) {
  const { children, look = 'plain', type = 'button', onClick, busy, disabledBecause, label, full } = props;
  const reasonId = useId();
  const isOff = disabledBecause !== undefined || typeof busy === 'string';
  const button = (
    <button
      type={type}
      aria-label={label}
      aria-disabled={isOff || undefined}
      aria-busy={typeof busy === 'string' || undefined}
      aria-describedby={disabledBecause === undefined ? undefined : reasonId}
      onClick={(event) => {
        if (isOff) event.preventDefault();
        else onClick?.();
      }}
      className={cx(base, disabledBecause === undefined ? looks[look] : off, full && 'w-full')}
    >
      {typeof busy === 'string' ? <span className="pulse">{busy}</span> : children}
    </button>
  );
  if (disabledBecause === undefined) return button;
  return (
    <span className={full ? 'flex flex-col gap-1.5' : 'contents'}>
      {button}
      <span id={reasonId} className={cx('block text-sm text-soft', full !== true && 'order-last w-full')}>
        {disabledBecause}
      </span>
    </span>
  );
}

/** A link that looks like a button, for what is a place and not an act. */
export function ButtonLink({ look = 'plain', className, ...link }: LinkComponentProps & { readonly look?: Look }) {
  return <Link {...link} className={cx(base, looks[look], typeof className === 'string' && className)} />;
}

import { Link, type LinkComponentProps } from '@tanstack/react-router';
import { cx } from './class.ts';

type Choice = { readonly key: string; readonly label: string; readonly current: boolean; readonly count?: number };

/** A few views of one list to choose from. Each is a link, so the choice is in the URL. */
export function Choices(props: {
  readonly label: string;
  readonly choices: readonly (Choice & { readonly link: LinkComponentProps })[];
}) {
  return (
    <nav aria-label={props.label} className="-mx-1 flex flex-wrap gap-1 px-1">
      {props.choices.map(({ key, label, current, count, link }) => (
        <Link
          key={key}
          {...link}
          aria-current={current ? 'page' : undefined}
          className={cx(
            'inline-flex min-h-9 items-center gap-2 rounded-lg px-3 py-1.5 text-sm',
            current ? 'bg-sunken font-medium text-ink' : 'text-soft hover:bg-sunken hover:text-ink',
          )}
        >
          {label}
          {count !== undefined && count > 0 && (
            <span className="rounded-full bg-accent px-1.5 text-xs font-semibold text-on-accent">{count}</span>
          )}
        </Link>
      ))}
    </nav>
  );
}

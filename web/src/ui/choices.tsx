import { Link, type LinkComponentProps } from '@tanstack/react-router';
import { cx } from './class.ts';

type Choice = { readonly key: string; readonly label: string; readonly current: boolean; readonly count?: number };

/**
 * A few views of one list to choose from, each a link, so that the choice is in the URL. Tabs choose what is listed, a
 * filter which of it.
 */
export function Choices(props: {
  readonly label: string;
  readonly look: 'tabs' | 'filter';
  readonly choices: readonly (Choice & { readonly link: LinkComponentProps })[];
}) {
  const isTabs = props.look === 'tabs';
  return (
    <nav
      aria-label={props.label}
      className={isTabs ? 'flex flex-wrap gap-x-6 border-b border-line' : 'flex flex-wrap gap-1'}
    >
      {props.choices.map(({ key, label, current, count, link }) => (
        <Link
          key={key}
          {...link}
          aria-current={current ? 'page' : undefined}
          className={cx(
            'inline-flex items-center gap-2 text-sm',
            isTabs ? '-mb-px min-h-10 border-b-2 px-0.5' : 'min-h-8 rounded-full px-3',
            current
              ? isTabs
                ? 'border-accent font-medium text-ink'
                : 'bg-sunken font-medium text-ink'
              : isTabs
                ? 'border-transparent text-soft hover:border-strong-line hover:text-ink'
                : 'text-soft hover:bg-sunken hover:text-ink',
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

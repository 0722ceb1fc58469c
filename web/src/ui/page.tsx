import { type ReactNode, useEffect } from 'react';

/** A page's heading, what can be done on it, and its body. It also names the browser's tab. */
export function Page(props: {
  readonly title: string;
  readonly above?: ReactNode;
  readonly lead?: ReactNode;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}) {
  const { title, above, lead, actions, children } = props;
  useEffect(() => {
    document.title = `${title} · Sallyport`;
  }, [title]);
  return (
    <div className="fade-in flex flex-col gap-6">
      <header className="flex flex-wrap items-start justify-between gap-x-6 gap-y-3">
        <div className="min-w-0">
          {above !== undefined && <div className="mb-1.5 text-sm text-soft">{above}</div>}
          <h1 className="text-2xl font-semibold tracking-tight text-balance">{title}</h1>
          {lead !== undefined && <div className="mt-1.5 max-w-2xl text-pretty text-soft">{lead}</div>}
        </div>
        {actions !== undefined && <div className="flex flex-wrap items-start gap-2">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** A titled part of a page. */
export function Section(props: { readonly title: string; readonly aside?: ReactNode; readonly children: ReactNode }) {
  const id = `section-${props.title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`;
  return (
    <section aria-labelledby={id} className="flex flex-col gap-3">
      <div className="flex flex-wrap items-baseline justify-between gap-3">
        <h2 id={id} className="text-sm font-semibold text-soft">
          {props.title}
        </h2>
        {props.aside}
      </div>
      {props.children}
    </section>
  );
}

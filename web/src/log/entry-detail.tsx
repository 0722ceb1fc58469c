import { useMutation } from '@tanstack/react-query';
import { Link, type LinkComponentProps } from '@tanstack/react-router';
import type { LogEntryView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { exactText } from '../format/moment.ts';
import { Button } from '../ui/button.tsx';
import { download } from '../ui/download.ts';
import { Facts } from '../ui/facts.tsx';
import { ErrorNotice } from '../ui/notice.tsx';

/** Everything an entry says, and its receipt. */
export function EntryDetail({ entry }: { readonly entry: LogEntryView }) {
  const api = useApi();
  const receipt = useMutation({
    mutationFn: () => api.proveEntry({ params: { id: entry.id } }),
    onSuccess: (proof) =>
      download(`${entry.id}.receipt.json`, 'application/json', `${JSON.stringify(proof, undefined, 2)}\n`),
  });
  const actor = typeof entry.actor === 'string' ? entry.actor : `${entry.actor.handle} (${entry.actor.id})`;
  return (
    <div role="region" aria-label="Entry" className="fade-in flex flex-col gap-5 bg-sunken/60 px-5 py-5 text-sm">
      <Facts
        facts={[
          ['When', exactText(entry.at)],
          ['Who', actor],
          [
            'Entry',
            <code key="id" className="font-mono text-xs break-all">
              {entry.id}
            </code>,
          ],
          ...Object.entries(entry.subject).map(
            ([name, id]) => [name, <SubjectLink key={name} name={name} id={id} />] as const,
          ),
        ]}
      />
      <Json label="Public part" value={entry.facts} />
      {entry.content === null ? (
        <p className="text-soft">There is no personal part, or it was erased.</p>
      ) : (
        <Json label="Personal part" value={entry.content} />
      )}
      {receipt.error !== null && <ErrorNotice error={receipt.error} />}
      <div className="flex flex-wrap items-center gap-3">
        <Button
          onClick={() => receipt.mutate()}
          busy={receipt.isPending && 'Making the receipt…'}
          disabledBecause={entry.index === null ? 'The log takes it in within moments.' : undefined}
        >
          Download receipt
        </Button>
        {entry.index !== null && (
          <span className="text-soft">Anyone can check it offline, with the log’s public key alone.</span>
        )}
      </div>
    </div>
  );
}

function Json({ label, value }: { readonly label: string; readonly value: Readonly<Record<string, unknown>> }) {
  if (Object.keys(value).length === 0) return null;
  return (
    <div>
      <h3 className="mb-1.5 text-soft">{label}</h3>
      <pre
        aria-label={label}
        tabIndex={0}
        className="max-h-96 overflow-auto rounded-lg border border-line bg-card p-3 font-mono text-xs leading-relaxed"
      >
        {JSON.stringify(value, undefined, 2)}
      </pre>
    </div>
  );
}

function SubjectLink({ name, id }: { readonly name: string; readonly id: string }) {
  const link = placeOf(name, id);
  const text = <code className="font-mono text-xs break-all">{id}</code>;
  if (link === undefined) return text;
  return (
    <Link {...link} className="text-accent underline-offset-2 hover:underline">
      {text}
    </Link>
  );
}

function placeOf(name: string, id: string): LinkComponentProps | undefined {
  switch (name) {
    case 'request':
      return { to: '/requests/$id', params: { id } };
    case 'grant':
      return { to: '/grants/$id', params: { id } };
    case 'session':
      return { to: '/sessions/$id', params: { id } };
    case 'principal':
      return { to: '/people/$id', params: { id } };
    case 'plan':
      return { to: '/plans/$id', params: { id } };
    default:
      return undefined;
  }
}

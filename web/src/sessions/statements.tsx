import { useQuery } from '@tanstack/react-query';
import { useApi } from '../api/context.tsx';
import { logQuery, meQuery } from '../api/queries.ts';
import type { LogEntryView, SessionView } from '#contract/views.ts';
import { Badge } from '../ui/badge.tsx';
import { Card } from '../ui/card.tsx';
import { Empty } from '../ui/notice.tsx';
import { Section } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';
import { At } from '../ui/time.tsx';
import { readStatement } from './statement.ts';

/** Every statement of a session, oldest first, as the log has it. An open session is looked at again. */
export function Statements({
  session,
  cursor,
}: {
  readonly session: SessionView;
  readonly cursor: string | undefined;
}) {
  const api = useApi();
  const scope = useQuery(meQuery(api)).data?.may.readLog === 'all' ? 'all' : 'mine';
  const every = session.state === 'open' ? 5 : undefined;
  const log = useQuery(
    logQuery(api, { scope, session: session.id, kind: 'statement', order: 'oldest', limit: 50, cursor }, every),
  );
  return (
    <Section title="Statements">
      <Queried query={log}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <Empty title="No statements">Nothing has been run in this session that you may read.</Empty>
            ) : (
              <ol aria-label="Statements" className="flex flex-col gap-3">
                {items.map((entry) => (
                  <StatementItem key={entry.id} entry={entry} />
                ))}
              </ol>
            )}
            <Pager cursor={cursor} next={next} shown={items.length} />
          </>
        )}
      </Queried>
    </Section>
  );
}

function StatementItem({ entry }: { readonly entry: LogEntryView }) {
  const statement = readStatement(entry);
  return (
    <li>
      <Card className="flex flex-col gap-3">
        <pre tabIndex={0} className="overflow-x-auto font-mono text-sm whitespace-pre-wrap">
          {statement.text ?? <span className="text-faint">The text was erased.</span>}
          {statement.isCut && <span className="text-faint"> … (cut; the log has its size and hash)</span>}
        </pre>
        {statement.parameters.length > 0 && (
          <dl aria-label="Parameters" className="flex flex-wrap gap-x-4 gap-y-1 font-mono text-xs">
            {statement.parameters.map((value, index) => (
              <div key={index} className="flex gap-1.5">
                <dt className="text-faint">${index + 1}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        )}
        <p className="flex flex-wrap items-center gap-x-4 gap-y-1 text-sm text-soft">
          <Badge tone={statement.tone}>{statement.outcome}</Badge>
          {statement.rows !== undefined && (
            <span>
              {statement.rows.toLocaleString('en')} {statement.rows === 1 ? 'row' : 'rows'}
            </span>
          )}
          {statement.durationMs !== undefined && <span>{durationMsText(statement.durationMs)}</span>}
          <At at={entry.at} />
        </p>
        {statement.message !== undefined && <p className="text-sm text-danger">{statement.message}</p>}
      </Card>
    </li>
  );
}

function durationMsText(ms: number): string {
  if (ms < 1) return 'below 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

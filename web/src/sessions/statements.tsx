import { useQuery } from '@tanstack/react-query';
import type { SessionView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { logQuery, meQuery } from '../api/queries.ts';
import { Badge } from '../ui/badge.tsx';
import { Card } from '../ui/card.tsx';
import { Empty } from '../ui/notice.tsx';
import { Section } from '../ui/page.tsx';
import { Pager } from '../ui/pager.tsx';
import { Queried } from '../ui/queried.tsx';
import { At } from '../ui/time.tsx';
import { readStatements, type Result, type Statement } from './statement.ts';

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
  const isOpen = session.state === 'open';
  const log = useQuery(
    logQuery(api, { scope, session: session.id, order: 'oldest', limit: 100, cursor }, isOpen ? 5 : undefined),
  );
  return (
    <Section title="Statements">
      <Queried query={log}>
        {({ items, next }) => {
          const statements = readStatements(items);
          return (
            <>
              {statements.length === 0 ? (
                <Empty title="No statements">Nothing has been run in this session that you may read.</Empty>
              ) : (
                <ol aria-label="Statements" className="flex flex-col gap-3">
                  {statements.map((statement) => (
                    <StatementItem
                      key={statement.key}
                      statement={statement}
                      without={isOpen ? 'running' : 'no result recorded'}
                    />
                  ))}
                </ol>
              )}
              <Pager cursor={cursor} next={next} shown={statements.length} />
            </>
          );
        }}
      </Queried>
    </Section>
  );
}

function StatementItem({ statement, without }: { readonly statement: Statement; readonly without: string }) {
  const { text, isCut, parameters, prepared, results, at } = statement;
  return (
    <li>
      <Card className="flex flex-col gap-3">
        <pre tabIndex={0} aria-label="Statement" className="overflow-x-auto font-mono text-sm whitespace-pre-wrap">
          {text ?? <span className="text-faint">The text is not here: it was erased, or is on the page before.</span>}
          {isCut && <span className="text-faint"> … (cut; the log has its size and hash)</span>}
        </pre>
        {prepared.map((what, index) => (
          <pre
            key={index}
            tabIndex={0}
            aria-label="Prepared as"
            className="overflow-x-auto border-l-2 border-line pl-3 font-mono text-sm whitespace-pre-wrap text-soft"
          >
            {what}
          </pre>
        ))}
        {parameters.length > 0 && (
          <dl aria-label="Parameters" className="flex flex-wrap gap-x-4 gap-y-1 font-mono text-xs">
            {parameters.map((value, index) => (
              <div key={index} className="flex gap-1.5">
                <dt className="text-faint">${index + 1}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        )}
        <div className="flex flex-wrap items-start justify-between gap-x-4 gap-y-1 text-sm text-soft">
          <div className="flex min-w-0 flex-col gap-1">
            {results.length === 0 && <span>{without}</span>}
            {results.map((result, index) => (
              <ResultLine key={index} result={result} />
            ))}
          </div>
          <At at={at} />
        </div>
      </Card>
    </li>
  );
}

function ResultLine({ result }: { readonly result: Result }) {
  const { outcome, tone, rows, durationMs, message, transaction, isTakenBack } = result;
  return (
    <span className="flex flex-wrap items-center gap-x-3 gap-y-1">
      <Badge tone={tone}>{outcome}</Badge>
      {rows !== undefined && (
        <span>
          {rows.toLocaleString('en')} {rows === 1 ? 'row' : 'rows'}
        </span>
      )}
      {durationMs !== undefined && <span>{durationMsText(durationMs)}</span>}
      {message !== undefined && <span className="text-danger">{message}</span>}
      {transaction !== undefined && <span>{transactionText(transaction, isTakenBack)}</span>}
    </span>
  );
}

function transactionText({ number, state }: { number: string; state: string }, isTakenBack: boolean): string {
  if (isTakenBack && state !== 'rolled_back') return `taken back in transaction ${number}`;
  if (state === 'open') return `in transaction ${number}, which has no end yet`;
  return `transaction ${number} ${state === 'unknown' ? 'committed or not: unknown' : state.replace('_', ' ')}`;
}

function durationMsText(ms: number): string {
  if (ms < 1) return 'below 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { ErrorNotice, Loading } from './notice.tsx';

/** What a query has come to: loading, failed, or its data. A failed refresh keeps showing the last data, and says so. */
export function Queried<T>(props: {
  readonly query: UseQueryResult<T>;
  readonly lines?: number;
  readonly children: (data: T) => ReactNode;
}) {
  const { query, lines = 3, children } = props;
  const retry = () => void query.refetch();
  if (query.data === undefined)
    return query.error === null ? <Loading lines={lines} /> : <ErrorNotice error={query.error} onRetry={retry} />;
  return (
    <>
      {query.error !== null && <ErrorNotice error={query.error} onRetry={retry} />}
      {children(query.data)}
    </>
  );
}

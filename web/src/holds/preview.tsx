import type { HoldView } from '#contract/views.ts';
import { Exact } from '../ui/exact.tsx';

/** What its run has touched: the true number of rows, and some of them before and after. */
export function Preview({ preview }: { readonly preview: NonNullable<HoldView['preview']> }) {
  const { rows, tag, columns, before, after } = preview;
  return (
    <div className="flex flex-col gap-4">
      <p>
        <span className="text-lg font-semibold tabular-nums">{rows.toLocaleString('en')}</span>{' '}
        {rows === 1 ? 'row' : 'rows'} touched <span className="font-mono text-sm text-soft">{tag}</span>
      </p>
      <p className="text-sm text-soft">
        It has run in a transaction that waits: nobody else sees it, and nothing of it stays unless it is let through.
      </p>
      <Sample label="Before" columns={columns} rows={before} total={rows} without="no rows to show" />
      <Sample label="After" columns={columns} rows={after} total={rows} without="none of them is there any more" />
    </div>
  );
}

function Sample(props: {
  readonly label: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
  readonly total: number;
  readonly without: string;
}) {
  const { label, columns, rows, total, without } = props;
  return (
    <div>
      <h3 className="mb-1.5 text-sm font-medium">
        {label}
        {rows.length > 0 && rows.length < total && (
          <span className="font-normal text-soft">
            {' '}
            · {rows.length} of {total.toLocaleString('en')}
          </span>
        )}
      </h3>
      {rows.length === 0 ? (
        <p className="text-sm text-soft">{without}</p>
      ) : (
        <div tabIndex={0} role="region" aria-label={label} className="overflow-x-auto rounded-lg border border-line">
          <table className="w-full font-mono text-xs">
            <thead className="bg-sunken text-left text-soft">
              <tr>
                {columns.map((column) => (
                  <th key={column} scope="col" className="px-3 py-1.5 font-normal whitespace-nowrap">
                    {column}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody className="divide-y divide-line">
              {rows.map((row, index) => (
                <tr key={index}>
                  {row.map((cell, at) => (
                    <td key={at} className="max-w-72 truncate px-3 py-1.5 whitespace-nowrap">
                      {cell === null ? <span className="text-soft">null</span> : <Exact text={cell} />}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

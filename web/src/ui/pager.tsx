import { useNavigate } from '@tanstack/react-router';
import { Button } from './button.tsx';

/**
 * Forward through a list by its cursor, which lives in the URL; the browser's Back goes back. Shown only where there is
 * more than one page.
 */
export function Pager(props: {
  readonly cursor: string | undefined;
  readonly next: string | null;
  readonly shown: number;
}) {
  const navigate = useNavigate();
  const go = (cursor: string | undefined) =>
    void navigate({
      to: '.',
      search: (before: Record<string, unknown>) => ({ ...before, cursor }),
    });
  if (props.cursor === undefined && props.next === null) return null;
  return (
    <nav aria-label="Pages" className="flex flex-wrap items-center justify-between gap-3">
      <span className="text-sm text-soft">{props.shown} on this page</span>
      <span className="flex flex-wrap justify-end gap-2 text-right">
        {props.cursor !== undefined && <Button onClick={() => go(undefined)}>First page</Button>}
        <Button
          onClick={() => go(props.next ?? undefined)}
          disabledBecause={props.next === null ? 'This is the last page.' : undefined}
        >
          Next page
        </Button>
      </span>
    </nav>
  );
}

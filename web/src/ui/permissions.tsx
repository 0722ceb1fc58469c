import type { RoleView } from '#contract/views.ts';

type Permission = RoleView['permissions'][number];

/** What a role permits: an object a row, what may be done with it, and on which columns. */
export function Permissions({ permissions }: { readonly permissions: readonly Permission[] }) {
  if (permissions.length === 0) return <p className="text-sm text-soft">Nothing.</p>;
  return (
    <ul aria-label="What the role permits" className="flex flex-col gap-2">
      {permissions.map((permission) => (
        <li key={permission.object} className="gap-x-6 text-sm sm:grid sm:grid-cols-[minmax(12rem,1fr)_2fr]">
          <code className="font-mono font-medium">{permission.object}</code>
          <ul>
            {permission.actions.map(({ action, columns }) => (
              <li key={action} className="text-soft">
                <span className="text-ink">{action}</span>
                {columns === null ? (
                  ofColumns.has(action) && ' every column'
                ) : (
                  <>
                    {' only '}
                    <code className="font-mono text-[0.8125rem]">{columns.join(', ')}</code>
                  </>
                )}
              </li>
            ))}
          </ul>
        </li>
      ))}
    </ul>
  );
}

/** Actions that a role can give for some columns only; any other is for the whole object. */
const ofColumns = new Set(['select', 'insert', 'update']);

import type { RoleView } from '#contract/views.ts';

type Permission = RoleView['permissions'][number];

/** What a role permits: an object a row, what may be done with it, and on which columns. */
export function Permissions({ permissions }: { readonly permissions: readonly Permission[] }) {
  if (permissions.length === 0) return <p className="text-sm text-soft">Nothing.</p>;
  return (
    <ul aria-label="What the role permits" className="flex flex-col gap-2.5">
      {permissions.map((permission) => (
        <li key={permission.object} className="text-sm">
          <code className="font-mono font-medium">{permission.object}</code>
          <ul className="mt-0.5">
            {permission.actions.map(({ action, columns }) => (
              <li key={action} className="text-soft">
                <span className="text-ink">{action}</span>
                {columns === null ? (
                  ' every column'
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

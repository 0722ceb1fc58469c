import { Link, useNavigate } from '@tanstack/react-router';
import type { RoleView } from '#contract/views.ts';
import { durationText } from '../format/duration.ts';
import { Button } from '../ui/button.tsx';
import { Card, Rows } from '../ui/card.tsx';
import { TextField } from '../ui/field.tsx';
import { Empty } from '../ui/notice.tsx';
import { Permissions } from '../ui/permissions.tsx';

const matches = (role: RoleView, search: string) => {
  const text = [role.role, role.description, role.resourceDescription, ...Object.values(role.labels)]
    .join(' ')
    .toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
};

/** Roles to choose from, with a search. The choice and the search are in the URL. */
export function RolePicker({ roles, search }: { readonly roles: readonly RoleView[]; readonly search: string }) {
  const navigate = useNavigate();
  const found = roles.filter((role) => role.mayRequest && matches(role, search));
  return (
    <div className="flex flex-col gap-3">
      <TextField
        label="Which role?"
        type="search"
        value={search}
        placeholder="Search by name, resource or label"
        onChange={(next) => void navigate({ to: '/requests/new', search: { search: next }, replace: true })}
        autoFocus
      />
      {found.length === 0 ? (
        <Empty title={search === '' ? 'There is nothing you may ask for' : 'No role matches'}>
          {search === '' ? 'Ask an administrator to put you into the right group.' : 'Try fewer or other words.'}
        </Empty>
      ) : (
        <Rows label="Roles">
          {found.map((role) => (
            <li key={role.role}>
              <Link
                to="/requests/new"
                search={{ role: role.role }}
                className="block px-5 py-4 -outline-offset-2 hover:bg-sunken"
              >
                <span className="block font-medium">{role.role}</span>
                <span className="block text-sm text-soft">
                  {role.description} · up to {durationText(role.maxSeconds)}
                </span>
              </Link>
            </li>
          ))}
        </Rows>
      )}
    </div>
  );
}

/** The chosen role: what it permits, who decides. */
export function ChosenRole({ role }: { readonly role: RoleView }) {
  const navigate = useNavigate();
  const { groups, count } = role.approvers;
  return (
    <Card className="flex flex-col gap-4">
      <div className="flex flex-wrap items-start justify-between gap-3">
        <div>
          <h2 className="font-semibold">{role.role}</h2>
          <p className="text-sm text-soft">{role.description}</p>
        </div>
        <Button look="quiet" onClick={() => void navigate({ to: '/requests/new', search: {} })}>
          Choose another
        </Button>
      </div>
      <Permissions permissions={role.permissions} />
      <p className="text-sm text-soft">
        {count === 1 ? 'One person' : `${count} people`} of {groups.join(' or ')} must approve.
      </p>
    </Card>
  );
}

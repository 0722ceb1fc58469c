import type { RoleView } from '#contract/views.ts';
import { durationText } from '../format/duration.ts';
import { ButtonLink } from '../ui/button.tsx';

/** A role that one may ask for, in a list. */
export function RoleRow({ role }: { readonly role: RoleView }) {
  return (
    <li className="flex flex-wrap items-center justify-between gap-x-6 gap-y-3 px-5 py-4">
      <div className="min-w-0 flex-1 basis-64">
        <h3 className="font-medium">{role.role}</h3>
        <p className="text-sm text-soft">
          {role.description} · up to {durationText(role.maxSeconds)}
        </p>
      </div>
      {role.pendingRequest === null ? (
        <ButtonLink to="/requests/new" search={{ role: role.role }} aria-label={`Ask for ${role.role}`}>
          Ask
        </ButtonLink>
      ) : (
        <ButtonLink to="/requests/$id" params={{ id: role.pendingRequest }}>
          See request
        </ButtonLink>
      )}
    </li>
  );
}

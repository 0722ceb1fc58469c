import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { rolesQuery } from '../api/queries.ts';
import { RequestForm } from '../requests/request-form.tsx';
import { ChosenRole, RolePicker } from '../requests/role-picker.tsx';
import { Notice } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';

const route = getRouteApi('/_app/requests/new');

export function NewRequestPage() {
  const { role: name, search } = route.useSearch();
  const roles = useQuery(rolesQuery(useApi()));
  return (
    <Page title="New request" lead="Ask for as little as the work needs, for as long as it takes.">
      <Queried query={roles}>
        {({ items }) => {
          const role = items.find((one) => one.role === name);
          if (role === undefined || !role.mayRequest)
            return (
              <>
                {name !== undefined && (
                  <Notice tone="warn" title={`You can’t ask for ${name}`}>
                    It does not exist, or it is not for you. These are the roles you may ask for.
                  </Notice>
                )}
                <RolePicker roles={items} search={search ?? ''} />
              </>
            );
          return (
            <div className="flex flex-col gap-6">
              <ChosenRole role={role} />
              <RequestForm key={role.role} role={role} />
            </div>
          );
        }}
      </Queried>
    </Page>
  );
}

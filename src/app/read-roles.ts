/** What somebody may ask for, and what they have of it. */
import { limitOf } from '#core/grant.ts';
import type { GrantId, RequestId } from '#core/ids.ts';
import type { Resource, Role } from '#core/role.ts';
import { grantOf } from './_rows.ts';
import type { AppContext, Caller } from './context.ts';
import { shownPermissions, type ShownPermission } from './permissions.ts';

export type ShownRole = {
  readonly role: Role;
  readonly resource: Resource;
  readonly permissions: readonly ShownPermission[];
  readonly mayRequest: boolean;
  readonly pendingRequest: RequestId | undefined;
  /** The caller's approved or active grant that ends last. */
  readonly grant: GrantId | undefined;
};

export async function readRoles(ctx: AppContext, caller: Caller): Promise<readonly ShownRole[]> {
  const now = ctx.clock.now();
  const requestable = new Set(ctx.policy.rolesFor(caller.principal, { now: ctx.clock.now() }).map((role) => role.name));
  const pending = await ctx.db
    .selectFrom('access_request')
    .select(['id', 'role'])
    .where('requester', '=', caller.principal.id)
    .where('state', '=', 'pending')
    .where('expires_at', '>', now)
    .execute();
  const grants = (
    await ctx.db
      .selectFrom('access_grant')
      .selectAll()
      .where('principal', '=', caller.principal.id)
      .where('state', '<>', 'ended')
      .execute()
  )
    .map(grantOf)
    .filter((grant) => grant.state !== 'ended')
    .filter((grant) => now < limitOf(grant))
    // Active before waiting, then the one that lasts longest.
    .toSorted((a, b) => Number(b.state === 'active') - Number(a.state === 'active') || limitOf(b) - limitOf(a));
  return (ctx.policy.configuration?.resources ?? []).flatMap((resource) =>
    resource.roles.flatMap((role) => {
      const grant = grants.find((candidate) => candidate.role === role.name)?.id;
      const mayRequest = requestable.has(role.name);
      if (!mayRequest && grant === undefined) return [];
      return [
        {
          role,
          resource,
          permissions: shownPermissions(role.permissions),
          mayRequest,
          pendingRequest: pending.find((row) => row.role === role.name)?.id,
          grant,
        },
      ];
    }),
  );
}

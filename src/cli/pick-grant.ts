/** Which grant is meant: by its id, by its role, by its resource, or the only one there is. */
import type { Client } from '#contract/client.ts';
import type { GrantView } from '#contract/views.ts';
import { parseId, parseResourceName, parseRoleName } from '#core/ids.ts';
import { askWhich } from './ask.ts';
import type { Cli } from './cli.ts';
import { attempt, CliError } from './exit.ts';
import { allPages } from './server.ts';
import { grantTimeCell } from './states.ts';

export type Target =
  | { readonly kind: 'grant'; readonly id: string }
  | { readonly kind: 'role'; readonly role: string }
  | { readonly kind: 'resource'; readonly resource: string }
  | { readonly kind: 'any' };

/** A grant's id, `resource/role`, a resource, or nothing. */
export function parseTarget(text: string | undefined): Target {
  if (text === undefined) return { kind: 'any' };
  if (parseId('grant', text) !== undefined) return { kind: 'grant', id: text };
  if (parseRoleName(text) !== undefined) return { kind: 'role', role: text };
  if (parseResourceName(text) !== undefined) return { kind: 'resource', resource: text };
  throw new CliError('usage', `\`${text}\` is no grant, role or resource`, {
    hint: 'as in `grt_01…`, `orders/support-read` or `orders`; `sally grants` lists yours',
  });
}

/** `connect to \`orders\``; without a target only `connect`. */
export function words(verb: string, target: Target, preposition = ''): string {
  const on = preposition === '' ? verb : `${verb} ${preposition}`;
  switch (target.kind) {
    case 'grant':
      return `${on} \`${target.id}\``;
    case 'role':
      return `${on} \`${target.role}\``;
    case 'resource':
      return `${on} \`${target.resource}\``;
    case 'any':
      return verb;
  }
}

/** Your live grants (approved or active) that the target means. A grant's id may name somebody else's too. */
export async function findGrants(client: Client, target: Target): Promise<readonly GrantView[]> {
  if (target.kind === 'grant')
    return [await attempt('look up the grant', () => client.getGrant({ params: { id: target.id }, query: {} }))];
  const { items } = await allPages('list your grants', 1000, (cursor, limit) =>
    client.listGrants({ query: { scope: 'mine', state: 'live', cursor, limit } }),
  );
  return items.filter(
    (grant) =>
      target.kind === 'any' ||
      (target.kind === 'role' ? grant.role === target.role : grant.resource === target.resource),
  );
}

/** The one grant of several: asked at a terminal, refused elsewhere. `flag` says how to name one. */
export async function oneGrant(
  cli: Cli,
  question: string,
  grants: readonly [GrantView, ...GrantView[]],
  how: string,
): Promise<GrantView> {
  const [only] = grants;
  if (grants.length === 1) return only;
  if (!cli.screen.canAsk || cli.shared().json)
    throw new CliError(
      'usage',
      `${question}: there are ${grants.length} (${grants.map((g) => `${g.id} ${g.role}`).join(', ')})`,
      { hint: how },
    );
  return askWhich(
    'Which one?',
    grants.map((grant) => {
      const time = grantTimeCell(grant, cli.now());
      return {
        value: grant,
        label: `${grant.role}  ${typeof time === 'string' ? time : time.text}`,
        hint: `${grant.id}  ${grant.reason}`,
      };
    }),
  );
}

export function isOneOrMore<T>(list: readonly T[]): list is readonly [T, ...T[]] {
  return list.length > 0;
}

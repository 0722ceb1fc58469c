/** Everything that must hold of a configuration before it may take effect. */
import type { Configuration } from '#core/role.ts';
import { textHash } from '#log/challenge.ts';
import { canonicalConfiguration } from '#policy/canonical-configuration.ts';
import type { PolicyFault } from '#policy/engine.ts';
import type { Db, Transaction } from '#store/database.ts';
import type { StoredFiles } from '#store/schema.ts';
import { principalOf } from './_rows.ts';
import type { AppContext } from './context.ts';
import { parseFiles } from './load-configuration.ts';

export type CheckedConfiguration =
  | { readonly kind: 'sound'; readonly configuration: Configuration; readonly hash: string; readonly version: string }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export async function checkConfiguration(
  ctx: Pick<AppContext, 'policy' | 'shipped'>,
  db: Db | Transaction,
  files: StoredFiles,
): Promise<CheckedConfiguration> {
  const parsed = parseFiles(ctx, files);
  if (parsed.kind === 'faults') return parsed;
  const { configuration } = parsed;
  const set = { shipped: ctx.shipped, configuration };
  const checked = ctx.policy.check(set);
  if (checked.kind === 'faults') return checked;
  // INVARIANT 13: against the people there are now. A role that nobody could get before may stay so: an installation begins empty.
  const rows = await db.selectFrom('principal').selectAll().where('state', '<>', 'suspended').execute();
  const people = rows.map(principalOf);
  const current = ctx.policy.configuration;
  const before =
    current === undefined ? [] : ctx.policy.lockouts({ shipped: ctx.shipped, configuration: current }, people);
  const known = new Set(before.map((lockout) => `${lockout.what} ${lockout.name}`));
  const administered = new Set(
    current?.resources.flatMap((resource) => resource.roles.map((role) => role.name as string)) ?? [],
  );
  const faults = (people.length === 0 ? [] : ctx.policy.lockouts(set, people))
    .filter(({ what, name }) => !known.has(`${what} ${name}`) && (what !== 'role' || administered.has(name)))
    .map(({ message, help }) => ({ file: files.file, line: 1, column: 1, message, help }));
  if (faults.length > 0) return { kind: 'faults', faults };
  return {
    kind: 'sound',
    configuration,
    hash: textHash(canonicalConfiguration(configuration)),
    version: checked.version,
  };
}

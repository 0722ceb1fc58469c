/** The configuration in force: read from the store, parsed and given to the policy engine, at start and when it changes. */
import type { Configuration } from '#core/role.ts';
import { parseConfiguration } from '#policy/configuration.ts';
import type { PolicyFault } from '#policy/engine.ts';
import type { StoredFiles } from '#store/schema.ts';
import type { AppContext } from './context.ts';

export type LoadedConfiguration =
  | { readonly kind: 'loaded'; readonly version: string }
  /** Nothing has been applied yet: the shipped policies answer over no resources. */
  | { readonly kind: 'none'; readonly version: string }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export async function loadConfiguration(ctx: AppContext): Promise<LoadedConfiguration> {
  const row = await ctx.db.selectFrom('configuration').select('files').orderBy('number', 'desc').executeTakeFirst();
  const parsed = row === undefined ? undefined : parseFiles(ctx, row.files);
  if (parsed?.kind === 'faults') return parsed;
  const configuration: Configuration = parsed?.configuration ?? { resources: [], policies: {} };
  const loaded = ctx.policy.load({ shipped: ctx.shipped, configuration });
  if (loaded.kind === 'faults') return loaded;
  return { kind: row === undefined ? 'none' : 'loaded', version: loaded.version };
}

export type ParsedFiles =
  | { readonly kind: 'ok'; readonly configuration: Configuration }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export function parseFiles(ctx: Pick<AppContext, 'policy' | 'shipped'>, files: StoredFiles): ParsedFiles {
  const { file, text, policies } = files;
  const parsed = parseConfiguration({ file, text, policies, shipped: ctx.shipped, engine: ctx.policy });
  return parsed.kind === 'ok' ? { kind: 'ok', configuration: parsed.configuration } : parsed;
}

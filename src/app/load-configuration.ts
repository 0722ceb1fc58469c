/** The configuration in force: read from the store, parsed and given to the policy engine, at start and when it changes. */
import type { Configuration } from '#core/role.ts';
import { parseConfiguration } from '#policy/configuration.ts';
import type { PolicyFault } from '#policy/engine.ts';
import type { StoredFiles } from '#store/schema.ts';
import type { AppContext } from './context.ts';

export type LoadedConfiguration =
  | { readonly kind: 'loaded'; readonly version: string; readonly number: number }
  /** Nothing has been applied yet: the shipped policies answer over no resources. */
  | { readonly kind: 'none'; readonly version: string; readonly number: undefined }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export async function loadConfiguration(ctx: AppContext): Promise<LoadedConfiguration> {
  const row = await ctx.db
    .selectFrom('configuration')
    .select(['number', 'files'])
    .orderBy('number', 'desc')
    .executeTakeFirst();
  const parsed = row === undefined ? undefined : parseFiles(ctx, row.files);
  if (parsed?.kind === 'faults') return parsed;
  const configuration: Configuration = parsed?.configuration ?? { resources: [], policies: {} };
  const loaded = ctx.policy.load({ shipped: ctx.shipped, configuration });
  if (loaded.kind === 'faults') return loaded;
  const { version } = loaded;
  return row === undefined
    ? { kind: 'none', version, number: undefined }
    : { kind: 'loaded', version, number: row.number };
}

/** The number of the configuration that should be in use; undefined while there is none. */
export async function newestConfiguration(ctx: Pick<AppContext, 'db'>): Promise<number | undefined> {
  const row = await ctx.db.selectFrom('configuration').select('number').orderBy('number', 'desc').executeTakeFirst();
  return row?.number;
}

export type ParsedFiles =
  | { readonly kind: 'ok'; readonly configuration: Configuration }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

export function parseFiles(ctx: Pick<AppContext, 'policy' | 'shipped'>, files: StoredFiles): ParsedFiles {
  const { file, text, policies } = files;
  const parsed = parseConfiguration({ file, text, policies, shipped: ctx.shipped, engine: ctx.policy });
  return parsed.kind === 'ok' ? { kind: 'ok', configuration: parsed.configuration } : parsed;
}

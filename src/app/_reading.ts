/** What all lists share: pages, handles, and who may see other people's. */
import type { PrincipalId } from '#core/ids.ts';
import type { Principal, PrincipalRef } from '#core/principal.ts';
import type { Db, Transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';

export type PageAsk = {
  /** The last item of the page before. */
  readonly cursor?: string;
  readonly limit: number;
};

export type Page<T> = { readonly items: readonly T[]; readonly next: string | undefined };

/** The page out of one row more than it holds. */
export function pageOf<T>(rows: readonly T[], limit: number, cursorOf: (item: T) => string): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? cursorOf(last) : undefined };
}

/** Whether everybody's requests, grants and sessions are shown: to those who may read the whole log. */
export function mayReadAll(ctx: Pick<AppContext, 'policy' | 'clock'>, principal: Principal): boolean {
  return ctx.policy.decide({ action: 'read_log', principal, scope: 'all', now: ctx.clock.now() }).kind === 'allow';
}

export async function readHandles(
  db: Db | Transaction,
  ids: readonly PrincipalId[],
): Promise<(id: PrincipalId) => PrincipalRef> {
  const rows =
    ids.length === 0 ? [] : await db.selectFrom('principal').select(['id', 'handle']).where('id', 'in', ids).execute();
  const handles = new Map(rows.map((row) => [row.id, row.handle]));
  return (id) => ({ id, handle: handles.get(id) ?? 'unknown' });
}

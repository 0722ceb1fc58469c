/** People, for those who administer them; everybody may see themselves. */
import type { AuthenticatorId, PrincipalId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import { sql, type Selectable } from 'kysely';
import type { Database } from '#store/schema.ts';
import { pageOf, type Page, type PageAsk } from './_reading.ts';
import { principalOf } from './_rows.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';

export type ShownPrincipal = {
  readonly principal: Principal;
  readonly createdAt: Instant;
  readonly lastSignInAt: Instant | undefined;
  readonly authenticators: readonly {
    readonly id: AuthenticatorId;
    readonly name: string;
    readonly createdAt: Instant;
    readonly lastUsedAt: Instant | undefined;
    readonly revokedAt: Instant | undefined;
  }[];
};

/** Looking needs the right, not a fresh passkey; changing needs both. */
function mayLook(ctx: AppContext, caller: Caller): boolean {
  const { principal } = caller;
  return (
    ctx.policy.decide({ action: 'administer', principal, what: 'principals', now: ctx.clock.now() }).kind === 'allow'
  );
}

export async function readPrincipal(
  ctx: AppContext,
  caller: Caller,
  id: PrincipalId,
): Promise<Outcome<ShownPrincipal>> {
  if (id !== caller.principal.id && !mayLook(ctx, caller)) return notFound('person', id);
  const row = await ctx.db.selectFrom('principal').selectAll().where('id', '=', id).executeTakeFirst();
  const [shown] = row === undefined ? [] : await show(ctx, [row]);
  return shown === undefined ? notFound('person', id) : done(shown);
}

export async function readPrincipals(
  ctx: AppContext,
  caller: Caller,
  ask: PageAsk & { readonly search?: string },
): Promise<Outcome<Page<ShownPrincipal>>> {
  if (!mayLook(ctx, caller)) return refused('forbidden', 'see people: you may not');
  let query = ctx.db
    .selectFrom('principal')
    .selectAll()
    .orderBy('handle')
    .limit(ask.limit + 1);
  if (ask.cursor !== undefined) query = query.where('handle', '>', ask.cursor);
  const search = ask.search?.toLowerCase();
  if (search !== undefined && search !== '')
    query = query.where(
      sql<boolean>`(strpos(handle, ${search}) > 0 or strpos(lower(name), ${search}) > 0 or ${search} = any (groups))`,
    );
  const page = pageOf(await query.execute(), ask.limit, (row) => row.handle);
  return done({ items: await show(ctx, page.items), next: page.next });
}

async function show(
  ctx: AppContext,
  rows: readonly Selectable<Database['principal']>[],
): Promise<readonly ShownPrincipal[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const passkeys = await ctx.db
    .selectFrom('authenticator')
    .selectAll()
    .where('principal', 'in', ids)
    .orderBy('created_at')
    .execute();
  const signIns = await ctx.db
    .selectFrom('web_session')
    .select(['principal', (select) => select.fn.max('created_at').as('created_at')])
    .where('principal', 'in', ids)
    .groupBy('principal')
    .execute();
  const last = new Map(signIns.map((row) => [row.principal, row.created_at]));
  return rows.map((row) => ({
    principal: principalOf(row),
    createdAt: row.created_at,
    lastSignInAt: last.get(row.id),
    authenticators: passkeys
      .filter((passkey) => passkey.principal === row.id)
      .map((passkey) => ({
        id: passkey.id,
        name: passkey.name,
        createdAt: passkey.created_at,
        lastUsedAt: passkey.last_used_at ?? undefined,
        revokedAt: passkey.revoked_at ?? undefined,
      })),
  }));
}

/** What the caller's pages may offer. */
export function rightsOf(ctx: AppContext, principal: Principal) {
  const now = ctx.clock.now();
  const may = (what: 'principals' | 'configuration' | 'grants') =>
    ctx.policy.decide({ action: 'administer', principal, what, now }).kind === 'allow';
  const readsAll = ctx.policy.decide({ action: 'read_log', principal, scope: 'all', now }).kind === 'allow';
  return {
    administerPrincipals: may('principals'),
    administerConfiguration: may('configuration'),
    seeAllGrants: may('grants') || readsAll,
    readLog: readsAll ? ('all' as const) : ('own' as const),
  };
}

/** How many passkeys somebody has. */
export async function countAuthenticators(ctx: AppContext, id: PrincipalId): Promise<number> {
  const row = await ctx.db
    .selectFrom('authenticator')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('principal', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirstOrThrow();
  return row.count;
}

/**
 * Covers: what one proof or approval goes on letting through for a while, since the policy that asked for it says so. A
 * cover belongs to one grant, one policy under one configuration, and one client address; every use is counted, and the
 * statement's record names it. It is listed with its grant, and whoever may end the grant may end it.
 */
import type { Demand } from '#core/decision.ts';
import { demandKey } from '#core/hold.ts';
import { newId, type CoverId, type GrantId, type PrincipalId } from '#core/ids.ts';
import { after, earliest, formatInstant, type Instant } from '#core/instant.ts';
import type { Need } from '#sql/needs.ts';
import { describeNeed } from '#sql/needs.ts';
import type { Selectable } from 'kysely';
import { at, transaction, type Db, type Transaction } from '#store/database.ts';
import type { Database } from '#store/schema.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { HoldRow } from './_holds.ts';
import { lockGrant } from './_rows.ts';
import { writeEntry } from './write-entry.ts';

export type CoverRow = Selectable<Database['cover']>;

type Covered = {
  readonly grant: GrantId;
  readonly clientAddress: string;
  readonly digest: string | undefined;
  readonly needs: readonly Need[];
};

/** Of these demands the ones that a cover meets now, by their keys. */
export async function findCovers(
  ctx: Pick<AppContext, 'clock' | 'policy'>,
  db: Db | Transaction,
  of: Covered,
  demands: readonly Demand[],
): Promise<ReadonlyMap<string, CoverId>> {
  const found = new Map<string, CoverId>();
  if (!demands.some(({ cure }) => 'cover' in cure && cure.cover !== undefined)) return found;
  const rows = await db
    .selectFrom('cover')
    .selectAll()
    .where('access_grant', '=', of.grant)
    .where('client_address', '=', of.clientAddress)
    .where('policy_version', '=', ctx.policy.version)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', ctx.clock.now())
    .execute();
  for (const row of rows) {
    const demand = demands.find(({ policy, cure }) => policy === row.policy && cure.kind === row.kind);
    if (demand !== undefined && reaches(row, of)) found.set(demandKey(demand), row.id);
  }
  return found;
}

function reaches({ reach, scope }: CoverRow, of: Covered): boolean {
  switch (reach) {
    case 'grant':
      return true;
    case 'statement':
      // INVARIANT 5: by another search path the same text means other tables.
      return of.digest !== undefined && reachOf(of.digest, of.needs) === scope;
    case 'tables': {
      const given = new Set(scope.split('\n'));
      return tablesOf(of.needs).every((one) => given.has(one));
    }
    default:
      return reach satisfies never;
  }
}

/** The actions on their objects, whichever columns; a name with a line break in it is one line still. */
const tablesOf = (needs: readonly Need[]): readonly string[] => [
  ...new Set(needs.map((need) => describeNeed({ ...need, columns: [] }).replaceAll('\n', '\u2028'))),
];

const reachOf = (digest: string, needs: readonly Need[]): string => [digest, ...tablesOf(needs).toSorted()].join('\n');

/** Counts one use of each; false when one of them has ended meanwhile, and then nothing is counted. */
export async function countUses(
  ctx: Pick<AppContext, 'clock'>,
  trx: Transaction,
  covers: readonly CoverId[],
): Promise<boolean> {
  const ids = [...new Set(covers)].sort();
  const counted = await trx
    .updateTable('cover')
    .set((set) => ({ uses: set('uses', '+', 1) }))
    .where('id', 'in', ids)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', at(ctx.clock.now()))
    .returning('id')
    .execute();
  return counted.length === ids.length;
}

/** What the signatures of a hold go on covering from its release on. An approver's condition is for one run: it covers nothing. */
export async function createCovers(
  ctx: AppContext,
  trx: Transaction,
  from: {
    readonly hold: HoldRow;
    readonly grant: GrantId;
    readonly grantEndsAt: Instant;
    readonly clientAddress: string;
    readonly needs: readonly Need[];
    readonly demands: readonly Demand[];
    /** Demands that a cover has met: they don't make another, or none would ever end. */
    readonly covered: ReadonlySet<string>;
    readonly hasConditions: boolean;
  },
): Promise<readonly CoverId[]> {
  const made: CoverId[] = [];
  const now = ctx.clock.now();
  for (const demand of from.demands) {
    const { cure, policy } = demand;
    if ((cure.kind !== 'proof' && cure.kind !== 'approval') || cure.cover === undefined) continue;
    if (from.covered.has(demandKey(demand)) || (cure.kind === 'approval' && from.hasConditions)) continue;
    const { over, lasts } = cure.cover;
    // INVARIANT 9: the shortest limit wins.
    const expiresAt = earliest(after(now, lasts), from.grantEndsAt);
    if (expiresAt <= now) continue;
    const id = newId('cover', { now, random: ctx.random });
    const entry = await writeEntry(ctx, trx, {
      kind: 'cover.created',
      actor: 'system',
      about: [from.hold.requester],
      subjects: { cover: id, hold: from.hold.id, grant: from.grant, principal: from.hold.requester },
      public: { policy, kind: cure.kind, over, expiresAt: formatInstant(expiresAt), policyVersion: ctx.policy.version },
      content: {
        clientAddress: from.clientAddress,
        ...(over === 'tables' ? { tables: [...tablesOf(from.needs)] } : {}),
      },
      of: from.hold.requester,
    });
    await trx
      .insertInto('cover')
      .values({
        id,
        access_grant: from.grant,
        hold: from.hold.id,
        policy,
        policy_version: ctx.policy.version,
        kind: cure.kind,
        reach: over,
        scope:
          over === 'statement'
            ? reachOf(from.hold.digest, from.needs)
            : over === 'tables'
              ? tablesOf(from.needs).join('\n')
              : '',
        client_address: from.clientAddress,
        created_at: at(now),
        expires_at: at(expiresAt),
        ended_at: null,
        ended_by: null,
        word: null,
        entry,
      })
      .execute();
    made.push(id);
  }
  return made;
}

/** Ends one cover; who may end the grant may end what goes under it. */
export async function endCover(
  ctx: AppContext,
  caller: Caller,
  ask: { readonly cover: CoverId; readonly word: string | undefined },
): Promise<Outcome<GrantId>> {
  return await transaction(ctx.db, async (trx) => {
    const found = await trx.selectFrom('cover').select('access_grant').where('id', '=', ask.cover).executeTakeFirst();
    const grant = found === undefined ? undefined : await lockGrant(trx, found.access_grant);
    if (grant === undefined) return notFound('cover', ask.cover);
    const decision = ctx.policy.decide({
      action: 'revoke_grant',
      principal: caller.principal,
      now: ctx.clock.now(),
      grant: { id: grant.id, principal: grant.principal, role: grant.role },
    });
    if (decision.kind !== 'allow') return notFound('cover', ask.cover);
    const ended = await endCovers(ctx, trx, { cover: ask.cover }, { who: caller.principal.id, word: ask.word ?? '' });
    if (ended === 0) return refused('already_ended', `end cover \`${ask.cover}\`: it has ended already`);
    await notify(trx, { kind: 'grant', grant: grant.id });
    return done(grant.id);
  });
}

/** Within somebody else's transaction; answers how many. */
export async function endCovers(
  ctx: AppContext,
  trx: Transaction,
  which: { readonly cover: CoverId } | { readonly grant: GrantId } | { readonly notUnder: string },
  by: { readonly who: PrincipalId | undefined; readonly word: string },
): Promise<number> {
  const live = trx
    .selectFrom('cover')
    .innerJoin('access_grant', 'access_grant.id', 'cover.access_grant')
    .select(['cover.id', 'cover.access_grant', 'access_grant.principal'])
    .where('cover.ended_at', 'is', null);
  const rows = await (
    'cover' in which
      ? live.where('cover.id', '=', which.cover)
      : 'grant' in which
        ? live.where('cover.access_grant', '=', which.grant)
        : live.where('cover.policy_version', '<>', which.notUnder)
  )
    .orderBy('cover.id')
    .forUpdate('cover')
    .execute();
  for (const row of rows) {
    const entry = await writeEntry(ctx, trx, {
      kind: 'cover.ended',
      actor: by.who ?? 'system',
      about: [row.principal],
      subjects: { cover: row.id, grant: row.access_grant, principal: row.principal },
      ...(by.word === '' ? {} : { content: { word: by.word }, of: row.principal }),
    });
    await trx
      .updateTable('cover')
      .set({ ended_at: at(ctx.clock.now()), ended_by: by.who ?? null, word: by.word, entry })
      .where('id', '=', row.id)
      .execute();
  }
  return rows.length;
}

/** Holds as somebody may see them: their own, those they are asked about, or all for who reads the whole log. */
import type { Demand } from '#core/decision.ts';
import {
  approversOf,
  expireHold,
  isLiveHold,
  isNamed,
  refuseApproval,
  refuseProof,
  unmet,
  type Hold,
  type HoldState,
} from '#core/hold.ts';
import type { CoverId, GrantId, HoldId, PrincipalId, RoleName, SessionId } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Principal, PrincipalRef } from '#core/principal.ts';
import { describeCure } from '#policy/cures.ts';
import { sql } from 'kysely';
import type { StoredHeld, StoredPreview } from '#store/schema.ts';
import { coveredOf, holdOf, neededWords, readObtained, signedInAt, type HoldRow } from './_holds.ts';
import { mayReadAll, readHandles, type Page, type PageAsk } from './_reading.ts';
import { done, notFound, type AppContext, type Caller, type Outcome } from './context.ts';
import { noteReading, showEntries } from './read-log.ts';

export type ShownCure = {
  readonly kind: Demand['cure']['kind'];
  readonly words: string;
  readonly policy: string;
  readonly isMet: boolean;
};

export type ShownHold = {
  readonly id: HoldId;
  readonly state: HoldState;
  readonly requester: PrincipalRef;
  readonly actsFor: readonly PrincipalRef[];
  readonly what: StoredHeld;
  readonly digest: string;
  readonly session: SessionId | undefined;
  readonly role: RoleName | undefined;
  readonly resource: string | undefined;
  readonly grant:
    | {
        readonly id: GrantId;
        readonly reason: string;
        readonly ticket: string | undefined;
        readonly endsAt: Instant | undefined;
      }
    | undefined;
  readonly preview: StoredPreview | undefined;
  readonly reason: string | undefined;
  readonly cures: readonly ShownCure[];
  readonly signatures: readonly {
    readonly by: PrincipalRef;
    readonly kind: 'proof' | 'approval';
    readonly at: Instant;
    readonly rowsAtMost: number | undefined;
    readonly validSeconds: number | undefined;
  }[];
  readonly askedBy: readonly string[];
  readonly openedAt: Instant;
  readonly expiresAt: Instant;
  readonly settledAt: Instant | undefined;
  readonly settledBy: PrincipalRef | undefined;
  readonly word: string | undefined;
  /** What was done before in the session, newest first. */
  readonly earlier: readonly { readonly at: Instant; readonly summary: string }[];
  readonly you: {
    readonly isRequester: boolean;
    readonly canProve: boolean;
    readonly canApprove: boolean;
    readonly canDeny: boolean;
    readonly canWithdraw: boolean;
    readonly canGiveReason: boolean;
    /** Why you can do nothing for it. */
    readonly because: string | undefined;
  };
};

/** Those whom its cures name, those whom policy lets end the grant, and who reads everything. */
export function mayLookAtHold(ctx: Pick<AppContext, 'policy' | 'clock'>, viewer: Principal, row: HoldRow): boolean {
  return row.requester === viewer.id || isAsked(row, viewer) || mayRevoke(ctx, viewer, row) || mayReadAll(ctx, viewer);
}

const isAsked = (row: HoldRow, viewer: Principal): boolean =>
  row.demands.some(({ cure }) => {
    const named = approversOf(cure);
    return named !== undefined && isNamed(viewer, named);
  });

function mayRevoke(ctx: Pick<AppContext, 'policy' | 'clock'>, viewer: Principal, row: HoldRow): boolean {
  if (row.access_grant === null || row.role === null) return false;
  return (
    ctx.policy.decide({
      action: 'revoke_grant',
      principal: viewer,
      now: ctx.clock.now(),
      grant: { id: row.access_grant, principal: row.requester, role: row.role },
    }).kind === 'allow'
  );
}

/** INVARIANT 2: never the requester nor anybody it acts for; they withdraw. */
export function mayDenyHold(ctx: Pick<AppContext, 'policy' | 'clock'>, viewer: Principal, row: HoldRow): boolean {
  if (viewer.id === row.requester || row.acts_for.includes(viewer.id)) return false;
  return isAsked(row, viewer) || mayRevoke(ctx, viewer, row);
}

export async function readHold(ctx: AppContext, caller: Caller, id: HoldId): Promise<Outcome<ShownHold>> {
  const row = await ctx.db.selectFrom('hold').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined || !mayLookAtHold(ctx, caller.principal, row)) return notFound('hold', id);
  const [shown] = await show(ctx, caller.principal, [row], true);
  if (shown === undefined) return notFound('hold', id);
  // Who decides sees what the person did before, which is reading somebody's record.
  if (row.session !== null && !shown.you.isRequester && shown.earlier.length > 0)
    await noteReading(ctx, caller, { scope: 'all', session: row.session }, shown.earlier.length);
  return done(shown);
}

export type HoldsAsk = PageAsk & {
  /** `inbox`: what this person can sign now. */
  readonly box: 'inbox' | 'mine' | 'all';
  readonly state?: HoldState | 'live';
};

export async function readHolds(ctx: AppContext, caller: Caller, ask: HoldsAsk): Promise<Page<ShownHold>> {
  const { principal } = caller;
  const now = ctx.clock.now();
  const items: ShownHold[] = [];
  let cursor = ask.cursor;
  // Who is asked is said by the cures and not by SQL, so pages are filled by reading on.
  for (;;) {
    let query = ctx.db
      .selectFrom('hold')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(ask.limit + 1);
    if (cursor !== undefined) query = query.where('id', '<', cursor as HoldId);
    if (ask.box === 'mine') query = query.where('requester', '=', principal.id);
    const state = ask.box === 'inbox' ? 'live' : ask.state;
    if (state === 'live' || state === 'waiting' || state === 'cured')
      query = query
        .where('state', 'in', state === 'live' ? ['waiting', 'cured'] : [state])
        .where('expires_at', '>', now);
    else if (state !== undefined) query = query.where('state', '=', state);
    const rows = await query.execute();
    const seen = rows.slice(0, ask.limit).filter((row) => mayLookAtHold(ctx, principal, row));
    for (const shown of await show(ctx, principal, seen, false)) {
      if (ask.box === 'inbox' && !shown.you.canApprove && !shown.you.canProve && !shown.you.canGiveReason) continue;
      items.push(shown);
      if (items.length === ask.limit) return { items, next: shown.id };
    }
    if (rows.length <= ask.limit) return { items, next: undefined };
    cursor = rows[ask.limit - 1]?.id;
  }
}

async function show(
  ctx: AppContext,
  viewer: Principal,
  rows: readonly HoldRow[],
  withEarlier: boolean,
): Promise<readonly ShownHold[]> {
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  const signatures = await ctx.db
    .selectFrom('hold_signature')
    .selectAll()
    .where('hold', 'in', ids)
    .orderBy('at')
    .execute();
  const grantIds = rows.flatMap((row) => (row.access_grant === null ? [] : [row.access_grant]));
  const grants =
    grantIds.length === 0
      ? []
      : await ctx.db
          .selectFrom('access_grant')
          .innerJoin('access_request', 'access_request.id', 'access_grant.request')
          .select(['access_grant.id', 'access_grant.ends_at', 'access_request.reason', 'access_request.ticket'])
          .where('access_grant.id', 'in', grantIds)
          .execute();
  const people = new Set<PrincipalId>();
  for (const row of rows) for (const id of [row.requester, ...row.acts_for]) people.add(id);
  for (const row of rows) if (row.settled_by !== null) people.add(row.settled_by);
  for (const signature of signatures) people.add(signature.principal);
  const handles = await readHandles(ctx.db, [...people]);
  const now = ctx.clock.now();
  const shown: ShownHold[] = [];
  for (const row of rows) {
    const hold = expireHold(holdOf(row), now);
    const { obtained } = await readObtained(ctx.db, row, {
      signedInAt: await signedInAt(ctx.db, row.requester),
      covered: coveredOf(row),
    });
    const isOver = hold.state === 'cured' || hold.state === 'released';
    const open = new Set(isOver ? [] : unmet(row.demands, obtained, now));
    const own = signatures.filter(({ hold: of }) => of === row.id);
    const grant = grants.find(({ id }) => id === row.access_grant);
    shown.push({
      id: row.id,
      state: hold.state,
      requester: handles(row.requester),
      actsFor: row.acts_for.map(handles),
      what: row.held,
      digest: row.digest,
      session: row.session ?? undefined,
      role: row.role ?? undefined,
      resource: row.role === null ? undefined : resourceOf(row.role),
      grant:
        grant === undefined
          ? undefined
          : {
              id: grant.id,
              reason: grant.reason,
              ticket: grant.ticket ?? undefined,
              endsAt: grant.ends_at ?? undefined,
            },
      preview: row.preview ?? undefined,
      reason: row.reason ?? undefined,
      cures: row.demands.map((demand) => ({
        kind: demand.cure.kind,
        words: describeCure(demand.cure),
        policy: demand.policy,
        isMet: !open.has(demand),
      })),
      signatures: own.map((one) => ({
        by: handles(one.principal),
        kind: one.kind,
        at: one.at,
        rowsAtMost: one.rows_at_most ?? undefined,
        validSeconds: one.valid_ms === null ? undefined : one.valid_ms / 1000,
      })),
      askedBy: row.asked_by,
      openedAt: row.opened_at,
      expiresAt: row.expires_at,
      settledAt: 'settledAt' in hold ? hold.settledAt : undefined,
      settledBy: row.settled_by === null ? undefined : handles(row.settled_by),
      word: row.word ?? undefined,
      earlier: withEarlier && row.session !== null ? await earlierIn(ctx, row.session) : [],
      you: youOf(ctx, viewer, row, hold, own, now),
    });
  }
  return shown;
}

function youOf(
  ctx: AppContext,
  viewer: Principal,
  row: HoldRow,
  hold: Hold,
  signatures: readonly { readonly principal: PrincipalId; readonly kind: string }[],
  now: Instant,
): ShownHold['you'] {
  const isRequester = row.requester === viewer.id;
  const given = (kind: string) => signatures.some((one) => one.principal === viewer.id && one.kind === kind);
  const hasPreview = row.preview !== null;
  const proof = refuseProof(hold, viewer.id, { isProven: given('proof'), hasPreview }, now);
  const approval = refuseApproval(hold, viewer, { hasApproved: given('approval'), hasPreview }, now);
  const because = isRequester ? proof : approval;
  return {
    isRequester,
    canProve: row.subject === 'statement' && proof === undefined,
    canApprove: approval === undefined,
    canDeny: isLiveHold(hold) && mayDenyHold(ctx, viewer, row),
    canWithdraw: isRequester && isLiveHold(hold),
    canGiveReason:
      isRequester &&
      hold.state === 'waiting' &&
      row.reason === null &&
      row.demands.some(({ cure }) => cure.kind === 'reason'),
    because:
      because === undefined
        ? undefined
        : {
            own_hold: 'it is asked for in your name',
            not_yours: 'you are not asked',
            not_asked: isRequester ? 'others are asked' : 'you are not asked',
            expired: 'it has expired',
            already_settled: `it is ${hold.state}`,
            already_cured: 'nothing more is asked for',
            already_given: 'you have signed it',
            no_preview_yet: 'what it touches is not known yet',
          }[because],
  };
}

/** The last statements of the session, with how they went. */
async function earlierIn(ctx: AppContext, session: SessionId): Promise<ShownHold['earlier']> {
  const rows = await ctx.db
    .selectFrom('log_entry')
    .leftJoin('log_content', 'log_content.entry', 'log_entry.id')
    .leftJoin('log_place', 'log_place.seq', 'log_entry.seq')
    .select(['log_entry.seq', 'log_entry.id', 'log_entry.at', 'log_entry.leaf', 'log_place.leaf_index'])
    .select(['log_content.key', 'log_content.blob'])
    .where(sql<boolean>`log_entry.subjects ? 'session' and log_entry.subjects ->> 'session' = ${session}`)
    .where('log_entry.kind', 'in', ['statement.ended', 'statement.denied'])
    .orderBy('log_entry.seq', 'desc')
    .limit(10)
    .execute();
  return (await showEntries(ctx, rows)).map(({ at, summary }) => ({ at, summary }));
}

/** How these stand, for whoever waits for them. */
export async function holdStates(
  ctx: Pick<AppContext, 'db' | 'clock'>,
  ids: readonly HoldId[],
): Promise<readonly { readonly hold: HoldId; readonly state: HoldState; readonly message?: string }[]> {
  if (ids.length === 0) return [];
  const rows = await ctx.db
    .selectFrom('hold')
    .leftJoin('principal', 'principal.id', 'hold.settled_by')
    .selectAll('hold')
    .select('principal.handle')
    .where('hold.id', 'in', ids)
    .execute();
  const now = ctx.clock.now();
  return await Promise.all(
    rows.map(async ({ handle, ...row }) => {
      const { state } = expireHold(holdOf(row), now);
      const message = state === 'waiting' ? await stillWanted(ctx, row, now) : wordOf(row, handle);
      return { hold: row.id, state, ...(message === undefined ? {} : { message }) };
    }),
  );
}

const wordOf = ({ word }: HoldRow, handle: string | null): string | undefined =>
  word === null ? undefined : handle === null ? word : `${handle}: ${word}`;

/** What one that waits waits for by now, as in `an approval by dba`. */
async function stillWanted(ctx: Pick<AppContext, 'db'>, row: HoldRow, now: Instant): Promise<string> {
  const { obtained } = await readObtained(ctx.db, row, {
    signedInAt: await signedInAt(ctx.db, row.requester),
    covered: coveredOf(row),
  });
  return neededWords(unmet(row.demands, obtained, now));
}

/** What goes on being let through under a grant, or went. */
export type ShownCover = {
  readonly id: CoverId;
  readonly hold: HoldId;
  readonly policy: string;
  readonly kind: 'proof' | 'approval';
  readonly over: 'statement' | 'tables' | 'grant';
  readonly tables: readonly string[];
  readonly clientAddress: string;
  readonly createdAt: Instant;
  readonly expiresAt: Instant;
  readonly uses: number;
  readonly endedAt: Instant | undefined;
};

export async function readCovers(ctx: AppContext, grant: GrantId): Promise<readonly ShownCover[]> {
  const rows = await ctx.db
    .selectFrom('cover')
    .selectAll()
    .where('access_grant', '=', grant)
    .orderBy('id', 'desc')
    .limit(100)
    .execute();
  return rows.map((row) => ({
    id: row.id,
    hold: row.hold,
    policy: row.policy,
    kind: row.kind,
    over: row.reach,
    tables: row.reach === 'tables' ? row.scope.split('\n') : [],
    clientAddress: row.client_address,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    uses: row.uses,
    endedAt: row.ended_at ?? (row.expires_at <= ctx.clock.now() ? row.expires_at : undefined),
  }));
}

/** Holds as the store has them, what has been obtained for one, and the steps that all of them share. */
import type { Demand } from '#core/decision.ts';
import { unmet, type Approval, type Hold, type HoldRefusal, type HoldState, type Obtained } from '#core/hold.ts';
import type { EntryId, HoldId, PrincipalId } from '#core/ids.ts';
import { between, type Duration, type Instant } from '#core/instant.ts';
import { describeCures } from '#policy/cures.ts';
import { sql, type Selectable } from 'kysely';
import type { EntryKind } from '#log/entry.ts';
import { at, type Db, type Transaction } from '#store/database.ts';
import type { Database } from '#store/schema.ts';
import { notify } from './changes.ts';
import { refused, type AppContext, type Refused } from './context.ts';
import { writeEntry, type EntryDraft } from './write-entry.ts';

type Reader = Db | Transaction;
export type HoldRow = Selectable<Database['hold']>;

export function holdOf(row: HoldRow): Hold {
  const opened = {
    id: row.id,
    requester: row.requester,
    actsFor: row.acts_for,
    subject:
      row.session === null || row.access_grant === null
        ? ({ kind: 'act', digest: row.digest } as const)
        : ({ kind: 'statement', session: row.session, grant: row.access_grant, digest: row.digest } as const),
    demands: row.demands,
    openedAt: row.opened_at,
    expiresAt: row.expires_at,
  };
  if (row.state === 'waiting' || row.state === 'cured') return { ...opened, state: row.state };
  if (row.settled_at === null) throw new Error(`read hold \`${row.id}\`: its row contradicts its state`);
  const settledAt = row.settled_at;
  switch (row.state) {
    case 'denied':
      if (row.settled_by === null) throw new Error(`read hold \`${row.id}\`: nobody denied it`);
      return { ...opened, state: 'denied', deniedBy: row.settled_by, word: row.word ?? '', settledAt };
    case 'ended':
      return { ...opened, state: 'ended', word: row.word ?? '', settledAt };
    case 'released':
    case 'withdrawn':
    case 'expired':
      return { ...opened, state: row.state, settledAt };
    default:
      return row.state satisfies never;
  }
}

/** Locked against other steps until the transaction ends. */
export async function lockHold(trx: Transaction, id: HoldId): Promise<HoldRow | undefined> {
  return await trx.selectFrom('hold').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
}

export type HeldSoFar = {
  readonly obtained: Obtained;
  /** The fewest rows that any approver said it may touch. */
  readonly rowsAtMost: number | undefined;
  /** How long the youngest of the keys that signed had been enrolled when it did. */
  readonly authenticatorAge: Duration | undefined;
  readonly signedBy: readonly PrincipalId[];
};

/**
 * What has been obtained, as it counts at this moment: a signature of somebody who may not act any more, or by a passkey
 * that was taken away meanwhile, counts for nothing, and groups are those of now.
 */
export async function readObtained(
  db: Reader,
  row: HoldRow,
  from: { readonly signedInAt?: Instant | undefined; readonly covered?: ReadonlySet<string> } = {},
): Promise<HeldSoFar> {
  const signatures = await db
    .selectFrom('hold_signature')
    .innerJoin('principal', 'principal.id', 'hold_signature.principal')
    .innerJoin('proof', 'proof.id', 'hold_signature.proof')
    .innerJoin('authenticator', 'authenticator.id', 'proof.authenticator')
    .select([
      'hold_signature.principal',
      'hold_signature.kind',
      'hold_signature.rows_at_most',
      'hold_signature.valid_ms',
      'hold_signature.saw_preview',
      'hold_signature.at',
      'principal.handle',
      'principal.groups',
      'authenticator.created_at as enrolled_at',
    ])
    .where('hold_signature.hold', '=', row.id)
    .where('principal.state', '=', 'active')
    .where('authenticator.revoked_at', 'is', null)
    .orderBy('hold_signature.at')
    .execute();
  const proof = signatures.find(({ kind }) => kind === 'proof');
  const approvals = signatures.flatMap((one): Approval[] =>
    one.kind === 'approval'
      ? [
          {
            by: one.principal,
            handle: one.handle,
            groups: one.groups,
            at: one.at,
            ...(one.valid_ms === null ? {} : { validFor: one.valid_ms as Duration }),
            sawPreview: one.saw_preview,
          },
        ]
      : [],
  );
  const limits = signatures.flatMap((one) => (one.rows_at_most === null ? [] : [one.rows_at_most]));
  const ages = signatures.map((one) => between(one.enrolled_at, one.at));
  return {
    obtained: {
      // An act is carried out by its requester's proof over all of it: that one is never missing.
      ...(row.subject === 'act'
        ? { proof: { at: row.opened_at, sawPreview: true } }
        : proof === undefined
          ? {}
          : { proof: { at: proof.at, sawPreview: proof.saw_preview } }),
      approvals,
      hasReason: row.reason !== null,
      isActivated: true,
      ...(from.signedInAt === undefined ? {} : { signedInAt: from.signedInAt }),
      ...(from.covered === undefined ? {} : { covered: from.covered }),
    },
    rowsAtMost: limits.length === 0 ? undefined : Math.min(...limits),
    authenticatorAge: ages.length === 0 ? undefined : (Math.min(...ages) as Duration),
    signedBy: signatures.map(({ principal }) => principal),
  };
}

/** When this person last showed a passkey at a sign-in that is live. */
export async function signedInAt(db: Reader, principal: PrincipalId): Promise<Instant | undefined> {
  const found = await sql<{ at: Instant | null }>`select greatest(
    (select max(proven_at) from web_session where principal = ${principal} and ended_at is null),
    (select max(proven_at) from machine_token where principal = ${principal} and ended_at is null)) as at`.execute(db);
  return found.rows[0]?.at ?? undefined;
}

export const neededWords = (demands: readonly Demand[]): string => describeCures(demands.map(({ cure }) => cure));

/** What an entry about a hold names. */
export function holdSubjects(row: HoldRow): Readonly<Record<string, string>> {
  return {
    hold: row.id,
    principal: row.requester,
    ...(row.session === null ? {} : { session: row.session }),
    ...(row.access_grant === null ? {} : { grant: row.access_grant }),
    ...(row.role === null ? {} : { role: row.role }),
  };
}

export async function writeHoldEntry(
  ctx: Pick<AppContext, 'clock' | 'random' | 'contentKeys'>,
  trx: Transaction,
  row: HoldRow,
  kind: EntryKind,
  more: Partial<EntryDraft> = {},
): Promise<EntryId> {
  return await writeEntry(ctx, trx, {
    kind,
    actor: 'system',
    about: [row.requester],
    ...more,
    subjects: { ...holdSubjects(row), ...more.subjects },
  });
}

/** Moves it on and tells who waits. The entry is one of this very transaction. */
export async function moveHold(
  trx: Transaction,
  row: HoldRow,
  to: {
    readonly state: HoldState;
    readonly entry: EntryId;
    readonly settledAt?: Instant;
    readonly by?: PrincipalId;
    readonly word?: string;
    /** Who settled it, for the one who waits. */
    readonly handle?: string;
    readonly reason?: string;
  },
): Promise<void> {
  const { state, entry, settledAt, by, word, reason } = to;
  await trx
    .updateTable('hold')
    .set({
      state,
      entry,
      ...(settledAt === undefined ? {} : { settled_at: at(settledAt) }),
      ...(by === undefined ? {} : { settled_by: by }),
      ...(word === undefined ? {} : { word }),
      ...(reason === undefined ? {} : { reason }),
    })
    .where('id', '=', row.id)
    .execute();
  await tellHold(trx, row, state, word === undefined || to.handle === undefined ? word : `${to.handle}: ${word}`);
}

export async function tellHold(trx: Transaction, row: HoldRow, state: HoldState, word?: string): Promise<void> {
  await notify(trx, {
    kind: 'hold',
    hold: row.id,
    state,
    ...(row.session === null ? {} : { session: row.session }),
    ...(word === undefined ? {} : { word }),
  });
}

/**
 * Is anything more asked of it? Otherwise it is cured, by the entry of what was obtained last. Whether it may run is asked
 * when it does.
 */
export async function cureIfMet(
  ctx: Pick<AppContext, 'clock'>,
  trx: Transaction,
  row: HoldRow,
  entry: EntryId,
  reason?: string,
): Promise<'cured' | 'waiting'> {
  const given = reason === undefined ? row : { ...row, reason };
  const { obtained } = await readObtained(trx, given, {
    signedInAt: await signedInAt(trx, row.requester),
    covered: coveredOf(row),
  });
  const isCured = unmet(row.demands, obtained, ctx.clock.now()).length === 0;
  if (isCured) await moveHold(trx, row, { state: 'cured', entry, ...(reason === undefined ? {} : { reason }) });
  else {
    if (reason !== undefined) await trx.updateTable('hold').set({ reason, entry }).where('id', '=', row.id).execute();
    await tellHold(trx, row, 'waiting');
  }
  return isCured ? 'cured' : 'waiting';
}

/** Demands that were covered when it was opened; the run asks whether they still are. */
export function coveredOf(row: HoldRow): ReadonlySet<string> {
  return new Set(row.held.kind === 'statement' ? row.held.covered : []);
}

export function holdRefusal(because: HoldRefusal, id: HoldId): Refused {
  const what = `hold \`${id}\``;
  switch (because) {
    case 'own_hold':
      return refused(
        'own_request',
        `${what}: nobody decides on what they ask for themselves`,
        'somebody else of those who are asked has to',
      );
    case 'not_yours':
    case 'not_asked':
      return refused('not_found', `there is no hold \`${id}\` that you may sign`);
    case 'expired':
      return refused('expired', `${what}: it waited too long and has expired`, 'run it again');
    case 'already_settled':
      return refused('already_decided', `${what}: it is over already`);
    case 'already_cured':
      return refused('already_decided', `${what}: nothing more is asked for`);
    case 'already_given':
      return refused('already_approved_by_you', `${what}: you have signed it; it needs somebody else as well`);
    case 'no_preview_yet':
      return refused('too_early', `${what}: what it touches isn’t known yet`, 'look again in a moment');
    default:
      return because satisfies never;
  }
}

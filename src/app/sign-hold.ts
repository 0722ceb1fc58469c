/** Signatures over what is held: the requester's own, and those of the people whom the policy asks. */
import { refuseApproval, refuseProof } from '#core/hold.ts';
import type { HoldId } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { ApproveAct, ApproveAction, DoAction } from '#core/proof.ts';
import { textHash } from '#log/challenge.ts';
import { at, type Db, type Transaction } from '#store/database.ts';
import { cureIfMet, holdOf, holdRefusal, holdSubjects, lockHold, writeHoldEntry, type HoldRow } from './_holds.ts';
import { readHandles } from './_reading.ts';
import { lockPrincipal } from './_rows.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import type { Evidence } from './evidence.ts';
import { mayLookAtHold } from './read-holds.ts';

/** What an approver asks of the run besides what policy asks. */
export type Conditions = { readonly rowsAtMost?: number; readonly validSeconds?: number };

type HeldContent = Omit<DoAction, 'purpose'>;

function heldContent(row: HoldRow): HeldContent {
  const { held: what } = row;
  if (what.kind !== 'statement' || row.session === null || row.access_grant === null || row.role === null)
    throw new Error(`sign hold \`${row.id}\`: it is no statement`);
  return {
    hold: row.id,
    subject: 'statement',
    grant: row.access_grant,
    session: row.session,
    role: row.role,
    resource: resourceOf(row.role),
    text: what.text,
    ...(what.parameters.length === 0 ? {} : { parameters: what.parameters }),
    digest: row.digest,
    needs: what.needs,
    askedBy: row.asked_by,
    ...(what.covers.length === 0 ? {} : { covers: what.covers }),
    ...(row.preview === null ? {} : { previewRows: row.preview.rows, previewSha256: row.preview.sha256 }),
  };
}

/** What the requester's passkey is to sign. */
export async function doActionContent(ctx: AppContext, caller: Caller, id: HoldId): Promise<Outcome<DoAction>> {
  const row = await ctx.db.selectFrom('hold').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined || row.requester !== caller.principal.id || row.subject !== 'statement')
    return notFound('hold', id);
  const because = refuseProof(
    holdOf(row),
    caller.principal.id,
    await soFar(ctx.db, row, caller, 'proof'),
    ctx.clock.now(),
  );
  if (because !== undefined) return holdRefusal(because, id);
  return done({ purpose: 'do_action', ...heldContent(row) });
}

/** What an approver's passkey is to sign, of a statement. */
export async function approveActionContent(
  ctx: AppContext,
  caller: Caller,
  id: HoldId,
  conditions: Conditions,
): Promise<Outcome<ApproveAction>> {
  const row = await ctx.db.selectFrom('hold').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined || row.subject !== 'statement' || !mayLookAtHold(ctx, caller.principal, row))
    return notFound('hold', id);
  const because = refuseApproval(
    holdOf(row),
    caller.principal,
    await soFar(ctx.db, row, caller, 'approval'),
    ctx.clock.now(),
  );
  if (because !== undefined) return holdRefusal(because, id);
  const grant = await ctx.db
    .selectFrom('access_grant')
    .innerJoin('access_request', 'access_request.id', 'access_grant.request')
    .select(['access_request.reason', 'access_request.ticket'])
    .where('access_grant.id', '=', row.access_grant)
    .executeTakeFirstOrThrow();
  const handles = await readHandles(ctx.db, [row.requester, ...row.acts_for]);
  const actsFor = row.acts_for.map((one) => `${handles(one).handle} (${one})`);
  return done({
    purpose: 'approve_action',
    requester: handles(row.requester),
    ...(actsFor.length === 0 ? {} : { actsFor }),
    ...heldContent(row),
    reasonHash: textHash(grant.reason),
    ...(grant.ticket === null ? {} : { ticket: grant.ticket }),
    ...(row.reason === null ? {} : { statementReason: row.reason }),
    ...conditions,
  });
}

/** What an approver's passkey is to sign, of an act of administration. */
export async function approveActContent(ctx: AppContext, caller: Caller, id: HoldId): Promise<Outcome<ApproveAct>> {
  const row = await ctx.db.selectFrom('hold').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined || row.held.kind !== 'act' || !mayLookAtHold(ctx, caller.principal, row))
    return notFound('hold', id);
  const because = refuseApproval(
    holdOf(row),
    caller.principal,
    await soFar(ctx.db, row, caller, 'approval'),
    ctx.clock.now(),
  );
  if (because !== undefined) return holdRefusal(because, id);
  const handles = await readHandles(ctx.db, [row.requester]);
  return done({
    purpose: 'approve_act',
    hold: id,
    requester: handles(row.requester),
    words: row.held.words,
    act: row.held.canonical,
    actHash: row.digest,
    askedBy: row.asked_by,
  });
}

async function soFar(db: Db | Transaction, row: HoldRow, { principal }: Caller, kind: 'proof' | 'approval') {
  const given = await db
    .selectFrom('hold_signature')
    .select('proof')
    .where('hold', '=', row.id)
    .where('principal', '=', principal.id)
    .where('kind', '=', kind)
    .executeTakeFirst();
  const isGiven = given !== undefined;
  return { isProven: isGiven, hasApproved: isGiven, hasPreview: row.preview !== null };
}

/** Takes a signature in; when nothing more is asked, the hold is cured with it. */
export async function signHold(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'do_action' | 'approve_action' | 'approve_act'>,
): Promise<Outcome<HoldId>> {
  const { object, content } = evidence;
  const id = object.hold;
  const now = ctx.clock.now();
  // As redeeming does it: people before holds.
  if (object.purpose !== 'do_action') await lockPrincipal(trx, object.requester.id);
  const row = await lockHold(trx, id);
  if (row === undefined || (object.purpose !== 'do_action' && !mayLookAtHold(ctx, caller.principal, row)))
    return notFound('hold', id);
  const kind = object.purpose === 'do_action' ? 'proof' : 'approval';
  const so = await soFar(trx, row, caller, kind);
  const because =
    kind === 'proof'
      ? refuseProof(holdOf(row), caller.principal.id, so, now)
      : refuseApproval(holdOf(row), caller.principal, so, now);
  if (because !== undefined) return holdRefusal(because, id);
  // INVARIANT 5: what is signed is what is held, with what is known of it now.
  const isSame =
    object.purpose === 'approve_act'
      ? row.held.kind === 'act' && object.actHash === row.digest && object.act === row.held.canonical
      : row.held.kind === 'statement' &&
        object.digest === row.digest &&
        object.text === row.held.text &&
        object.previewSha256 === (row.preview?.sha256 ?? undefined);
  if (!isSame)
    return refused('conflict', `sign hold \`${id}\`: it is not as it was shown any more`, 'look at it again');
  const conditions: Conditions = object.purpose === 'approve_action' ? object : {};
  const entry = await writeHoldEntry(ctx, trx, row, kind === 'proof' ? 'hold.proven' : 'hold.approved', {
    actor: caller.principal.id,
    subjects: { ...holdSubjects(row), proof: object.id },
    public: {
      digest: row.digest,
      ...(conditions.rowsAtMost === undefined ? {} : { rowsAtMost: conditions.rowsAtMost }),
      ...(conditions.validSeconds === undefined ? {} : { validSeconds: conditions.validSeconds }),
    },
    content,
    // The statement is its writer's, whoever signs for it.
    of: row.requester,
    about: [caller.principal.id],
  });
  await trx
    .insertInto('hold_signature')
    .values({
      hold: id,
      principal: caller.principal.id,
      kind,
      proof: object.id,
      rows_at_most: conditions.rowsAtMost ?? null,
      valid_ms: conditions.validSeconds === undefined ? null : conditions.validSeconds * 1000,
      saw_preview: row.preview !== null,
      at: at(now),
      entry,
    })
    .execute();
  await cureIfMet(ctx, trx, row, entry);
  return done(id);
}

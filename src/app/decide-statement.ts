/**
 * Judges one statement of a session: each thing it needs, under the session's own role and no other grant. What has been
 * obtained for a held statement, or is covered by what was obtained before, is input to the same question; it is never a pass.
 */
import type { Cure, Demand, VariesWith } from '#core/decision.ts';
import { isLive } from '#core/grant.ts';
import { release, unmet, wantsPreview, type Obtained } from '#core/hold.ts';
import type { CoverId, HoldId, RoleName, SessionId } from '#core/ids.ts';
import { resourceOf } from '#core/ids.ts';
import type { Duration } from '#core/instant.ts';
import type { Role } from '#core/role.ts';
import { curedBy } from '#policy/cures.ts';
import type { StatementAnswer } from '#policy/engine.ts';
import type { Circumstances, StatementQuestion } from '#policy/question.ts';
import type { Need } from '#sql/needs.ts';
import { transaction, type Transaction } from '#store/database.ts';
import { readJudgedSession, type JudgedSession } from './_circumstances.ts';
import { holdOf, lockHold, moveHold, neededWords, readObtained, signedInAt, writeHoldEntry } from './_holds.ts';
import { lockGrant, lockPrincipal } from './_rows.ts';
import type { AppContext } from './context.ts';
import { countUses, createCovers, findCovers } from './covers.ts';
import { writeEntry } from './write-entry.ts';

export type StatementAsk = {
  readonly session: SessionId;
  readonly needs: readonly Need[];
  readonly context: StatementQuestion['context'];
  /** Over the protocol's bytes of text and parameters; what is bound to one statement is only found with it. */
  readonly digest?: string | undefined;
  /** The hold that this very run waited for. */
  readonly hold?: HoldId | undefined;
  /** Nothing runs by this answer: nothing is used up or counted. */
  readonly isRehearsal?: boolean | undefined;
};

type Explained = {
  readonly policyVersion: string;
  readonly policies: readonly string[];
  /** How far the gateway may use the answer again. */
  readonly variesWith: VariesWith;
  /** Ask again with the rows that the target's planner expects; an `allow` with it allows nothing. */
  readonly wantsEstimate?: true;
};
export type StatementDecision =
  | (Explained & {
      readonly kind: 'allow';
      readonly hold?: HoldId;
      readonly cover?: CoverId;
      readonly rowsAtMost?: number;
      readonly preview?: { readonly rows: number };
    })
  | (Explained & {
      readonly kind: 'deny';
      readonly missing: readonly Need[];
      readonly roles: readonly RoleName[];
      /** Which policy forbids it, where it isn't simply that none permits it. */
      readonly because?: string;
      readonly message?: string;
      readonly hint?: string;
    })
  | (Explained & {
      readonly kind: 'curable';
      readonly missing: readonly Need[];
      readonly cures: readonly Cure[];
      readonly demands: readonly Demand[];
      /** What is wanted, to follow "needs". */
      readonly title: string;
    });

export async function decideStatement(ctx: AppContext, ask: StatementAsk): Promise<StatementDecision> {
  if (ask.hold !== undefined) return await redeem(ctx, ask, ask.hold);
  const session = await readJudgedSession(ctx.db, ask.session, ctx.clock.now());
  const over = endedAnswer(ctx, session, ask);
  if (session === undefined || over !== undefined) return over ?? ended(ctx, ask, 'your access has ended');
  const bound = boundAnswer(ctx, session, ask);
  if (bound !== undefined) return bound;
  const first = judge(ctx, session, ask);
  if (first.kind === 'curable') {
    const covers = await findCovers(ctx, ctx.db, coveredBy(session, ask), first.demands);
    if (covers.size > 0 && ask.isRehearsal !== true) {
      const covered = judge(ctx, session, ask, { obtained: nothingObtained(session, new Set(covers.keys())) });
      if (covered.kind === 'allow') {
        const used = [...new Set(covers.values())];
        const counted = await transaction(
          ctx.db,
          async (trx) => (await countUses(ctx, trx, used)) && (await useOnce(ctx, trx, session, ask)),
        );
        if (counted) return { ...answered(ctx, session, ask, covered), variesWith: 'moment', ...coverOf(used) };
      }
    }
    return answered(ctx, session, ask, first);
  }
  if (first.kind === 'allow' && isForOne(session, ask)) {
    if (ask.isRehearsal === true) return waitsForItsRun(first, ask);
    const isFirst = await transaction(ctx.db, async (trx) => await useOnce(ctx, trx, session, ask));
    if (!isFirst) return usedUp(ctx, ask);
    return { ...answered(ctx, session, ask, first), variesWith: 'moment' };
  }
  return answered(ctx, session, ask, first);
}

const coverOf = (covers: readonly CoverId[]): { readonly cover?: CoverId } => {
  const [cover] = covers;
  return cover === undefined ? {} : { cover };
};

const coveredBy = (session: JudgedSession, ask: StatementAsk) => ({
  grant: session.grant.id,
  clientAddress: session.clientAddress,
  digest: ask.digest,
  needs: ask.needs,
});

function nothingObtained(session: JudgedSession, covered: ReadonlySet<string>): Obtained {
  const age = session.circumstances.signIn?.age;
  return {
    approvals: [],
    hasReason: false,
    isActivated: true,
    covered,
    ...(age === undefined ? {} : { signedInAt: (session.circumstances.now - age) as typeof session.circumstances.now }),
  };
}

/**
 * Asks policy, and once more with what has been obtained where it is all that is asked for. Answers curable, with all its
 * demands, as long as one of them isn't met.
 */
export function judge(
  ctx: Pick<AppContext, 'policy'>,
  session: JudgedSession,
  ask: Pick<StatementAsk, 'needs' | 'context'>,
  so: { readonly obtained?: Obtained; readonly authenticatorAge?: Duration | undefined } = {},
): StatementAnswer {
  const { circumstances, principal, grantRef, grant } = session;
  const { obtained, authenticatorAge } = so;
  const base: Circumstances = {
    ...circumstances,
    cured: {
      ...circumstances.cured,
      ...(obtained === undefined ? {} : { approvals: new Set(obtained.approvals.map(({ by }) => by)).size }),
      ...(authenticatorAge === undefined ? {} : { authenticatorAge }),
    },
  };
  const question = (from: Circumstances): StatementAnswer =>
    ctx.policy.decide({
      ...from,
      action: 'statement',
      principal,
      role: grant.role,
      grant: grantRef,
      needs: ask.needs,
      context: ask.context,
    });
  const first = question(base);
  if (first.kind !== 'curable' || obtained === undefined) return first;
  const missing = new Set(unmet(first.demands, obtained, circumstances.now));
  if (missing.size > 0) return first;
  return question({ ...base, cured: curedBy(first.demands, () => true, base.cured) });
}

/**
 * INVARIANT 5: lets a held statement through, once: this content in this session, cured, and policy says so now. Everything that
 * decides is locked, so that a revocation, a suspension or a denial comes before it or after it.
 */
async function redeem(ctx: AppContext, ask: StatementAsk, id: HoldId): Promise<StatementDecision> {
  return await transaction(ctx.db, async (trx): Promise<StatementDecision> => {
    const now = ctx.clock.now();
    const known = await trx
      .selectFrom('hold')
      .select(['requester', 'access_grant'])
      .where('id', '=', id)
      .where('session', '=', ask.session)
      .executeTakeFirst();
    if (known === undefined || known.access_grant === null) return ended(ctx, ask, 'this is not what was held');
    await lockPrincipal(trx, known.requester);
    await lockGrant(trx, known.access_grant);
    const row = await lockHold(trx, id);
    const session = await readJudgedSession(trx, ask.session, now);
    const over = endedAnswer(ctx, session, ask);
    if (row === undefined || row.held.kind !== 'statement' || session === undefined || over !== undefined)
      return over ?? ended(ctx, ask, 'your access has ended');
    const { digest = '' } = ask;
    const run = { kind: 'statement', session: ask.session, grant: session.grant.id, digest } as const;
    const outcome = release(holdOf(row), run, now);
    if (outcome.kind === 'refused')
      return ended(
        ctx,
        ask,
        outcome.because === 'expired'
          ? 'what it waited for came too late'
          : outcome.because === 'not_cured'
            ? 'what it waits for is not there'
            : 'this is not what was held',
      );
    const first = judge(ctx, session, ask);
    const demands = first.kind === 'curable' ? first.demands : [];
    const covers = await findCovers(ctx, trx, coveredBy(session, ask), demands);
    const so = await readObtained(trx, row, {
      signedInAt: await signedInAt(trx, row.requester),
      covered: new Set(covers.keys()),
    });
    const answer = judge(ctx, session, ask, so);
    const bound = boundAnswer(ctx, session, ask);
    if (answer.kind !== 'allow' || bound !== undefined) {
      const word =
        answer.kind === 'deny' ? 'policy does not allow it any more' : 'what was obtained is not enough any more';
      const entry = await writeHoldEntry(ctx, trx, row, 'hold.ended', {
        public: { policies: [...answer.policies], policyVersion: answer.version },
        content: { word },
        of: row.requester,
      });
      await moveHold(trx, row, { state: 'ended', entry, settledAt: now, word });
      return bound ?? answered(ctx, session, ask, answer);
    }
    const used = [...new Set(covers.values())];
    if (used.length > 0 && !(await countUses(ctx, trx, used))) return ended(ctx, ask, 'what covered it has ended');
    if (!(await useOnce(ctx, trx, session, ask))) return usedUp(ctx, ask);
    const entry = await writeHoldEntry(ctx, trx, row, 'hold.released', {
      actor: row.requester,
      public: {
        digest: row.digest,
        policies: [...answer.policies],
        policyVersion: answer.version,
        signedBy: [...so.signedBy],
        ...(so.rowsAtMost === undefined ? {} : { rowsAtMost: so.rowsAtMost }),
      },
    });
    await moveHold(trx, row, { state: 'released', entry, settledAt: now });
    if (session.grant.state === 'active')
      await createCovers(ctx, trx, {
        hold: row,
        grant: session.grant.id,
        grantEndsAt: session.grant.endsAt,
        clientAddress: session.clientAddress,
        needs: ask.needs,
        demands,
        covered: new Set(covers.keys()),
        hasConditions:
          so.rowsAtMost !== undefined || so.obtained.approvals.some(({ validFor }) => validFor !== undefined),
      });
    return {
      ...answered(ctx, session, ask, answer),
      kind: 'allow',
      variesWith: 'moment',
      hold: id,
      ...coverOf(used),
      ...(so.rowsAtMost === undefined ? {} : { rowsAtMost: so.rowsAtMost }),
      ...(row.preview !== null && wantsPreview(demands) ? { preview: { rows: row.preview.rows } } : {}),
    };
  });
}

const plain = { variesWith: 'moment' } as const;

/** A denial that no policy has made. */
function ended(ctx: Pick<AppContext, 'policy'>, ask: StatementAsk, message: string, hint?: string): StatementDecision {
  return {
    kind: 'deny',
    policyVersion: ctx.policy.version,
    policies: [],
    missing: ask.needs,
    roles: [],
    ...plain,
    message,
    ...(hint === undefined ? {} : { hint }),
  };
}

function endedAnswer(
  ctx: Pick<AppContext, 'policy' | 'clock'>,
  session: JudgedSession | undefined,
  ask: StatementAsk,
): StatementDecision | undefined {
  if (session === undefined || !session.isOpen || !isLive(session.grant, ctx.clock.now()))
    return ended(ctx, ask, 'your access has ended');
  if (session.principal.state !== 'active') return ended(ctx, ask, 'your account is suspended');
  return undefined;
}

/** Is this a run that a grant for one statement is used up by? What touches nothing (`begin`, `commit`) is none. */
const isForOne = (session: JudgedSession, ask: StatementAsk) =>
  session.onlyDigest !== undefined && ask.needs.length > 0;

/** INVARIANT 5: under a grant for one statement no other runs. */
function boundAnswer(
  ctx: Pick<AppContext, 'policy'>,
  session: JudgedSession,
  ask: StatementAsk,
): StatementDecision | undefined {
  if (!isForOne(session, ask)) return undefined;
  if (session.usedAt !== undefined) return usedUp(ctx, ask);
  if (ask.isRehearsal === true || ask.digest === session.onlyDigest) return undefined;
  return ended(
    ctx,
    ask,
    'this access is for one statement only, and this is another',
    'run exactly the statement that was asked for, or ask for the role',
  );
}

const usedUp = (ctx: Pick<AppContext, 'policy'>, ask: StatementAsk) =>
  ended(ctx, ask, 'this access was for one run of one statement, which it has had', 'ask again');

/** Parsing runs nothing: whether the run may be is asked with its parameters. */
function waitsForItsRun(answer: StatementAnswer, ask: StatementAsk): StatementDecision {
  return {
    kind: 'curable',
    policyVersion: answer.version,
    policies: answer.policies,
    ...plain,
    missing: ask.needs,
    cures: [],
    demands: [],
    title: 'its run',
  };
}

/** Takes the one run; false when it was taken. */
async function useOnce(ctx: AppContext, trx: Transaction, session: JudgedSession, ask: StatementAsk): Promise<boolean> {
  if (!isForOne(session, ask)) return true;
  const { grant } = session;
  const locked = await lockGrant(trx, grant.id);
  if (locked === undefined || !isLive(locked, ctx.clock.now())) return false;
  const row = await trx
    .selectFrom('access_grant')
    .select(['only_digest', 'used_at'])
    .where('id', '=', grant.id)
    .executeTakeFirst();
  if (row?.used_at !== null || row.only_digest !== ask.digest) return false;
  const entry = await writeEntry(ctx, trx, {
    kind: 'grant.used',
    actor: grant.principal,
    subjects: { grant: grant.id, session: session.id, principal: grant.principal, role: grant.role },
    public: { digest: row.only_digest },
  });
  await trx.updateTable('access_grant').set({ used_at: ctx.clock.now(), entry }).where('id', '=', grant.id).execute();
  return true;
}

function answered(
  ctx: Pick<AppContext, 'policy'>,
  session: JudgedSession,
  ask: StatementAsk,
  answer: StatementAnswer,
): StatementDecision {
  const { needs, context } = ask;
  const { principal, grant } = session;
  const explained: Explained = {
    policyVersion: answer.version,
    policies: answer.policies,
    variesWith: session.onlyDigest === undefined ? answer.variesWith : 'moment',
    ...(answer.wantsEstimate ? { wantsEstimate: true } : {}),
  };
  switch (answer.kind) {
    case 'allow':
      return { kind: 'allow', ...explained };
    case 'curable':
      return {
        kind: 'curable',
        ...explained,
        // What may be covered has to be asked about each time.
        ...(answer.demands.some(({ cure }) => 'cover' in cure && cure.cover !== undefined) ? plain : {}),
        missing: answer.missing,
        cures: answer.cures,
        demands: answer.demands,
        title: neededWords(answer.demands),
      };
    case 'deny': {
      const role = ctx.policy.configuration?.resources
        .flatMap((resource) => resource.roles)
        .find((candidate) => candidate.name === grant.role);
      return {
        kind: 'deny',
        ...explained,
        ...(answer.policies.length === 0
          ? { missing: answer.missing.map((need) => beyond(role, need)) }
          : { missing: answer.missing, because: answer.because }),
        roles: ctx.policy.rolesThatGive({
          ...session.circumstances,
          principal,
          resource: resourceOf(grant.role),
          needs,
          context,
        }),
      };
    }
    default:
      return answer satisfies never;
  }
}

/** Of the columns that a need names, those that the role doesn't give: whoever reads the refusal looks for these. */
function beyond(role: Role | undefined, need: Need): Need {
  const { action, object, columns } = need;
  if (object.kind !== 'table' || (action !== 'select' && action !== 'insert' && action !== 'update')) return need;
  const given = role?.permissions.tables.find(
    (table) => table.schema === object.schema && table.name === object.name,
  )?.[action];
  if (given === undefined || given === 'all') return need;
  const left = columns.filter((column) => !given.includes(column));
  return left.length === 0 ? need : { ...need, columns: left };
}

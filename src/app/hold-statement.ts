/** Holds a statement whose denial is curable: written down with what it waits for, and shown to those who can help. */
import type { Demand } from '#core/decision.ts';
import { isLive } from '#core/grant.ts';
import { demandKey, unmet, wantsPreview } from '#core/hold.ts';
import { newId, resourceOf, type HoldId } from '#core/ids.ts';
import { after, earliest, formatInstant, minutes, seconds, type Instant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import { describeCure } from '#policy/cures.ts';
import { describeNeed, type PgObject } from '#sql/needs.ts';
import { at, transaction } from '#store/database.ts';
import { readJudgedSession } from './_circumstances.ts';
import { neededWords, signedInAt, tellHold } from './_holds.ts';
import { lockGrant } from './_rows.ts';
import type { AppContext } from './context.ts';
import { findCovers } from './covers.ts';
import { judge, type StatementAsk } from './decide-statement.ts';
import { writeEntry } from './write-entry.ts';

/** A bound parameter as it was recorded: `null`, its text, or what of it can be shown. */
export type HeldParameter =
  | null
  | { readonly text: string; readonly bytes?: number; readonly sha256?: string }
  | { readonly hex: string; readonly type: number; readonly bytes?: number; readonly sha256?: string };

export type HoldStatementAsk = StatementAsk & {
  readonly digest: string;
  readonly text: string;
  readonly parameters: readonly HeldParameter[];
  readonly inTransaction: boolean;
  readonly maxSeconds: number;
};

export type HoldStatementAnswer =
  | {
      readonly kind: 'held';
      readonly hold: HoldId;
      readonly url: string;
      readonly expiresAt: Instant;
      readonly words: string;
      readonly wantsPreview: boolean;
      /** Nothing more is asked, by what is there already: the run may be asked for at once. */
      readonly isCured: boolean;
    }
  | { readonly kind: 'refused'; readonly message: string; readonly hint?: string };

/** A flood of holds would hide the one that matters. */
const mostInSession = 3;
const mostOfPrincipal = 20;
const mostBytes = 65_536;
const longest = minutes(5);
const longestInTransaction = seconds(60);

export async function holdStatement(ctx: AppContext, ask: HoldStatementAsk): Promise<HoldStatementAnswer> {
  const refuse = (message: string, hint?: string): HoldStatementAnswer => ({
    kind: 'refused',
    message,
    ...(hint === undefined ? {} : { hint }),
  });
  const parameters = ask.parameters.map(parameterInWords);
  // A UTF-16 unit becomes three bytes at most.
  const size = new TextEncoder().encode(ask.text + parameters.join('')).length;
  const isCut = ask.parameters.some((one) => one !== null && one.bytes !== undefined);
  if (size > mostBytes || isCut)
    return refuse(
      'it is too long to be shown to whoever would sign it',
      `a held statement has at most ${mostBytes / 1024} KiB with its parameters; run it in smaller parts`,
    );
  // What PostgreSQL takes for text is well-formed; a text that is not couldn't be signed.
  if (!ask.text.isWellFormed() || parameters.some((one) => !one.isWellFormed()) || ask.text.includes('\0'))
    return refuse('it cannot be shown as text');
  return await transaction(ctx.db, async (trx): Promise<HoldStatementAnswer> => {
    const now = ctx.clock.now();
    const found = await trx
      .selectFrom('session')
      .select(['principal', 'access_grant'])
      .where('id', '=', ask.session)
      .executeTakeFirst();
    if (found === undefined) return refuse('your access has ended');
    // One at a time for a person, or two at once would both see room for one more.
    await trx.selectFrom('principal').select('id').where('id', '=', found.principal).forUpdate().execute();
    await lockGrant(trx, found.access_grant);
    const session = await readJudgedSession(trx, ask.session, now);
    if (session === undefined || !session.isOpen || !isLive(session.grant, now)) return refuse('your access has ended');
    if (session.principal.state !== 'active') return refuse('your account is suspended');
    const live = await trx
      .selectFrom('hold')
      .select('session')
      .where('requester', '=', found.principal)
      .where('state', 'in', ['waiting', 'cured'])
      .where('expires_at', '>', now)
      .execute();
    if (live.length >= mostOfPrincipal || live.filter((one) => one.session === ask.session).length >= mostInSession)
      return refuse('too many of your statements are held already', 'let go of one of them first');
    const answer = judge(ctx, session, ask);
    if (answer.kind === 'deny') return refuse(`policy does not allow it: ${answer.because}`);
    const demands = answer.kind === 'curable' ? answer.demands : [];
    const limits = ctx.policy.configuration?.holds;
    const expiresAt = earliest(
      after(now, seconds(Math.max(1, Math.floor(ask.maxSeconds)))),
      after(now, ask.inTransaction ? (limits?.inTransaction ?? longestInTransaction) : (limits?.longest ?? longest)),
      session.grant.endsAt,
    );
    const covers = await findCovers(
      ctx,
      trx,
      { grant: session.grant.id, clientAddress: session.clientAddress, digest: ask.digest, needs: ask.needs },
      demands,
    );
    const covered = [...covers.keys()];
    const signedIn = await signedInAt(trx, found.principal);
    const open = unmet(
      demands,
      {
        approvals: [],
        hasReason: false,
        isActivated: true,
        covered: new Set(covered),
        ...(signedIn === undefined ? {} : { signedInAt: signedIn }),
      },
      now,
    );
    const state = open.length === 0 ? 'cured' : 'waiting';
    const id = newId('hold', { now, random: ctx.random });
    const needs = ask.needs.map(describeNeed);
    const role = session.grant.role;
    const entry = await writeEntry(ctx, trx, {
      kind: 'hold.opened',
      actor: found.principal,
      subjects: {
        hold: id,
        session: ask.session,
        grant: session.grant.id,
        principal: found.principal,
        role,
        resource: resourceOf(role),
      },
      public: {
        subject: 'statement',
        digest: ask.digest,
        // It runs before it is released, to be looked at, and is taken back unless it is.
        ...(demands.some(({ cure }) => cure.kind === 'preview') ? { runsFirst: true } : {}),
        wants: neededWords(demands),
        policies: [...answer.policies],
        policyVersion: answer.version,
        inTransaction: ask.inTransaction,
        expiresAt: formatInstant(expiresAt),
      },
      content: { text: ask.text, parameters, needs },
    });
    await trx
      .insertInto('hold')
      .values({
        id,
        subject: 'statement',
        state,
        requester: found.principal,
        acts_for: session.circumstances.actsFor ?? [],
        access_grant: session.grant.id,
        session: ask.session,
        role,
        client_address: session.clientAddress,
        digest: ask.digest,
        held: {
          kind: 'statement',
          text: ask.text,
          parameters,
          needs,
          tables: [...new Set(ask.needs.flatMap(({ object }) => tableOf(object)))],
          functions: [...ask.context.functions],
          covered,
          covers: coversInWords(demands, new Set(covered)),
          // As the policy is asked again: data alone.
          question: { needs: ask.needs, context: ask.context } as unknown as Json,
          inTransaction: ask.inTransaction,
        },
        demands,
        asked_by: [...new Set(demands.map(({ policy }) => policy))],
        policy_version: answer.version,
        preview: null,
        reason: null,
        opened_at: at(now),
        expires_at: at(expiresAt),
        settled_at: null,
        settled_by: null,
        word: null,
        entry,
      })
      .execute();
    const row = await trx.selectFrom('hold').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    await tellHold(trx, row, state);
    return {
      kind: 'held',
      hold: id,
      url: `${ctx.site.publicUrl}/h/${id}`,
      expiresAt,
      words: neededWords(open),
      wantsPreview: wantsPreview(open),
      isCured: state === 'cured',
    };
  });
}

const tableOf = (object: PgObject): readonly string[] =>
  object.kind === 'table' ? [describeNeed({ action: 'other', object, columns: [] }).replace(/^other on /, '')] : [];

/** What else a signature lets through for a while, where the policy that asks for it says so. */
const coversInWords = (demands: readonly Demand[], covered: ReadonlySet<string>): readonly string[] => [
  ...new Set(
    demands.flatMap((demand) =>
      'cover' in demand.cure && demand.cure.cover !== undefined && !covered.has(demandKey(demand))
        ? [`${describeCure(demand.cure)} (${demand.policy})`]
        : [],
    ),
  ),
];

function parameterInWords(parameter: HeldParameter, index: number): string {
  const name = `$${index + 1}`;
  if (parameter === null) return `${name} is null`;
  return 'text' in parameter ? `${name} = ${parameter.text}` : `${name} = \\x${parameter.hex} (type ${parameter.type})`;
}

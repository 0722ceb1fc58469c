/** Administration: the right, the fresh proof it takes, and that somebody is always left who can do it. */
import type { Allow, CurableDenial, Decision } from '#core/decision.ts';
import { unmet, type Obtained } from '#core/hold.ts';
import type { HoldId } from '#core/ids.ts';
import { between, minutes, type Duration } from '#core/instant.ts';
import { administrators, type Principal } from '#core/principal.ts';
import { curedBy } from '#policy/cures.ts';
import type { Administered, Cured } from '#policy/question.ts';
import { sql } from 'kysely';
import type { Db, Transaction } from '#store/database.ts';
import { callerCircumstances } from './_circumstances.ts';
import { principalOf } from './_rows.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';

/** How long after a passkey was used a person may look at and prepare administration without using it again. */
export const freshness = minutes(15);

/** May this person look at it and prepare it? Where policy asks for more, it is asked for when it is done. */
export function mayAdminister(
  ctx: Pick<AppContext, 'policy' | 'clock'>,
  caller: Caller,
  what: Administered,
): Outcome<true> {
  const now = ctx.clock.now();
  const decision = ctx.policy.decide({ action: 'administer', principal: caller.principal, what, now });
  if (decision.kind === 'deny') return refused('forbidden', `administer ${what}: you may not`);
  return isFresh(ctx, caller) ? done(true) : stale(what);
}

const isFresh = (ctx: Pick<AppContext, 'clock'>, { session }: Caller): boolean =>
  session.kind !== 'web' || between(session.provenAt, ctx.clock.now()) <= freshness;

const stale = (what: string) => refused('fresh_sign_in_needed', `administer ${what}: show your passkey again first`);

/** What an act of administration asks of policy. */
export type ActQuestion =
  | { readonly kind: 'administer'; readonly what: Administered }
  | { readonly kind: 'authenticators'; readonly of: Principal; readonly change: 'add' | 'remove' | 'reset' };

/** What there is for an act: what others have signed, and the key that the caller has signed it with. */
export type ActSupport = {
  readonly obtained?: Obtained | undefined;
  readonly authenticatorAge?: Duration | undefined;
};

export const actInWords = (question: ActQuestion): string =>
  question.kind === 'administer' ? question.what : 'passkeys';

/**
 * Asks policy about an act, with what has been obtained as input where that is all that is asked for. An own proof is never
 * missing: the act itself is carried out by one, over its whole content.
 */
export async function judgeAct(
  ctx: AppContext,
  db: Db | Transaction,
  caller: Caller,
  question: ActQuestion,
  so: ActSupport = {},
): Promise<Decision> {
  const { obtained, authenticatorAge } = so;
  const facts: Cured = {
    ...(authenticatorAge === undefined ? {} : { authenticatorAge }),
    ...(obtained === undefined ? {} : { approvals: new Set(obtained.approvals.map(({ by }) => by)).size }),
  };
  const circumstances = await callerCircumstances(ctx, db, caller, facts);
  const people = await db
    .selectFrom('principal')
    .select('id')
    .where('state', '=', 'active')
    .where(sql<boolean>`groups @> ${[administrators]}::text[]`)
    .execute();
  const keys =
    question.kind === 'administer'
      ? []
      : await db
          .selectFrom('authenticator')
          .select('id')
          .where('principal', '=', question.of.id)
          .where('revoked_at', 'is', null)
          .execute();
  const ask = (cured: Cured): Decision => {
    const from = { ...circumstances, cured, principal: caller.principal, administrators: people.length };
    return question.kind === 'administer'
      ? ctx.policy.decide({ ...from, action: 'administer', what: question.what })
      : ctx.policy.decide({
          ...from,
          action: 'manage_authenticators',
          of: question.of,
          change: question.change,
          authenticators: keys.length,
        });
  };
  const first = ask(facts);
  if (first.kind !== 'curable') return first;
  const given: Obtained = {
    ...(obtained ?? { approvals: [], hasReason: false, isActivated: false }),
    proof: { at: circumstances.now, sawPreview: true },
    signedInAt: caller.session.provenAt,
  };
  if (unmet(first.demands, given, circumstances.now).length > 0) return first;
  return ask(curedBy(first.demands, () => true, facts));
}

/** As `judgeAct` for whoever is about to prepare it: refused outright, or what is still asked for. */
export async function prepareAct(
  ctx: AppContext,
  db: Db | Transaction,
  caller: Caller,
  question: ActQuestion,
  so: ActSupport = {},
): Promise<Outcome<Allow | CurableDenial>> {
  const decision = await judgeAct(ctx, db, caller, question, so);
  if (decision.kind === 'deny') return refused('forbidden', `administer ${actInWords(question)}: you may not`);
  return isFresh(ctx, caller) ? done(decision) : stale(actInWords(question));
}

/** The one way to carry an act out: policy allows it now, with what others have signed. */
export async function allowAct(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  question: ActQuestion,
  so: ActSupport & { readonly hold?: HoldId | undefined },
): Promise<Outcome<Allow>> {
  const decision = await judgeAct(ctx, trx, caller, question, so);
  if (decision.kind === 'allow') return done(decision);
  if (decision.kind === 'curable')
    return refused(
      'conflict',
      `administer ${actInWords(question)}: policy asks for somebody else’s approval`,
      'ask for it again',
    );
  return refused('forbidden', `administer ${actInWords(question)}: you may not`);
}

/** INVARIANT 13: refuses a change of a person after which nobody could administer or approve for some role. */
export async function administratorsLeft(
  ctx: Pick<AppContext, 'policy' | 'shipped'>,
  db: Db | Transaction,
  changed: Principal,
): Promise<Outcome<true>> {
  const rows = await db.selectFrom('principal').selectAll().where('state', '<>', 'suspended').execute();
  const people = rows.map(principalOf).filter((person) => person.id !== changed.id);
  const configuration = ctx.policy.configuration;
  if (configuration === undefined) return done(true);
  const before = ctx.policy.lockouts({ shipped: ctx.shipped, configuration }, rows.map(principalOf));
  const after = ctx.policy.lockouts(
    { shipped: ctx.shipped, configuration },
    changed.state === 'suspended' ? people : [...people, changed],
  );
  const fresh = after.find(
    (lockout) =>
      // Who leaves must be suspended at once, though a policy asks for their approval by name.
      lockout.what !== 'cure' && !before.some((known) => known.what === lockout.what && known.name === lockout.name),
  );
  return fresh === undefined ? done(true) : refused('conflict', fresh.message, fresh.help);
}

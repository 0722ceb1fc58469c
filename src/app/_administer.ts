/** Administration: the right, the fresh proof it takes, and that somebody is always left who can do it. */
import type { Allow } from '#core/decision.ts';
import { between, minutes } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Administered } from '#policy/question.ts';
import type { Db, Transaction } from '#store/database.ts';
import { principalOf } from './_rows.ts';
import { done, refused, type AppContext, type Caller, type Outcome } from './context.ts';

/** How long after a passkey was used a person may look at and prepare administration without using it again. */
export const freshness = minutes(15);

export function mayAdminister(
  ctx: Pick<AppContext, 'policy' | 'clock'>,
  caller: Caller,
  what: Administered,
): Outcome<Allow> {
  const now = ctx.clock.now();
  const decision = ctx.policy.decide({ action: 'administer', principal: caller.principal, what, now });
  if (decision.kind !== 'allow') return refused('forbidden', `administer ${what}: you may not`);
  if (caller.session.kind === 'web' && between(caller.session.provenAt, now) > freshness)
    return refused('fresh_sign_in_needed', `administer ${what}: show your passkey again first`);
  return done(decision);
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

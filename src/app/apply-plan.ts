/** Puts a planned configuration in force, by a passkey over its hash. */
import { sql } from 'kysely';
import type { Transaction } from '#store/database.ts';
import { allowAct } from './_administer.ts';
import { checkConfiguration } from './_check-configuration.ts';
import { notify } from './changes.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { endGrantIn } from './end-grant.ts';
import { storeConfiguration } from './_store-configuration.ts';
import type { Evidence } from './evidence.ts';

/** Answers the policy version now in force; every process loads it when it hears of the change. */
export async function applyPlan(
  ctx: AppContext,
  trx: Transaction,
  caller: Caller,
  evidence: Evidence<'change_configuration'>,
): Promise<Outcome<string>> {
  const judged = await allowAct(
    ctx,
    trx,
    caller,
    { kind: 'administer', what: 'configuration' },
    evidence.support ?? {},
  );
  if (judged.kind === 'refused') return judged;
  const id = evidence.object.plan;
  // One application at a time, or two plans over the same base would both fit.
  await sql`lock table configuration in exclusive mode`.execute(trx);
  const plan = await trx.selectFrom('plan').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  if (plan === undefined) return notFound('plan', id);
  const what = `apply plan \`${id}\``;
  if (plan.applied_at !== null) return refused('conflict', `${what}: it has been applied already`);
  if (ctx.clock.now() >= plan.expires_at)
    return refused('expired', `${what}: it is too old`, 'make a new one with `sally apply`');
  const current = await trx.selectFrom('configuration').select('version').orderBy('number', 'desc').executeTakeFirst();
  if ((current?.version ?? null) !== plan.base_version)
    return refused(
      'conflict',
      `${what}: another configuration was applied meanwhile`,
      'make a new plan with `sally apply`',
    );
  const checked = await checkConfiguration(ctx, trx, plan.files);
  if (checked.kind === 'faults')
    return refused(
      'configuration_refused',
      `${what}: ${checked.faults[0]?.message ?? 'it has faults'}`,
      'check it with `sally validate`',
    );
  // INVARIANT 5: what takes effect is what was signed.
  if (checked.hash !== evidence.object.configurationHash || plan.hash !== checked.hash)
    return refused('proof_refused', `${what}: the proof is over another configuration`);
  await storeConfiguration(ctx, trx, {
    files: plan.files,
    checked,
    actor: caller.principal.id,
    plan: id,
    proof: evidence.object.id,
    content: evidence.content,
  });
  // INVARIANT 4: a role that is gone takes its grants along; one of the same name, declared later, is another role.
  const roles = checked.configuration.resources.flatMap((resource) => resource.roles.map((role) => role.name));
  const orphaned = await trx
    .selectFrom('access_grant')
    .select('id')
    .where('state', '<>', 'ended')
    .where((where) => where.not(where('role', '=', where.fn.any(where.val(roles)))))
    .orderBy('id')
    .execute();
  for (const grant of orphaned)
    await endGrantIn(ctx, trx, {
      grant: grant.id,
      how: 'revoked',
      who: caller.principal.id,
      word: 'the role was taken out of the configuration',
    });
  await trx.updateTable('plan').set({ applied_at: ctx.clock.now() }).where('id', '=', id).execute();
  await notify(trx, { kind: 'plan', plan: id });
  return done(checked.version);
}

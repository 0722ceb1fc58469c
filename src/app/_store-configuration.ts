/** Writes a checked configuration as the one in force. */
import type { PlanId, PrincipalId, ProofId } from '#core/ids.ts';
import { notify } from './changes.ts';
import type { Transaction } from '#store/database.ts';
import type { StoredFiles } from '#store/schema.ts';
import type { CheckedConfiguration } from './_check-configuration.ts';
import type { AppContext } from './context.ts';
import { writeEntry, type EntryDraft } from './write-entry.ts';

export async function storeConfiguration(
  ctx: AppContext,
  trx: Transaction,
  from: {
    readonly files: StoredFiles;
    readonly checked: CheckedConfiguration & { readonly kind: 'sound' };
    readonly actor: PrincipalId | 'system';
    readonly proof?: ProofId;
    readonly plan?: PlanId;
    readonly content?: EntryDraft['content'];
  },
): Promise<void> {
  const { files, checked, actor, proof, plan, content } = from;
  const entry = await writeEntry(ctx, trx, {
    kind: 'configuration.applied',
    actor,
    subjects: { ...(plan === undefined ? {} : { plan }), ...(proof === undefined ? {} : { proof }) },
    public: {
      hash: checked.hash,
      policyVersion: checked.version,
      resources: checked.configuration.resources.map((resource) => resource.name),
      roles: checked.configuration.resources.flatMap((resource) => resource.roles.map((role) => role.name)),
    },
    ...(content === undefined ? {} : { content }),
  });
  await trx
    .insertInto('configuration')
    .values({
      version: checked.version,
      hash: checked.hash,
      files,
      applied_at: ctx.clock.now(),
      applied_by: actor === 'system' ? null : actor,
      proof: proof ?? null,
      entry,
    })
    .execute();
  await notify(trx, { kind: 'configuration', version: checked.version });
}

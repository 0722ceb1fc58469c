/** A one-time link for a person's passkey; it replaces the links made for them before. */
import type { LinkId, PrincipalId } from '#core/ids.ts';
import { formatInstant, type Instant } from '#core/instant.ts';
import type { Secret } from '#core/secret.ts';
import { linkUrl, makeLink as make, type LinkFor } from '#identity/one-time-link.ts';
import type { Transaction } from '#store/database.ts';
import type { Actor } from '#log/entry.ts';
import type { AppContext } from './context.ts';
import type { EntryDraft } from './write-entry.ts';
import { writeEntry } from './write-entry.ts';

/** Shown once, to whoever made it. */
export type NewLink = { readonly url: Secret<string>; readonly expiresAt: Instant };

export async function makeLink(
  ctx: AppContext,
  trx: Transaction,
  from: {
    readonly for: LinkFor;
    readonly actor: Actor;
    /** Chosen before, where a proof names it. */
    readonly id?: LinkId;
    readonly content?: EntryDraft['content'];
    readonly proof?: string;
  },
): Promise<NewLink> {
  const now = ctx.clock.now();
  const made = make(from.for, { now, random: ctx.random });
  const link = from.id === undefined ? made.link : { ...made.link, id: from.id };
  const person: PrincipalId | undefined = link.principal ?? undefined;
  const entry = await writeEntry(ctx, trx, {
    kind: 'link.issued',
    actor: from.actor,
    ...(person === undefined ? {} : { about: [person] }),
    subjects: {
      link: link.id,
      ...(person === undefined ? {} : { principal: person }),
      ...(from.proof === undefined ? {} : { proof: from.proof }),
    },
    public: { purpose: link.purpose, expiresAt: formatInstant(link.expiresAt) },
    ...(from.content === undefined ? {} : { content: from.content }),
  });
  // Only the newest link works: the older ones may have gone astray.
  await trx
    .updateTable('one_time_link')
    .set({ revoked_at: now })
    .where('kind', '=', link.purpose)
    .where('principal', person === undefined ? 'is' : '=', person ?? null)
    .where('used_at', 'is', null)
    .where('revoked_at', 'is', null)
    .execute();
  await trx
    .insertInto('one_time_link')
    .values({
      id: link.id,
      token_hash: link.tokenHash,
      kind: link.purpose,
      principal: person ?? null,
      created_at: link.createdAt,
      expires_at: link.expiresAt,
      used_at: null,
      revoked_at: null,
      entry,
    })
    .execute();
  return { url: linkUrl(ctx.site.publicUrl, made.token), expiresAt: link.expiresAt };
}

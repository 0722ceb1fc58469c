/**
 * INVARIANT 3: every change writes its entry here, inside the transaction that makes it. The sequencer puts committed
 * entries into the tree; nobody else writes to the log.
 */
import type { EntryId, PrincipalId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import { sealContent } from '#log/content.ts';
import { encodeEntry, makeEntry, newEntryId, type Actor, type EntryKind } from '#log/entry.ts';
import { at, json, type Transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';

export type EntryDraft = {
  readonly kind: EntryKind;
  readonly actor: Actor;
  /** Ids by what they are: `request`, `grant`, `session`, `principal` … */
  readonly subjects?: Readonly<Record<string, string>>;
  /** Never anything personal. */
  readonly public?: Readonly<Record<string, Json>>;
  /** The personal part. */
  readonly content?: Json;
  /** Whose data the content is: sealed under their key. Default: the actor, if a person. */
  readonly of?: PrincipalId;
  /** When it happened, where that isn't now. */
  readonly at?: Instant;
  /** Who else may read it as their own. */
  readonly about?: readonly PrincipalId[];
};

/** Writes entries in order, all in one statement each for leaves and contents. Answers their ids. */
export async function writeEntries(
  ctx: Pick<AppContext, 'clock' | 'random' | 'contentKeys'>,
  trx: Transaction,
  drafts: readonly EntryDraft[],
): Promise<readonly EntryId[]> {
  if (drafts.length === 0) return [];
  const { clock, random, contentKeys } = ctx;
  const contents: { entry: EntryId; key: string; blob: Uint8Array }[] = [];
  const rows = [];
  for (const draft of drafts) {
    const now = draft.at ?? clock.now();
    const id = newEntryId({ now: clock.now(), random });
    const person = draft.actor === 'system' || draft.actor === 'stranger' ? undefined : draft.actor;
    let content;
    if (draft.content !== undefined) {
      const key = await contentKeys.keyOf(trx, draft.of ?? person);
      const sealed = sealContent(key, id, draft.content, random);
      content = sealed.hash;
      contents.push({ entry: id, key: key.id, blob: sealed.blob });
    }
    const subjects = draft.subjects ?? {};
    const entry = makeEntry(
      {
        kind: draft.kind,
        actor: draft.actor,
        subjects,
        public: draft.public ?? {},
        ...(content === undefined ? {} : { content }),
      },
      { id, now },
    );
    const about = new Set<string>(draft.about ?? []);
    if (draft.of !== undefined) about.add(draft.of);
    if (person !== undefined) about.add(person);
    rows.push({
      id,
      at: at(now),
      kind: draft.kind,
      actor: draft.actor,
      subjects: json(subjects),
      leaf: encodeEntry(entry),
      leaf_index: null,
      about: [...about],
    });
  }
  await trx.insertInto('log_entry').values(rows).execute();
  if (contents.length > 0) await trx.insertInto('log_content').values(contents).execute();
  return rows.map((row) => row.id);
}

export async function writeEntry(
  ctx: Pick<AppContext, 'clock' | 'random' | 'contentKeys'>,
  trx: Transaction,
  draft: EntryDraft,
): Promise<EntryId> {
  const [id] = await writeEntries(ctx, trx, [draft]);
  if (id === undefined) throw new Error('write a log entry: nothing was written');
  return id;
}

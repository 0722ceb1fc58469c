/**
 * INVARIANT 3: every change writes its entry here, inside the transaction that makes it. The sequencer puts committed
 * entries into the tree; nobody else writes to the log.
 */
import { type RawBuilder, sql } from 'kysely';
import type { EntryId, PrincipalId, Random } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import { sealContent, type ContentKey } from '#log/content.ts';
import { entryText, makeEntry, newEntryId, type Actor, type Entry, type EntryKind } from '#log/entry.ts';
import type { Transaction } from '#store/database.ts';
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

/**
 * Writes entries in order, all in one statement each for leaves and contents. Answers their ids. A journal brings hundreds at
 * once: what is asked or derived is asked once for all of them, and the values go to the server as few long texts, one
 * line each, which both sides split and join faster than anything else. No line has a line feed in it: ids and instants have
 * none, and in JSON it is escaped.
 */
export async function writeEntries(
  ctx: Pick<AppContext, 'clock' | 'random' | 'contentKeys'>,
  trx: Transaction,
  drafts: readonly EntryDraft[],
): Promise<readonly EntryId[]> {
  if (drafts.length === 0) return [];
  const { clock, contentKeys } = ctx;
  const random = drawn(ctx.random, drafts.length * 64);
  const written = clock.now();
  const keys = new Map<PrincipalId | undefined, ContentKey>();
  const entries: Entry[] = [];
  const leaves: string[] = [];
  const abouts: string[] = [];
  const contents: { readonly entry: EntryId; readonly key: string; readonly blob: Uint8Array }[] = [];
  for (const draft of drafts) {
    const id = newEntryId({ now: written, random });
    const person = draft.actor === 'system' || draft.actor === 'stranger' ? undefined : draft.actor;
    let content;
    if (draft.content !== undefined) {
      const owner = draft.of ?? person;
      const key = keys.get(owner) ?? (await contentKeys.keyOf(trx, owner));
      keys.set(owner, key);
      const sealed = sealContent(key, id, draft.content, random);
      content = sealed.hash;
      contents.push({ entry: id, key: key.id, blob: sealed.blob });
    }
    const entry = makeEntry(
      {
        kind: draft.kind,
        actor: draft.actor,
        subjects: draft.subjects ?? {},
        public: draft.public ?? {},
        ...(content === undefined ? {} : { content }),
      },
      { id, now: draft.at ?? written },
    );
    entries.push(entry);
    leaves.push(entryText(entry));
    const about = new Set<string>(draft.about ?? []);
    if (draft.of !== undefined) about.add(draft.of);
    if (person !== undefined) about.add(person);
    abouts.push([...about].join(' '));
  }
  await sql`
    insert into log_entry (id, at, kind, actor, subjects, leaf, about)
    select id, at::timestamptz, kind, actor, subjects::jsonb, convert_to(leaf, 'UTF8'), string_to_array(coalesce(about, ''), ' ')
    from unnest(
      ${lines(entries.map((entry) => entry.id))}, ${lines(entries.map((entry) => entry.at))},
      ${lines(entries.map((entry) => entry.kind))}, ${lines(entries.map((entry) => entry.actor))},
      ${lines(entries.map((entry) => JSON.stringify(entry.subjects)))}, ${lines(leaves)}, ${lines(abouts)}
    ) with ordinality as given (id, at, kind, actor, subjects, leaf, about, place)
    order by place`.execute(trx);
  if (contents.length > 0) {
    const blobs = Buffer.concat(contents.map(({ blob }) => blob));
    const ends: number[] = [];
    for (const { blob } of contents) ends.push((ends.at(-1) ?? 0) + blob.length);
    await sql`
      insert into log_content (entry, key, blob)
      select entry, key, substring(${blobs}::bytea from (1 + begins)::int for (ends - begins)::int)
      from unnest(
        ${lines(contents.map(({ entry }) => entry))}, ${lines(contents.map(({ key }) => key))},
        ${[0, ...ends.slice(0, -1)]}::int[], ${ends}::int[]
      ) as given (entry, key, begins, ends)`.execute(trx);
  }
  return entries.map((entry) => entry.id);
}

/** As an array of the server's, of one text that it splits. One line alone that is empty is none. */
function lines(values: readonly string[]): RawBuilder<readonly string[]> {
  return sql`string_to_array(${values.join('\n')}::text, ${'\n'}::text)`;
}

/** Small pieces of randomness out of a large one: each call of the real one costs more than its bytes. */
function drawn(random: Random, bytes: number): Random {
  let left = random(bytes);
  return (length) => {
    if (left.length < length) left = random(Math.max(length, bytes));
    const piece = left.subarray(0, length);
    left = left.subarray(length);
    return piece;
  };
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

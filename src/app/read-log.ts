/** The log as somebody may read it: what they did and what was done to them, or all of it. Reading others' is logged. */
import type { EntryId, GrantId, PrincipalId, RequestId, SessionId } from '#core/ids.ts';
import { parseId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import type { PrincipalRef } from '#core/principal.ts';
import { contentKeyId, openContent } from '#log/content.ts';
import { factsOf, parseEntry, type Actor, type Entry } from '#log/entry.ts';
import { transaction } from '#store/database.ts';
import { sql } from 'kysely';
import { pageOf, readHandles, type Page, type PageAsk } from './_reading.ts';
import { done, notFound, refused, type AppContext, type Caller, type Outcome } from './context.ts';
import { summaryOf } from './summary-of.ts';
import { writeEntry } from './write-entry.ts';

export type ShownEntry = {
  /** Undefined for the moment until the tree has taken it in. */
  readonly index: number | undefined;
  readonly id: EntryId;
  readonly at: Instant;
  readonly kind: Entry['kind'];
  readonly actor: PrincipalRef | Exclude<Actor, PrincipalId>;
  readonly subject: Readonly<Record<string, string>>;
  readonly facts: Readonly<Record<string, Json>>;
  /** Undefined when there is none, or its key is gone. */
  readonly content: Readonly<Record<string, Json>> | undefined;
  /** Of an ended statement: its transaction, and what has become of it by now. */
  readonly transaction: ShownTransaction | undefined;
  readonly summary: string;
};

export type TransactionState = 'open' | 'committed' | 'rolled_back' | 'unknown';
type ShownTransaction = { readonly number: string; readonly state: TransactionState };

export type LogAsk = PageAsk & {
  readonly scope: 'mine' | 'all';
  readonly kind?: string;
  readonly grant?: GrantId;
  readonly session?: SessionId;
  readonly request?: RequestId;
  readonly principal?: PrincipalId;
  readonly since?: Instant;
  readonly order: 'newest' | 'oldest';
};

type Row = {
  readonly seq: number;
  readonly id: EntryId;
  readonly at: Instant;
  readonly leaf: Uint8Array;
  readonly leaf_index: number | null;
  readonly key: string | null;
  readonly blob: Uint8Array | null;
};

export async function readLog(ctx: AppContext, caller: Caller, ask: LogAsk): Promise<Outcome<Page<ShownEntry>>> {
  const { principal } = caller;
  const now = ctx.clock.now();
  if (
    ctx.policy.decide({ action: 'read_log', principal, scope: ask.scope === 'all' ? 'all' : 'own', now }).kind !==
    'allow'
  )
    return refused('forbidden', 'read the log: you may read your own entries only', 'leave out --all');
  let query = ctx.db
    .selectFrom('log_entry')
    .leftJoin('log_content', 'log_content.entry', 'log_entry.id')
    .leftJoin('log_place', 'log_place.seq', 'log_entry.seq')
    .select(['log_entry.seq', 'log_entry.id', 'log_entry.at', 'log_entry.leaf', 'log_place.leaf_index'])
    .select(['log_content.key', 'log_content.blob'])
    .orderBy('log_entry.seq', ask.order === 'newest' ? 'desc' : 'asc')
    .limit(ask.limit + 1);
  if (ask.scope === 'mine') query = query.where(sql<boolean>`log_entry.about @> ${[principal.id]}::text[]`);
  if (ask.kind !== undefined) query = query.where('log_entry.kind', '=', ask.kind);
  // A statement is shown with its end; only one that has none yet is shown by its beginning.
  else
    query = query
      // It belongs to however many statements, which name what answered.
      .where('log_entry.kind', '<>', 'statement.judged')
      .where(sql<boolean>`not (log_entry.kind = 'statement.begun' and exists (
      select from log_entry e where e.kind = 'statement.ended' and e.subjects ->> 'session' = log_entry.subjects ->> 'session'
      and e.subjects ? 'session' and e.seq > log_entry.seq and e.subjects ->> 'statement' = log_entry.subjects ->> 'statement'))`);
  for (const name of ['grant', 'request', 'principal'] as const) {
    const id = ask[name];
    if (id !== undefined)
      // As the indexes have it.
      query = query.where(
        sql<boolean>`log_entry.subjects ? ${sql.lit(name)} and log_entry.subjects ->> ${sql.lit(name)} = ${id}`,
      );
  }
  if (ask.session !== undefined)
    query = query.where(
      sql<boolean>`log_entry.subjects ? 'session' and log_entry.subjects ->> 'session' = ${ask.session}`,
    );
  if (ask.since !== undefined) query = query.where('log_entry.at', '>=', ask.since);
  if (ask.cursor !== undefined && /^\d{1,15}$/.test(ask.cursor))
    query = query.where('log_entry.seq', ask.order === 'newest' ? '<' : '>', Number(ask.cursor));
  const page = pageOf(await query.execute(), ask.limit, (row) => String(row.seq));
  const items = await showEntries(ctx, page.items);
  // What somebody else did to the reader is the reader's own to read.
  if (
    ask.scope === 'all' &&
    items.some((entry) => entry.actor !== 'system' && entry.actor !== 'stranger' && entry.actor.id !== principal.id)
  )
    await noteReading(ctx, caller, ask, items.length);
  return done({ items, next: page.next });
}

/** One entry, for whom it is about and for those who read all. */
export async function readEntry(
  ctx: AppContext,
  caller: Caller,
  id: EntryId,
): Promise<Outcome<{ readonly leaf: Uint8Array; readonly index: number | undefined }>> {
  const row = await ctx.db
    .selectFrom('log_entry')
    .leftJoin('log_place', 'log_place.seq', 'log_entry.seq')
    .select(['leaf', 'leaf_index', 'about'])
    .where('id', '=', id)
    .executeTakeFirst();
  const { principal } = caller;
  const all = ctx.policy.decide({ action: 'read_log', principal, scope: 'all', now: ctx.clock.now() }).kind === 'allow';
  if (row === undefined || (!all && !row.about.includes(principal.id))) return notFound('entry', id);
  return done({ leaf: row.leaf, index: row.leaf_index ?? undefined });
}

/** Once in five minutes for a person and a session: who follows the log would fill it with their own reading. */
export async function noteReading(
  ctx: AppContext,
  caller: Caller,
  ask: Pick<LogAsk, 'scope' | 'session'>,
  count: number,
): Promise<void> {
  const what = { scope: ask.scope, ...(ask.session === undefined ? {} : { session: ask.session }) };
  const window = Math.floor(ctx.clock.now() / 300_000);
  const key = `log.read ${caller.principal.id} ${JSON.stringify(what)} ${window}`;
  await transaction(ctx.db, async (trx) => {
    const first = await trx
      .insertInto('seen_once')
      .values({ what: key, expires_at: (ctx.clock.now() + 600_000) as Instant })
      .onConflict((conflict) => conflict.doNothing())
      .returning('what')
      .executeTakeFirst();
    if (first === undefined) return;
    await writeEntry(ctx, trx, {
      kind: ask.session === undefined ? 'log.read' : 'recording.read',
      actor: caller.principal.id,
      subjects: { principal: caller.principal.id, ...(ask.session === undefined ? {} : { session: ask.session }) },
      public: { scope: ask.scope, entries: count },
    });
  });
}

/** These rows as they are shown, in their order. Who may see them is the caller's to say. */
export async function showEntries(ctx: AppContext, rows: readonly Row[]): Promise<readonly ShownEntry[]> {
  const opened: { row: Row; entry: Entry; content: Readonly<Record<string, Json>> | undefined }[] = [];
  const people = new Set<PrincipalId>();
  for (const row of rows) {
    const entry = parseEntry(row.leaf);
    if (entry === undefined) throw new Error(`read the log: the leaf of \`${row.id}\` is damaged`);
    const content = await openOf(ctx, entry.id, row.blob);
    opened.push({ row, entry, content });
    for (const id of [entry.actor, entry.subjects['principal']]) {
      const person = parseId('principal', id);
      if (person !== undefined) people.add(person);
    }
  }
  const said = await beginnings(
    ctx,
    opened.map(({ entry }) => entry),
  );
  const open = await openSessions(
    ctx,
    opened.map(({ entry }) => entry),
  );
  const transactions = await endsOfTransactions(
    ctx,
    opened.map(({ entry }) => entry),
  );
  const handles = await readHandles(ctx.db, [...people]);
  return opened.map(({ row, entry, content }) => {
    const begun = said.get(statementKey(entry));
    const whole = begun === undefined ? content : { ...begun, ...content };
    const actor: ShownEntry['actor'] = isPerson(entry.actor) ? handles(entry.actor) : entry.actor;
    const subject = parseId('principal', entry.subjects['principal']);
    const transaction = transactionOf(entry, transactions);
    return {
      index: row.leaf_index ?? undefined,
      id: entry.id,
      at: row.at,
      kind: entry.kind,
      actor,
      subject: entry.subjects,
      facts: entry.public,
      content: whole,
      transaction,
      summary: summaryOf({
        entry,
        transaction,
        title: factsOf(entry.kind).title,
        content: whole,
        who: typeof actor === 'string' ? actor : actor.handle,
        isRunning: open.has(entry.subjects['session'] ?? ''),
        whom: subject === undefined || subject === entry.actor ? undefined : handles(subject).handle,
      }),
    };
  });
}

/** Of the sessions in which statements have begun and not ended, those that are open. */
async function openSessions(ctx: AppContext, entries: readonly Entry[]): Promise<ReadonlySet<string>> {
  const begun = entries.flatMap((entry) => {
    const id = entry.kind === 'statement.begun' ? parseId('session', entry.subjects['session']) : undefined;
    return id === undefined ? [] : [id];
  });
  if (begun.length === 0) return new Set();
  const rows = await ctx.db
    .selectFrom('session')
    .select('id')
    .where('id', 'in', begun)
    .where('ended_at', 'is', null)
    .execute();
  return new Set(rows.map((row) => row.id));
}

/** Text and parameters of the statements whose ends are shown. */
async function beginnings(
  ctx: AppContext,
  entries: readonly Entry[],
): Promise<ReadonlyMap<string, Readonly<Record<string, Json>>>> {
  const found = new Map<string, Readonly<Record<string, Json>>>();
  const ended = entries.filter((entry) => entry.kind === 'statement.ended');
  if (ended.length === 0) return found;
  const sessions = [...new Set(ended.map((entry) => entry.subjects['session'] ?? ''))];
  const statements = [...new Set(ended.map((entry) => entry.subjects['statement'] ?? ''))];
  const rows = await ctx.db
    .selectFrom('log_entry')
    .innerJoin('log_content', 'log_content.entry', 'log_entry.id')
    .select(['log_entry.id', 'log_entry.leaf', 'log_content.blob'])
    .where('log_entry.kind', '=', 'statement.begun')
    .where(
      sql<boolean>`log_entry.subjects ? 'session' and log_entry.subjects ->> 'session' = any (${sessions}::text[])`,
    )
    .where(sql<boolean>`log_entry.subjects ->> 'statement' = any (${statements}::text[])`)
    .execute();
  for (const row of rows) {
    const entry = parseEntry(row.leaf);
    const content = entry === undefined ? undefined : await openOf(ctx, entry.id, row.blob);
    if (entry !== undefined && content !== undefined) found.set(statementKey(entry), content);
  }
  return found;
}

/** What became of the transactions in which the statements that are shown ended while they were open. */
async function endsOfTransactions(
  ctx: AppContext,
  entries: readonly Entry[],
): Promise<ReadonlyMap<string, TransactionState>> {
  const found = new Map<string, TransactionState>();
  const open = entries.filter((entry) => entry.kind === 'statement.ended' && entry.public['transaction'] === 'open');
  if (open.length === 0) return found;
  const sessions = [...new Set(open.map((entry) => entry.subjects['session'] ?? ''))];
  const numbers = [...new Set(open.map((entry) => entry.subjects['transaction'] ?? ''))];
  const rows = await ctx.db
    .selectFrom('log_entry')
    .select('leaf')
    .where('kind', '=', 'transaction.ended')
    .where(sql<boolean>`subjects ? 'session' and subjects ->> 'session' = any (${sessions}::text[])`)
    .where(sql<boolean>`subjects ->> 'transaction' = any (${numbers}::text[])`)
    .execute();
  for (const { leaf } of rows) {
    const entry = parseEntry(leaf);
    const state = stateOf(entry?.public['outcome']);
    if (entry !== undefined && state !== undefined) found.set(transactionKey(entry), state);
  }
  return found;
}

function transactionOf(entry: Entry, ends: ReadonlyMap<string, TransactionState>): ShownTransaction | undefined {
  const number = entry.subjects['transaction'];
  const state = stateOf(entry.public['transaction']);
  if (entry.kind !== 'statement.ended' || number === undefined || state === undefined) return undefined;
  return { number, state: state === 'open' ? (ends.get(transactionKey(entry)) ?? 'open') : state };
}

function stateOf(value: Json | undefined): TransactionState | undefined {
  return value === 'open' || value === 'committed' || value === 'rolled_back' || value === 'unknown'
    ? value
    : undefined;
}

function transactionKey(entry: Entry): string {
  return `${entry.subjects['session']} ${entry.subjects['transaction']}`;
}

function isPerson(actor: Actor): actor is PrincipalId {
  return actor !== 'system' && actor !== 'stranger';
}

function statementKey(entry: Entry): string {
  return `${entry.subjects['session']} ${entry.subjects['statement']}`;
}

export async function openOf(
  ctx: AppContext,
  id: EntryId,
  blob: Uint8Array | null,
): Promise<Readonly<Record<string, Json>> | undefined> {
  const keyId = blob === null ? undefined : contentKeyId(blob);
  const key = keyId === undefined ? undefined : await ctx.contentKeys.find(keyId);
  if (blob === null || key === undefined) return undefined;
  const opened = openContent(key, id, blob);
  if (opened.kind === 'refused')
    throw new Error(`read the log: the content of \`${id}\` is refused (${opened.because})`);
  return opened.value as Readonly<Record<string, Json>>;
}

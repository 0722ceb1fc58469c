/**
 * Takes a gateway's journal into the log, exactly once per (gateway, number): the number that is stored moves in the same
 * transaction as the entries. One record becomes one entry.
 */
import type { CoverId, DenialId, GrantId, HoldId, PrincipalId, RoleName, SessionId } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import { transaction, type Transaction } from '#store/database.ts';
import type { AppContext } from './context.ts';
import { endGrantIn } from './end-grant.ts';
import { endSessions, type SessionEnd } from './_end-sessions.ts';
import { endHoldsOf } from './settle-hold.ts';
import { writeEntries, type EntryDraft } from './write-entry.ts';

type On = {
  readonly session: SessionId;
  readonly grant: GrantId;
  readonly principal: PrincipalId;
  readonly resource: string;
  readonly role: string;
};

type Protocol = 'simple' | 'extended' | 'function';
type TransactionOutcome = 'committed' | 'rolled_back' | 'unknown';

/** The journal's events as the gateway writes them (gateway/records.ts); `app` states what it reads of them. */
export type JournalEvent =
  | {
      readonly kind: 'statement.begun';
      readonly on: On;
      readonly statement: number;
      readonly protocol: Protocol;
      readonly text: Json;
      readonly parameters?: readonly Json[];
      readonly prepared?: readonly { readonly name: string; readonly text: Json }[];
      readonly hold?: HoldId;
      readonly cover?: CoverId;
      readonly digest?: string;
      readonly policyVersion: string;
      readonly policies: readonly string[];
    }
  | {
      readonly kind: 'statement.ended';
      readonly on: On;
      readonly statement: number;
      readonly command: number;
      readonly outcome:
        | { readonly kind: 'completed'; readonly tag: string; readonly rows: number }
        | { readonly kind: 'suspended'; readonly rows: number }
        | { readonly kind: 'failed'; readonly sqlState: string; readonly message: string }
        | { readonly kind: 'skipped' }
        | { readonly kind: 'cut' };
      readonly durationMs: number;
      readonly bytesOut: number;
      readonly bytesIn: number;
      readonly copyInSha256?: string;
      readonly transaction?: {
        readonly number: number;
        readonly state: 'open' | TransactionOutcome;
        readonly undoes?: { readonly statement: number; readonly command: number } | null;
      };
    }
  | {
      readonly kind: 'transaction.ended';
      readonly on: On;
      readonly transaction: number;
      readonly outcome: TransactionOutcome;
    }
  | {
      readonly kind: 'statement.denied';
      readonly on: On;
      readonly statement: number;
      readonly protocol: Protocol;
      readonly text: Json;
      readonly parameters?: readonly Json[];
      readonly sqlState: string;
      readonly message: string;
      readonly denial?: DenialId;
      readonly digest?: string;
      readonly roles?: readonly RoleName[];
      readonly hold?: HoldId;
      readonly policyVersion: string;
      readonly policies: readonly string[];
    }
  | {
      readonly kind: 'statement.copy_in';
      readonly on: On;
      readonly statement: number;
      readonly command: number;
      readonly data: string;
    }
  | { readonly kind: 'statement.cancelled'; readonly on: On; readonly by: 'client' | 'gateway' }
  | {
      readonly kind: 'session.ended';
      readonly on: On;
      readonly reason: string;
      readonly message?: string;
      readonly statements: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
      readonly notifications?: number;
    }
  | { readonly kind: 'target.alarm'; readonly resource: string; readonly what: string; readonly detail: string }
  | {
      readonly kind: 'target.login_created';
      readonly resource: string;
      readonly grant: GrantId;
      readonly login: string;
    }
  | {
      readonly kind: 'target.login_dropped';
      readonly resource: string;
      readonly login: string;
      readonly because: 'ended' | 'reconciled';
    };

export type ShippedRecord = { readonly number: number; readonly at: Instant; readonly event: JournalEvent };

export class JournalGapError extends Error {
  readonly code = 'app.journal_gap';
  constructor(gateway: string, expected: number, got: number) {
    super(`take in the journal of \`${gateway}\`: expected record ${expected} and got ${got}`);
  }
}

export async function shipJournal(
  ctx: AppContext,
  gateway: string,
  batch: readonly ShippedRecord[],
): Promise<{ readonly storedUpTo: number }> {
  return await transaction(ctx.db, async (trx) => {
    const locked = () =>
      trx
        .selectFrom('gateway_journal')
        .select('stored_up_to')
        .where('gateway', '=', gateway)
        .forUpdate()
        .executeTakeFirst();
    let row = await locked();
    if (row === undefined) {
      await trx
        .insertInto('gateway_journal')
        .values({ gateway, stored_up_to: 0 })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      row = await locked();
    }
    let storedUpTo = row?.stored_up_to ?? 0;
    const drafts: EntryDraft[] = [];
    const denied: { event: JournalEvent & { kind: 'statement.denied' }; at: Instant; draft: number }[] = [];
    /** Grants of whose sessions a statement or a transaction is over: one for a single statement may be with it. */
    const ran = new Map<GrantId, Instant>();
    const ended: { event: JournalEvent & { kind: 'session.ended' }; at: Instant; draft: number }[] = [];
    for (const { number, at, event } of batch) {
      if (number <= storedUpTo) continue;
      if (number !== storedUpTo + 1) throw new JournalGapError(gateway, storedUpTo + 1, number);
      storedUpTo = number;
      if (event.kind === 'session.ended') ended.push({ event, at, draft: drafts.length });
      if (event.kind === 'statement.denied' && event.denial !== undefined)
        denied.push({ event, at, draft: drafts.length });
      if (
        event.kind === 'session.ended' ||
        event.kind === 'transaction.ended' ||
        (event.kind === 'statement.ended' && event.transaction?.state !== 'open')
      )
        ran.set(event.on.grant, at);
      drafts.push({ ...draftOf(event), at });
    }
    const entries = await writeEntries(ctx, trx, drafts);
    for (const { event, at, draft } of denied) {
      const entry = entries[draft];
      if (entry === undefined || event.denial === undefined) throw new Error('take in a journal: an entry is missing');
      await trx
        .insertInto('denial')
        .values({
          id: event.denial,
          session: event.on.session,
          access_grant: event.on.grant,
          principal: event.on.principal,
          role: event.on.role as RoleName,
          // Of a statement that isn't known whole nobody can say which it was.
          digest: isWhole(event.text) ? (event.digest ?? null) : null,
          held: {
            text: wholeText(event.text),
            parameters: (event.parameters ?? []).map(shownParameter),
            roles: event.roles ?? [],
          },
          at,
          entry,
        })
        .execute();
    }
    // Before holds are locked: whoever releases one locks its grant first.
    await completeUsed(ctx, trx, ran);
    const ends = new Map<SessionId, SessionEnd>();
    for (const { event, at, draft } of ended) {
      const entry = entries[draft];
      if (entry === undefined) throw new Error('take in a journal: an entry is missing');
      const { reason, message, statements, on } = event;
      // The first end counts, also against another in the same batch.
      if (!ends.has(on.session))
        ends.set(on.session, { session: on.session, at, how: reason, word: message, statements, entry });
    }
    await endSessions(trx, [...ends.values()]);
    await endHoldsOf(ctx, trx, { sessions: [...ends.keys()] }, 'its session has ended');
    await trx.updateTable('gateway_journal').set({ stored_up_to: storedUpTo }).where('gateway', '=', gateway).execute();
    return { storedUpTo };
  });
}

/** INVARIANT 9: a grant for one statement is over with the run of it, or with the session that has had it. */
async function completeUsed(ctx: AppContext, trx: Transaction, ran: ReadonlyMap<GrantId, Instant>): Promise<void> {
  if (ran.size === 0) return;
  const used = await trx
    .selectFrom('access_grant')
    .select(['id', 'used_at'])
    .where('id', 'in', [...ran.keys()])
    .where('state', '=', 'active')
    .where('used_at', 'is not', null)
    .orderBy('id')
    .execute();
  for (const { id, used_at: usedAt } of used) {
    // What ended before it was let through is another: a `set`, whose record comes late.
    const lastAt = ran.get(id);
    if (usedAt === null || lastAt === undefined || lastAt < usedAt) continue;
    await endGrantIn(ctx, trx, { grant: id, how: 'completed', who: undefined, word: 'its one statement has run' });
  }
}

const isWhole = (text: Json): boolean => typeof text === 'string' || !Object.hasOwn(text as object, 'bytes');

function wholeText(text: Json): string {
  if (typeof text === 'string') return text;
  const { text: said } = text as { readonly text?: Json };
  return typeof said === 'string' ? said : '';
}

function shownParameter(parameter: Json, index: number): string {
  const name = `$${index + 1}`;
  if (parameter === null || typeof parameter !== 'object') return `${name} is null`;
  const { text, hex } = parameter as { readonly text?: Json; readonly hex?: Json };
  return typeof text === 'string' ? `${name} = ${text}` : `${name} = \\x${typeof hex === 'string' ? hex : ''}`;
}

function draftOf(event: JournalEvent): EntryDraft {
  switch (event.kind) {
    case 'statement.begun':
      return {
        kind: event.kind,
        actor: event.on.principal,
        subjects: {
          ...statementSubjects(event),
          ...(event.hold === undefined ? {} : { hold: event.hold }),
          ...(event.cover === undefined ? {} : { cover: event.cover }),
        },
        public: {
          protocol: event.protocol,
          policyVersion: event.policyVersion,
          policies: [...event.policies],
          ...(event.digest === undefined ? {} : { digest: event.digest }),
        },
        content: textOf(event),
      };
    case 'statement.ended': {
      const { outcome, transaction: within } = event;
      return {
        kind: event.kind,
        actor: event.on.principal,
        subjects: {
          ...statementSubjects(event),
          ...(within === undefined ? {} : { transaction: String(within.number) }),
        },
        public: {
          outcome: outcome.kind,
          ...(within === undefined ? {} : { transaction: within.state }),
          ...(within?.undoes === undefined ? {} : { undoes: within.undoes }),
          ...(outcome.kind === 'completed' ? { tag: outcome.tag } : {}),
          ...(outcome.kind === 'completed' || outcome.kind === 'suspended' ? { rows: outcome.rows } : {}),
          ...(outcome.kind === 'failed' ? { sqlState: outcome.sqlState } : {}),
          command: event.command,
          durationMs: Math.round(event.durationMs * 1000) / 1000,
          bytesOut: event.bytesOut,
          bytesIn: event.bytesIn,
          ...(event.copyInSha256 === undefined ? {} : { copyInSha256: event.copyInSha256 }),
        },
        // The server's own words may repeat data.
        ...(outcome.kind === 'failed' ? { content: { error: outcome.message } } : {}),
      };
    }
    case 'transaction.ended':
      return {
        kind: event.kind,
        actor: event.on.principal,
        subjects: { ...subjectsOf(event.on), transaction: String(event.transaction) },
        public: { outcome: event.outcome },
      };
    case 'statement.denied':
      return {
        kind: event.kind,
        actor: event.on.principal,
        subjects: {
          ...statementSubjects(event),
          ...(event.denial === undefined ? {} : { denial: event.denial }),
          ...(event.hold === undefined ? {} : { hold: event.hold }),
        },
        public: {
          outcome: 'denied',
          sqlState: event.sqlState,
          protocol: event.protocol,
          policyVersion: event.policyVersion,
          policies: [...event.policies],
          ...(event.digest === undefined ? {} : { digest: event.digest }),
          ...(event.roles === undefined || event.roles.length === 0 ? {} : { roles: [...event.roles] }),
        },
        content: { ...textOf(event), error: event.message },
      };
    case 'statement.copy_in':
      return {
        kind: event.kind,
        actor: event.on.principal,
        subjects: statementSubjects(event),
        public: { command: event.command },
        content: { data: event.data },
      };
    case 'statement.cancelled':
      return { kind: event.kind, actor: event.on.principal, subjects: subjectsOf(event.on), public: { by: event.by } };
    case 'session.ended':
      return {
        kind: event.kind,
        actor: 'system',
        of: event.on.principal,
        subjects: subjectsOf(event.on),
        public: {
          how: event.reason,
          statements: event.statements,
          bytesIn: event.bytesIn,
          bytesOut: event.bytesOut,
          ...(event.notifications === undefined ? {} : { notifications: event.notifications }),
        },
        ...(event.message === undefined ? {} : { content: { word: event.message } }),
      };
    case 'target.alarm':
      return {
        kind: event.kind,
        actor: 'system',
        subjects: { resource: event.resource },
        public: { what: event.what },
        content: { detail: event.detail },
      };
    case 'target.login_created':
      return {
        kind: 'login.created',
        actor: 'system',
        subjects: { resource: event.resource, grant: event.grant },
        public: { login: event.login },
      };
    case 'target.login_dropped':
      return {
        kind: 'login.dropped',
        actor: 'system',
        subjects: { resource: event.resource },
        public: { login: event.login, because: event.because },
      };
    default:
      return event satisfies never;
  }
}

function subjectsOf(on: On): Readonly<Record<string, string>> {
  return { session: on.session, grant: on.grant, principal: on.principal, role: on.role, resource: on.resource };
}

/** The number within the session ties a statement's end to its beginning. */
function statementSubjects(event: { readonly on: On; readonly statement: number }): Readonly<Record<string, string>> {
  return { ...subjectsOf(event.on), statement: String(event.statement) };
}

function textOf(event: {
  readonly text: Json;
  readonly parameters?: readonly Json[];
  readonly prepared?: readonly { readonly name: string; readonly text: Json }[];
}): { readonly [name: string]: Json } {
  return {
    text: event.text,
    ...(event.parameters === undefined ? {} : { parameters: [...event.parameters] }),
    ...(event.prepared === undefined ? {} : { prepared: event.prepared.map(({ name, text }) => ({ name, text })) }),
  };
}

/** Ends sessions in the store, all at once: who cuts ten thousand ends them in the record in a few batches. */
import { sql } from 'kysely';
import type { EntryId, SessionId } from '#core/ids.ts';
import { formatInstant, type Instant } from '#core/instant.ts';
import type { Transaction } from '#store/database.ts';
import { notifyAll } from './changes.ts';

export type SessionEnd = {
  readonly session: SessionId;
  readonly at: Instant;
  readonly how: string;
  readonly word: string | undefined;
  /** Undefined: nobody counted. */
  readonly statements: number | undefined;
  readonly entry: EntryId;
};

/** Those that have ended already stay as they are. No session twice. */
export async function endSessions(trx: Transaction, ends: readonly SessionEnd[]): Promise<void> {
  if (ends.length === 0) return;
  const column = <T>(of: (end: SessionEnd) => T): readonly T[] => ends.map(of);
  await sql`
    update session
    set ended_at = given.at, how = given.how, word = given.word, entry = given.entry,
      statements = coalesce(given.statements, session.statements)
    from unnest(
      ${column(({ session }) => session)}::text[], ${column(({ at }) => formatInstant(at))}::timestamptz[],
      ${column(({ how }) => how)}::text[], ${column(({ word }) => word ?? null)}::text[],
      ${column(({ statements }) => statements ?? null)}::int[], ${column(({ entry }) => entry)}::text[]
    ) as given (session, at, how, word, statements, entry)
    where session.id = given.session and session.ended_at is null`.execute(trx);
  await notifyAll(
    trx,
    ends.map(({ session, word = '' }) => ({ kind: 'session_ended', session, word })),
  );
}

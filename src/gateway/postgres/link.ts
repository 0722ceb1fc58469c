/** What the two directions of one proxied session share. */
import type { AuthorizedSession } from '#core/session.ts';
import type { TransactionStatus } from '#wire/postgres/backend.ts';
import type { EndReason } from '../control-plane.ts';
import type { Random } from '#core/ids.ts';
import type { Clock } from '#core/instant.ts';
import type { Holds } from '../holds.ts';
import type { Journal } from '../journal.ts';
import type { Endpoint } from './endpoint.ts';
import type { Exchange, Portal, Prepared } from './exchange.ts';
import type { Book, Judge, Verdict } from './judge.ts';
import type { AskedNames } from './judge-worker.ts';
import type { Ledger } from './ledger.ts';
import type { SideConnection } from './side-connection.ts';

export type Limits = {
  /** A statement (Query, Parse) is held whole until it is judged; longer ones are refused. */
  readonly maxStatementBytes: number;
  /** A Bind message up to this is held whole; of a longer one the beginning is recorded, and the hash of all of it. */
  readonly maxWholeBindBytes: number;
  /** How long a statement waits for its cures; in an open transaction, where it keeps others from its rows, less long. */
  readonly maxHoldMs: number;
  readonly maxHoldInTransactionMs: number;
  /** How long a statement that has run waits to be kept, with its locks. */
  readonly maxPreviewMs: number;
};

export const defaultLimits: Limits = {
  maxStatementBytes: 16 << 20,
  maxWholeBindBytes: 262_144,
  maxHoldMs: 300_000,
  maxHoldInTransactionMs: 60_000,
  maxPreviewMs: 60_000,
};

export type Link = {
  readonly session: AuthorizedSession;
  readonly journal: Journal;
  readonly judge: Judge;
  readonly holds: Holds;
  readonly clock: Clock;
  readonly random: Random;
  /** The session runs as this; anything else ends it. */
  readonly databaseRole: string;
  readonly exchange: Exchange;
  readonly statements: Ledger<Prepared>;
  readonly portals: Ledger<Portal>;
  readonly client: Endpoint;
  readonly target: Endpoint;
  readonly limits: Limits;
  /** Wait for the disk before anything is forwarded. */
  readonly strict: boolean;
  readonly names: NamesState;
  status: TransactionStatus;
  /** The target's last words, when it has ended the session and said why. */
  farewell: string | undefined;
  /** No message is forwarded any more. Checked for each. */
  isMarked: boolean;
  /** The target waits for COPY data. */
  isCopyIn: boolean;
  /** After an error in the extended protocol: everything up to the next Sync is skipped, as the server does. */
  isSkipping: boolean;
  /** Grows with each Sync and Query that is forwarded. */
  segment: number;
  /**
   * The session has changed definitions in a transaction that may be open. `asked`: what the session itself sees of them is
   * being asked for, or can't be had.
   */
  ownDefinitions: 'unchanged' | 'changed' | 'asked';
  /** Some definition may have changed: the catalogue is loaded anew before the next statement is judged. */
  isCatalogueStale: boolean;
  bytesIn: number;
  bytesOut: number;
  /** The process of this session on the target. */
  readonly backend: number;
  /** For questions of ours about a statement. */
  readonly side?: SideConnection | undefined;
  /** A message of ours to the client, as soon as none of the target's is half sent. */
  readonly say: (bytes: Buffer) => void;
  /** A fault of ours that ends nothing. */
  readonly fault: (what: string, error: unknown) => void;
  /** The client has said good-bye; what it sent before is still done. */
  readonly leave: () => void;
  /** A fault of ours: ends this session, and no other. */
  readonly failed: (error: unknown) => void;
  readonly end: (reason: EndReason, message?: string) => void;
};

/** How names resolve in this session, as far as we know. */
export type NamesState = {
  asked: AskedNames;
  /** A statement of the open transaction may have changed it; its end would take that back. */
  changedInTransaction: boolean;
  /** How often in a row the server could not say. */
  failures: number;
  book: Book | undefined;
  /** Beside the book: what is this session's alone. */
  own: Map<string, Verdict>;
  generation: number;
};

export const unknownNames: AskedNames = { kind: 'unknown' };
const unknownDefinitions: AskedNames = { kind: 'unknown', definitionsChanged: true };

/** The book for the names as they are now; another one after anything has changed that verdicts depend on. */
export function currentBook(link: Link): Book {
  const { names, judge } = link;
  const generation = judge.generation();
  // INVARIANT 7: what the session sees of definitions is what it was told when it asked. Others may have defined more.
  if (names.generation !== generation && hasOwnDefinitions(names.asked)) namesAreUnknown(link);
  if (names.book === undefined || names.generation !== generation) {
    names.book = hasOwnDefinitions(names.asked)
      ? { verdicts: new Map(), forms: new Map(), names: names.asked }
      : judge.book(link.session, names.asked);
    if (names.own.size > 0) names.own = new Map();
    names.generation = generation;
  }
  return names.book;
}

/** What the session has prepared, by name, as far as the target has confirmed it. */
export const settledStatements = (link: Link) => (): readonly (readonly [string, string])[] =>
  [...link.statements.settled()].map(([name, value]) => [name, value.text] as const);

export const hasOwnDefinitions = (asked: AskedNames): boolean =>
  asked.kind === 'known' && asked.definitions !== undefined;

/** Nothing that was known of names holds; while the session has definitions of its own, nothing of the target's either. */
export function namesAreUnknown(link: Link): void {
  if (link.ownDefinitions === 'asked') link.ownDefinitions = 'changed';
  namesBecome(link, link.ownDefinitions === 'unchanged' ? unknownNames : unknownDefinitions);
}

export function namesBecome(link: Link, asked: AskedNames): void {
  link.names.asked = asked;
  link.names.book = undefined;
}

/** Before a statement's bytes are forwarded: what it does to names counts from now on. */
export function noteForwarded(
  link: Link,
  verdict: { readonly changesNames: boolean; readonly endsTransaction: boolean; readonly changesCatalogue: boolean },
): void {
  const { names } = link;
  if (verdict.changesCatalogue) link.ownDefinitions = 'changed';
  if (verdict.changesNames) names.changedInTransaction = true;
  const mayGoBack = verdict.endsTransaction && (names.changedInTransaction || link.ownDefinitions !== 'unchanged');
  if (verdict.changesCatalogue || verdict.changesNames || mayGoBack) namesAreUnknown(link);
}

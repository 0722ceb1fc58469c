/**
 * Statements as the entries of a session tell them. The API shows an ended statement by its end, with its text and
 * parameters, and one that has no end yet by its beginning; both name the statement's number. Entries are data from the
 * log, which outlives any version of this page: what is missing is shown as missing, and nothing here throws.
 */
import type { LogEntryView } from '#contract/views.ts';

export type Result = {
  readonly outcome: string;
  readonly tone: 'good' | 'bad' | 'neutral';
  readonly rows: number | undefined;
  readonly durationMs: number | undefined;
  readonly message: string | undefined;
  readonly transaction: { readonly number: string; readonly state: string } | undefined;
  /** A later `rollback to savepoint` has taken it back, whatever became of its transaction. */
  readonly isTakenBack: boolean;
};

export type Statement = {
  readonly key: string;
  readonly at: string;
  /** Undefined when it was erased, or is on the page before. */
  readonly text: string | undefined;
  /** The text is only its beginning; the log has size and hash of the whole. */
  readonly isCut: boolean;
  readonly parameters: readonly string[];
  /** What `execute` ran: the texts that were prepared under the names. */
  readonly prepared: readonly string[];
  readonly results: readonly Result[];
};

type Bag = Readonly<Record<string, unknown>>;
type Entry = Pick<LogEntryView, 'id' | 'at' | 'kind' | 'subject' | 'facts' | 'content' | 'transaction'>;

const told = new Set(['statement.begun', 'statement.ended', 'statement.denied']);

/** The statements that these entries are about, in the order in which they first appear. Other entries are left out. */
export function readStatements(entries: readonly Entry[]): readonly Statement[] {
  const byNumber = new Map<string, Statement>();
  const takenBack = takenBackBy(entries);
  for (const entry of entries) {
    if (!told.has(entry.kind)) continue;
    const bag: Bag = { ...entry.facts, ...entry.content };
    const key = entry.subject['statement'] ?? entry.id;
    const before = byNumber.get(key);
    const said = begun(bag);
    byNumber.set(key, {
      key,
      at: before?.at ?? entry.at,
      ...(said.text === undefined && before !== undefined ? before : said),
      results: [
        ...(before?.results ?? []),
        ...(entry.kind === 'statement.begun' ? [] : [result(entry, bag, takenBack(entry))]),
      ],
    });
  }
  return [...byNumber.values()];
}

/** Which commands the `rollback to savepoint` of these entries take back. */
function takenBackBy(entries: readonly Entry[]): (entry: Entry) => boolean {
  const rollbacks = entries.flatMap((entry) => {
    const undoes = entry.facts['undoes'];
    return isBag(undoes) ? [{ of: entry.transaction?.number, from: placeIn(undoes), to: placeOf(entry) }] : [];
  });
  return (entry) => {
    const at = placeOf(entry);
    return rollbacks.some(
      ({ of, from, to }) => of === entry.transaction?.number && isAfter(at, from) && isAfter(to, at),
    );
  };
}

type Place = readonly [statement: number, command: number];
const placeIn = (bag: Bag): Place => [Number(bag['statement']), Number(bag['command'])];
const placeOf = ({ subject, facts }: Entry): Place =>
  placeIn({ statement: subject['statement'], command: facts['command'] });
const isAfter = (a: Place, b: Place): boolean => a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);

function begun(bag: Bag): Pick<Statement, 'text' | 'isCut' | 'parameters' | 'prepared'> {
  const recorded = bag['text'];
  const parameters = Array.isArray(bag['parameters']) ? bag['parameters'] : [];
  const prepared: readonly unknown[] = Array.isArray(bag['prepared']) ? bag['prepared'] : [];
  return {
    text: recordedText(recorded),
    isCut: isBag(recorded) && recorded['bytes'] !== undefined,
    parameters: parameters.map(parameterText),
    prepared: prepared.flatMap((one) => recordedText(isBag(one) ? one['text'] : undefined) ?? []),
  };
}

function result({ transaction }: Entry, bag: Bag, isTakenBack: boolean): Result {
  const outcome = text(bag['outcome']) ?? 'unknown';
  return {
    outcome,
    tone: toneOf(outcome),
    rows: number(bag['rows']),
    durationMs: number(bag['durationMs']),
    transaction: transaction ?? undefined,
    isTakenBack,
    message: [text(bag['sqlState']), text(bag['error'])].filter(Boolean).join(': ') || undefined,
  };
}

function toneOf(outcome: string): Result['tone'] {
  if (outcome === 'completed' || outcome === 'suspended') return 'good';
  return outcome === 'denied' || outcome === 'failed' ? 'bad' : 'neutral';
}

function parameterText(value: unknown): string {
  if (value === null) return 'null';
  if (isBag(value)) return text(value['text']) ?? `\\x${text(value['hex']) ?? '?'}`;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const isBag = (value: unknown): value is Bag => typeof value === 'object' && value !== null && !Array.isArray(value);
const recordedText = (value: unknown): string | undefined => (isBag(value) ? text(value['text']) : text(value));
const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

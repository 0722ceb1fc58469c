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
};

export type Statement = {
  readonly key: string;
  readonly at: string;
  /** Undefined when it was erased, or is on the page before. */
  readonly text: string | undefined;
  /** The text is only its beginning; the log has size and hash of the whole. */
  readonly isCut: boolean;
  readonly parameters: readonly string[];
  readonly results: readonly Result[];
};

type Bag = Readonly<Record<string, unknown>>;
type Entry = Pick<LogEntryView, 'id' | 'at' | 'kind' | 'subject' | 'facts' | 'content'>;

const told = new Set(['statement.begun', 'statement.ended', 'statement.denied']);

/** The statements that these entries are about, in the order in which they first appear. Other entries are left out. */
export function readStatements(entries: readonly Entry[]): readonly Statement[] {
  const byNumber = new Map<string, Statement>();
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
      results: [...(before?.results ?? []), ...(entry.kind === 'statement.begun' ? [] : [result(bag)])],
    });
  }
  return [...byNumber.values()];
}

function begun(bag: Bag): Pick<Statement, 'text' | 'isCut' | 'parameters'> {
  const recorded = bag['text'];
  const parameters = Array.isArray(bag['parameters']) ? bag['parameters'] : [];
  return {
    text: isBag(recorded) ? text(recorded['text']) : text(recorded),
    isCut: isBag(recorded) && recorded['bytes'] !== undefined,
    parameters: parameters.map(parameterText),
  };
}

function result(bag: Bag): Result {
  const outcome = text(bag['outcome']) ?? 'unknown';
  return {
    outcome,
    tone: toneOf(outcome),
    rows: number(bag['rows']),
    durationMs: number(bag['durationMs']),
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
const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

/**
 * Statements as the entries of a session tell them: one entry says what was about to run, one for each of its commands
 * says how it went. Entries are data from the log, which outlives any version of this page: what is missing is shown as
 * missing, and nothing here throws.
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
type Entry = Pick<LogEntryView, 'id' | 'at' | 'kind' | 'facts' | 'content'>;

/** The statements that these entries are about, in the order in which they first appear. Other entries are left out. */
export function readStatements(entries: readonly Entry[]): readonly Statement[] {
  const byNumber = new Map<string, Statement>();
  for (const entry of entries) {
    if (!/^statement(?:\.|$)/.test(entry.kind)) continue;
    const bag: Bag = { ...entry.facts, ...entry.content };
    const key = String(number(bag['statement']) ?? entry.id);
    const before = byNumber.get(key) ?? { key, at: entry.at, ...begun({}), results: [] };
    if (entry.kind === 'statement.begun') byNumber.set(key, { ...before, at: entry.at, ...begun(bag) });
    else if (entry.kind === 'statement.denied')
      byNumber.set(key, { ...before, at: entry.at, ...begun(bag), results: [result(bag, 'denied')] });
    else if (entry.kind === 'statement.cancelled')
      byNumber.set(key, { ...before, results: [...before.results, result(bag, 'cancelled')] });
    else byNumber.set(key, { ...before, results: [...before.results, result(bag, 'unknown')] });
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

function result(bag: Bag, otherwise: string): Result {
  const inner = isBag(bag['outcome']) ? bag['outcome'] : bag;
  const outcome = text(isBag(bag['outcome']) ? bag['outcome']['kind'] : bag['outcome']) ?? otherwise;
  const sqlState = text(inner['sqlState']) ?? text(bag['sqlState']);
  const message = text(inner['message']) ?? text(bag['message']);
  return {
    outcome,
    tone: toneOf(outcome),
    rows: number(inner['rows']) ?? number(bag['rows']),
    durationMs: number(bag['durationMs']),
    message: [sqlState, message].filter(Boolean).join(': ') || undefined,
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

/**
 * A statement as its log entry tells it. Entries are data from the log, which outlives any version of this page: what is
 * missing is shown as missing, and nothing here throws.
 */
import type { LogEntryView } from '#contract/views.ts';

export type Statement = {
  readonly text: string | undefined;
  /** The text is only its beginning; the log has size and hash of the whole. */
  readonly isCut: boolean;
  readonly parameters: readonly string[];
  readonly rows: number | undefined;
  readonly durationMs: number | undefined;
  readonly outcome: string;
  readonly tone: 'good' | 'bad' | 'neutral';
  readonly message: string | undefined;
};

type Bag = Readonly<Record<string, unknown>>;

export function readStatement(entry: Pick<LogEntryView, 'facts' | 'content'>): Statement {
  const bag: Bag = { ...entry.content, ...entry.facts };
  const outcomeBag = isBag(bag['outcome']) ? bag['outcome'] : bag;
  const outcome = text(isBag(bag['outcome']) ? bag['outcome']['kind'] : bag['outcome']) ?? 'unknown';
  const recorded = bag['text'] ?? bag['statement'];
  const parameters = Array.isArray(bag['parameters']) ? bag['parameters'] : [];
  const sqlState = text(outcomeBag['sqlState']) ?? text(bag['sqlState']);
  const message = text(outcomeBag['message']) ?? text(bag['message']);
  return {
    text: isBag(recorded) ? text(recorded['text']) : text(recorded),
    isCut: isBag(recorded) && recorded['bytes'] !== undefined,
    parameters: parameters.map(parameterText),
    rows: number(outcomeBag['rows']) ?? number(bag['rows']),
    durationMs: number(bag['durationMs']),
    outcome,
    tone: toneOf(outcome),
    message: [sqlState, message].filter(Boolean).join(': ') || undefined,
  };
}

function toneOf(outcome: string): Statement['tone'] {
  if (outcome === 'completed' || outcome === 'executed' || outcome === 'suspended') return 'good';
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

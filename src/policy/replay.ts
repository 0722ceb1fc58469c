/**
 * Recorded questions, asked again: of a policy set that is to be, to see what it would have decided otherwise, or of the one
 * in force, to explain what it did. A question is recorded with who asked as they were then (their groups above all) and when;
 * the same policies give the same answer.
 */
import type { Cure, Decision } from '#core/decision.ts';
import { parseRoleName } from '#core/ids.ts';
import { parseInstant, seconds, type Instant } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import type { Principal } from '#core/principal.ts';
import { describeNeed, type Need } from '#sql/needs.ts';
import { describeCures } from './cures.ts';
import type { Question, StatementQuestion } from './question.ts';

export type RecordedQuestion = {
  /** The entry that it is from. */
  readonly entry: string;
  readonly at: Instant;
  readonly question: Question;
  /** What was answered then. */
  readonly was: { readonly kind: Decision['kind']; readonly policies: readonly string[]; readonly version: string };
};

/** The part of a question that is personal, for its entry's content. */
export function recordQuestion(asked: Partial<Omit<Question, 'action'>>): Json {
  // Numbers, texts, lists and records alone; what is undefined is left out.
  return JSON.parse(JSON.stringify(asked)) as Json;
}

/** As the API gives entries. */
export type EntryOfQuestion = {
  readonly id: string;
  readonly at: string;
  readonly kind: string;
  readonly actor: unknown;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly content: Readonly<Record<string, unknown>> | null;
};

/** Undefined: it is no question, its content's key is gone, or it was written before questions were recorded. */
export function questionOf(entry: EntryOfQuestion): RecordedQuestion | undefined {
  const at = parseInstant(entry.at);
  const { content, facts } = entry;
  const asked = content?.['question'];
  if (at === undefined || typeof asked !== 'object' || asked === null) return undefined;
  const policies = Array.isArray(facts['policies']) ? facts['policies'].filter((id) => typeof id === 'string') : [];
  const version = typeof facts['policyVersion'] === 'string' ? facts['policyVersion'] : '';
  const known = (['allow', 'deny', 'curable'] as const).find((kind) => kind === facts['decision']);
  const was = { kind: known ?? 'allow', policies, version };
  if (entry.kind === 'statement.judged') {
    const question = { ...asked, action: 'statement' } as Partial<StatementQuestion>;
    // Written by this program and kept under seal; a newer one may know more, and an older one may have known less.
    if (!isPrincipal(question.principal) || parseRoleName(question.role) === undefined) return undefined;
    if (!Array.isArray(question.needs) || question.context === undefined || question.now === undefined)
      return undefined;
    return { entry: entry.id, at, question: question as StatementQuestion, was };
  }
  if (entry.kind !== 'request.filed') return undefined;
  const { principal } = asked as { readonly principal?: unknown };
  const role = parseRoleName(facts['role']);
  if (!isPrincipal(principal) || role === undefined || typeof facts['seconds'] !== 'number') return undefined;
  const question: Question = {
    ...(asked as { readonly now: Instant }),
    now: at,
    action: 'request_role',
    principal,
    role,
    duration: seconds(facts['seconds']),
  };
  return { entry: entry.id, at, question, was };
}

function isPrincipal(value: unknown): value is Principal {
  if (typeof value !== 'object' || value === null) return false;
  const { id, groups, kind, state } = value as Partial<Principal>;
  return typeof id === 'string' && Array.isArray(groups) && typeof kind === 'string' && typeof state === 'string';
}

/** What would be decided otherwise, and how often it was asked; alike questions are one line. */
export type ReplayedChange = {
  readonly was: Decision['kind'];
  readonly now: Decision['kind'];
  readonly handle: string;
  readonly role: string;
  /** `request for 1h`, or the needs of the statement. */
  readonly what: readonly string[];
  /** The policies that would determine the answer, and why where it isn't allowed. */
  readonly policies: readonly string[];
  readonly because?: string;
  readonly count: number;
  /** Some of the entries. */
  readonly entries: readonly string[];
};

export type Replay = {
  readonly ask: (recorded: RecordedQuestion) => void;
  /** Changes, those that were asked most often first. */
  readonly result: () => {
    readonly asked: number;
    readonly changed: number;
    /** `allow → deny` and so on, with how many. */
    readonly counts: Readonly<Record<string, number>>;
    readonly changes: readonly ReplayedChange[];
    /** Changes of further kinds that are counted and not listed. */
    readonly unlisted: number;
  };
};

/** What is kept is bounded, however long the record is. */
const mostChanges = 500;
const mostEntries = 3;

export function createReplay(decide: (question: Question) => Decision): Replay {
  let asked = 0;
  let changed = 0;
  let unlisted = 0;
  const counts: Record<string, number> = {};
  const changes = new Map<string, ReplayedChange>();
  return {
    ask: ({ entry, question, was }) => {
      asked += 1;
      const answer = decide(question);
      if (answer.kind === was.kind) return;
      changed += 1;
      const arrow = `${was.kind} → ${answer.kind}`;
      counts[arrow] = (counts[arrow] ?? 0) + 1;
      const what = wordsOf(question);
      const { handle } = question.principal;
      const role = 'role' in question ? question.role : '';
      const key = JSON.stringify([arrow, handle, role, what]);
      const before = changes.get(key);
      if (before === undefined && changes.size >= mostChanges) unlisted += 1;
      else
        changes.set(key, {
          was: was.kind,
          now: answer.kind,
          handle,
          role,
          what,
          policies: answer.policies,
          ...(answer.kind === 'allow' ? {} : { because: whyNot(answer) }),
          count: (before?.count ?? 0) + 1,
          entries: [...(before?.entries ?? []), entry].slice(0, mostEntries),
        });
    },
    result: () => ({
      asked,
      changed,
      counts,
      changes: [...changes.values()].toSorted((a, b) => b.count - a.count),
      unlisted,
    }),
  };
}

/** What was asked, a line for each part. */
export function wordsOf(question: Question): readonly string[] {
  if (question.action === 'statement') return question.needs.map((need: Need) => describeNeed(need));
  return [question.action.replaceAll('_', ' ')];
}

export function whyNot(answer: Decision): string {
  if (answer.kind === 'allow') return '';
  return answer.kind === 'curable' ? `needs ${describeCures(answer.cures as readonly Cure[])}` : answer.because;
}

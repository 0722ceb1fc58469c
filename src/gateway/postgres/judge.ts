/**
 * From a text to a verdict. The hot path is one look into a `Book`: the verdicts by exact text for one catalogue, one way to
 * resolve names, one policy version and one grant. When any of these changes a session gets another book, so a verdict
 * can't outlive what it was made from. A miss goes to the parsing thread and, for what the statement needs, to the
 * control plane; meanwhile that one connection is held.
 *
 * INVARIANT 1: whatever goes wrong on the way, a fault of the worker, the catalogue or the control plane, is a denial.
 */
import type { VariesWith } from '#core/decision.ts';
import type { CoverId, GrantId, HoldId, PrincipalId, ResourceName, RoleName } from '#core/ids.ts';
import { isReadOnly } from '#core/role.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { literalFree } from '#sql/literal-free.ts';
import {
  describeNeed,
  type Analysis,
  type Missing,
  type Need,
  type StatementAnalysis,
  type TransactionControl,
} from '#sql/needs.ts';
import type { TypeShape } from '#sql/type-by-oid.ts';
import type { DecideAsk, StatementDecision } from '../control-plane.ts';
import type { Hub } from '../engine.ts';
import { whyNotTakenBack } from './guarded-run.ts';
import type { AskedNames } from './judge-worker.ts';

export type Effect =
  | { readonly kind: 'prepares'; readonly name: string; readonly text: string; readonly command: number }
  | { readonly kind: 'deallocates'; readonly name: string | undefined; readonly command: number };

export type Allowed = {
  readonly kind: 'allow';
  readonly policyVersion: string;
  readonly policies: readonly string[];
  /** `copy … from stdin`: the client will be asked for data. */
  readonly takesCopyData: boolean;
  readonly changesNames: boolean;
  readonly endsTransaction: boolean;
  readonly changesCatalogue: boolean;
  readonly effects: readonly Effect[];
  /** What its `execute` runs. Such a verdict holds once: the name may stand for another text the next time. */
  readonly executes: readonly { readonly name: string; readonly text: string }[];
  readonly declares: readonly { readonly name: string; readonly text: string }[];
  /** The cursors that its `fetch` and `move` run. */
  readonly fetches: readonly string[];
  /** Of the protocol's function call: what it amounts to. */
  readonly call: Called | undefined;
  /** Of the question for a type. */
  readonly shape?: TypeShape | undefined;
  /** By command, what it does to the transaction; empty when none does anything. */
  readonly transaction: readonly (TransactionControl | undefined)[];
  /** It holds for one run: it hangs on the moment, or on what a name stands for now. */
  readonly isForOnce: boolean;
  /** What let this one run through, where it was more than the role. */
  readonly pass?: Pass;
};

export type Pass = {
  readonly digest: string;
  readonly hold?: HoldId;
  readonly cover?: CoverId;
  /** It is taken back when it touches more. */
  readonly rowsAtMost?: number;
  /** What was signed for after a preview: any other number is taken back. */
  readonly rowsExactly?: number;
};

/**
 * Not to be run as it is: each run of it is asked for with its digest, and the planner's estimate where that is wanted. What
 * comes of that is a verdict for this one run, or that it is held until its cures are there.
 */
export type Curable = {
  readonly kind: 'curable';
  readonly policyVersion: string;
  readonly policies: readonly string[];
  /** What it is once it is let through. */
  readonly allowed: Allowed;
  /** Of the statements of the string that this is about, as one question. */
  readonly needs: readonly Need[];
  readonly context: DecideAsk['context'];
  /** As in `your passkey and an approval by dba`. */
  readonly title: string;
  readonly wantsEstimate: boolean;
  /** To plan it may run somebody's function, which Bind does already. */
  readonly mayRunWhenBound: boolean;
  /** All it does is to give a name to a statement, which is asked for when it runs. */
  readonly onlyPrepares: boolean;
  /** It is to run first, and somebody looks at what it did. */
  readonly wantsPreview: boolean;
  /** Completes "it can not be taken back: …"; undefined where it can. */
  readonly staysBecause: string | undefined;
  readonly call: Called | undefined;
};

export type Called = { readonly text: string; readonly parameterTypes: readonly number[] };

export type Denied = {
  readonly call?: Called | undefined;
  readonly kind: 'deny';
  readonly policyVersion: string;
  readonly policies: readonly string[];
  readonly sqlState: string;
  readonly message: string;
  readonly hint?: string;
  readonly position?: number;
  /** It would be the same for the same text, names, catalogue and policy. */
  readonly isFinal: boolean;
  /** The transaction may have failed before, and then that is what there is to say. */
  readonly inAborted?: boolean;
  /** By policy, so that a request can refer to it; with the roles that would give it, the narrowest first. */
  readonly roles?: readonly RoleName[];
  /** The hold that it waited for in vain. */
  readonly hold?: HoldId;
  readonly digest?: string;
};

export type Verdict = Allowed | Denied | Curable;
export type Book = {
  /** By exact text. */
  readonly verdicts: Map<string, Verdict>;
  /** By the text without its literals, where these can't change the verdict. */
  readonly forms: Map<string, Allowed>;
  readonly names: AskedNames;
};

/** What the book says of a text, or of all texts that differ from it in literals only. */
export function lookUp(book: Book, text: string): Verdict | undefined {
  const known = book.verdicts.get(text);
  if (known !== undefined || book.forms.size === 0) return known;
  const form = literalFree(text);
  return form === undefined ? undefined : book.forms.get(form);
}

export type JudgeAsk = {
  readonly session: AuthorizedSession;
  readonly names: AskedNames;
  readonly text: string;
  /** Where the verdict goes, when nobody else may use it. */
  readonly book?: Book | undefined;
  /** Where it goes when it is this session's alone. */
  readonly own?: Map<string, Verdict>;
  /** The session's prepared statements, for `execute name`. */
  readonly prepared: () => readonly (readonly [string, string])[];
};

export type Judge = {
  /** Grows whenever books may have become void; a session then asks for its book again. */
  readonly generation: () => number;
  /** Grows whenever the control plane may decide otherwise than before. */
  readonly decidedAnew: () => number;
  readonly book: (session: AuthorizedSession, names: AskedNames) => Book;
  /** Never throws. Puts the verdict into the book, unless it hangs on more than the text. */
  readonly judge: (ask: JudgeAsk) => Promise<Verdict>;
  /** Asks for one run of what is curable. Never throws, and what it answers is in no book. */
  readonly judgeRun: (ask: RunAsk) => Promise<Verdict>;
  readonly policyChanged: (version: string) => void;
  /** What was decided may be decided otherwise now, by the same policies. */
  readonly forgetDecisions: () => void;
  /** The same for what concerns that person. It may be kept although no session of theirs is open: it is by grant. */
  readonly forgetDecisionsFor: (principal: PrincipalId) => void;
  readonly catalogueChanged: () => void;
  /** Loads the target's catalogue anew before anything else is judged by it. Never throws. */
  readonly reloadCatalogue: (resource: ResourceName) => Promise<void>;
  readonly forgetGrant: (grant: GrantId) => void;
};

export type RunAsk = {
  readonly session: AuthorizedSession;
  readonly curable: Curable;
  readonly digest: string;
  readonly hold?: HoldId | undefined;
  readonly estimatedRows?: number | undefined;
};

const maxBookTexts = 2000;
/** Longer texts are judged each time: they are rarely sent twice, and would fill the memory. */
const maxCachedText = 16_384;

export function createJudge(context: {
  readonly hub: Pick<Hub, 'analyse' | 'decide' | 'reloadCatalogue'>;
  readonly onFault: (what: string, error: unknown) => void;
}): Judge {
  const { hub } = context;
  let generation = 1;
  let decidedAnew = 1;
  let policyVersion: string | undefined;
  const books = new Map<GrantId, Map<string, Book>>();
  const decisions = new Map<GrantId, Map<string, Promise<StatementDecision>>>();
  const analyses = new Map<string, Map<string, Promise<Analysis>>>();
  /** For whom something was decided that may still be kept. */
  const decidedFor = new Set<PrincipalId>();

  const nextGeneration = () => {
    generation += 1;
    books.clear();
    analyses.clear();
  };

  const forgetDecisions = () => {
    decidedAnew += 1;
    decisions.clear();
    decidedFor.clear();
    nextGeneration();
  };

  const bookOf = (session: AuthorizedSession, names: AskedNames): Book => {
    const ofGrant = getOrMake(books, session.grant, () => new Map<string, Book>());
    // A role that was declared anew is another for those who come after.
    const key = `${isReadOnly(session.role) ? 'read-only ' : ''}${namesKey(names)}`;
    return getOrMake(ofGrant, key, () => ({ verdicts: new Map(), forms: new Map(), names }));
  };

  // By the catalogue as it is: when that changes the generation does, and nothing of this is kept.
  const analyse = async (ask: JudgeAsk): Promise<Analysis> => {
    const { text, names } = ask;
    const { resource } = ask.session.role;
    const run = () => hub.analyse({ resource, text, names, prepared: dependsOnPrepared(text) ? ask.prepared() : [] });
    if (!isCacheable(text) || hasOwnDefinitions(names)) return run();
    const cache = getOrMake(analyses, `${resource} ${namesKey(names)}`, () => new Map<string, Promise<Analysis>>());
    const analysis = await remember(cache, text, run);
    // What names something unknown is asked again: it may be made meanwhile.
    if (namesUnknown(analysis)) cache.delete(text);
    return analysis;
  };

  const decide = async (
    session: AuthorizedSession,
    statement: StatementAnalysis,
    statementCount: number,
  ): Promise<StatementDecision> => {
    const ask: DecideAsk = {
      session: session.id,
      isRehearsal: true,
      needs: statement.needs,
      context: {
        statementClass: statement.class,
        tag: statement.tag,
        hasWhere: statement.hasWhere,
        statementCount,
        functions: statement.functions,
      },
    };
    decidedFor.add(session.principal.id);
    const cache = getOrMake(decisions, session.grant, () => new Map<string, Promise<StatementDecision>>());
    const key = JSON.stringify([ask.needs, ask.context]);
    // An answer is used again as far as it says of itself: by the grant's other sessions, by this one, or not at all.
    const askFor = (mine: string, isFor: VariesWith) =>
      remember(cache, mine, async () => {
        const decision = await hub.decide(ask);
        const varies = decision.variesWith ?? 'nothing';
        // Not about the statement but about this one session, which has ended: the others of the grant ask for themselves.
        if (isPlain(decision) || varies === 'moment' || (varies === 'session' && isFor === 'nothing'))
          cache.delete(mine);
        if (varies === 'session' && !isPlain(decision)) {
          if (cache.size >= maxBookTexts) dropOldest(cache);
          cache.set(`${session.id} ${key}`, Promise.resolve(decision));
        }
        return decision;
      });
    const mine = `${session.id} ${key}`;
    if (cache.has(mine)) return askFor(mine, 'session');
    const isShared = cache.has(key);
    const decision = await askFor(key, 'nothing');
    // Somebody else had asked, and what they were told is for them.
    return isShared && (decision.variesWith ?? 'nothing') !== 'nothing' ? askFor(mine, 'session') : decision;
  };

  const judgeNow = async (ask: JudgeAsk): Promise<Judged> => {
    const analysis = await analyse(ask);
    const version = policyVersion ?? ask.session.policyVersion;
    const plainly = (verdict: Verdict): Judged => ({ verdict, variesWith: 'nothing' });
    if (analysis.kind === 'unparsable')
      return plainly({
        kind: 'deny',
        policyVersion: version,
        policies: [],
        sqlState: '42601',
        message: analysis.message,
        isFinal: true,
        ...(analysis.position === undefined ? {} : { position: analysis.position }),
      });
    if (analysis.kind === 'type') return plainly({ ...allowed([], version, []), shape: analysis.shape });
    const policies = new Set<string>();
    const open: (readonly [StatementAnalysis, StatementDecision])[] = [];
    let variesWith: VariesWith = 'nothing';
    // The target's setting alone would hold nobody: a session may set it as it likes.
    const staysReadOnly = isReadOnly(ask.session.role);
    for (const statement of analysis.statements) {
      if (staysReadOnly && statement.mayLeaveReadOnly && statement.because === undefined)
        return plainly(leavesReadOnly(ask.session, version));
      if (statement.needs.length === 0) continue;
      const decision = await decide(ask.session, statement, analysis.statements.length);
      variesWith = widest(variesWith, decision.variesWith ?? 'nothing');
      const asksAgain = decision.kind === 'curable' || decision.wantsEstimate === true;
      // Nobody is sent for a cure of one statement when another of the string has none.
      if ((decision.kind === 'deny' && !asksAgain) || (decision.kind !== 'allow' && statement.missing !== undefined))
        return { verdict: { ...denial(ask.session, statement, decision), call: calledOf(statement) }, variesWith };
      if (asksAgain) open.push([statement, decision]);
      for (const policy of decision.policies) policies.add(policy);
    }
    const all = allowed(analysis.statements, version, [...policies], variesWith === 'moment');
    return { verdict: open.length === 0 ? all : curableOf(analysis.statements, open, all), variesWith };
  };

  return {
    generation: () => generation,
    decidedAnew: () => decidedAnew,
    book: bookOf,
    async judge(ask) {
      const before = generation;
      try {
        const { verdict, variesWith } = await judgeNow(ask);
        // What names something unknown is asked again: it may have been made meanwhile.
        const isFinal = verdict.kind !== 'deny' || verdict.isFinal;
        if (generation !== before || !isFinal || !isCacheable(ask.text) || variesWith === 'moment') return verdict;
        if (variesWith === 'session') {
          if (ask.own !== undefined && ask.own.size >= maxBookTexts) dropOldest(ask.own);
          ask.own?.set(ask.text, verdict);
        } else {
          const { verdicts, forms } = ask.book ?? bookOf(ask.session, ask.names);
          if (verdicts.size >= maxBookTexts) dropOldest(verdicts);
          verdicts.set(ask.text, verdict);
          // A refusal quotes the text.
          const form = verdict.kind === 'allow' && hasNoEffects(verdict) ? literalFree(ask.text) : undefined;
          if (form !== undefined && verdict.kind === 'allow') {
            if (forms.size >= maxBookTexts) dropOldest(forms);
            forms.set(form, verdict);
          }
        }
        return verdict;
      } catch (error) {
        context.onFault('statement could not be judged', error);
        return notJudged(policyVersion ?? ask.session.policyVersion);
      }
    },
    async judgeRun({ session, curable, digest, hold, estimatedRows }) {
      try {
        const decision = await hub.decide({
          session: session.id,
          needs: curable.needs,
          context: curable.context,
          digest,
          ...(hold === undefined ? {} : { hold }),
          ...(estimatedRows === undefined ? {} : { estimatedRows }),
        });
        if (decision.kind === 'deny')
          return { ...denialOf(session, curable.needs, '', decision), digest, ...(hold === undefined ? {} : { hold }) };
        const policies = [...new Set([...curable.allowed.policies, ...decision.policies])];
        if (decision.kind === 'curable')
          return {
            ...curable,
            policies,
            title: titleOf(decision),
            wantsPreview: wantsPreview(decision),
            wantsEstimate: decision.wantsEstimate === true,
          };
        // Nothing is allowed by an answer that wants to be asked again, and the estimate is not to be had.
        if (decision.wantsEstimate === true) return notEstimated(decision);
        const { policyVersion: decidedBy, cover, rowsAtMost, preview } = decision;
        // A hold that the control plane doesn't say it has used is none.
        if (hold !== undefined && decision.hold !== hold && cover === undefined) return notJudged(decidedBy);
        const pass: Pass = {
          digest,
          ...(decision.hold === undefined ? {} : { hold: decision.hold }),
          ...(cover === undefined ? {} : { cover }),
          ...(rowsAtMost === undefined ? {} : { rowsAtMost }),
          ...(preview === undefined ? {} : { rowsExactly: preview.rows }),
        };
        return { ...curable.allowed, policyVersion: decidedBy, policies: decision.policies, isForOnce: true, pass };
      } catch (error) {
        context.onFault('statement could not be judged', error);
        return notJudged(policyVersion ?? session.policyVersion);
      }
    },
    policyChanged(version) {
      policyVersion = version;
      forgetDecisions();
    },
    forgetDecisions,
    forgetDecisionsFor(principal) {
      if (decidedFor.has(principal)) forgetDecisions();
    },
    catalogueChanged: nextGeneration,
    async reloadCatalogue(resource) {
      try {
        await hub.reloadCatalogue(resource);
      } catch (error) {
        // The next statement that isn't known asks again, and is denied when that fails as well.
        context.onFault('catalogue could not be loaded', error);
        nextGeneration();
      }
    },
    forgetGrant(grant) {
      books.delete(grant);
      decisions.delete(grant);
    },
  };
}

/** Whether the text names something that the catalogue doesn't have. */
export const namesUnknown = (analysis: Analysis): boolean =>
  analysis.kind === 'statements' && analysis.statements.some((statement) => statement.missing !== undefined);

function allowed(
  statements: readonly StatementAnalysis[],
  policyVersion: string,
  policies: readonly string[],
  isForOnce = false,
): Allowed {
  const effects: Effect[] = [];
  for (const [command, { prepares, deallocates }] of statements.entries()) {
    if (prepares !== undefined) effects.push({ kind: 'prepares', ...prepares, command });
    if (deallocates === 'all') effects.push({ kind: 'deallocates', name: undefined, command });
    else if (deallocates !== undefined) effects.push({ kind: 'deallocates', name: deallocates.name, command });
  }
  return {
    kind: 'allow',
    policyVersion,
    policies,
    takesCopyData: statements.some((s) => s.copy === 'in'),
    changesNames: statements.some((s) => s.mayChangeNames),
    endsTransaction: statements.some((s) => s.endsTransaction),
    changesCatalogue: statements.some((s) => s.class === 'ddl'),
    effects,
    executes: statements.flatMap((s) => (s.executes === undefined ? [] : [s.executes])),
    declares: statements.flatMap((s) => (s.declares === undefined ? [] : [s.declares])),
    fetches: statements.flatMap((s) => (s.fetches === undefined ? [] : [s.fetches])),
    call: calledOf(statements[0]),
    transaction: statements.some((s) => s.transaction !== undefined) ? statements.map((s) => s.transaction) : [],
    isForOnce: isForOnce || statements.some((s) => s.executes !== undefined),
  };
}

type Judged = { readonly verdict: Verdict; readonly variesWith: VariesWith };

const widths: readonly VariesWith[] = ['nothing', 'session', 'moment'];
const widest = (a: VariesWith, b: VariesWith): VariesWith => (widths.indexOf(a) < widths.indexOf(b) ? b : a);

const classes: readonly StatementAnalysis['class'][] = ['transaction', 'session', 'read', 'write', 'ddl', 'dangerous'];

/** A string is held as one: what its statements need is one question, of the gravest class among them. */
function curableOf(
  all: readonly StatementAnalysis[],
  open: readonly (readonly [StatementAnalysis, StatementDecision])[],
  then: Allowed,
): Curable {
  const statements = open.map(([statement]) => statement);
  const has = statements.map(({ hasWhere }) => hasWhere);
  const needs = statements.flatMap((statement) => statement.needs);
  const [only] = all;
  return {
    kind: 'curable',
    policyVersion: then.policyVersion,
    policies: then.policies,
    allowed: then,
    needs,
    context: {
      statementClass: classes[Math.max(...statements.map((s) => classes.indexOf(s.class)))] ?? 'dangerous',
      tag: [...new Set(statements.map(({ tag }) => tag))].join(', '),
      hasWhere: has.includes(false) ? false : has.find((each) => each !== undefined),
      statementCount: all.length,
      functions: [...new Set(statements.flatMap((statement) => statement.functions))].toSorted(),
    },
    title: [...new Set(open.map(([, decision]) => titleOf(decision)))].filter((title) => title !== '').join(' and '),
    wantsEstimate: open.some(([, decision]) => decision.wantsEstimate === true),
    mayRunWhenBound: needs.some(({ action }) => action === 'call' || action === 'other'),
    onlyPrepares: all.length === 1 && only?.prepares !== undefined,
    wantsPreview: open.some(([, decision]) => wantsPreview(decision)),
    staysBecause: whyNotTakenBack(all),
    call: calledOf(only),
  };
}

const wantsPreview = (decision: StatementDecision): boolean =>
  decision.kind === 'curable' && decision.cures.some(({ kind }) => kind === 'preview');

const titleOf = (decision: StatementDecision): string =>
  decision.kind !== 'curable'
    ? ''
    : (decision.title ?? decision.cures.map((cure) => cure.kind.replaceAll('_', ' ')).join(' and '));

const notJudged = (policyVersion: string): Denied => ({
  kind: 'deny',
  policyVersion,
  policies: [],
  sqlState: '42501',
  message: 'sallyport: the statement could not be judged, so it was not run',
  hint: 'Try again in a moment.',
  isFinal: false,
});

const notEstimated = ({ policyVersion, policies }: StatementDecision): Denied => ({
  kind: 'deny',
  policyVersion,
  policies,
  sqlState: '42501',
  message: 'sallyport: policy asks how many rows the statement would touch, and the target could not say',
  isFinal: false,
  roles: [],
});

const calledOf = (statement: StatementAnalysis | undefined): Called | undefined =>
  statement?.argumentTypes === undefined
    ? undefined
    : { text: statement.text, parameterTypes: statement.argumentTypes };

const leavesReadOnly = ({ role }: AuthorizedSession, policyVersion: string): Denied => ({
  kind: 'deny',
  policyVersion,
  policies: [],
  sqlState: '42501',
  message: `sallyport: ${role.name} is read-only, and its transactions stay so`,
  isFinal: true,
});

/** Nothing that it does hangs on its text. */
const hasNoEffects = (verdict: Allowed): boolean =>
  verdict.effects.length + verdict.executes.length + verdict.declares.length + verdict.fetches.length === 0 &&
  !verdict.takesCopyData;

/** A denial in the control plane's own words: whoever asks has no access any more, whatever the statement. */
const isPlain = (decision: StatementDecision): boolean => decision.kind === 'deny' && decision.message !== undefined;

const missingCodes: Readonly<Record<Missing['kind'], string>> = {
  relation: '42P01',
  column: '42703',
  function: '42883',
  'prepared statement': '26000',
  constraint: '42704',
};

/** What was attempted, why it was refused, and what would help. */
function denial(
  session: AuthorizedSession,
  statement: StatementAnalysis,
  decision: Exclude<StatementDecision, { kind: 'allow' }>,
): Denied {
  const { policyVersion, policies } = decision;
  if (statement.missing !== undefined) {
    const { kind, name } = statement.missing;
    const message = `${kind} "${name}" does not exist`;
    return { kind: 'deny', policyVersion, policies, sqlState: missingCodes[kind], message, isFinal: false };
  }
  const why = statement.because === undefined ? '' : `, because ${statement.because}`;
  return denialOf(session, statement.needs, why, decision);
}

function denialOf(
  session: AuthorizedSession,
  needs: readonly Need[],
  why: string,
  decision: Exclude<StatementDecision, { kind: 'allow' }>,
): Denied {
  const role = session.role.name;
  const { policyVersion, policies } = decision;
  const missing = listNeeds(decision.missing.length > 0 ? decision.missing : needs);
  const common = { kind: 'deny', policyVersion, policies, sqlState: '42501' } as const;
  if (decision.kind === 'curable')
    return { ...common, message: `sallyport: ${missing} needs ${titleOf(decision)}`, isFinal: true, roles: [] };
  return {
    ...common,
    message: decision.message ?? `sallyport: ${missing} is ${decision.because ?? `not in ${role}`}${why}`,
    isFinal: !isPlain(decision),
    roles: decision.roles.filter((name) => name !== role),
    ...(decision.hint === undefined ? {} : { hint: decision.hint }),
  };
}

/** What isn't held, refused in the same words as what is denied: a setting at the start, what is too long to be read. */
export const refusalOf = (session: AuthorizedSession, curable: Curable, hint: string): Denied => ({
  kind: 'deny',
  policyVersion: curable.policyVersion,
  policies: curable.policies,
  sqlState: '42501',
  message: `sallyport: ${listNeeds(curable.needs)} under ${session.role.name} needs ${curable.title || 'more than the role'}`,
  hint,
  isFinal: true,
  roles: [],
});

function listNeeds(needs: readonly Need[]): string {
  const described = needs.map(describeNeed);
  const shown = described.slice(0, 5);
  const more = described.length - shown.length;
  return shown.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

export const dependsOnPrepared = (text: string): boolean => /execute|deallocate/i.test(text);
/** Whether a final verdict on the text is found in the book the next time. */
export const isCacheable = (text: string): boolean => text.length <= maxCachedText && !dependsOnPrepared(text);

const hasOwnDefinitions = (names: AskedNames): boolean => names.kind === 'known' && names.definitions !== undefined;

const namesKey = (names: AskedNames): string =>
  names.kind === 'unknown'
    ? names.definitionsChanged === true
      ? '?!'
      : '?'
    : JSON.stringify([names.searchPath, names.user, names.changedInTransaction]);

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function dropOldest(map: Map<string, unknown>): void {
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

/** A failed run isn't remembered. */
function remember<V>(cache: Map<string, Promise<V>>, key: string, run: () => Promise<V>): Promise<V> {
  const known = cache.get(key);
  if (known !== undefined) return known;
  if (cache.size >= maxBookTexts) dropOldest(cache);
  const promise = run();
  cache.set(key, promise);
  promise.catch(() => {
    if (cache.get(key) === promise) cache.delete(key);
  });
  return promise;
}

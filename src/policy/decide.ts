/**
 * Policy: may this principal do this, now? Newcomers start here. Cedar answers everything, in one language: who may ask for
 * a role, approve, activate, connect, administer, read the record, and what each statement may touch. `schema.ts` has the
 * words, `policies/` the shipped policies, `configuration.ts` reads `sallyport.yaml`, `_compile-role.ts` turns its roles
 * into permits, `_request.ts` turns a question into what Cedar is asked, and this file puts them together and makes the
 * answer: allow, deny, or denied with what would turn it into an allow.
 *
 * A few things no policy can give are refused here before Cedar is asked; their ids begin with `builtin:`.
 */
import type { Response } from '@cedar-policy/cedar-wasm/web';
import type { Allow, CurableDenial, Decision, Demand, Deny } from '#core/decision.ts';
import type { RoleName } from '#core/ids.ts';
import { seconds } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Role } from '#core/role.ts';
import type { Need, PgAction } from '#sql/needs.ts';
import { createCedarInstances, type CedarInstances } from './_cedar.ts';
import { compile, type Compiled, type CompiledRole, type CompileOutcome, type WrittenPolicy } from './_compile.ts';
import { assumeCured, distinctCures, metAlready } from './cures.ts';
import { mentionsEstimate, variesWith } from './_mentions.ts';
import { formatChannel, formatObjectName } from './_names.ts';
import type { Decide, PolicyEngine, PolicySet, StatementAnswer } from './engine.ts';
import { lint } from './_lint.ts';
import { lockouts } from './_lockouts.ts';
import { maxNeeds, requestFor, requestForNeed, type CedarRequest, type Refusal } from './_request.ts';
import type { Circumstances, Cured, Question, StatementQuestion } from './question.ts';
import { schema } from './schema.ts';
import { couldMatchStatement, objectKey } from './_slice.ts';

export type PolicyEngineOptions = {
  /** The content of `@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm`. */
  readonly wasm: Uint8Array;
  /** SHA-256 of the text's UTF-8 form in lower-case hex; this folder has no hash of its own. */
  readonly sha256: (text: string) => string;
};

/** How many policy sets are kept parsed; more are parsed again when they are asked about. */
const slots = 256;
/** With more policies than this that are about no object in particular, a set for each object would cost more than it saves. */
const maxGeneral = 50;

export async function createPolicyEngine(options: PolicyEngineOptions): Promise<PolicyEngine & Watched> {
  const cedar = await createCedarInstances(options.wasm);
  let judge: Judge | undefined;

  // A set is looked at several times before it is used: checked, searched for lock-outs, loaded.
  let last: { readonly key: string; readonly outcome: CompileOutcome } | undefined;
  const compiled = (set: PolicySet): CompileOutcome => {
    const key = JSON.stringify([set.shipped, set.configuration]);
    if (last?.key === key) return last.outcome;
    const outcome = compile(set, cedar, options.sha256);
    // Faults are looked for again: one of the evaluator's own may be gone.
    last = outcome.kind === 'compiled' ? { key, outcome } : undefined;
    return outcome;
  };
  const decide = ((question: Question): Decision => {
    if (judge === undefined) return denial('none', [], 'no policies are loaded', question);
    return judge.decide(question);
  }) as Decide;

  return {
    get version() {
      return judge?.compiled.version ?? 'none';
    },
    get configuration() {
      return judge?.compiled.configuration;
    },
    check: (set) => {
      const outcome = compiled(set);
      if (outcome.kind === 'faults') return outcome;
      return { kind: 'sound', version: outcome.compiled.version, warnings: outcome.warnings };
    },
    load: (set) => {
      const outcome = compiled(set);
      if (outcome.kind === 'faults') return outcome;
      judge = createJudge(outcome.compiled, cedar, 'live');
      return { kind: 'loaded', version: outcome.compiled.version, warnings: outcome.warnings };
    },
    decide,
    rolesThatGive: (ask) => judge?.rolesThatGive(ask) ?? [],
    rolesFor: (principal, circumstances) => judge?.rolesFor(principal, circumstances) ?? [],
    lockouts: (set, people) => {
      const outcome = compiled(set);
      return lockouts(
        outcome.kind === 'compiled'
          ? { compiled: outcome.compiled, decide: createJudge(outcome.compiled, cedar, 'candidate').decide }
          : undefined,
        people,
      );
    },
    lint: (set) => {
      const outcome = compiled(set);
      if (outcome.kind === 'faults') return outcome;
      const findings = lint(outcome.compiled, createJudge(outcome.compiled, cedar, 'candidate').decide);
      return { kind: 'linted', findings: [...outcome.warnings, ...findings] };
    },
    decideBy: (set) => {
      const outcome = compiled(set);
      if (outcome.kind === 'faults') return outcome;
      const { decide: by, compiled: of } = createJudge(outcome.compiled, cedar, 'candidate');
      return { kind: 'ready', version: of.version, decide: by as Decide };
    },
    settled: cedar.settled,
    get faults() {
      return cedar.faults();
    },
    get memoryBytes() {
      return cedar.memoryBytes();
    },
  };
}

type Watched = {
  /** Resolves when the evaluator has a spare instance again after a fault. */
  readonly settled: () => Promise<void>;
  /** How often the evaluator had to be replaced: above zero somebody should look. */
  readonly faults: number;
  readonly memoryBytes: number;
};

type Judge = Pick<PolicyEngine, 'rolesThatGive' | 'rolesFor'> & {
  readonly compiled: Compiled;
  readonly decide: (question: Question) => Decision;
};

type Answer =
  | { readonly kind: 'allow'; readonly policies: readonly string[] }
  | { readonly kind: 'deny'; readonly policies: readonly string[]; readonly because: string }
  | { readonly kind: 'curable'; readonly policies: readonly string[]; readonly demands: readonly Demand[] };

/** `prefix` keeps the evaluator's names for the policies in use apart from those of a set that is only looked at. */
function createJudge(compiled: Compiled, cedar: CedarInstances, prefix: 'live' | 'candidate'): Judge {
  const { version } = compiled;
  // Sets parsed in the present instance, least recently used first. Names are reused: a parsed set under a name of its own
  // would never be freed.
  let parsed = new Map<string, string>();
  let parsedIn = 0;

  const slices = new Map<string, Sliced>();
  const slicedFor = (slice: Slice): Sliced => {
    const key = `${slice.role.role.name} ${slice.action}`;
    const found = slices.get(key) ?? sliced(compiled, slice);
    slices.set(key, found);
    return found;
  };

  const policySetId = (slice: Slice | undefined, object: string): string | Refusal => {
    const { key, policies } = slice === undefined ? baseOf(compiled) : partOf(slicedFor(slice), object);
    const outcome = cedar.attempt((instance, generation): string | Refusal => {
      if (generation !== parsedIn) {
        const answer = instance.preparseSchema('schema', schema);
        if (answer.type === 'failure') return { because: 'the schema does not parse' };
        parsed = new Map();
        parsedIn = generation;
      }
      let id = parsed.get(key);
      if (id === undefined) {
        id = key === '' ? `${prefix}/base` : freeSlot(parsed, prefix);
        const staticPolicies = Object.fromEntries(policies().map((policy) => [policy.id, policy.text]));
        const answer = instance.preparsePolicySet(id, { staticPolicies });
        if (answer.type === 'failure') {
          // The slot's name is free or not, and nobody may get what another has parsed under it: all are parsed again.
          parsed = new Map();
          return { because: 'the policies do not parse' };
        }
      }
      parsed.delete(key);
      parsed.set(key, id);
      return id;
    });
    return outcome.kind === 'done' ? outcome.value : { because: 'the policy evaluator failed' };
  };

  const evaluate = (request: CedarRequest, slice: Slice | undefined): Response | Refusal => {
    const id = policySetId(slice, objectKey(request.resource));
    if (typeof id !== 'string') return id;
    const outcome = cedar.attempt((instance) =>
      instance.statefulIsAuthorized({
        principal: request.principal,
        action: request.action,
        resource: request.resource,
        context: request.context,
        entities: request.entities,
        preparsedPolicySetId: id,
        preparsedSchemaName: 'schema',
        validateRequest: true,
      }),
    );
    // INVARIANT 1: a fault of the evaluator is a denial; the instance behind it has been replaced.
    if (outcome.kind === 'fault') return { because: 'the policy evaluator failed' };
    if (outcome.value.type === 'failure')
      return { because: `the question is not one the policies know: ${outcome.value.errors[0]?.message ?? 'refused'}` };
    return outcome.value.response;
  };

  /** Asks, and once more with the cures assumed when every forbid that stands in the way has one. */
  const answer = (
    ask: (cured: Cured | undefined) => CedarRequest | Refusal,
    circumstances: Circumstances,
    slice?: Slice,
  ): Answer => {
    const run = (cured: Cured | undefined): Answer => {
      const request = ask(cured);
      if ('because' in request) return { kind: 'deny', policies: [], because: request.because };
      const response = evaluate(request, slice);
      if ('because' in response) return { kind: 'deny', policies: [], because: response.because };
      const { decision, diagnostics } = response;
      // Cedar skips a policy that fails while it is evaluated, a forbid too; then nobody knows what it would have said.
      if (diagnostics.errors.length > 0)
        return {
          kind: 'deny',
          policies: diagnostics.errors.map(({ policyId }) => policyId).toSorted(),
          because: `the policy \`${diagnostics.errors[0]?.policyId}\` failed while it was evaluated`,
        };
      const policies = diagnostics.reason.toSorted();
      if (decision === 'allow') return { kind: 'allow', policies };
      if (policies.length === 0) return { kind: 'deny', policies, because: 'no policy permits it' };
      const demands: Demand[] = [];
      const uncured: string[] = [];
      for (const policy of policies) {
        const cure = compiled.cures.get(policy);
        if (cure === undefined) uncured.push(policy);
        else demands.push({ policy, cure });
      }
      if (uncured.length > 0)
        return { kind: 'deny', policies, because: `forbidden by ${uncured.map((id) => `\`${id}\``).join(', ')}` };
      return { kind: 'curable', policies, demands };
    };
    let { cured } = circumstances;
    let first = run(cured);
    // Who has signed in a moment ago isn't asked to do it again.
    const met = first.kind === 'curable' ? metAlready(curesOf(first.demands), circumstances) : undefined;
    if (met !== undefined) {
      cured = met;
      first = run(cured);
    }
    if (first.kind !== 'curable') return first;
    // Nobody is sent to fetch what can't help.
    const then = run(assumeCured({ ...circumstances, cured: cured ?? {} }, curesOf(first.demands)));
    if (then.kind === 'allow') return first;
    // With everything obtained nothing would permit it: that is the reason, and no forbid is.
    if (then.kind === 'deny' && then.policies.length === 0) return then;
    const because =
      then.kind === 'deny' ? then.because : `forbidden by ${then.policies.map((id) => `\`${id}\``).join(', ')}`;
    return { kind: 'deny', policies: distinct([...first.policies, ...then.policies]), because };
  };

  const decideOne = (question: Exclude<Question, StatementQuestion>): Decision => {
    const builtIn = refusedOutright(question);
    if (builtIn !== undefined) return denial(version, [builtIn.policy], builtIn.because, question);
    return decision(
      answer((cured) => requestFor(withCured(question, cured), compiled), question),
      version,
    );
  };

  const decideStatement = (question: StatementQuestion): StatementAnswer => {
    const { needs } = question;
    const always = { variesWith: 'nothing', wantsEstimate: false } as const;
    const refuse = (policies: readonly string[], because: string): StatementAnswer => ({
      kind: 'deny',
      policies,
      version,
      because,
      missing: needs,
      ...always,
    });
    const builtIn = refusedOutright(question);
    if (builtIn !== undefined) return refuse([builtIn.policy], builtIn.because);
    const role = compiled.roles.get(question.role);
    if (role === undefined) return refuse([], 'there is no such role');
    if (needs.length > maxNeeds) return refuse([], `the statement needs more than ${maxNeeds} permissions`);
    // `begin`, `show` and their like touch nothing that policy speaks about.
    if (needs.length === 0) return { ...allow(['builtin:needs-nothing'], version), ...always };

    const mentions = [...new Set(needs.map(({ action }) => action))].flatMap(
      (action) => slicedFor({ role, action }).mentions,
    );
    const reuse = {
      variesWith: variesWith(mentions, question),
      wantsEstimate: question.context.estimatedRows === undefined && mentionsEstimate(mentions),
    };
    const deny = (policies: readonly string[], because: string, missing: readonly Need[]): StatementAnswer => ({
      kind: 'deny',
      policies,
      version,
      because,
      missing,
      ...reuse,
    });
    const judge = (need: Need, circumstances: Circumstances) =>
      answer((cured) => requestForNeed(withCured(question, cured), role, need, compiled), circumstances, {
        role,
        action: need.action,
      });
    const judged = needs.map((need) => ({ need, answer: judge(need, question) }));
    const policies = (of: readonly { readonly answer: Answer }[]) =>
      distinct(of.flatMap(({ answer: { policies } }) => policies));
    const denied = judged.filter((item) => item.answer.kind === 'deny');
    if (denied.length > 0) {
      // Where nothing permits a part of it, another role would help more than to know what else is in the way.
      const unpermitted = denied.filter((item) => item.answer.policies.length === 0);
      const told = unpermitted.length > 0 ? unpermitted : denied;
      const because = told[0]?.answer.kind === 'deny' ? told[0].answer.because : 'no policy permits it';
      return deny(
        policies(denied),
        because,
        denied.map(({ need }) => need),
      );
    }
    const curable = judged.filter((item) => item.answer.kind === 'curable');
    if (curable.length === 0) return { ...allow(policies(judged), version), ...reuse };
    const demands = distinctDemands(curable.flatMap(({ answer }) => (answer.kind === 'curable' ? answer.demands : [])));
    const cures = curesOf(demands);
    // What cures one need must not be what forbids another.
    const cured = assumeCured(question, cures);
    const stillDenied = needs.some((need) => judge(need, { ...question, cured }).kind !== 'allow');
    if (stillDenied)
      return deny(policies(curable), 'what would cure one part of the statement does not cure the whole', needs);
    return {
      kind: 'curable',
      policies: policies(curable),
      version,
      cures,
      demands,
      because: 'it needs more before it is allowed',
      missing: curable.map(({ need }) => need),
      ...reuse,
      // What was obtained for another run may cover the next.
      ...(demands.some(({ cure }) => 'cover' in cure) ? { variesWith: 'moment' } : {}),
    };
  };

  const writtenText = compiled.written.map(({ text }) => text).join('\n');
  const mentioned = (role: RoleName) => writtenText.includes(`"${role}"`);

  const decide = (question: Question): Decision =>
    question.action === 'statement' ? decideStatement(question) : decideOne(question);

  const mayRequest = (principal: Principal, role: Role, circumstances: Circumstances): boolean =>
    decide({ ...circumstances, action: 'request_role', principal, role: role.name, duration: seconds(1) }).kind !==
    'deny';

  return {
    compiled,
    decide,
    rolesFor: (principal, circumstances) =>
      [...compiled.roles.values()].map(({ role }) => role).filter((role) => mayRequest(principal, role, circumstances)),
    rolesThatGive: ({ principal, resource, needs, context, limit = 3, ...circumstances }) => {
      const found: RoleName[] = [];
      if (needs.length === 0 || needs.length > maxNeeds) return found;
      const candidates = [...compiled.roles.values()]
        .filter((role) => role.resource.name === resource)
        .toSorted((a, b) => breadth(a) - breadth(b) || (a.role.name < b.role.name ? -1 : 1));
      for (const { role, policies } of candidates) {
        if (found.length >= limit) break;
        // Cheap first: what the role itself doesn't list can only come from a written policy.
        const plausible =
          needs
            .flatMap(generatedFor)
            .some((permit) => policies.some(({ id }) => id === `role:${role.name}:${permit}`)) || mentioned(role.name);
        if (!plausible) continue;
        if (!mayRequest(principal, role, circumstances)) continue;
        const asked = { ...circumstances, action: 'statement', principal, role: role.name, needs, context } as const;
        if (decideStatement(asked).kind !== 'deny') found.push(role.name);
      }
      return found;
    },
  };
}

/** What no policy can give. */
function refusedOutright(question: Question): { readonly policy: string; readonly because: string } | undefined {
  const { principal } = question;
  if (principal.state !== 'active')
    return { policy: 'builtin:active-principals-only', because: 'the principal is not active' };
  if (question.action === 'approve_request') {
    const { requester, actsFor } = question.request;
    // INVARIANT 2: not the requester nor anybody the requester acts for, whatever policy or rights say.
    if (principal.id === requester || actsFor.includes(principal.id))
      return { policy: 'builtin:nobody-approves-their-own', because: 'nobody approves their own request' };
  }
  if (question.action === 'activate_grant' || question.action === 'connect') {
    if (principal.id !== question.grant.principal)
      return { policy: 'builtin:own-grants-only', because: 'the grant is for somebody else' };
  }
  return undefined;
}

/** The one place that makes an allow. */
function allow(policies: readonly string[], version: string): Allow {
  const made = { kind: 'allow', policies, version } as const;
  return made as typeof made & Allow;
}

function decision(answer: Answer, version: string): Decision {
  switch (answer.kind) {
    case 'allow':
      return allow(answer.policies, version);
    case 'deny':
      return { ...answer, version } satisfies Deny;
    case 'curable':
      return {
        ...answer,
        version,
        cures: curesOf(answer.demands),
        because: 'it needs more before it is allowed',
      } satisfies CurableDenial;
    default:
      return answer satisfies never;
  }
}

function denial(version: string, policies: readonly string[], because: string, question: Question): Deny {
  const base = { kind: 'deny', policies, version, because } as const;
  if (question.action !== 'statement') return base;
  // The type of `Decision` doesn't know that a statement was asked about; `Decide` does.
  const answer: StatementAnswer = { ...base, missing: question.needs, variesWith: 'moment', wantsEstimate: false };
  return answer;
}

const curesOf = (demands: readonly Demand[]) => distinctCures(demands.map(({ cure }) => cure));

function distinctDemands(demands: readonly Demand[]): readonly Demand[] {
  return [...new Map(demands.map((demand) => [demand.policy, demand])).values()].toSorted((a, b) =>
    a.policy < b.policy ? -1 : 1,
  );
}

const withCured = <Q extends Question>(question: Q, cured: Cured | undefined): Q =>
  cured === undefined ? question : { ...question, cured };

/** The part of the policies that a statement's need is judged by, before its object is looked at. */
type Slice = { readonly role: CompiledRole; readonly action: PgAction };

type Text = { readonly id: string; readonly text: string };
type Sliced = {
  readonly name: string;
  readonly general: readonly Text[];
  /** Those about one object alone. */
  readonly byObject: ReadonlyMap<string, readonly Text[]>;
  /** By the written ones. */
  readonly mentions: readonly WrittenPolicy['mentions'][];
};
type Part = { readonly key: string; readonly policies: () => readonly Text[] };

const baseOf = ({ written }: Compiled): Part => ({
  key: '',
  policies: () => written.filter(({ scope }) => scope.plain),
});

function sliced({ written }: Compiled, { role, action }: Slice): Sliced {
  const general: Text[] = [];
  const byObject = new Map<string, Text[]>();
  const add = (policy: Text, object: string | undefined) => {
    const of = object === undefined ? general : byObject.get(object);
    if (of !== undefined) of.push(policy);
    else if (object !== undefined) byObject.set(object, [policy]);
  };
  const theirs = written.filter(({ scope }) => couldMatchStatement(scope, action, role.resource.name, role.role.name));
  for (const policy of theirs) add(policy, policy.scope.object);
  for (const policy of role.policies) if (policy.action === action) add(policy, policy.object);
  return { name: `${role.role.name} ${action}`, general, byObject, mentions: theirs.map(({ mentions }) => mentions) };
}

function partOf({ name, general, byObject }: Sliced, object: string): Part {
  if (general.length > maxGeneral) return { key: name, policies: () => [...general, ...[...byObject.values()].flat()] };
  const own = byObject.get(object);
  if (own === undefined) return { key: `${name} -`, policies: () => general };
  return { key: `${name} ${object}`, policies: () => [...general, ...own] };
}

function freeSlot(parsed: Map<string, string>, prefix: string): string {
  const taken = parsed.size - (parsed.has('') ? 1 : 0);
  const oldest = taken < slots ? undefined : parsed.entries().find(([key]) => key !== '');
  if (oldest === undefined) return `${prefix}/${taken}`;
  parsed.delete(oldest[0]);
  return oldest[1];
}

/** The last part of the ids of the permits that a role would have for this need. */
function generatedFor({ action, object }: Need): readonly string[] {
  switch (object.kind) {
    case 'table':
    case 'function':
      return [`${action}:${formatObjectName(object)}`];
    case 'channel':
      return [`${action}:${formatChannel(object)}`, `${action}:${formatChannel('any')}`];
    case 'any channel':
      return [`${action}:${formatChannel('any')}`];
    case 'database':
      return [];
    default:
      return object satisfies never;
  }
}

/** How much a role gives: the fewer permits the narrower. */
function breadth({ policies, role }: CompiledRole): number {
  const columns = role.permissions.tables.reduce(
    (sum, table) => sum + [table.select, table.insert, table.update].filter((columns) => columns === 'all').length,
    0,
  );
  return policies.length * 2 + columns;
}

function distinct(ids: readonly string[]): readonly string[] {
  return [...new Set(ids)].toSorted();
}

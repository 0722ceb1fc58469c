/** From policy files and the configuration to what the evaluator is given, or every fault with its place in its file. */
import type { PolicyJson, ValidationError } from '@cedar-policy/cedar-wasm/web';
import type { Cure } from '#core/decision.ts';
import type { RoleName } from '#core/ids.ts';
import type { Instant } from '#core/instant.ts';
import type { Configuration, Role, Resource } from '#core/role.ts';
import { canonicalConfiguration } from './canonical-configuration.ts';
import type { CedarInstances } from './_cedar.ts';
import { compileRole, type GeneratedPolicy } from './_compile-role.ts';
import { networkFinder } from './address.ts';
import { parseCure } from './cures.ts';
import type { PolicyFault, PolicyFile, PolicySet } from './engine.ts';
import { parseChannel, parseObjectName } from './_names.ts';
import { indexOfByte, positionOf } from './_position.ts';
import { scanPolicies } from './_scan.ts';
import { schema } from './schema.ts';
import { scopeOf, type Scope } from './_slice.ts';
import { mentionsOf, networksIn, type Mentions } from './_mentions.ts';
import { suggest } from './_suggest.ts';
import { workingHoursOf } from './_working-hours.ts';

export type CompiledRole = {
  readonly role: Role;
  readonly resource: Resource;
  /** The permits generated from it. */
  readonly policies: readonly GeneratedPolicy[];
};

export type WrittenPolicy = {
  readonly id: string;
  readonly text: string;
  readonly scope: Scope;
  readonly mentions: Mentions;
  readonly json: PolicyJson;
  /** Those that it names. */
  readonly groups: readonly string[];
  readonly place: Pick<PolicyFault, 'file' | 'line' | 'column'>;
};

export type Compiled = {
  readonly version: string;
  readonly configuration: Configuration;
  /** Shipped and configured policies; the ones generated from roles are with the roles. */
  readonly written: readonly WrittenPolicy[];
  readonly cures: ReadonlyMap<string, Cure>;
  readonly roles: ReadonlyMap<RoleName, CompiledRole>;
  readonly isWorkingHour: (now: Instant) => boolean;
  readonly networksOf: (address: string) => readonly string[];
};

export type CompileOutcome =
  | { readonly kind: 'compiled'; readonly compiled: Compiled; readonly warnings: readonly PolicyFault[] }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

type Found = WrittenPolicy & { readonly file: PolicyFile; readonly start: number };

/** Ids that written policies can't take, since others are made under them. */
const reserved = ['role:', 'builtin:'];
const idShape = /^[a-z][a-z0-9]*(?:[-_.:/][a-z0-9]+)*$/;

export function compile(
  set: PolicySet,
  cedar: CedarInstances,
  /** SHA-256 in lower-case hex. */
  hash: (text: string) => string,
): CompileOutcome {
  const faults: PolicyFault[] = [];
  const warnings: PolicyFault[] = [];
  const { configuration } = set;
  const roles = new Map<RoleName, CompiledRole>();
  for (const resource of configuration.resources)
    for (const role of resource.roles) {
      roles.set(role.name, { role, resource, policies: compileRole(role) });
    }

  const written = new Map<string, Found>();
  const cures = new Map<string, Cure>();
  const files: readonly (PolicyFile & { readonly shipped: boolean })[] = [
    ...set.shipped.map((file) => ({ ...file, shipped: true })),
    ...Object.entries(configuration.policies).map(([name, text]) => ({ name, text, shipped: false })),
  ];
  for (const file of files) {
    const fault = (at: number, message: string, help?: string) =>
      faults.push({ file: file.name, ...positionOf(file.text, at), message, ...(help === undefined ? {} : { help }) });
    const scanned = scanPolicies(file.text);
    for (const found of scanned.faults) fault(found.at, found.message, found.help);
    for (const { text, start } of scanned.policies) {
      const parsed = cedar.attempt((instance) => instance.policyToJson(text));
      if (parsed.kind === 'fault') {
        fault(start, 'the policy evaluator failed on this policy');
        continue;
      }
      if (parsed.value.type === 'failure') {
        for (const error of parsed.value.errors) {
          const where = error.sourceLocations?.[0];
          fault(
            start + indexOfByte(text, where?.start ?? 0),
            plain(error.message),
            error.help ?? where?.label ?? undefined,
          );
        }
        continue;
      }
      const { json } = parsed.value;
      const id = json.annotations?.['id'];
      if (id === undefined || id === null) {
        fault(
          start,
          'the policy has no id',
          'write `@id("a-name")` before it; answers and the log name policies by it',
        );
        continue;
      }
      const before = written.get(id);
      if (!idShape.test(id) || id.length > 100)
        fault(
          start,
          `\`${id}\` is not an id`,
          'lower-case words joined by `-`, `.`, `:` or `/`, at most 100 characters',
        );
      else if (reserved.some((prefix) => id.startsWith(prefix)) || (!file.shipped && id.startsWith('default:')))
        fault(start, `the id \`${id}\` is reserved`, 'ids beginning with `role:`, `builtin:` and `default:` are taken');
      else if (before !== undefined) {
        const first = positionOf(before.file.text, before.start);
        fault(start, `a second policy has the id \`${id}\``, `the first is at ${before.file.name}:${first.line}`);
      } else
        written.set(id, {
          id,
          text,
          scope: scopeOf(json),
          json,
          groups: groupsIn(json),
          place: { file: file.name, ...positionOf(file.text, start) },
          mentions: mentionsOf(json.conditions),
          file,
          start,
        });

      const cureText = json.annotations?.['cure'];
      if (cureText !== undefined) {
        const parsedCure = parseCure(cureText ?? '');
        const at = annotationAt(text, cureText ?? '');
        if (json.effect !== 'forbid') fault(start + at, 'only a `forbid` can have a cure');
        else if (parsedCure.kind === 'fault') fault(start + at + parsedCure.at, parsedCure.message, parsedCure.help);
        else cures.set(id, parsedCure.cure);
      }
      // As a misspelt table: nobody would ever be in it.
      for (const name of networksIn(json.conditions)) {
        const known = Object.keys(configuration.networks ?? {});
        if (known.includes(name)) continue;
        const near = suggest(name, known);
        fault(
          start + Math.max(0, text.indexOf(JSON.stringify(name))),
          `there is no network \`${name}\``,
          near === undefined ? 'declare it in `networks` of the configuration' : `did you mean \`${near}\`?`,
        );
      }
      for (const reference of entitiesIn([json.principal, json.action, json.resource, json.conditions])) {
        const problem = unknownReference(reference, configuration, roles);
        if (problem !== undefined) {
          const at = text.indexOf(JSON.stringify(reference.id));
          fault(start + Math.max(0, at), problem.message, problem.help);
        }
      }
    }
  }
  if (faults.length > 0) return { kind: 'faults', faults };

  // What is generated is valid as it is made, and there can be ten thousand of it.
  const staticPolicies = Object.fromEntries([...written].map(([id, { text }]) => [id, text]));
  const validated = cedar.attempt((instance) =>
    instance.validate({ schema, policies: { staticPolicies }, validationSettings: { mode: 'strict' } }),
  );
  const nowhere = { file: files[0]?.name ?? 'policies', line: 1, column: 1 };
  if (validated.kind === 'fault')
    return { kind: 'faults', faults: [{ ...nowhere, message: 'the policy evaluator failed on this policy set' }] };
  if (validated.value.type === 'failure')
    return { kind: 'faults', faults: validated.value.errors.map((error) => ({ ...nowhere, message: error.message })) };
  const place = ({ policyId, error }: ValidationError): PolicyFault => {
    const found = written.get(policyId);
    const help = error.help ?? undefined;
    const rest = { message: plain(error.message), ...(help === undefined ? {} : { help }) };
    if (found === undefined) return { ...nowhere, ...rest, message: `\`${policyId}\`: ${rest.message}` };
    const at = found.start + indexOfByte(found.text, error.sourceLocations?.[0]?.start ?? 0);
    return { file: found.file.name, ...positionOf(found.file.text, at), ...rest };
  };
  if (validated.value.validationErrors.length > 0)
    return { kind: 'faults', faults: inOrder(validated.value.validationErrors.map(place)) };
  warnings.push(...validated.value.validationWarnings.filter((w) => written.has(w.policyId)).map(place));

  const version = hash(
    JSON.stringify([
      schema,
      set.shipped.map(({ text }) => text).toSorted(),
      canonicalConfiguration(configuration),
      // The generator is part of the meaning: a new program that compiles a role differently answers under a new version.
      [...roles.values()].flatMap(({ policies }) => policies.map(({ text }) => text)).toSorted(),
    ]),
  ).slice(0, 16);
  return {
    kind: 'compiled',
    compiled: {
      version,
      configuration,
      written: [...written.values()],
      cures,
      roles,
      isWorkingHour: workingHoursOf(configuration.workingHours),
      networksOf: networkFinder(configuration.networks ?? {}),
    },
    warnings: inOrder(warnings),
  };
}

/** Where the text of `@cure("…")` begins in the policy; with escapes in it, where the annotation does. */
function annotationAt(policy: string, cure: string): number {
  const match = /@cure\s*(?:\(\s*")?/.exec(policy);
  if (match === null) return 0;
  const inside = match.index + match[0].length;
  return policy.startsWith(cure, inside) ? inside : match.index;
}

function inOrder(faults: readonly PolicyFault[]): PolicyFault[] {
  return faults.toSorted((a, b) =>
    a.file === b.file ? a.line - b.line || a.column - b.column : a.file < b.file ? -1 : 1,
  );
}

/** Without the parser's own preamble: our line and column say where. */
function plain(message: string): string {
  return message
    .replace(/^failed to parse (?:policy|template)(?: with id `[^`]*`)? from string: /, '')
    .replace(/^for policy `[^`]*`[,:] /, '');
}

function groupsIn(json: PolicyJson): readonly string[] {
  const found = [...entitiesIn([json.principal, json.conditions])].filter(({ type }) => type === 'Group');
  return [...new Set(found.map(({ id }) => id))];
}

type Reference = { readonly type: string; readonly id: string };

/** Every entity that a policy names, wherever it does. */
function* entitiesIn(value: unknown): Generator<Reference> {
  if (Array.isArray(value)) for (const item of value as readonly unknown[]) yield* entitiesIn(item);
  else if (typeof value === 'object' && value !== null) {
    const { type, id } = value as { type?: unknown; id?: unknown };
    if (typeof type === 'string' && typeof id === 'string') yield { type, id };
    for (const item of Object.values(value) as readonly unknown[]) yield* entitiesIn(item);
  }
}

/** A typing error in the name of a role or table would make a forbid that forbids nothing, which Cedar can't see. */
function unknownReference(
  { type, id }: Reference,
  configuration: Configuration,
  roles: ReadonlyMap<RoleName, CompiledRole>,
): { readonly message: string; readonly help: string } | undefined {
  const meant = (known: readonly string[], otherwise: string) => {
    const near = suggest(id, known);
    return near === undefined ? otherwise : `did you mean \`${near}\`?`;
  };
  const resources: readonly string[] = configuration.resources.map(({ name }) => name);
  if (type === 'Role' && !roles.has(id as RoleName))
    return { message: `there is no role \`${id}\``, help: meant([...roles.keys()], 'roles are named `resource/role`') };
  if ((type === 'Resource' || type === 'PG::Database') && !resources.includes(id))
    return { message: `there is no resource \`${id}\``, help: meant(resources, 'declare it in the configuration') };
  if (type === 'PG::Table' || type === 'PG::Function') {
    const slash = id.indexOf('/');
    if (!resources.includes(id.slice(0, Math.max(0, slash))) || parseObjectName(id.slice(slash + 1)) === undefined)
      return {
        message: `\`${id}\` names no ${type === 'PG::Table' ? 'table' : 'function'} of a resource`,
        help: 'write `resource/schema.name`, with a part that is not a plain lower-case name in double quotes',
      };
  }
  if (type === 'PG::Channel') {
    const slash = id.indexOf('/');
    if (!resources.includes(id.slice(0, Math.max(0, slash))) || parseChannel(id.slice(slash + 1)) === undefined)
      return {
        message: `\`${id}\` names no channel of a resource`,
        help: 'write `resource/channel`, with a name that is not plain lower-case in double quotes',
      };
  }
  return undefined;
}

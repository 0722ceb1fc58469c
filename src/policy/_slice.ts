/**
 * Which policies could have a say in a question, by their scopes alone. Evaluation takes time with every policy in the set,
 * so a need of a statement is judged by those for its action, resource and object. A policy that is left out here is one whose scope could not
 * match; whatever isn't understood stays in, so this can cost time and never an answer.
 */
import type { PolicyJson, TypeAndId } from '@cedar-policy/cedar-wasm/web';
import type { ResourceName, RoleName } from '#core/ids.ts';
import type { PgAction } from '#sql/needs.ts';

export type Scope = {
  /** Could it match an action of the plain namespace, like `Action::"connect"`? */
  readonly plain: boolean;
  /** The actions on PostgreSQL that it could match. */
  readonly postgres: ReadonlySet<PgAction>;
  /** The one resource its objects are on; undefined: any. */
  readonly resource: string | undefined;
  /** The one table, function or channel it is about (`objectKey`); undefined: any. */
  readonly object: string | undefined;
  /** The one role it is for; undefined: any principal. */
  readonly role: string | undefined;
};

export const objectKey = ({ type, id }: TypeAndId): string => `${type} ${id}`;

export const pgActions: readonly PgAction[] = [
  'select',
  'insert',
  'update',
  'delete',
  'truncate',
  'ddl',
  'copy',
  'call',
  'listen',
  'notify',
  'other',
];

/** As in the schema; a test compares the two. */
export const actionGroups: Readonly<Record<string, readonly PgAction[]>> = {
  reading: ['select'],
  writing: ['insert', 'update', 'delete', 'truncate'],
  destructive: ['delete', 'truncate', 'ddl', 'other'],
};

export function scopeOf(policy: PolicyJson): Scope {
  return { ...actionsOf(policy), resource: resourceOf(policy), object: objectOf(policy), role: roleOf(policy) };
}

export function couldMatchStatement(scope: Scope, action: PgAction, resource: ResourceName, role: RoleName): boolean {
  if (!scope.postgres.has(action)) return false;
  if (scope.resource !== undefined && scope.resource !== resource) return false;
  return scope.role === undefined || scope.role === role;
}

const plainUid = (uid: TypeAndId | { readonly __entity: TypeAndId }): TypeAndId =>
  '__entity' in uid ? uid.__entity : uid;

function actionsOf({ action }: PolicyJson): Pick<Scope, 'plain' | 'postgres'> {
  const everything = { plain: true, postgres: new Set(pgActions) };
  if (action.op === 'All') return everything;
  const named = 'entities' in action ? action.entities : 'entity' in action ? [action.entity] : undefined;
  if (named === undefined) return everything;
  let plain = false;
  const postgres = new Set<PgAction>();
  for (const uid of named) {
    const { type, id } = plainUid(uid);
    const one = pgActions.find((known) => known === id);
    const group = actionGroups[id];
    if (type === 'Action') plain = true;
    else if (type === 'PG::Action' && one !== undefined) postgres.add(one);
    else if (type === 'PG::Action' && group !== undefined) for (const each of group) postgres.add(each);
    else return everything;
  }
  return { plain, postgres };
}

function resourceOf({ resource }: PolicyJson): string | undefined {
  const within =
    resource.op === '==' || resource.op === 'in' ? resource : resource.op === 'is' ? resource.in : undefined;
  if (within === undefined || !('entity' in within)) return undefined;
  const { type, id } = plainUid(within.entity);
  if (type === 'Resource' || type === 'PG::Database') return id;
  // A resource's name has no slash in it.
  if (type === 'PG::Table' || type === 'PG::Function' || type === 'PG::Channel')
    return id.slice(0, Math.max(0, id.indexOf('/')));
  return undefined;
}

/** An object is in nothing but its resource, so that only `==` names one alone. */
function objectOf({ resource }: PolicyJson): string | undefined {
  if (resource.op !== '==' || !('entity' in resource)) return undefined;
  const named = plainUid(resource.entity);
  return ['PG::Table', 'PG::Function', 'PG::Channel'].includes(named.type) ? objectKey(named) : undefined;
}

function roleOf({ principal }: PolicyJson): string | undefined {
  const within = principal.op === 'in' ? principal : principal.op === 'is' ? principal.in : undefined;
  if (within === undefined || !('entity' in within)) return undefined;
  const { type, id } = plainUid(within.entity);
  return type === 'Role' ? id : undefined;
}

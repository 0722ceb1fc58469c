/** Finds what a name stands for, as the server would at this moment of the session. */
import { relationKey, type Catalogue, type Relation, type Routine, type UserOperator } from './catalogue.ts';
import type { Names, UnknownNames } from './names.ts';
import { Undecidable } from './_tree.ts';

export type QualifiedName = {
  readonly database?: string | undefined;
  readonly schema?: string | undefined;
  readonly name: string;
};

/** `["a"]`, `["s", "a"]` or `["db", "s", "a"]` as a name. */
export function nameOf(parts: readonly string[]): QualifiedName {
  const [name, schema, database, ...more] = parts.toReversed();
  if (name === undefined || more.length > 0) {
    throw new Undecidable(`\`${parts.join('.')}\` is not a name with at most three parts`);
  }
  return { database, schema, name };
}

export function writtenName({ database, schema, name }: QualifiedName): string {
  return [database, schema, name].filter((part) => part !== undefined).join('.');
}

const pathIsUnknown =
  'the search path may have changed since the server was last asked, so `NAME` may be something else; write its schema';

/** Temporary objects live in the first schema of that kind on the path; everybody may call it `pg_temp`. */
export function temporarySchema(names: Names | UnknownNames): string | undefined {
  return 'unknownPath' in names ? undefined : names.searchPath.find((schema) => /^pg_temp_\d+$/.test(schema));
}

/** INVARIANT 7: a name that was given to another object a moment ago isn't looked up in what was read before that. */
export function checkDefinitions(names: Names | UnknownNames, what: string): void {
  if ('unknownDefinitions' in names && names.unknownDefinitions === true)
    throw new Undecidable(`definitions have changed just before it, so \`${what}\` may be something else`);
}

function checkDatabase(catalogue: Catalogue, name: QualifiedName): void {
  if (name.database !== undefined && name.database !== catalogue.database) {
    throw new Undecidable(`\`${writtenName(name)}\` is in another database`);
  }
}

export function findRelation(names: Names | UnknownNames, wanted: QualifiedName): Relation {
  const { catalogue } = names;
  checkDefinitions(names, writtenName(wanted));
  checkDatabase(catalogue, wanted);
  const missing = (): Undecidable =>
    new Undecidable(`relation \`${writtenName(wanted)}\` does not exist`, {
      kind: 'relation',
      name: writtenName(wanted),
    });
  if (wanted.schema !== undefined) {
    const schema = wanted.schema === 'pg_temp' ? temporarySchema(names) : wanted.schema;
    const relation = schema === undefined ? undefined : catalogue.relations.get(relationKey(schema, wanted.name));
    if (relation === undefined) throw missing();
    return relation;
  }
  if ('unknownPath' in names) throw new Undecidable(pathIsUnknown.replace('NAME', wanted.name));
  for (const schema of names.searchPath) {
    const relation = catalogue.relations.get(relationKey(schema, wanted.name));
    if (relation !== undefined) return relation;
  }
  throw missing();
}

/** Functions and operators are never looked for among temporary objects. */
function onPath(names: Names | UnknownNames, schema: string): boolean {
  return 'unknownPath' in names || (names.searchPath.includes(schema) && !schema.startsWith('pg_temp'));
}

/**
 * All functions that a call by this name with so many arguments could mean. PostgreSQL picks by argument types, which
 * aren't known here, among all schemas of the path, so more than one may come back; each of them must be allowed. Under an
 * unknown path every schema counts.
 */
export function findRoutines(names: Names | UnknownNames, wanted: QualifiedName, argumentCount: number): Routine[] {
  const found = routinesCalled(names, wanted, argumentCount);
  if (found.length === 0) {
    throw new Undecidable(`function \`${writtenName(wanted)}\` with ${argumentCount} arguments does not exist`, {
      kind: 'function',
      name: writtenName(wanted),
    });
  }
  return found;
}

/** The same; empty when there is none. */
export function routinesCalled(names: Names | UnknownNames, wanted: QualifiedName, argumentCount: number): Routine[] {
  checkDefinitions(names, writtenName(wanted));
  checkDatabase(names.catalogue, wanted);
  const schema = wanted.schema === 'pg_temp' ? temporarySchema(names) : wanted.schema;
  const named = names.catalogue.routines.get(wanted.name) ?? [];
  return named.filter(
    (routine) =>
      (wanted.schema === undefined ? onPath(names, routine.schema) : routine.schema === schema) &&
      routine.fewest <= argumentCount &&
      (routine.most === null || argumentCount <= routine.most),
  );
}

/** Operators by that name whose function somebody wrote; empty for PostgreSQL's own. */
export function findUserOperators(names: Names | UnknownNames, wanted: QualifiedName): readonly UserOperator[] {
  checkDefinitions(names, writtenName(wanted));
  const named = names.catalogue.operators.get(wanted.name);
  if (named === undefined) return [];
  return named.filter(({ schema }) => (wanted.schema === undefined ? onPath(names, schema) : schema === wanted.schema));
}

/**
 * Splits the text of a name as `regclass` and `nextval` read it: dots between parts, quotes around parts, ASCII upper case
 * folded outside quotes, each part cut to 63 bytes. Undefined when it is not a name.
 */
export function parseNameText(text: string): QualifiedName | undefined {
  const parts: string[] = [];
  const part = /\s*(?:"((?:[^"]|"")+)"|([a-zA-Z_\u0080-\uffff][\w$\u0080-\uffff]*))\s*(\.|$)/uy;
  for (;;) {
    const match = part.exec(text);
    if (match === null) return undefined;
    const [, quoted, plain, end] = match;
    const name = quoted === undefined ? lowerAscii(plain ?? '') : quoted.replaceAll('""', '"');
    if (new TextEncoder().encode(name).length > 63) return undefined;
    parts.push(name);
    if (end !== '.') break;
  }
  return parts.length > 3 ? undefined : nameOf(parts);
}

/** PostgreSQL folds only ASCII in multi-byte encodings. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** Typed access to the parse tree that refuses what it has not been told about. */
import type { Node } from '@pgsql/types';
import type { Missing } from './needs.ts';

type KeysOfUnion<U> = U extends unknown ? keyof U : never;
export type Kind = KeysOfUnion<Node>;
export type Bodies = { readonly [K in Kind]: Extract<Node, { readonly [P in K]: unknown }>[K] };

/**
 * Thrown by the walkers, caught in `analyse.ts` only: the statement can't be judged. The message finishes the sentence
 * "… because ".
 */
export class Undecidable extends Error {
  readonly missing: Missing | undefined;

  constructor(because: string, missing?: Missing) {
    super(because);
    this.missing = missing;
  }
}

/** The one key of a node. An empty object stands for a null in a list; `undefined` is returned for it. */
export function kindOf(node: Node): Kind | undefined {
  const keys = Object.keys(node);
  if (keys.length > 1) throw new Undecidable('it parses into something that is not known here');
  return keys[0] as Kind | undefined;
}

/** The body of a node when it is of that kind. */
export function as<K extends Kind>(node: Node | undefined, kind: K): Bodies[K] | undefined {
  if (node === undefined || !Object.hasOwn(node, kind)) return undefined;
  return (node as unknown as Bodies)[kind];
}

/**
 * INVARIANT: closed by default. A field that the walker doesn't know may hide a table or a function, so it makes the
 * whole statement undecidable; a newer parser can't slip something past an older walker.
 */
export function onlyKnown<T extends object>(what: string, body: T, fields: readonly (keyof T & string)[]): void {
  for (const field of Object.keys(body)) {
    if (field !== 'location' && !(fields as readonly string[]).includes(field)) {
      throw new Undecidable(`its ${what} has a part \`${field}\` that is not known here`);
    }
  }
}

/** The strings of a list of String nodes, as in qualified names. */
export function strings(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).map((node) => {
    const body = as(node, 'String');
    if (body === undefined) throw new Undecidable('it has a name that is not made of words');
    return body.sval ?? '';
  });
}

/** The value of a string constant, or undefined for everything else. Casts to text types don't change it. */
export function stringLiteral(node: Node | undefined): string | undefined {
  const constant = as(node, 'A_Const');
  if (constant !== undefined) return constant.sval === undefined ? undefined : (constant.sval.sval ?? '');
  const cast = as(node, 'TypeCast');
  if (cast === undefined || cast.typeName?.typmods !== undefined || cast.typeName?.arrayBounds !== undefined) {
    return undefined;
  }
  const type = strings(cast.typeName?.names);
  const name = type.at(-1) ?? '';
  const builtin = type.length === 1 || (type.length === 2 && type[0] === 'pg_catalog');
  return builtin && (name === 'text' || name === 'regclass') ? stringLiteral(cast.arg) : undefined;
}

/**
 * What the types that somebody defined are made of, so that a bound value in binary format can be read for the record. It
 * is asked for in the place of a text, as the analysis is the one that has the catalogue.
 */
import type { Catalogue } from './catalogue.ts';

export type TypeShape =
  | { readonly kind: 'base'; readonly oid: number }
  | { readonly kind: 'enum' }
  | { readonly kind: 'array'; readonly elementOid: number; readonly element: TypeShape }
  | { readonly kind: 'range'; readonly of: TypeShape };

/** Types below came with the server. */
export const firstUserOid = 16_384;

/** No text of a client can hold a NUL, so none can be this. */
export const typeText = (oid: number): string => `\0type ${oid}`;

export function parseTypeText(text: string): number | undefined {
  return text.startsWith('\0type ') ? Number(text.slice(6)) : undefined;
}

/** Undefined: nothing is known of it. A domain is as its base. */
export function shapeOf(catalogue: Catalogue, oid: number, depth = 0): TypeShape | undefined {
  if (oid < firstUserOid) return { kind: 'base', oid };
  const type = catalogue.types.get(oid);
  if (type === undefined || depth > 10) return undefined;
  const of = type.kind === 'enum' ? undefined : shapeOf(catalogue, type.of, depth + 1);
  switch (type.kind) {
    case 'enum':
      return { kind: 'enum' };
    case 'domain':
      return of;
    case 'array':
      return of === undefined ? undefined : { kind: 'array', elementOid: type.of, element: of };
    case 'range':
      return of === undefined ? undefined : { kind: 'range', of };
    default:
      return type satisfies never;
  }
}
